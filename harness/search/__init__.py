"""The bundled DNAS: search an architecture that meets its budgets, by measured fits.

Source: Banbury et al., "MicroNets", MLSys 2021, section 5. Light to import: what needs TensorFlow
loads when it is used.
"""

from __future__ import annotations

from harness.search.choice.baselines import random_architectures, uniform_architecture
from harness.search.choice.derive import Derived, derive
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.cost.cost_model import Constraint, CostModel, Margin
from harness.search.space.feasible import search_grid
from harness.search.space.grid import Grid, full_grid
from harness.search.supernet.options import EpochReport, SearchOptions, SearchResult
from harness.search.supernet.search import search

__all__ = [
    "Budgets",
    "Constraint",
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
    "uniform_architecture",
]
