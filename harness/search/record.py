"""What a run of a search or of a baseline leaves behind: one record, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from harness.backbones import Architecture, architecture_from_json
from harness.errors import HarnessError, SearchError
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.supernet.options import SearchResult

SCHEMA_VERSION = 2
FILE = "search.json"

Method = Literal["search", "random", "uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the board said of the network; None is what was not measured.

    Attributes:
        key: Of the row in the results store.
        station: Where.
        source: ``hardware`` or ``emulated``.
        timing_model: That priced the cycles of an emulated board.
        status: Of the row: ``valid``, ``degraded`` or ``invalid``.
        issues: Codes of what is wrong with it.
        latency_us: Median of the timed inferences.
        sram_bytes: Arena, other static RAM and stack.
        flash_bytes: Whole image.
        bit_exact: Whether the outputs are those of the reference.
        message: Why there is no number.
    """

    key: str
    station: str
    source: str
    timing_model: str | None
    status: str
    issues: tuple[str, ...]
    latency_us: float | None
    sram_bytes: int | None
    flash_bytes: int | None
    bit_exact: bool | None
    message: str | None = None

    def of(self, budget: str) -> float | None:
        """Return the figure that a budget is about."""
        value: float | None = getattr(self, budget)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRun:
    """One run: what was asked for, what came of it, and with what it was made.

    Attributes:
        method: ``search``, or the baseline: ``random`` or ``uniform``.
        backbone: Name of the search space.
        board: Board id.
        seed: Of everything.
        budgets: What was asked for.
        dataset: Name, source, fingerprint, classes, counts and division of the data.
        fit: File, fingerprint and configuration of the fit that predicted.
        architecture: The network.
        predicted: Its predicted cost.
        search: The search itself; None for a baseline.
        candidates: Networks that the method chose among by training them, with their validation
            accuracy.
        training: Options, history, epochs and seconds of the final training.
        evaluation: `Evaluation` by split, as JSON.
        measured: On the board; None without a proof.
        refinement: The fit's local error before and after measuring near the optimum.
        seconds: Wall-clock time by stage.
        training_seconds: All time spent on learning: search and retraining, or every candidate.
        versions: Of the harness and of what it computes with.
        created_at: UTC, ISO 8601.
    """

    method: Method
    backbone: str
    board: str
    seed: int
    budgets: Budgets
    dataset: Mapping[str, Any]
    fit: Mapping[str, Any]
    architecture: Architecture
    predicted: PredictedCost
    search: SearchResult | None
    candidates: tuple[Mapping[str, Any], ...]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Mapping[str, Any]]
    measured: Measured | None
    refinement: Mapping[str, Any] | None
    seconds: Mapping[str, float]
    training_seconds: float
    versions: Mapping[str, str | None]
    created_at: str
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def accuracy(self) -> float:
        """Return the accuracy of the int8 network on the test split."""
        return float(self.evaluation["test"]["accuracy"])

    @property
    def holds(self) -> dict[str, bool | None]:
        """Return whether each budget that is set holds as measured; None: not measured."""
        found: dict[str, bool | None] = {}
        for name, limit in self.budgets.items():
            value = self.measured.of(name) if self.measured else None
            found[name] = None if value is None else value <= limit
        return found

    def to_json(self) -> dict[str, Any]:
        """Return every field by name."""
        data = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        measured = self.measured
        return {
            **data,
            "budgets": self.budgets.to_json(),
            "architecture": self.architecture.to_json(),
            "predicted": self.predicted.to_json(),
            "search": self.search.to_json() if self.search else None,
            "candidates": [dict(item) for item in self.candidates],
            "measured": None
            if measured is None
            else {spec.name: getattr(measured, spec.name) for spec in fields(measured)},
            "holds": self.holds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        measured, search = data["measured"], data["search"]
        values = {
            **data,
            "budgets": Budgets(**data["budgets"]),
            "architecture": architecture_from_json(json.dumps(data["architecture"])),
            "predicted": PredictedCost.from_json(data["predicted"]),
            "search": SearchResult.from_json(search) if search else None,
            "candidates": tuple(data["candidates"]),
            "measured": Measured(**{**measured, "issues": tuple(measured["issues"])})
            if measured
            else None,
        }
        values.pop("holds", None)
        return cls(**values)


def read_run(path: Path) -> SearchRun:
    """Read the record of a run.

    Args:
        path: Folder of the run, or the file in it.

    Raises:
        SearchError: There is none, or it is of another version or damaged.
    """
    file = path / FILE if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SearchError(
            f"no finished search in {path}",
            expected=f"a folder with {FILE}, as `harness search` makes it",
            fix="finish it: run the same `harness search` again",
        ) from None
    except (OSError, ValueError) as failure:
        raise SearchError(f"{file} cannot be read: {failure}") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise SearchError(
            f"{file} has schema version {version!r}",
            expected=str(SCHEMA_VERSION),
            fix="run the search again with this harness",
        )
    try:
        return SearchRun.from_json(data)
    except (KeyError, TypeError, AttributeError, HarnessError) as failure:
        raise SearchError(
            f"{file} is damaged: {failure}", fix="run the search again: it goes on where it was"
        ) from None
