"""Define the measurement record: what one job on one station yielded, and where it came from.

A value that was not measured is None. Nothing is ever filled in, so a reader can tell
"zero" from "unknown" in every column.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import Any

_HEX64 = re.compile(r"[0-9a-f]{64}")
_ISSUE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FEWEST_FOR_OUTLIERS = 5
_MAX_INT = 2**63 - 1  # both databases store signed 64-bit integers


class Status(StrEnum):
    """Say how far a row can be trusted."""

    VALID = "valid"
    DEGRADED = "degraded"  # measured, but something about it needs a reader's eye
    INVALID = "invalid"  # the job failed; kept for its issue codes and its log


class Source(StrEnum):
    """Say what counted the cycles."""

    HARDWARE = "hardware"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class LayerCycles:
    """Hold what one layer cost in the separate profiling pass.

    Attributes:
        index: Position in execution order, from 0.
        name: The layer's name in the model.
        operator: TFLite builtin name, such as ``CONV_2D``.
        macs: Multiply-accumulates, None where the operator has no count.
        cycles: Core cycles, None when it was not profiled.
    """

    index: int
    name: str
    operator: str
    macs: int | None = None
    cycles: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Hold one row: verdict, identity, provenance, cycles, memory, outputs and layers.

    Only what is known before a job starts is mandatory, because a job that failed to build
    leaves a row too. A ``valid`` row must have cycles, a clock and a latency, and no issue;
    the others must name at least one issue code (lower case, dashes).

    Raises:
        ValueError: The fields contradict each other; that is a bug in the caller.
    """

    # Verdict and identity of the job
    key: str  # content key of the job, sha256 hex
    created_at: datetime  # UTC
    status: Status
    source: Source
    board: str
    issues: tuple[str, ...] = ()
    campaign: str | None = None

    # Where it ran
    station: str | None = None
    probe_id: str | None = None
    chip_uid: str | None = None
    timing_model: str | None = None  # "name/version"; emulated rows only
    clock_hz: int | None = None
    clock_source: str | None = None  # "hse" | "lse" | "hsi"
    icache: bool | None = None
    dcache: bool | None = None
    art: bool | None = None

    # The model
    model_name: str | None = None
    model_sha256: str | None = None
    backbone: str | None = None
    architecture: Mapping[str, Any] | None = None
    seed: int | None = None
    sample_index: int | None = None
    macs: int | None = None
    ops: int | None = None  # 1 MAC = 2 ops
    parameters: int | None = None
    working_memory_bytes: int | None = None  # max over nodes of inputs + outputs
    macs_by_operator: Mapping[str, int] | None = None

    # What it was built with
    runtime: str | None = None
    runtime_version: str | None = None
    kernels: str | None = None
    kernels_version: str | None = None
    optimization: str | None = None
    flags: tuple[str, ...] = ()
    library: str | None = None  # PlatformIO spec of the runtime's library, as the user gave it
    one_firmware: bool | None = None  # the model lay in the model region beside a shared runtime
    toolchain: str | None = None
    firmware_sha256: str | None = None
    build_id: str | None = None
    harness_version: str | None = None
    git_revision: str | None = None

    # Time
    warmup: int | None = None
    repeats: int | None = None
    cycles: tuple[int, ...] = ()  # one per repeat, in order, outliers included
    latency_us: float | None = None  # median
    latency_ci_low_us: float | None = None
    latency_ci_high_us: float | None = None

    # Memory
    arena_planned_bytes: int | None = None
    arena_used_bytes: int | None = None
    arena_capacity_bytes: int | None = None
    arena_min_bytes: int | None = None  # verified by bisection on the device
    arena_below_bytes: int | None = None  # largest size tried that did not work ...
    arena_below_message: str | None = None  # ... and what runtime or device said to it
    arena_host_bytes: int | None = None  # the tflite-micro wheel's; asked with arena_min_bytes
    # Bytes used and requested and allocations by kind; "nonpersistent" and "persistent" first
    arena_parts: Mapping[str, Mapping[str, int]] | None = None
    arena_paint_bytes: int | None = None
    stack_bytes: int | None = None  # high-water mark
    stack_capacity_bytes: int | None = None
    flash_total_bytes: int | None = None
    flash_weights_bytes: int | None = None
    flash_graph_bytes: int | None = None
    flash_kernels_bytes: int | None = None
    flash_runtime_bytes: int | None = None
    flash_port_bytes: int | None = None
    ram_static_bytes: int | None = None  # at link time: reserved stack and the next one; no arena
    ram_other_bytes: int | None = None  # static RAM that is neither arena nor stack

    # Outputs against the host
    reference: str | None = None  # what the outputs were compared with
    output_bytes_total: int | None = None
    output_bytes_differing: int | None = None
    output_max_abs_diff: int | None = None
    bit_exact: bool | None = None

    # Layers, from their own pass
    layers: tuple[LayerCycles, ...] = ()
    layers_total_cycles: int | None = None  # the same pass, end to end
    additivity_gap: float | None = None  # (sum of the layers - median total) / median total

    # How it went
    message: str | None = None  # of an invalid row: what failed, in one line
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    raw_log: str | None = None  # everything the UART said

    def __post_init__(self) -> None:
        _set(self, "status", Status(self.status))
        _set(self, "source", Source(self.source))
        if self.created_at.tzinfo is None:
            raise ValueError("created_at has no time zone; use datetime.now(UTC)")
        _set(self, "created_at", self.created_at.astimezone(UTC))
        for name in ("issues", "flags", "layers"):
            _set(self, name, tuple(getattr(self, name)))
        _set(self, "cycles", tuple(operator.index(count) for count in self.cycles))
        for spec in fields(self):
            _set(self, spec.name, _typed(spec.name, str(spec.type), getattr(self, spec.name)))
        for name in ("architecture", "macs_by_operator", "arena_parts", "stage_seconds"):
            value = getattr(self, name)
            if value is not None:
                _set(self, name, _plain(value, name))
        self._check()

    def _check(self) -> None:
        if not _HEX64.fullmatch(self.key):
            raise ValueError(f"key {self.key!r} is not a sha256 in lower-case hex")
        bad = [code for code in self.issues if not _ISSUE.fullmatch(code)]
        if bad:
            raise ValueError(f"issue codes are lower case with dashes, got {bad}")
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{spec.name} is {value}; an unknown value is None")
            if isinstance(value, int) and abs(value) > _MAX_INT:
                raise ValueError(f"{spec.name} = {value} does not fit 64 bits")
        if any(count < 0 or count > _MAX_INT for count in self.cycles):
            raise ValueError("cycles holds a count outside 0 … 2**63-1")
        if self.source is Source.HARDWARE and self.timing_model is not None:
            raise ValueError("a hardware row has no timing model")
        if self.source is Source.EMULATED and self.cycles and self.timing_model is None:
            raise ValueError("an emulated row with cycles must name its timing model")
        if self.status is Status.VALID:
            if self.issues:
                raise ValueError(f"a valid row has no issues, got {list(self.issues)}")
            if not self.cycles or not self.clock_hz or self.latency_us is None:
                raise ValueError("a valid row needs cycles, clock_hz and latency_us")
        elif not self.issues:
            raise ValueError(f"a {self.status} row must name its issue codes")

    @property
    def usable(self) -> bool:
        """Return whether the row carries a measurement (valid or degraded)."""
        return self.status is not Status.INVALID

    @property
    def arena_bytes(self) -> int | None:
        """Return the best known arena peak: verified minimum, else used, else planned."""
        for value in (self.arena_min_bytes, self.arena_used_bytes, self.arena_planned_bytes):
            if value is not None:
                return value
        return None

    @property
    def sram_overhead_bytes(self) -> int | None:
        """Return what a network needs besides its arena: other static RAM and stack, as measured.

        The stack counts with its high-water mark, not with what is reserved for it.
        """
        if self.ram_other_bytes is None or self.stack_bytes is None:
            return None
        return self.ram_other_bytes + self.stack_bytes

    @property
    def sram_bytes(self) -> int | None:
        """Return `arena_bytes` and `sram_overhead_bytes` together, None when one is not known."""
        arena, overhead = self.arena_bytes, self.sram_overhead_bytes
        return None if arena is None or overhead is None else arena + overhead


