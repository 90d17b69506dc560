"""Networks that the budgets leave: the smallest, the uniformly scaled, the grid between them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.backbones import WIDTH_STEP, Architecture
from harness.backbones.layers import Shape
from harness.backbones.skeleton import Key, width_name
from harness.backbones.space import FULL_SCALE
from harness.errors import BudgetsInfeasible
from harness.fit import Margin
from harness.search.cost.budgets import FIGURES, show
from harness.search.cost.cost_model import Constraint
from harness.search.space.grid import Grid, Point, full_grid, thinned
from harness.search.space.skeleton import search_space


@dataclass(frozen=True, slots=True)
class Scaled:
    """A hand-designed network, its operations and its width multiplier, of `FULL_SCALE`."""

    architecture: Architecture
    ops: int
    scale: int


def feasible(grid: Grid, point: Point, constraint: Constraint) -> bool:
    """Return whether a point is a network that is predicted to keep every budget."""
    architecture = grid.architecture(point)
    return architecture is not None and constraint.holds(architecture)


def smallest_feasible(grid: Grid, constraint: Constraint) -> Point:
    """Return the smallest point of the space, which meets the budgets.

    Raises:
        BudgetsInfeasible: No network meets them; names the smallest feasible value of each.
    """
    candidates = [(constraint.predict(network), point) for network, point in grid.depths().items()]
    fitting = [pair for pair in candidates if constraint.meets(pair[0])]
    if fitting:
        return min(fitting, key=lambda pair: (pair[0][0].ops, pair[0][0].parameters))[1]
    smallest = {
        one.board: {
            name: min(costs[place].bounds()[name] or math.inf for costs, _ in candidates)
            for name, _ in one.budgets.items()
        }
        for place, one in enumerate(constraint.boards)
    }
    alone = [
        f"{show(name, _up(name, value))} on {board}"
        for board, values in smallest.items()
        for name, value in values.items()
    ]
    asked = "; ".join(f"{one.budgets.text()} on {one.board}" for one in constraint.boards)
    wide = constraint.cost_model.margin is not Margin.NONE
    clock = constraint.cost_model.margin is Margin.CLOCK
    raise BudgetsInfeasible(
        f"no {grid.backbone.name} network meets the budgets: {asked}",
        expected=f"at least {', '.join(alone)}, the smallest feasible value of each alone",
        fix="raise the budgets"
        + (", or measure more networks: a fit of more rows has a narrower prediction interval"
           if wide else "")
        + (", or leave the expected error of the modelled clock out (--margin interval)"
           if clock else ""),
        smallest=smallest,
    )  # fmt: skip


def uniform(constraint: Constraint, input_shape: Shape) -> tuple[Scaled, ...]:
    """Return each hand-designed network at the largest scale that meets the budgets."""
    grid = full_grid(constraint.backbone, input_shape)

    def largest(kept: Mapping[int, bool]) -> Scaled:
        # Costs do not fall as the scale grows.
        scale = _last(FULL_SCALE + 1, lambda scale: constraint.holds(_at(grid, kept, scale)))
        architecture = _at(grid, kept, scale)
        return Scaled(architecture, grid.backbone.cost(architecture).ops, scale)

    found = (largest(kept) for kept in _references(grid))
    return tuple(scaled for scaled in found if constraint.holds(scaled.architecture))


def largest_ops(constraint: Constraint, input_shape: Shape) -> int:
    """Return the operations of the largest hand-designed network that fits, 0 if none does."""
    return max((found.ops for found in uniform(constraint, input_shape)), default=0)


def search_grid(
    constraint: Constraint,
    input_shape: Shape,
    *,
    width_choices: int = 12,
    width_room: float = 1.5,
    width_floor: float = 0.25,
    width_step: int = WIDTH_STEP,
    also: Sequence[Constraint] = (),
) -> Grid:
    """Return the choices of a search.

    A width that no feasible network has is dropped. So are widths beyond `width_room` times those
    of the widest hand-designed network that meets the budgets: they would make the supernet slow
    for networks that are wide in one place and starved everywhere else. Widths below
    `width_floor` of the largest that is left are dropped for the same reason (MicroNets searches
    10 % to 100 %), unless the budgets need less: then the floor is halved until they hold.
    A decision has at most `width_choices` choices, on the grid of `width_step`. Networks for the
    budgets of `also` are on the grid as well.

    Raises:
        BudgetsInfeasible: No network meets the budgets, or those of one of `also`.
        SearchError: The data does not suit the backbone.
    """
    grid = full_grid(constraint.backbone, input_shape, width_step)
    every = [(one, smallest_feasible(grid, one)) for one in (constraint, *also)]
    scale = max((found.scale for one, _ in every for found in uniform(one, input_shape)), default=0)
    caps: dict[Key, int] = {}
    for key, choices in grid.widths.items():
        slot = grid.backbone.space.slots[key[0]][key[1]]
        roomy = slot.at(round(scale * width_room), width_step) if scale else slot.maximum
        widest = max(_widest(grid, smallest, key, choices, one) for one, smallest in every)
        caps[key] = min(roomy, widest)
    while width_floor > 0.01:
        chosen = thinned(grid, caps, width_choices, width_floor)
        try:
            for one, _ in every:
                smallest_feasible(chosen, one)
            return chosen
        except BudgetsInfeasible:
            width_floor /= 2
    return thinned(grid, caps, width_choices)


def prior(grid: Grid, constraint: Constraint, strength: float) -> dict[str, list[float]]:
    """Return logits that prefer what is near the largest hand-designed network that fits.

    So the search starts from what it has to beat, and moves where the data says so.

    Args:
        strength: Logit of the network's own widths over half and over one and a half times them,
            and of its own blocks over their contrary; 0 for no preference.
    """
    references = uniform(constraint, grid.skeleton.input_shape)
    if not references or not strength:
        return {}
    reference = max(references, key=lambda scaled: scaled.ops).architecture
    logits: dict[str, list[float]] = {}
    last: dict[str, int] = {}
    for key, choices in grid.widths.items():
        name, place = key
        # A block that the reference skips would have the width of the one before it.
        centre = reference[name][place] or last.get(name) or choices[len(choices) // 2]
        last[name] = centre
        logits[width_name(key)] = [
            -strength * min(1.0, ((width - centre) / (0.5 * centre)) ** 2) for width in choices
        ]
    kept = grid.kept(reference)
    for block in grid.optional:
        logits[block.gate] = [0.0, strength] if kept[block.index] else [strength, 0.0]
    return logits


def _last(count: int, holds: Callable[[int], bool]) -> int:
    """Return the last of `count` numbers from 0 that holds, where all before it do; else 0."""
    return max(0, bisect_left(range(count), True, key=lambda number: not holds(number)) - 1)


def _widest(
    grid: Grid, smallest: Point, key: Key, choices: tuple[int, ...], constraint: Constraint
) -> int:
    """Return the widest choice that is feasible when everything else is as small as can be."""
    block = grid.block_of.get(key)
    if block is not None and block.optional:
        smallest = smallest.with_kept(block.index, True)
    points = [smallest.with_width(key, width) for width in choices]
    return choices[_last(len(choices), lambda place: feasible(grid, points[place], constraint))]


def _at(grid: Grid, kept: Mapping[int, bool], scale: int) -> Architecture:
    slots = grid.backbone.space.slots
    widths = {key: slots[key[0]][key[1]].at(scale, WIDTH_STEP) for key in grid.widths}
    return grid.network(Point(widths, kept))


def _references(grid: Grid) -> Iterator[dict[int, bool]]:
    """Iterate over the hand-designed depths, deepest last."""
    for kept in search_space(grid.backbone).hand_designed():
        yield {block.index: block.index in kept for block in grid.optional}


def _up(name: str, value: float) -> float:
    """Return a bound rounded up to the decimals that it is shown with."""
    _, divisor, _, digits = FIGURES[name]
    unit = divisor / 10**digits
    return math.ceil(value / unit) * unit if math.isfinite(value) else value
