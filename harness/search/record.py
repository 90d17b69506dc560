"""The record of a search or baseline run, in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.backbones import Architecture, get_backbone
from harness.errors import SearchError
from harness.files import draft_of
from harness.fit import Fingerprint
from harness.results.clock_error import expected_error, work_of_layers
from harness.results.record import Measurement
from harness.search.choice.refine import LocalError
from harness.search.cost.budgets import (
    Budgets,
    MeasuredCost,
    PredictedCost,
    by_board,
    measured_cost,
)
from harness.search.supernet.options import SearchResult
from harness.search.training.evaluate import Evaluation
from harness.search.training.options import TrainOptions, TrainReport
from harness.strict import from_json, to_json

SCHEMA_VERSION = 2
FILE = "search.json"
MODEL = "model.tflite"
SUMS = "SHA256SUMS"
"""Hashes of what a run is made of, which `sha256sum -c` reads as well."""


class Method(StrEnum):
    """How a run finds its network."""

    SEARCH = "search"
    RANDOM = "random"
    EVOLUTION = "evolution"
    UNIFORM = "uniform"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(MeasuredCost):
    """Measurement of the network: its cost and its row; None is what was not measured."""

    key: str
    station: str
    source: str  # "hardware" or "emulated"
    timing_model: str | None  # of an emulated board
    status: str  # "valid", "degraded" or "invalid"
    issues: tuple[str, ...]  # issue codes
    bit_exact: bool | None  # whether the outputs are those of the reference
    message: str | None = None  # why figures are missing

    @classmethod
    def of_row(cls, row: Measurement) -> Measured:
        """Take what a run keeps of a row."""
        return cls(
            **asdict(measured_cost(row)),
            key=row.key,
            station=row.station or "",
            source=row.source.value,
            timing_model=row.timing_model,
            status=row.status.value,
            issues=tuple(row.issues),
            bit_exact=row.bit_exact,
            message=row.message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The data of a run: name, source, fingerprint, classes, samples of each split, division."""

    name: str
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    samples: Mapping[str, int]
    division: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitFacts:
    """The fit that predicted: its file, whether it was refined, its configuration, its use."""

    file: str
    refined: bool
    fingerprint: Fingerprint
    sram_overhead_bytes: int | None
    margin: str
    predictor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that a method compared with others by training it for `epochs`."""

    architecture: Architecture
    validation_accuracy: float
    epochs: int
    seconds: float
    predicted: PredictedCost


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """The final training: settings, whether it was distilled, and its reports."""

    options: TrainOptions
    distilled: bool
    epochs: int
    seconds: float
    history: tuple[TrainReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """What measuring near the optimum changed."""

    asked: tuple[Architecture, ...]  # networks that were measured
    added: int  # rows of them that the new fit uses
    before: LocalError | None  # error of the first fit on these rows; None where there are none
    after: LocalError | None  # error of fits that have seen all rows but the one predicted
    architecture_before: Architecture  # result of the search by the first fit
    latency_fit_before: tuple[float, float]  # intercept and slope of the latency line
    latency_fit_after: tuple[float, float]  # the same of the new fit


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBoard:
    """A run's network on one board: what it may cost, what was predicted, what was measured."""

    board: str
    budgets: Budgets
    fit: FitFacts
    predicted: PredictedCost
    measured: Measured | None  # None where the run was not verified
    refinement: Refinement | None  # None where nothing was measured near the optimum

    @property
    def holds(self) -> dict[str, bool | None]:
        """Return whether each budget that is set holds as measured; None: not measured."""
        return held(self.budgets, self.measured)

    def measured_of(self, budget: str) -> float | None:
        """Return the measured figure that a budget is about, None where there is none."""
        value: float | None = getattr(self.measured, budget, None)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRun(OnBoard):
    """One run: its settings, its result on the (first) board, and what it was made with."""

    method: Method
    backbone: str
    seed: int
    dataset: DataFacts
    architecture: Architecture
    search: SearchResult | None  # None for a baseline
    candidates: tuple[Candidate, ...]  # networks that the method chose among by training them
    training: TrainingFacts
    evaluation: Mapping[str, Evaluation]  # accuracy by split
    seconds: Mapping[str, float]  # wall-clock time by stage
    # All time spent on training: search and final training, or every candidate
    training_seconds: float
    versions: Mapping[str, str | None]  # of the harness and of the libraries that it computes with
    created_at: str  # UTC, ISO 8601
    others: tuple[OnBoard, ...] = ()  # the same network on the further boards of the run
    schema_version: int = SCHEMA_VERSION

    @property
    def accuracy(self) -> float:
        """Return the accuracy of the int8 network on the test split."""
        return self.evaluation["test"].accuracy

    @property
    def score(self) -> float:
        """Return what runs are compared by: AUC where the data has anomalies, else `accuracy`."""
        found = self.evaluation["test"]
        return found.accuracy if found.anomalies is None else found.anomalies.auc

    @property
    def choosing_seconds(self) -> float:
        """Return the time of all training but the final one."""
        return self.training_seconds - self.training.seconds

    @property
    def boards(self) -> tuple[OnBoard, ...]:
        """Return the result on each board, first this one."""
        return (self, *self.others)

    @property
    def verdict(self) -> bool | None:
        """Return whether every budget holds on every board as measured; None: not measured."""
        verdicts = [holds for one in self.boards for holds in one.holds.values()]
        return False if False in verdicts else None if None in verdicts else True

    def expected_error(self, one: OnBoard) -> float | None:
        """Return the expected error of the latency on one of `boards`; None for hardware."""
        known = one.fit.fingerprint
        model = one.measured.timing_model if one.measured else known.timing_model
        backbone = get_backbone(self.backbone).with_classes(len(self.dataset.classes))
        work = work_of_layers(backbone.layers(self.architecture))
        return expected_error(model, known.kernels, work)

    def budgets_text(self) -> str:
        """Return the budgets that are set, by board where there are several."""
        return by_board([(one.board, one.budgets) for one in self.boards])

    def to_json(self) -> dict[str, Any]:
        """Return every field by name, and `holds` and the expected error of each board."""
        data = to_json(self)
        for one, facts in zip(self.boards, (data, *data["others"]), strict=True):
            facts |= {"holds": one.holds, "expected_error": self.expected_error(one)}
        return data


