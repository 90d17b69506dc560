"""Reference fits: what ships in results/reference/fits, a JSON file for each configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import FitError
from harness.fit.model import Fingerprint, Metrics
from harness.paths import data_dir
from harness.prediction.work import Work
from harness.strict import from_json

SCHEMA_VERSION = 1
FOLDER = "results/reference/fits"
FAR = 10
"""A count is outside the data above so many times the largest that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFit:
    """Cycles of the layers that run one path of a kernel."""

    coefficients: Mapping[str, float]  # cycles for each of a count; those of zero are left out
    largest: Mapping[str, float]  # largest value of each count in the data
    layers: int  # in the data
    mape_pct: float  # on layers of networks that were left out

    def cycles(self, work: Work) -> float:
        """Return the predicted cycles of a layer."""
        return sum(self.coefficients.get(name, 0.0) * n for name, n in work.counts.items())

    def outside(self, work: Work) -> str | None:
        """Return why a layer is outside the data: a count far above the largest measured."""
        for name, n in work.counts.items():
            largest = self.largest.get(name, 0.0)
            if n > FAR * max(largest, 1.0):
                return f"{work.path}: {name} is {n:,.0f}, at most {largest:,.0f} was measured"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Flash that the code takes: what every image has, and the functions that kernels call."""

    base_bytes: int
    functions: Mapping[str, int]  # bytes by name
    kernels: Mapping[str, tuple[str, ...]]  # functions by kernel, those that they call included

    def bytes(self, kernels: Iterable[str]) -> int:
        """Return the bytes of code of an image with these kernels."""
        names = {name for kernel in kernels for name in self.kernels.get(kernel, ())}
        return self.base_bytes + sum(self.functions[name] for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What predictions for one board, kernel set and optimisation level are made from."""

    schema_version: int
    created_by: str
    fingerprint: Fingerprint  # configuration of the rows; of no backbone
    firmware: str  # sha256 of the firmware template
    arena_address: int
    sram_fixed_bytes: int  # static RAM and reserved stack, without copies of the inputs
    code: Code
    smallest_cycles: float  # of a network in the data
    paths: Mapping[str, PathFit]  # by path, see `harness.prediction.work`
    level: float  # coverage that the interval aims at
    relative_half_width: float  # of the interval of a network's latency
    # Errors on samples of backbones and on networks of the corpus, by fits without them.
    backbones: Metrics | None
    corpus: Metrics | None


def file_name(board: str, kernels: str, optimization: str) -> str:
    """Return the name of a configuration's file."""
    return f"{board}-aot-{kernels}{optimization}.json"


def references() -> tuple[Path, ...]:
    """Return the reference fits that ship."""
    return tuple(sorted(data_dir(FOLDER).glob("*.json")))


def has_reference(board: str, kernels: str, optimization: str) -> bool:
    """Return whether a reference fit of a configuration ships."""
    return (data_dir(FOLDER) / file_name(board, kernels, optimization)).is_file()


def load_reference(board: str, kernels: str, optimization: str) -> Reference:
    """Return the reference fit of a configuration.

    Raises:
        FitError: There is none, or its file is of another version.
    """
    path = data_dir(FOLDER) / file_name(board, kernels, optimization)
    if not path.is_file():
        there = ", ".join(item.stem for item in references())
        raise FitError(
            f"there is no reference fit for {board}, {kernels} and {optimization}",
            expected=there or "files in results/reference/fits",
            fix="measure it with `harness measure`, or choose a configuration that there is",
        )
    return _load(path)


@lru_cache(maxsize=16)
def _load(path: Path) -> Reference:
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("schema_version") != SCHEMA_VERSION:
        raise FitError(
            f"the reference fit has schema version {data.get('schema_version')!r}",
            where=str(path),
            expected=str(SCHEMA_VERSION),
        )
    return from_json(Reference, data, where=str(path), error=FitError)
