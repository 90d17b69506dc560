"""Measurements and fits as tables, for a terminal or Markdown, and as plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.report.compare import arena_table, comparison_table
from harness.report.summary import write_summary
from harness.report.tables import Table, fit_table, measurement_table, predictor_table

if TYPE_CHECKING:
    from harness.report.memory_plot import plot_memory
    from harness.report.plot import plot_latency

__all__ = [
    "Table",
    "arena_table",
    "comparison_table",
    "fit_table",
    "measurement_table",
    "plot_latency",
    "plot_memory",
    "predictor_table",
    "write_summary",
]


def __getattr__(name: str) -> Any:
    # matplotlib takes half a second to import, and only plotting needs it.
    if name == "plot_latency":
        from harness.report.plot import plot_latency

        return plot_latency
    if name == "plot_memory":
        from harness.report.memory_plot import plot_memory

        return plot_memory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