def gap(cycles: Sequence[int], layers: Sequence[LayerCycles]) -> float | None:
    """Return how far the layers' sum is from the median total, relative to the total.

    None where there are no layers, or one was not timed.
    """
    parts = [layer.cycles for layer in layers]
    if not cycles or not parts or None in parts:
        return None
    middle = median(cycles)
    return (sum(part or 0 for part in parts) - middle) / middle if middle else None


def outliers(cycles: Sequence[int]) -> tuple[int, ...]:
    """Return which repeats lie apart from the others; they are kept, and the row stays as it is.

    A repeat is apart when its modified z-score is above 3.5 (Iglewicz and Hoaglin, How to Detect
    and Handle Outliers, 1993) and it is more than 0.5 % off the median: repeats that are nearly all
    equal would make any difference one.
    """
    if len(cycles) < _FEWEST_FOR_OUTLIERS:
        return ()
    middle = median(cycles)
    spread = median(abs(value - middle) for value in cycles)
    limit = max(3.5 / 0.6745 * spread, 0.005 * middle)
    return tuple(i for i, value in enumerate(cycles) if abs(value - middle) > limit)


def best_per_key(rows: Iterable[Measurement]) -> list[Measurement]:
    """Keep one row per job key: valid before degraded before invalid, then the newest.

    The order of first appearance is kept.
    """
    rank = {Status.VALID: 2, Status.DEGRADED: 1, Status.INVALID: 0}
    best: dict[str, Measurement] = {}
    for row in rows:
        seen = best.get(row.key)
        mine = (rank[row.status], row.created_at)
        if seen is None or mine > (rank[seen.status], seen.created_at):
            best[row.key] = row
    return list(best.values())