def held(budgets: Budgets, measured: MeasuredCost | None) -> dict[str, bool | None]:
    """Return whether each budget that is set holds as measured; None: not measured."""
    values = {name: getattr(measured, name, None) for name, _ in budgets.items()}
    return {
        name: None if (value := values[name]) is None else value <= limit
        for name, limit in budgets.items()
    }


def write_sums(folder: Path, names: Sequence[str]) -> None:
    """Write the hashes of files of a run."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in names]
    with draft_of(folder / SUMS, what="run", error=SearchError) as draft:
        draft.write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> tuple[str, ...]:
    """Return the files of a run whose hashes were checked.

    Raises:
        SearchError: Files are missing or are not what the run left, or it left no hashes.
    """
    again = "get the folder again from where the run was made, or run the search again"
    try:
        pairs = [line.split("  ", 1) for line in (folder / SUMS).read_text("utf-8").splitlines()]
        listed = {name: known for known, name in pairs}
    except (OSError, ValueError):
        raise SearchError(
            f"{folder / SUMS} cannot be read",
            expected="the hashes that `harness search` leaves in the folder of a run",
            fix=again,
        ) from None
    wrong = [name for name, known in listed.items() if _sha256(folder / name) != known]
    wrong += [f"{name} (without a hash)" for name in (FILE, MODEL) if name not in listed]
    if wrong:
        raise SearchError(
            f"not what the run left: {', '.join(wrong)}",
            where=str(folder),
            expected=f"the hashes in {SUMS}",
            fix=again,
        )
    return tuple(listed)


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def read_run(path: Path) -> SearchRun:
    """Read the record of a run, from its folder or from the file in it.

    Raises:
        SearchError: There is none, or it is of another version or damaged.
        BackboneError: An architecture is outside its search space.
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
    version = data.pop("schema_version", None) if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise SearchError(
            f"{file} has schema version {version!r}",
            expected=str(SCHEMA_VERSION),
            fix="run the search again with this harness",
        )
    for facts in (data, *data.get("others", ())):
        for name in ("holds", "expected_error"):
            facts.pop(name, None)
    return from_json(
        SearchRun,
        data,
        where=str(file),
        error=SearchError,
        fix="run the search again: it continues where it was",
    )
