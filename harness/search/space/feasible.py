"""Which networks the budgets leave: the smallest, the uniformly scaled, the grid between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.backbones import WIDTH_STEP, Architecture, Backbone
from harness.backbones.layers import Shape
from harness.backbones.space import FULL_SCALE
from harness.errors import BudgetsInfeasible
from harness.search.cost.budgets import FIGURES, Budgets, PredictedCost, show
from harness.search.cost.cost_model import CostModel
from harness.search.space.grid import Grid, Point, full_grid, thinned
from harness.search.space.skeleton import Key

_DS_CNN_DEPTHS = (4, 5)  # DS-CNN S and M have four blocks, L has five (Zhang et al. 2017)


@dataclass(frozen=True, slots=True)
class Scaled:
    """A hand-designed network at one width multiplier, in parts of `FULL_SCALE`."""

    architecture: Architecture
    predicted: PredictedCost
    scale: int


def smallest_feasible(grid: Grid, cost_model: CostModel, budgets: Budgets) -> Point:
    """Return the smallest point of the space, which meets the budgets.

    Raises:
        BudgetsInfeasible: No network meets them; names the smallest feasible value of each.
        FitError, SearchError: A budget cannot be predicted.
    """
    cost_model.require(budgets)
    candidates = []
    for point in grid.depths():
        architecture = grid.architecture(point)
        if architecture is not None:
            candidates.append((cost_model.predict(architecture), point))
    fitting = [pair for pair in candidates if pair[0].meets(budgets)]
    if fitting:
        return min(fitting, key=lambda pair: (pair[0].ops, pair[0].parameters))[1]
    smallest = {
        name: min(cost.bounds()[name] or math.inf for cost, _ in candidates)
        for name, _ in budgets.items()
    }
    alone = [show(name, _up(name, value)) for name, value in smallest.items()]
    raise BudgetsInfeasible(
        f"no {grid.backbone.name} network meets the budgets: {budgets.text()}",
        expected=f"at least {', '.join(alone)}, the smallest feasible value of each alone",
        fix="raise the budgets"
        + ("" if cost_model.margin == "none" else ", or measure more networks: a fit of more rows "
           "has a narrower prediction interval"),
        smallest=smallest,
    )  # fmt: skip


def uniform(
    backbone: Backbone, input_shape: Shape, cost_model: CostModel, budgets: Budgets
) -> tuple[Scaled, ...]:
    """Return each hand-designed network at the largest scale that meets the budgets."""
    grid = full_grid(backbone, input_shape)
    found = []
    for kept in _references(grid):
        low, high = 0, FULL_SCALE
        while low < high:  # costs do not fall as the scale grows
            middle = (low + high + 1) // 2
            if _at(grid, kept, middle, cost_model).predicted.meets(budgets):
                low = middle
            else:
                high = middle - 1
        scaled = _at(grid, kept, low, cost_model)
        if scaled.predicted.meets(budgets):
            found.append(scaled)
    return tuple(found)


def search_grid(
    backbone: Backbone,
    input_shape: Shape,
    cost_model: CostModel,
    budgets: Budgets,
    *,
    width_choices: int = 12,
    width_room: float = 1.5,
    width_floor: float = 0.25,
    width_step: int = WIDTH_STEP,
) -> Grid:
    """Return the choices of a search under `budgets`.

    A width that no feasible network has is dropped. So are widths beyond `width_room` times those
    of the widest hand-designed network that meets the budgets: they would make the supernet slow
    for networks that are wide in one place and starved everywhere else. Widths below
    `width_floor` of the largest that is left are dropped for the same reason (MicroNets searches
    10 % to 100 %), unless the budgets ask for less: then the floor is halved until they hold.

    Args:
        backbone: Search space.
        input_shape: Height, width, channels of the data.
        cost_model: What networks cost.
        budgets: Upper bounds.
        width_choices: Most choices of one width decision.
        width_room: See above.
        width_floor: See above.
        width_step: Grid of widths.

    Raises:
        BudgetsInfeasible: No network meets the budgets.
        FitError, SearchError: A budget cannot be predicted, or the data does not fit the backbone.
    """
    grid = full_grid(backbone, input_shape, width_step)
    smallest = smallest_feasible(grid, cost_model, budgets)
    references = uniform(backbone, input_shape, cost_model, budgets)
    scale = max((reference.scale for reference in references), default=0)
    caps: dict[Key, int] = {}
    for key, choices in grid.widths.items():
        slot = backbone.space.slots[key[0]][key[1]]
        roomy = slot.at(round(scale * width_room), width_step) if scale else slot.maximum
        feasible = _widest(grid, smallest, key, choices, cost_model, budgets)
        caps[key] = min(roomy, feasible)
    while width_floor > 0.01:
        chosen = thinned(grid, caps, width_choices, width_floor)
        if _has_network(chosen, cost_model, budgets):
            return chosen
        width_floor /= 2
    return thinned(grid, caps, width_choices)


def prior(
    grid: Grid, cost_model: CostModel, budgets: Budgets, strength: float
) -> dict[str, list[float]]:
    """Return logits that prefer what is near the largest hand-designed network that fits.

    So the search starts from what it has to beat, and moves where the data says so.

    Args:
        grid: The choices.
        cost_model: What networks cost.
        budgets: Upper bounds.
        strength: Logit of the network's own widths over half and over one and a half times them,
            and of its own blocks over their contrary; 0 for no preference.
    """
    shape = grid.skeleton.input_shape
    references = uniform(grid.backbone, shape, cost_model, budgets)
    if not references or not strength:
        return {}
    reference = max(references, key=lambda scaled: scaled.predicted.ops).architecture
    logits: dict[str, list[float]] = {}
    last: dict[str, int] = {}
    for key, choices in grid.widths.items():
        name, place = key
        # A block that the reference skips would have the width of the one before it.
        centre = reference[name][place] or last.get(name) or choices[len(choices) // 2]
        last[name] = centre
        logits[f"{name}_{place}"] = [
            -strength * min(1.0, ((width - centre) / (0.5 * centre)) ** 2) for width in choices
        ]
    for block in grid.optional:
        kept = reference[block.decisions[-1]][block.index] > 0
        logits[block.gate] = [0.0, strength] if kept else [strength, 0.0]
    return logits


def _has_network(grid: Grid, cost_model: CostModel, budgets: Budgets) -> bool:
    try:
        smallest_feasible(grid, cost_model, budgets)
    except BudgetsInfeasible:
        return False
    return True


def _widest(
    grid: Grid,
    smallest: Point,
    key: Key,
    choices: tuple[int, ...],
    cost_model: CostModel,
    budgets: Budgets,
) -> int:
    """Return the widest choice that is feasible when everything else is as small as can be."""
    block = grid.block_of.get(key)
    if block is not None and block.optional:
        smallest = smallest.with_kept(block.index, True)
    low, high = 0, len(choices) - 1
    while low < high:
        middle = (low + high + 1) // 2
        architecture = grid.architecture(smallest.with_width(key, choices[middle]))
        if architecture is not None and cost_model.predict(architecture).meets(budgets):
            low = middle
        else:
            high = middle - 1
    return choices[low]


def _at(grid: Grid, kept: Mapping[int, bool], scale: int, cost_model: CostModel) -> Scaled:
    slots = grid.backbone.space.slots
    widths = {key: slots[key[0]][key[1]].at(scale, WIDTH_STEP) for key in grid.widths}
    architecture = grid.architecture(Point(widths, kept))
    if architecture is None:
        raise ValueError(f"{grid.backbone.name} has no network of blocks {dict(kept)}")
    return Scaled(architecture, cost_model.predict(architecture), scale)


def _references(grid: Grid) -> Iterator[dict[int, bool]]:
    """Iterate over the hand-designed depths, deepest last."""
    strided = [block.index for block in grid.optional if block.stride > 1]
    plain = [block.index for block in grid.optional if block.stride == 1]
    if strided:  # DS-CNN: every block may be skipped
        for depth in _DS_CNN_DEPTHS:
            kept = {*strided, *plain[: depth - len(strided)]}
            yield {block.index: block.index in kept for block in grid.optional}
        return
    for every in (False, True):  # MobileNetV2: one block of each stage, then all of them
        yield dict.fromkeys(plain, every)


def _up(name: str, value: float) -> float:
    """Return a bound rounded up to the decimals that it is shown with."""
    _, divisor, _, digits = FIGURES[name]
    unit = divisor / 10**digits
    return math.ceil(value / unit) * unit if math.isfinite(value) else value
