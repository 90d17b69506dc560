"""Upper bounds on a network's cost on the board, and its predicted cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from harness.errors import SearchError
from harness.results.record import Measurement

FIGURES = {
    "latency_us": ("latency", 1000.0, "ms", 2),
    "sram_bytes": ("SRAM", 1024.0, "KiB", 1),
    "flash_bytes": ("flash", 1024.0, "KiB", 1),
}
"""What each budget is about: its name, divisor, unit and decimals as people read them."""


def show(name: str, value: float, digits: int | None = None) -> str:
    """Return a figure with its unit, ``60 ms`` or ``64 KiB SRAM``."""
    label, divisor, unit, _ = FIGURES[name]
    number = value / divisor
    shown = f"{number:g}" if digits is None else f"{number:.{digits}f}"
    return f"{shown} {unit}" + ("" if label == "latency" else f" {label}")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Upper bounds that the measured network must keep; None is no bound.

    Raises:
        SearchError: A bound is not a positive number.
    """

    latency_us: float | None = None  # of one inference
    sram_bytes: int | None = None  # arena, other static RAM and stack together
    flash_bytes: int | None = None  # of the whole image, firmware included

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SearchError(
                    f"the budget {spec.name} is {value}", expected="a number above 0, or none"
                )

    def times(self, factor: int) -> Self:
        """Return every budget that is set, multiplied."""
        scaled = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return type(self)(**{name: value and value * factor for name, value in scaled.items()})

    def items(self) -> tuple[tuple[str, float], ...]:
        """Return the budgets that are set, as (name, bound)."""
        pairs = ((spec.name, getattr(self, spec.name)) for spec in fields(self))
        return tuple((name, float(value)) for name, value in pairs if value is not None)

    def text(self) -> str:
        """Return the budgets that are set, in ms and KiB."""
        return ", ".join(show(name, value) for name, value in self.items()) or "none"


def by_board(budgets: Sequence[tuple[str, Budgets]]) -> str:
    """Return budgets as text, with their boards where there are several."""
    if len(budgets) == 1:
        return budgets[0][1].text()
    return "; ".join(f"{one.text()} on {board}" for board, one in budgets)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCost:
    """Measured cost of a network, by the names of the budgets; None is what was not measured."""

    latency_us: float | None
    sram_bytes: int | None
    flash_bytes: int | None


def measured_cost(row: Measurement) -> MeasuredCost:
    """Take from a row what the budgets are about."""
    return MeasuredCost(
        latency_us=row.latency_us, sram_bytes=row.sram_bytes, flash_bytes=row.flash_total_bytes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCost:
    """Predicted cost of a network.

    A plain figure is the fit's prediction. Its ``_bound`` is compared with the budget: the upper
    end of the prediction interval (for latency with the expected error of a modelled clock, where
    the margin includes it), or the prediction itself in a cost model without margin.
    """

    # Operations, two for each multiply-accumulate. Rounded when it is an expectation.
    ops: int
    parameters: int  # weights and biases, in elements
    working_memory_bytes: int  # maximum over nodes of inputs + outputs
    latency_us: float  # of one inference
    latency_bound_us: float
    sram_bytes: int | None  # arena, other static RAM and stack; None where the fit has no figures
    sram_bound_bytes: int | None
    flash_bytes: int | None  # whole image; None where the fit has no figures
    flash_bound_bytes: int | None
    extrapolated: tuple[str, ...] = ()  # the counts that lie outside the range that was measured

    def bounds(self) -> dict[str, float | None]:
        """Return what each budget is compared with, by the budget's name."""
        return {
            "latency_us": self.latency_bound_us,
            "sram_bytes": self.sram_bound_bytes,
            "flash_bytes": self.flash_bound_bytes,
        }

    def meets(self, budgets: Budgets) -> bool:
        """Return whether every budget holds."""
        return not self.broken(budgets)

    def broken(self, budgets: Budgets) -> tuple[str, ...]:
        """Return the names of the budgets that do not hold; an unknown figure holds none."""
        bounds = self.bounds()
        return tuple(name for name, limit in budgets.items() if (bounds[name] or math.inf) > limit)
