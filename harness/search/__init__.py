"""The bundled DNAS: search an architecture that meets its budgets, by measured fits.

Source: Banbury et al., "MicroNets", MLSys 2021, section 5. Light to import: what needs TensorFlow
loads when it is used.
"""

from __future__ import annotations

from harness.search.baselines import random_architectures, uniform_architecture
from harness.search.budgets import Budgets, PredictedCost
from harness.search.cost_model import CostModel, Margin, sram_overhead
from harness.search.derive import Derived, derive
from harness.search.feasible import search_grid
from harness.search.grid import Grid, full_grid
from harness.search.loop import search
from harness.search.options import EpochReport, SearchOptions, SearchResult

__all__ = [
    "Budgets",
    "CostModel",
    "Derived",
    "EpochReport",
    "Grid",
    "Margin",
    "PredictedCost",
    "SearchOptions",
    "SearchResult",
    "derive",
    "full_grid",
    "random_architectures",
    "search",
    "search_grid",
    "sram_overhead",
    "uniform_architecture",
]
