"""From counts to microseconds and bytes by a fit.

One formula serves numbers and TensorFlow tensors, so the search differentiates the same formula
that the derived network is checked with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from harness.backbones import Architecture, Backbone
from harness.errors import FitError, SearchError
from harness.fit import Fit, LinearModel, Margin
from harness.results.clock_error import error_of_kind
from harness.search.cost.budgets import FIGURES, Budgets, PredictedCost, by_board
from harness.search.cost.counts import Counts, counts_of


@dataclass(frozen=True, slots=True)
class CostModel:
    """Predict what a network of one backbone costs in one configuration."""

    backbone: Backbone  # search space, for the task's number of classes
    # Latency, arena and flash as lines over ops, working memory and parameters; latency by the
    # coefficients of layers where the fit has them
    fit: Fit
    margin: Margin = Margin.INTERVAL

    @classmethod
    def of(cls, fit: Fit, backbone: Backbone, margin: Margin = Margin.INTERVAL) -> CostModel:
        """Take a fit that is valid for `backbone`.

        Raises:
            FitError: The fit is of another backbone, or a line falls where it has to rise.
        """
        fit.require({"backbone": backbone.name})
        for model in (fit.latency, fit.arena, fit.flash):
            if model is not None and model.slope <= 0:
                raise FitError(
                    f"{model.target} does not grow with {model.feature} in this fit",
                    expected="a positive slope",
                    fix="measure networks over a wider range and fit again",
                )
        return cls(backbone, fit, margin)

    @property
    def needs_features(self) -> bool:
        """Return whether predictions take the counts of the layers."""
        return self.fit.layers is not None or bool(self.clock_errors)

    @property
    def clock_errors(self) -> dict[str, float]:
        """Return the errors of a modelled clock that the margin includes, by count of MACs."""
        known = self.fit.fingerprint
        if self.margin is not Margin.CLOCK or known.timing_model is None:
            return {}
        return {
            f"{kind}_macs": error_of_kind(kind, known.timing_model, known.kernels)
            for kind in ("conv", "pointwise", "depthwise")
        }

    def predict(self, architecture: Architecture) -> PredictedCost:
        """Return the predicted cost of `architecture`, one of this backbone's."""
        found = counts_of(self.backbone, architecture, features=self.needs_features)
        return self.of_counts(found)

    def of_counts(self, counts: Counts) -> PredictedCost:
        """Return the predicted cost of a network, or of an expectation, by its counts."""
        bounds = self.bounds(counts)
        plain = replace(self, margin=Margin.NONE).bounds(counts)
        return PredictedCost(
            ops=round(counts.ops),
            parameters=round(counts.parameters),
            working_memory_bytes=round(counts.working_memory_bytes),
            latency_us=plain["latency_us"],
            latency_bound_us=bounds["latency_us"],
            sram_bytes=_whole(plain["sram_bytes"]),
            sram_bound_bytes=_whole(bounds["sram_bytes"]),
            flash_bytes=_whole(plain["flash_bytes"]),
            flash_bound_bytes=_whole(bounds["flash_bytes"]),
            extrapolated=self._outside(counts),
        )

    def bounds(self, counts: Counts) -> dict[str, Any]:
        """Return what each budget is compared with, None where the fit does not know.

        The values are numbers or tensors, as those of `counts` are.
        """
        arena, overhead = self.fit.arena, self.fit.sram_overhead_bytes
        sram = flash = None
        if arena is not None and overhead is not None:
            sram = self._upper(arena, counts.working_memory_bytes) + overhead
        if self.fit.flash is not None:
            flash = self._upper(self.fit.flash, counts.parameters)
        latency = self._latency(counts)
        if errors := self.clock_errors:
            macs = {name: counts.features[name] for name in errors}
            off = sum(macs[name] * error for name, error in errors.items()) / sum(macs.values())
            latency = latency * (1 + off)
        return {"latency_us": latency, "sram_bytes": sram, "flash_bytes": flash}

    def _latency(self, counts: Counts) -> Any:
        model = self.fit.layers
        if model is None:
            return self._upper(self.fit.latency, counts.ops)
        value = model.intercept
        for name, coefficient in zip(model.features, model.coefficients, strict=True):
            value = value + coefficient * counts.features[name]
        return value if self.margin is Margin.NONE else value * (1 + model.relative_half_width)

    def _outside(self, counts: Counts) -> tuple[str, ...]:
        """Return the counts that lie outside the range that was measured."""
        fit, layers = self.fit, self.fit.layers
        lines = [(fit.arena, counts.working_memory_bytes), (fit.flash, counts.parameters)]
        if layers is None:
            lines.insert(0, (fit.latency, counts.ops))
        outside = [
            model.feature
            for model, count in lines
            if model is not None and not model.feature_min <= count <= model.feature_max
        ]
        if layers is not None:
            most = zip(layers.features, layers.feature_max, strict=True)
            beyond = [name for name, largest in most if counts.features[name] > largest]
            outside += [name for name in beyond if name not in outside]
        return tuple(outside)

    def _upper(self, model: LinearModel, count: Any) -> Any:
        value = model.intercept + model.slope * count
        return value if self.margin is Margin.NONE else value + model.half_width(count)


