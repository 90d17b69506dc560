"""The measurement record: one row of the results store.

A field that was not measured is None. Names carry units; each field is a column of the store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

APART = ("layers", "raw_log")  # fields that the store keeps in tables of their own
_MAX = 2**63 - 1  # both databases store signed 64-bit integers
_FEWEST_FOR_OUTLIERS = 5
# Built when the first record is checked: to read a store none is.
_CHECKED = ConfigDict(strict=True, allow_inf_nan=False, defer_build=True)

Record = TypeVar("Record")


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value  # a NumPy number


def _as_stored(value: Mapping[str, Any]) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as failure:
        raise ValueError(f"JSON cannot carry it: {failure}") from None


def _utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError("it has no time zone; use datetime.now(UTC)")
    return time.astimezone(UTC)


def _utc_or_none(time: datetime | None) -> datetime | None:
    return None if time is None else _utc(time)


Int = Annotated[int, BeforeValidator(_python), Field(ge=-_MAX, le=_MAX)]
Count = Annotated[int, BeforeValidator(_python), Field(ge=0, le=_MAX)]
Stored = AfterValidator(_as_stored)
Lax = Field(strict=False)  # takes a list for a tuple, and the name of a choice


class Status(StrEnum):
    """How far a row can be trusted."""

    VALID = "valid"
    DEGRADED = "degraded"  # measured, but something about it needs a reader's eye
    INVALID = "invalid"  # the job failed; kept for its issue codes and its log


class Source(StrEnum):
    """What counted the cycles."""

    HARDWARE = "hardware"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True, config=_CHECKED)
class LayerCycles:
    """Cycles of one layer in the separate profiling pass."""

    index: Int  # position in execution order, from 0
    name: str  # as in the model
    operator: str  # TFLite builtin name, such as CONV_2D
    macs: Int | None = None  # None where the operator has no count
    cycles: Int | None = None  # None when it was not profiled


@dataclass(frozen=True, slots=True, kw_only=True, config=_CHECKED)
class Measurement:
    """One row: verdict, identity, provenance, cycles, memory, outputs and layers.

    Only what is known before a job starts is mandatory, because a job that failed to build
    leaves a row too. A ``valid`` row must have cycles, a clock and a latency, and no issue;
    the others must name at least one issue code (lower case, dashes).

    Raises:
        ValueError: A value has the wrong type or range, or the fields contradict each other;
            that is a bug in the caller.
    """

    # Verdict and identity of the job
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # content key of the job, sha256
    created_at: Annotated[datetime, AfterValidator(_utc)]
    status: Annotated[Status, Lax]
    source: Annotated[Source, Lax]
    board: str
    issues: Annotated[
        tuple[Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")], ...], Lax
    ] = ()
    campaign: str | None = None
    run: str | None = None  # id of the run that stored it
    # Id of the run or measurement that repeated the job, else empty: a job is done once in each
    repetition: str = ""

    # Where it ran
    station: str | None = None
    probe_id: str | None = None
    chip_uid: str | None = None
    timing_model: str | None = None  # "name/version"; emulated rows only
    clock_hz: Int | None = None
    clock_source: str | None = None  # "hse" | "lse" | "hsi", or as the family calls it
    icache: bool | None = None
    dcache: bool | None = None
    art: bool | None = None

    # The model
    model_name: str | None = None
    model_sha256: str | None = None
    backbone: str | None = None
    architecture: Annotated[Mapping[str, Any], Stored] | None = None
    seed: Int | None = None
    sample_index: Int | None = None
    macs: Int | None = None
    ops: Int | None = None  # 1 MAC = 2 ops
    parameters: Int | None = None
    working_memory_bytes: Int | None = None  # max over nodes of inputs + outputs
    macs_by_operator: Annotated[Mapping[str, int], Stored] | None = None

    # What it was built with
    runtime: str | None = None
    runtime_version: str | None = None
    kernels: str | None = None
    kernels_version: str | None = None
    optimization: str | None = None
    flags: Annotated[tuple[str, ...], Lax] = ()
    library: str | None = None  # spec of the runtime's library or kernel tree, as the user gave it
    one_firmware: bool | None = None  # the model lay in the model region beside a shared runtime
    toolchain: str | None = None
    firmware_sha256: str | None = None
    build_id: str | None = None
    harness_version: str | None = None
    git_revision: str | None = None

    # Time
    warmup: Int | None = None
    repeats: Int | None = None
    cycles: Annotated[tuple[Count, ...], Lax] = ()  # one per repeat, in order, outliers included
    latency_us: float | None = None  # median
    latency_ci_low_us: float | None = None
    latency_ci_high_us: float | None = None

    # Memory
    arena_planned_bytes: Int | None = None
    arena_used_bytes: Int | None = None
    arena_capacity_bytes: Int | None = None
    arena_min_bytes: Int | None = None  # verified by bisection on the device
    arena_below_bytes: Int | None = None  # largest size tried that did not work ...
    arena_below_message: str | None = None  # ... and what runtime or device said to it
    arena_host_bytes: Int | None = None  # the tflite-micro wheel's; asked with arena_min_bytes
    # Bytes used and requested and allocations by kind; "nonpersistent" and "persistent" first
    arena_parts: Annotated[Mapping[str, Mapping[str, int]], Stored] | None = None
    arena_paint_bytes: Int | None = None
    stack_bytes: Int | None = None  # high-water mark
    stack_capacity_bytes: Int | None = None
    flash_total_bytes: Int | None = None
    flash_weights_bytes: Int | None = None
    flash_graph_bytes: Int | None = None
    flash_kernels_bytes: Int | None = None
    flash_runtime_bytes: Int | None = None
    flash_port_bytes: Int | None = None
    ram_static_bytes: Int | None = None  # at link time: reserved stack and the next one; no arena
    ram_other_bytes: Int | None = None  # static RAM that is neither arena nor stack

    # Outputs against the host
    reference: str | None = None  # what the outputs were compared with
    output_bytes_total: Int | None = None
    output_bytes_differing: Int | None = None
    output_max_abs_diff: Int | None = None
    bit_exact: bool | None = None

    # Layers, from their own pass
    layers: Annotated[tuple[LayerCycles, ...], Lax] = ()
    layers_total_cycles: Int | None = None  # the same pass, end to end
    additivity_gap: float | None = None  # (sum of the layers - median total) / median total

    # How it went
    message: str | None = None  # of an invalid row: what failed, in one line
    stage_seconds: Annotated[Mapping[str, float], Stored] = field(default_factory=dict)
    raw_log: str | None = None  # everything the UART said

    def __post_init__(self) -> None:
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
    def expected_error(self) -> float | None:
        """Return the expected error of a modelled latency, as a share; None for hardware.

        See `harness.results.clock_error`.
        """
        from harness.results.clock_error import error_of_row

        return error_of_row(self)

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


@dataclass(frozen=True, slots=True, kw_only=True, config=_CHECKED)
class StationState:
    """What the hosts of a lab know of a station: whether it is disabled, why, and who says so."""

    key: str  # identifies probe and port, see harness.bench.disabled.fingerprint
    name: str  # at that host, as board and probe
    board: str
    probe: str
    host: str
    state: Annotated[str, Field(pattern="^(ready|disabled)$")]  # ready after a clean check
    code: str  # of the failure that disabled it, else empty
    reason: str
    since: Annotated[datetime, AfterValidator(_utc)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_CHECKED)
class Run:
    """One run of a campaign, `complete` or not; the counts are None until it ended.

    A run that neither ended nor was interrupted is still going on, or was killed.
    """

    id: str  # sorts by time
    campaign: str
    campaign_sha256: str  # of what the campaign file says, options included
    started_at: Annotated[datetime, AfterValidator(_utc)]
    host: str
    user: str
    harness_version: str
    git_revision: str | None = None
    repeat: Annotated[str, Field(pattern="^(|all|some)$")]  # what was measured again
    ended_at: Annotated[datetime | None, AfterValidator(_utc_or_none)] = None
    # "failed": rows are invalid; "bench": jobs were not run, as no station was left or there
    outcome: Annotated[str | None, Field(pattern="^(complete|failed|bench|interrupted)$")] = None
    planned: Count | None = None
    skipped: Count | None = None  # measured by an earlier run
    elsewhere: Count | None = None  # measured by another process meanwhile
    valid: Count | None = None
    degraded: Count | None = None
    invalid: Count | None = None
    not_run: Count | None = None
    # By name: "rows"; where it failed also "code", "what" and "left", the jobs not run for it
    stations: Annotated[Mapping[str, Mapping[str, Any]], Stored] = field(default_factory=dict)
    notes: Annotated[tuple[str, ...], Lax] = ()  # such as boards that no station has
    # Who took it for the baseline of its campaign
    accepted_at: Annotated[datetime | None, AfterValidator(_utc_or_none)] = None
    accepted_by: str | None = None
    accepted_why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_CHECKED)
class StationHealth:
    """What a run found when it checked a station before it measured."""

    run: str
    station: str
    board: str
    source: Annotated[Source, Lax]
    checked_at: Annotated[datetime, AfterValidator(_utc)]
    verdict: Annotated[str, Field(pattern="^(ok|warning|error)$")]
    what: str
    # Of the golden model and the chip, such as "cycles", "clock_ppm" and "temperature_c"
    facts: Annotated[Mapping[str, Any], Stored] = field(default_factory=dict)


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
    rank = interval_rank(n, confidence)
    return median_us, ordered[rank] * 1e6 / clock_hz, ordered[n - 1 - rank] * 1e6 / clock_hz


def interval_rank(n: int, confidence: float) -> int:
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


def unchecked(record: type[Record], names: Sequence[str]) -> Callable[[list[Any]], Record]:
    """Return a function that makes a record of the values of the fields `names`, in this order.

    It is for values from the store, which were checked when they were added: checking all of them
    again takes longer than reading them. Reading a field that is not among `names` raises
    `AttributeError`.
    """
    kinds = types_of(record)
    converted = {Status: Status, Source: Source, tuple: tuple}
    slots = [getattr(record, name).__set__ for name in names]
    conversions = [
        (index, converted[kinds[name]])
        for index, name in enumerate(names)
        if kinds[name] in converted
    ]

    def make(values: list[Any]) -> Record:
        made = object.__new__(record)
        for index, convert in conversions:
            values[index] = convert(values[index])
        for put, value in zip(slots, values, strict=True):
            put(made, value)
        return made

    return make


_TYPES: dict[type, dict[str, type]] = {}  # found once: a query of few rows takes less time than it


def types_of(record: type) -> dict[str, type]:
    """Return the plain type of each field of a record: of ``Int | None`` it is ``int``."""
    if record not in _TYPES:
        found = {}
        for name, hint in get_type_hints(record).items():
            kind = get_args(hint)[0] if get_origin(hint) in (Union, UnionType) else hint
            kind = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
            found[name] = get_origin(kind) or kind
        _TYPES[record] = found
    return _TYPES[record]
