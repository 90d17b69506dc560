"""Compare two sets of rows: equivalent within a margin, or has something become worse?

Rows are paired by network and configuration (board, runtime, kernels, flags, clock, caches), not by
versions, which a comparison is usually about. A pair's ratio is after / before. It is *equivalent*
when the interval of the ratio lies within the margin (two one-sided tests: Schuirmann 1987),
*worse* when the whole interval lies above it, *better* when it lies below, else *undecided*.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from statistics import NormalDist
from typing import Any

from harness.errors import ResultsError
from harness.results.record import Measurement, Status, summarise_cycles
from harness.strict import to_json

DEFAULT_MARGIN = 0.02
_CONFIDENCE = 0.90  # of two one-sided tests at 5 % each
_RESAMPLES = 4000
# With fewer pairs a bootstrap means little: the ends of their own intervals bound the mean. With
# more its interval is the normal distribution's, and resampling them takes gigabytes.
_FEWEST_FOR_BOOTSTRAP = 6
_MOST_FOR_BOOTSTRAP = 1000

IDENTITY = (
    "model", "board", "source", "runtime", "kernels", "optimization", "flags", "one_firmware",
    "clock_hz", "icache", "dcache", "art",
)  # fmt: skip
"""Facts in which both rows of a pair agree."""

_ARENA = ("arena_min_bytes", "arena_used_bytes", "arena_planned_bytes")
_FIGURES = {
    "latency": ("cycles",),
    "arena": ("created_at", *_ARENA),
    "sram": ("created_at", *_ARENA, "ram_other_bytes", "stack_bytes"),
    "flash": ("created_at", "flash_total_bytes"),
    "stack": ("created_at", "stack_bytes"),
}


def columns_of(metric: str) -> tuple[str, ...]:
    """Return the fields of a row that a comparison by this metric uses."""
    model = ("status", "model_name", "model_sha256", "architecture", "backbone", "seed")
    return (*IDENTITY[1:], *model, *_FIGURES[metric])


class Verdict(StrEnum):
    """Meaning of a ratio and its interval."""

    EQUIVALENT = "equivalent"
    WORSE = "worse"
    BETTER = "better"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Ratio:
    """After / before, the ends of its interval, and the verdict against the margin."""

    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Pair:
    """One network and configuration in both sets: its name, values and their ratio."""

    name: str
    before: float
    after: float
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of a comparison."""

    metric: str
    margin: float
    pairs: tuple[Pair, ...]  # the worst first
    overall: Ratio  # geometric mean
    only_before: tuple[str, ...]  # names of networks
    only_after: tuple[str, ...]
    unknown: tuple[str, ...]  # no value in one of the sets

    @property
    def counts(self) -> dict[str, int]:
        """Number of pairs by verdict."""
        seen = Counter(pair.ratio.verdict for pair in self.pairs)
        return {verdict.value: seen[verdict] for verdict in Verdict}

    @property
    def regressed(self) -> bool:
        """Whether a pair, or all of them together, became worse than the margin allows."""
        return Verdict.WORSE in {self.overall.verdict, *(p.ratio.verdict for p in self.pairs)}

    @property
    def equivalent(self) -> bool:
        """Whether every pair is shown to be the same within the margin."""
        return all(pair.ratio.verdict is Verdict.EQUIVALENT for pair in self.pairs)

    def as_json(self) -> dict[str, Any]:
        """Return the fields, the counts and both answers as plain data."""
        answers = {"regressed": self.regressed, "equivalent": self.equivalent}
        return {**to_json(self), "counts": self.counts, **answers}


_Value = tuple[float, float, float]  # value, lower and upper end
_Subject = tuple[object, ...]  # a value for each part of `IDENTITY`
_sorted_json = json.JSONEncoder(sort_keys=True).encode


def _latency(rows: Sequence[Measurement]) -> _Value | None:
    """Return median latency of all repeats of all rows, in µs, with its interval."""
    clock = rows[0].clock_hz
    cycles = [count for row in rows for count in row.cycles]
    if not cycles or not clock:
        return None
    middle, low, high = summarise_cycles(cycles, clock, confidence=_CONFIDENCE)
    return middle, low or middle, high or middle  # one repeat has no interval


def _newest(read: Callable[[Measurement], int | None]) -> Callable[..., _Value | None]:
    def value(rows: Sequence[Measurement]) -> _Value | None:
        size = read(max(rows, key=lambda row: row.created_at))
        return None if size is None else (float(size),) * 3

    return value


METRICS: Mapping[str, Callable[[Sequence[Measurement]], _Value | None]] = {
    "latency": _latency,
    "arena": _newest(lambda row: row.arena_bytes),
    "sram": _newest(lambda row: row.sram_bytes),
    "flash": _newest(lambda row: row.flash_total_bytes),
    "stack": _newest(lambda row: row.stack_bytes),
}