@dataclass(frozen=True, slots=True)
class Constraint:
    """Budgets, and the cost model that predicts whether a network keeps them: on every board.

    Raises:
        FitError: The fit has no model for one of the budgets.
        SearchError: The fit does not know the RAM besides the arena, which a budget needs.
    """

    cost_model: CostModel
    budgets: Budgets
    others: tuple[Self, ...] = ()  # what has to hold on further boards as well, each alone

    def __post_init__(self) -> None:
        fit = self.cost_model.fit
        if self.budgets.sram_bytes is not None:
            fit.predict_arena(0)
            if fit.sram_overhead_bytes is None:
                raise SearchError(
                    "a budget for SRAM needs the static RAM and stack besides the arena, which "
                    "the fit does not have",
                    expected="a fit of rows that have both",
                    fix="make it again with `harness fit`, or search without a budget for SRAM",
                )
        if self.budgets.flash_bytes is not None:
            fit.predict_flash(0)

    @property
    def backbone(self) -> Backbone:
        """Return the search space."""
        return self.cost_model.backbone

    @property
    def board(self) -> str:
        """Return the (first) board."""
        return self.cost_model.fit.fingerprint.board

    @property
    def boards(self) -> tuple[Self, ...]:
        """Return this, for the first board, and those of the further boards."""
        return (self, *self.others)

    @classmethod
    def on_all(cls, boards: Sequence[Self]) -> Self:
        """Return the constraint that holds where those of every board hold."""
        first, *others = boards
        return replace(first, others=tuple(others))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the budgets that are set on any board."""
        found = {name for one in self.boards for name, _ in one.budgets.items()}
        return tuple(name for name in FIGURES if name in found)

    def text(self) -> str:
        """Return the budgets that are set, in ms and KiB, by board where there are several."""
        return by_board([(one.board, one.budgets) for one in self.boards])

    def times(self, factor: int) -> Self:
        """Return the constraint with every budget multiplied."""
        others = tuple(one.times(factor) for one in self.others)
        return replace(self, budgets=self.budgets.times(factor), others=others)

    def predict(self, architecture: Architecture) -> tuple[PredictedCost, ...]:
        """Return the predicted cost of a network on each board."""
        models = [one.cost_model for one in self.boards]
        needed = any(model.needs_features for model in models)
        counts = counts_of(self.backbone, architecture, features=needed)
        return tuple(model.of_counts(counts) for model in models)

    def meets(self, costs: Sequence[PredictedCost]) -> bool:
        """Return whether what `predict` returned keeps every budget on every board."""
        return all(cost.meets(one.budgets) for one, cost in zip(self.boards, costs, strict=True))

    def holds(self, architecture: Architecture) -> bool:
        """Return whether a network is predicted to keep every budget on every board."""
        return self.meets(self.predict(architecture))

    def excess(self, costs: Sequence[PredictedCost]) -> float:
        """Return the sum of the shares by which budgets are exceeded, each on its worst board."""
        worst = dict.fromkeys(self.names, 0.0)
        for one, cost in zip(self.boards, costs, strict=True):
            bounds = cost.bounds()
            for name, limit in one.budgets.items():
                worst[name] = max(worst[name], (bounds[name] or math.inf) / limit - 1)
        return sum(worst.values())

    def shares(self, counts: Counts) -> dict[str, list[Any]]:
        """Return the share of each budget that is used, on each board that has the budget.

        The values are numbers or tensors, as those of `counts` are.
        """
        shares: dict[str, list[Any]] = {name: [] for name in self.names}
        for one in self.boards:
            bounds = one.cost_model.bounds(counts)
            for name, limit in one.budgets.items():
                shares[name].append(bounds[name] / limit)
        return shares


def _whole(value: float | None) -> int | None:
    # Up, so that a bound stays one; a hair less than a whole byte is rounding of the arithmetic.
    return None if value is None else math.ceil(value - 1e-6)