def summarise_cycles(
    cycles: Sequence[int], clock_hz: int, *, confidence: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Return median latency and its confidence interval, all in microseconds.

    The interval is distribution-free: the closest pair of order statistics, symmetric in rank,
    that covers the median with at least `confidence` by the binomial distribution (David and
    Nagaraja, Order Statistics, 3rd ed., §7.1). It needs no random numbers, so the same cycles
    always give the same interval. Fewer than six repeats cannot reach 95 %: then it is the
    minimum and maximum, which cover the median with 1 - 2**(1-n). One repeat has no interval.

    Args:
        cycles: Core cycles of each repeat, shape (n,), n ≥ 1.
        clock_hz: Core clock in Hz.
        confidence: Wanted coverage, between 0 and 1.

    Raises:
        ValueError: No cycles, or a clock or confidence that makes no sense.
    """
    if not cycles:
        raise ValueError("no cycles to summarise")
    if clock_hz <= 0:
        raise ValueError(f"clock_hz = {clock_hz} is not positive")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence} is not between 0 and 1")
    ordered = sorted(cycles)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    median_us = middle * 1e6 / clock_hz
    if n == 1:
        return median_us, None, None
    rank = _interval_rank(n, confidence)
    return median_us, ordered[rank] * 1e6 / clock_hz, ordered[n - 1 - rank] * 1e6 / clock_hz


def _interval_rank(n: int, confidence: float) -> int:
    """Return the largest rank r (from 0) whose pair (r, n-1-r) covers the median."""
    tail = 0.0
    rank = 0
    for k in range((n + 1) // 2):
        # 1 - 2·P(Binomial(n, 1/2) ≤ k) is the coverage of the pair (k, n-1-k).
        tail += math.exp(
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        )
        if 1 - 2 * tail < confidence:
            break
        rank = k
    return rank


def _set(record: Measurement, name: str, value: object) -> None:
    object.__setattr__(record, name, value)


def _typed(name: str, annotation: str, value: Any) -> Any:
    """Return a scalar as its annotated type; a NumPy integer would be stored as a blob."""
    kind = annotation.partition(" | ")[0]
    if value is None or kind not in ("int", "float", "bool", "str"):
        return value
    if kind == "str":
        if not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}, which is not text")
        return value
    if kind == "float":
        return float(value)
    if isinstance(value, bool) or kind == "bool":
        if kind != "bool" or value not in (True, False):
            raise ValueError(f"{name} is {value!r}, expected {kind}")
        return bool(value)
    return operator.index(value)


def _plain(value: Any, where: str) -> Any:
    """Return `value` as JSON would give it back, so that storing changes nothing."""
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ValueError(f"{where} has a name that is not text")
        return {str(name): _plain(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} holds {value}, which is not a number that can be stored")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{where} holds a {type(value).__name__}, which JSON cannot carry")