def compare_rows(
    before: Iterable[Measurement],
    after: Iterable[Measurement],
    *,
    metric: str = "latency",
    margin: float = DEFAULT_MARGIN,
    across: Collection[str] = (),
    degraded: bool = False,
) -> Comparison:
    """Pair two sets of rows and judge each pair and all of them by a metric of `METRICS`.

    `margin` is the relative difference that does not matter; `across` are the parts of `IDENTITY`
    in which a pair may differ; `degraded` rows are used where that is set. Raises `ResultsError`
    for an unknown metric or part, a margin out of range, or if there is no pair.
    """
    _check(metric, margin, across)
    parts = [name for name in IDENTITY if name not in across]
    old, new = (_by_subject(rows, parts, degraded) for rows in (before, after))
    names = {subject: _name(rows[0]) for subject, rows in (new | old).items()}
    pairs, unknown = [], []
    for subject in old.keys() & new.keys():
        was, now = METRICS[metric](old[subject]), METRICS[metric](new[subject])
        if was is None or now is None or was[1] <= 0 or now[1] <= 0:
            unknown.append(names[subject])
            continue
        ratio = _judged(now[0] / was[0], now[1] / was[2], now[2] / was[1], margin)
        pairs.append(Pair(names[subject], was[0], now[0], ratio))
    if not pairs:
        raise ResultsError(
            f"no network has a {metric} in both sets ({len(old)} before, {len(new)} after)",
            expected=f"rows that agree in {', '.join(parts)}",
            fix="let pairs differ in a part with --across, or use degraded rows with --degraded",
        )
    pairs.sort(key=lambda pair: (-pair.ratio.value, pair.name))
    return Comparison(
        metric,
        margin,
        pairs=tuple(pairs),
        overall=_overall([pair.ratio for pair in pairs], margin),
        only_before=tuple(sorted(names[subject] for subject in old.keys() - new.keys())),
        only_after=tuple(sorted(names[subject] for subject in new.keys() - old.keys())),
        unknown=tuple(sorted(unknown)),
    )


def _check(metric: str, margin: float, across: Collection[str]) -> None:
    for name, known in ((metric, tuple(METRICS)), *((part, IDENTITY) for part in across)):
        if name not in known:
            raise ResultsError(
                f"'{name}' cannot be compared", expected=f"one of {', '.join(known)}"
            )
    if "source" in across:
        raise ResultsError(
            "emulated and measured cycles cannot be compared with each other",
            expected="two sets of one source",
        )
    if not 0 < margin < 1:
        raise ResultsError(f"the margin is {margin}", expected="a share such as 0.02")


def _by_subject(
    rows: Iterable[Measurement], parts: Sequence[str], degraded: bool
) -> dict[_Subject, list[Measurement]]:
    wanted = {Status.VALID, Status.DEGRADED} if degraded else {Status.VALID}
    read = [_model if part == "model" else attrgetter(part) for part in parts]
    found: defaultdict[_Subject, list[Measurement]] = defaultdict(list)
    for row in rows:
        if row.status in wanted:
            found[tuple([fact(row) for fact in read])].append(row)
    return found


def _model(row: Measurement) -> object:
    # The .tflite of a sampled network depends on TensorFlow's version.
    if row.architecture is not None:
        return row.backbone, _sorted_json(row.architecture), row.seed
    return row.model_sha256


def _name(row: Measurement) -> str:
    words = (row.model_name, row.board, row.runtime, row.kernels, row.optimization)
    return " ".join(filter(None, words))


def _judged(value: float, low: float, high: float, margin: float) -> Ratio:
    limit = 1 + margin
    verdict = Verdict.UNDECIDED
    if low > limit:
        verdict = Verdict.WORSE
    elif high < 1 / limit:
        verdict = Verdict.BETTER
    elif low >= 1 / limit and high <= limit:
        verdict = Verdict.EQUIVALENT
    return Ratio(value, low, high, verdict)


def _overall(ratios: Sequence[Ratio], margin: float) -> Ratio:
    import numpy as np

    logs = np.log([(ratio.value, ratio.low, ratio.high) for ratio in ratios])
    mean, low, high = np.exp(logs.mean(axis=0))
    if len(ratios) > _MOST_FOR_BOOTSTRAP:
        half = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2) * logs[:, 0].std() / len(logs) ** 0.5
        low, high = mean * np.exp([-half, half])
    elif len(ratios) >= _FEWEST_FOR_BOOTSTRAP:
        # A fixed seed: the same rows give the same verdict.
        chosen = np.random.default_rng(0).integers(0, len(logs), (_RESAMPLES, len(logs)))
        tail = 100 * (1 - _CONFIDENCE) / 2
        means = logs[chosen, 0].mean(axis=1)
        low, high = np.exp(np.percentile(means, [tail, 100 - tail]))
    return _judged(float(mean), float(low), float(high), margin)
