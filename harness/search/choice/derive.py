"""From a supernet's decisions to one network that meets the budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.backbones import Architecture
from harness.backbones.skeleton import width_name
from harness.search.cost.budgets import PredictedCost
from harness.search.cost.cost_model import Constraint
from harness.search.space.feasible import smallest_feasible
from harness.search.space.grid import Grid, Point

Logits = Mapping[str, Sequence[float]]
"""Logits of each decision's options, by the decision's name."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Result of a derivation."""

    argmax: Architecture  # the likeliest option everywhere, whatever it costs
    architecture: Architecture  # the network that meets the budgets
    predicted: PredictedCost  # of `architecture`, on the (first) board
    shrunk: int  # steps that were taken to meet the budgets
    grown: int  # steps that were taken to use what was left of them


@dataclass(frozen=True, slots=True)
class _State:
    point: Point
    architecture: Architecture
    costs: tuple[PredictedCost, ...]  # on each board


def derive(grid: Grid, constraint: Constraint, logits: Logits, *, grow: bool = True) -> Derived:
    """Take the likeliest options, then shrink where it costs least until every budget holds.

    Cheapest: least log-probability lost for each unit of excess that goes. What the shrinking or
    the rounding leaves of the budgets is, with `grow`, used where the supernet wants it most.

    Raises:
        BudgetsInfeasible: No network meets the budgets.
    """
    last = smallest_feasible(grid, constraint)
    chooser = _Chooser(grid, constraint, logits)
    state = chooser.start()
    argmax = state.architecture
    shrunk = grown = 0
    while not constraint.meets(state.costs):
        smaller = chooser.shrink(state)
        if smaller is None:  # a corner with nothing left to shrink
            network = grid.network(last)
            state = _State(last, network, constraint.predict(network))
            break
        state, shrunk = smaller, shrunk + 1
    while grow and (larger := chooser.grow(state)) is not None:
        state, grown = larger, grown + 1
    return Derived(argmax, state.architecture, state.costs[0], shrunk, grown)


class _Chooser:
    """Weigh the moves from one point to its neighbours."""

    def __init__(self, grid: Grid, constraint: Constraint, logits: Logits) -> None:
        self._grid, self._constraint = grid, constraint
        self._log = {key: _log_softmax(logits[width_name(key)]) for key in grid.widths}
        self._log_gate = {block.index: _log_softmax(logits[block.gate]) for block in grid.optional}

    def start(self) -> _State:
        """Return the likeliest network, with as many blocks as it needs to be one."""
        logs = self._log
        widths = {
            key: choices[logs[key].index(max(logs[key]))]
            for key, choices in self._grid.widths.items()
        }
        kept = {index: log[1] >= log[0] for index, log in self._log_gate.items()}
        point = Point(widths, kept)
        skipped = sorted(
            (index for index, keep in kept.items() if not keep),
            key=lambda index: self._log_gate[index][0] - self._log_gate[index][1],
        )
        state = self.state(point)
        while state is None:
            point = point.with_kept(skipped.pop(0), True)
            state = self.state(point)
        return state

    def state(self, point: Point) -> _State | None:
        """Return a point with its network and cost, None where it is no network."""
        network = self._grid.architecture(point)
        return (
            None if network is None else _State(point, network, self._constraint.predict(network))
        )

    def shrink(self, state: _State) -> _State | None:
        """Return the neighbour that is cheapest to lose for what it saves, None without any."""
        excess, size = self._constraint.excess(state.costs), self._size(state)
        best: tuple[bool, float] | None = None
        chosen = None
        for point in self._neighbours(state.point, -1):
            smaller = self.state(point)
            if smaller is None:
                continue
            lost = max(0.0, self._likelihood(state.point) - self._likelihood(point))
            saved = excess - self._constraint.excess(smaller.costs)
            less = size - self._size(smaller)
            if saved <= 1e-12 and less <= 1e-12:
                continue
            # Two nodes may share the largest working memory: then no single step saves anything,
            # and the step is taken that makes the network smaller at the least loss.
            helps = saved > 1e-12
            score = (lost + 1e-6) / (saved if helps else less)
            if best is None or (not helps, score) < best:
                best, chosen = (not helps, score), smaller
        return chosen

    def grow(self, state: _State) -> _State | None:
        """Return the likeliest larger neighbour that meets the budgets, None without any."""
        best, chosen = -math.inf, None
        for point in self._neighbours(state.point, 1):
            gain = self._likelihood(point)
            if gain <= best:
                continue
            larger = self.state(point)
            if larger is None or larger.costs[0].ops <= state.costs[0].ops:
                continue
            if self._constraint.meets(larger.costs):
                best, chosen = gain, larger
        return chosen

    def _neighbours(self, point: Point, step: int) -> Iterator[Point]:
        """Iterate over the points with one decision smaller (`step` -1) or larger (1)."""
        for key, choices in self._grid.widths.items():
            place = choices.index(point.widths[key]) + step
            if 0 <= place < len(choices) and self._grid.active(point, key):
                yield point.with_width(key, choices[place])
        for index, kept in point.kept.items():
            if kept is (step < 0):
                yield point.with_kept(index, not kept)

    def _likelihood(self, point: Point) -> float:
        total = sum(self._log_gate[index][kept] for index, kept in point.kept.items())
        for key, choices in self._grid.widths.items():
            if self._grid.active(point, key):
                # Relative to the best, so that a block's widths do not weigh against keeping it.
                log = self._log[key]
                total += log[choices.index(point.widths[key])] - max(log)
        return total

    def _size(self, state: _State) -> float:
        cost = self._grid.backbone.cost(state.architecture)
        nodes = sum(layer.working_memory_bytes for layer in cost.layers)
        return math.log(cost.ops) + math.log(cost.parameters) + math.log(nodes)


def _log_softmax(logits: Sequence[float]) -> tuple[float, ...]:
    values = [float(value) for value in logits]
    top = max(values)
    total = top + math.log(sum(math.exp(value - top) for value in values))
    return tuple(value - total for value in values)
