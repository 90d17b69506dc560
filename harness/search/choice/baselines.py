"""Baselines: random, evolved and hand-designed networks, under the same budgets."""

from __future__ import annotations

from collections.abc import Sequence

from harness.backbones import Architecture
from harness.backbones.draw import Draw, key_of
from harness.backbones.layers import Shape
from harness.errors import BudgetsInfeasible, SearchError
from harness.search.cost.cost_model import Constraint
from harness.search.space.feasible import feasible, search_grid, smallest_feasible, uniform
from harness.search.space.grid import Grid, Point

_SWEEPS = 10  # passes over all decisions, after which the start is forgotten


def random_architectures(
    constraint: Constraint, seed: int, n: int, input_shape: Shape | None = None
) -> tuple[Architecture, ...]:
    """Return `n` networks drawn uniformly from those on the search's grid that meet the budgets.

    Gibbs sampling: one decision after another is drawn among the options that keep the budgets,
    starting from the smallest network. Rejection would never find one under tight budgets.
    Network i of a seed does not depend on `n`. `input_shape` is the data's; by default the
    backbone's own.

    Raises:
        BudgetsInfeasible: No network meets the budgets.
    """
    backbone = constraint.backbone
    grid = search_grid(constraint, input_shape or backbone.input_shape)
    start = smallest_feasible(grid, constraint)
    found = []
    for index in range(n):
        draw = Draw(seed, index, key_of(f"random {backbone.name}"))
        point = start
        for _ in range(_SWEEPS):
            point = _sweep(grid, constraint, draw, point)
        found.append(grid.network(point))
    return tuple(found)


def evolved_architecture(
    constraint: Constraint,
    seed: int,
    tried: Sequence[tuple[Architecture, float]],
    population: int,
    input_shape: Shape | None = None,
) -> Architecture:
    """Return the next network of a regularised evolution (Real et al. 2019, algorithm 1).

    The parent is the best of half the population, drawn at random; its child differs in one
    decision, has not been tried yet and meets the budgets. The population is the youngest
    `population` networks of `tried`, so that one that was lucky dies as well.

    Args:
        tried: Networks so far and how good each is (more is better), in order of their trial.

    Raises:
        SearchError: No network that was not tried differs from the parent in one decision.
    """
    backbone = constraint.backbone
    grid = search_grid(constraint, input_shape or backbone.input_shape)
    draw = Draw(seed, len(tried), key_of(f"evolution {backbone.name}"))
    alive = list(tried[-population:])
    entrants = [alive.pop(draw.below(len(alive))) for _ in range(max(1, len(alive) // 2))]
    parent = grid.point(max(entrants, key=lambda entrant: entrant[1])[0])
    known = {architecture for architecture, _ in tried}
    decisions: list[list[Point]] = [
        [parent.with_width(key, width) for width in choices if width != parent.widths[key]]
        for key, choices in grid.widths.items()
        if grid.active(parent, key)
    ]
    decisions += [[parent.with_kept(index, not kept)] for index, kept in parent.kept.items()]
    while decisions:
        options = decisions.pop(draw.below(len(decisions)))
        networks = [grid.architecture(point) for point in options]
        children = [
            network
            for network in networks
            if network is not None and network not in known and constraint.holds(network)
        ]
        if children:
            return draw.choice(children)
    raise SearchError(
        f"every neighbour of a network within {constraint.text()} has been tried",
        expected=f"more than the {len(tried)} networks tried so far",
        fix="fewer candidates, or larger budgets",
    )


def uniform_architecture(constraint: Constraint, input_shape: Shape | None = None) -> Architecture:
    """Return the hand-designed network, scaled uniformly to the largest that meets the budgets.

    DS-CNN with four and with five blocks of one width (S, M and L of Zhang et al. 2017), or
    MobileNetV2 with a width multiplier (Sandler et al. 2018), in whole and with one block a
    stage; the one with the most operations of those that meet the budgets.

    Raises:
        BudgetsInfeasible: None meets the budgets.
    """
    backbone = constraint.backbone
    candidates = uniform(constraint, input_shape or backbone.input_shape)
    if not candidates:
        raise BudgetsInfeasible(
            f"no hand-designed {backbone.name} network meets the budgets at any width",
            expected="larger budgets",
            fix="raise the budgets, or compare with random networks only",
        )
    return max(candidates, key=lambda scaled: scaled.ops).architecture


def _sweep(grid: Grid, constraint: Constraint, draw: Draw, point: Point) -> Point:
    for key, choices in grid.widths.items():
        options = [point.with_width(key, width) for width in choices]
        if grid.active(point, key):
            options = [option for option in options if feasible(grid, option, constraint)]
        point = draw.choice(options)
    for block in grid.optional:
        options = [point.with_kept(block.index, kept) for kept in (False, True)]
        point = draw.choice([option for option in options if feasible(grid, option, constraint)])
    return point
