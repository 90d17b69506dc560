"""What a search has to beat: random networks and the hand-designed one, under the same budgets."""

from __future__ import annotations

from harness.backbones import Architecture, Backbone
from harness.backbones.draw import Draw, key_of
from harness.backbones.layers import Shape
from harness.errors import BudgetsInfeasible
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import CostModel
from harness.search.space.feasible import search_grid, smallest_feasible, uniform
from harness.search.space.grid import Grid, Point

_SWEEPS = 10  # passes over all decisions, after which the start is forgotten


def random_architectures(
    backbone: Backbone,
    cost_model: CostModel,
    budgets: Budgets,
    seed: int,
    n: int,
    *,
    input_shape: Shape | None = None,
    grid: Grid | None = None,
) -> tuple[Architecture, ...]:
    """Return `n` networks drawn uniformly from those on the search's grid that meet the budgets.

    Gibbs sampling: one decision after another is drawn among the options that keep the budgets,
    starting from the smallest network. Rejection would never find one under tight budgets.

    Args:
        backbone: Search space.
        cost_model: What networks cost.
        budgets: Upper bounds, kept as `cost_model` predicts.
        seed: Network i of a seed does not depend on `n`.
        n: How many.
        input_shape: Of the data; the backbone's own unless given.
        grid: The search's choices, made from the budgets unless given.

    Raises:
        BudgetsInfeasible: No network meets the budgets.
    """
    shape = input_shape or backbone.input_shape
    grid = grid or search_grid(backbone, shape, cost_model, budgets)
    start = smallest_feasible(grid, cost_model, budgets)
    found = []
    for index in range(n):
        draw = Draw(seed, index, key_of(f"random {backbone.name}"))
        point = start
        for _ in range(_SWEEPS):
            point = _sweep(grid, cost_model, budgets, draw, point)
        architecture = grid.architecture(point)
        if architecture is None:
            raise ValueError("a sweep left the search space")
        found.append(architecture)
    return tuple(found)


def uniform_architecture(
    backbone: Backbone,
    cost_model: CostModel,
    budgets: Budgets,
    *,
    input_shape: Shape | None = None,
) -> Architecture:
    """Return the hand-designed network, scaled uniformly to the largest that meets the budgets.

    DS-CNN with four and with five blocks of one width (S, M and L of Zhang et al. 2017), or
    MobileNetV2 with a width multiplier (Sandler et al. 2018), in whole and with one block a
    stage; the one with the most operations of those that meet the budgets.

    Args:
        backbone: Search space.
        cost_model: What networks cost.
        budgets: Upper bounds, kept as `cost_model` predicts.
        input_shape: Of the data; the backbone's own unless given.

    Raises:
        BudgetsInfeasible: None meets the budgets.
    """
    cost_model.require(budgets)
    shape = input_shape or backbone.input_shape
    candidates = uniform(backbone, shape, cost_model, budgets)
    if not candidates:
        raise BudgetsInfeasible(
            f"no hand-designed {backbone.name} network meets the budgets at any width",
            expected="larger budgets",
            fix="raise the budgets, or compare with random networks only",
        )
    return max(candidates, key=lambda scaled: scaled.predicted.ops).architecture


def _sweep(grid: Grid, cost_model: CostModel, budgets: Budgets, draw: Draw, point: Point) -> Point:
    def feasible(candidate: Point) -> bool:
        architecture = grid.architecture(candidate)
        return architecture is not None and cost_model.predict(architecture).meets(budgets)

    for key, choices in grid.widths.items():
        if grid.active(point, key):
            options = [point.with_width(key, width) for width in choices]
            options = [option for option in options if feasible(option)]
        else:
            options = [point.with_width(key, width) for width in choices]
        point = draw.choice(options)
    for block in grid.optional:
        options = [point.with_kept(block.index, kept) for kept in (False, True)]
        point = draw.choice([option for option in options if feasible(option)])
    return point
