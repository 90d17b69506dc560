"""Measurements and fits as tables, for a terminal or Markdown, and as plots.

Each name loads on first use, as matplotlib and pydantic take long to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.compare import arena_table, comparison_table
    from harness.report.memory_plot import plot_memory
    from harness.report.plot import plot_latency
    from harness.report.summary import write_summary
    from harness.report.table import Table
    from harness.report.tables import fit_table, measurement_table, predictor_table

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
_MODULES = {
    "Table": "table",
    "arena_table": "compare",
    "comparison_table": "compare",
    "plot_latency": "plot",
    "plot_memory": "memory_plot",
    "write_summary": "summary",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"harness.report.{_MODULES.get(name, 'tables')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
