"""Test two sets of rows: are they the same within a margin, or has something become worse?

Rows are paired by what was measured (network, board, runtime, kernels, flags, clock, caches), not
by versions, which are what a comparison is usually about. A pair's ratio is after / before. It is
*equivalent* when the interval of the ratio lies within the margin (two one-sided tests: Schuirmann
1987), *worse* when the whole interval lies above it, *better* when it lies below, else *undecided*.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from harness.errors import ResultsError
from harness.results.record import Measurement, Status, summarise_cycles

DEFAULT_MARGIN = 0.02
# Of two one-sided tests at 5 % each (Schuirmann 1987).
_CONFIDENCE = 0.90
_RESAMPLES = 4000
# With fewer pairs a bootstrap says little: then the pairs' own extremes bound the mean.
_FEWEST_FOR_BOOTSTRAP = 6

IDENTITY = (
    "model", "board", "source", "runtime", "kernels", "optimization", "flags", "one_firmware",
    "clock_hz", "icache", "dcache", "art",
)  # fmt: skip
"""What both rows of a pair have in common."""


class Verdict(StrEnum):
    """What a ratio and its interval say."""

    EQUIVALENT = "equivalent"
    WORSE = "worse"
    BETTER = "better"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Ratio:
    """After / before with its interval.

    Attributes:
        value: The ratio.
        low: Lower end.
        high: Upper end.
        verdict: Against the margin.
    """

    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Pair:
    """One subject in both sets.

    Attributes:
        name: Network and configuration, for people.
        before: Value in the first set.
        after: Value in the second.
        ratio: After / before.
    """

    name: str
    before: float
    after: float
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        metric: Name of what was compared.
        margin: Relative difference that does not matter.
        pairs: By falling ratio: the worst first.
        overall: Geometric mean of the ratios.
        only_before: Subjects that only the first set has.
        only_after: Subjects that only the second set has.
        unknown: Subjects that both have, one of them without a value.
    """

    metric: str
    margin: float
    pairs: tuple[Pair, ...]
    overall: Ratio
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def regressed(self) -> bool:
        """Whether a pair, or all of them together, became worse than the margin allows."""
        worse = Verdict.WORSE
        return self.overall.verdict is worse or any(p.ratio.verdict is worse for p in self.pairs)

    @property
    def equivalent(self) -> bool:
        """Whether every pair is shown to be the same within the margin."""
        return all(pair.ratio.verdict is Verdict.EQUIVALENT for pair in self.pairs)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {**asdict(self), "regressed": self.regressed, "equivalent": self.equivalent}


_Value = tuple[float, float, float]  # value, lower and upper end


def _latency(rows: Sequence[Measurement]) -> _Value | None:
    """Return median latency of all repeats of all rows, in µs, with its interval."""
    clock = rows[0].clock_hz
    cycles = [count for row in rows for count in row.cycles]
    if not cycles or not clock:
        return None
    middle, low, high = summarise_cycles(cycles, clock, confidence=_CONFIDENCE)
    # One repeat has no interval; then it is what it is.
    return middle, middle if low is None else low, middle if high is None else high


def _bytes(read: Callable[[Measurement], int | None]) -> Callable[..., _Value | None]:
    def value(rows: Sequence[Measurement]) -> _Value | None:
        newest = max(rows, key=lambda row: row.created_at)
        size = read(newest)
        return None if size is None else (float(size), float(size), float(size))

    return value


METRICS: Mapping[str, Callable[[Sequence[Measurement]], _Value | None]] = {
    "latency": _latency,
    "arena": _bytes(lambda row: row.arena_bytes),
    "sram": _bytes(lambda row: row.sram_bytes),
    "flash": _bytes(lambda row: row.flash_total_bytes),
    "stack": _bytes(lambda row: row.stack_bytes),
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
    """Pair two sets of rows and judge each pair and all of them.

    Args:
        before: The baseline.
        after: What is judged.
        metric: One of `METRICS`.
        margin: Relative difference that does not matter, such as 0.02.
        across: Parts of `IDENTITY` in which a pair may differ.
        degraded: Take degraded rows too.

    Raises:
        ResultsError: An unknown metric or part, a margin that is none, or nothing to compare.
    """
    _check(metric, margin, across)
    parts = [name for name in IDENTITY if name not in across]
    old, new = (_by_subject(rows, parts, degraded) for rows in (before, after))
    pairs, unknown = [], []
    for subject in old.keys() & new.keys():
        values = METRICS[metric](old[subject]), METRICS[metric](new[subject])
        name = _name(old[subject][0])
        if values[0] is None or values[1] is None or values[0][1] <= 0 or values[1][1] <= 0:
            unknown.append(name)
            continue
        (was, was_low, was_high), (now, now_low, now_high) = values[0], values[1]
        ratio = _judged(now / was, now_low / was_high, now_high / was_low, margin)
        pairs.append(Pair(name, was, now, ratio))
    if not pairs:
        raise ResultsError(
            f"no network has a {metric} in both sets ({len(old)} before, {len(new)} after)",
            expected=f"rows that agree in {', '.join(parts)}",
            fix="let pairs differ in a part with --across, or take degraded rows with --degraded",
        )
    pairs.sort(key=lambda pair: (-pair.ratio.value, pair.name))
    counts = {verdict.value: 0 for verdict in Verdict}
    for pair in pairs:
        counts[pair.ratio.verdict.value] += 1
    return Comparison(
        metric,
        margin,
        tuple(pairs),
        _overall([pair.ratio for pair in pairs], margin),
        tuple(sorted(_name(old[subject][0]) for subject in old.keys() - new.keys())),
        tuple(sorted(_name(new[subject][0]) for subject in new.keys() - old.keys())),
        tuple(sorted(unknown)),
        counts,
    )


def _check(metric: str, margin: float, across: Collection[str]) -> None:
    for name, known in ((metric, tuple(METRICS)), *((part, IDENTITY) for part in across)):
        if name not in known:
            raise ResultsError(
                f"'{name}' cannot be compared", expected=f"one of {', '.join(known)}"
            )
    if "source" in across:
        raise ResultsError(
            "emulated and measured cycles are not compared with one another",
            expected="two sets of one source",
        )
    if not 0 < margin < 1:
        raise ResultsError(f"the margin is {margin}", expected="a share such as 0.02")


def _by_subject(
    rows: Iterable[Measurement], parts: Sequence[str], degraded: bool
) -> dict[str, list[Measurement]]:
    wanted = {Status.VALID, Status.DEGRADED} if degraded else {Status.VALID}
    found: defaultdict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        if row.status in wanted:
            facts = [_model(row) if part == "model" else getattr(row, part) for part in parts]
            found[json.dumps(facts, sort_keys=True)].append(row)
    return dict(found)


def _model(row: Measurement) -> Any:
    # A sampled network is the same whatever TensorFlow's version writes for it.
    if row.architecture is not None:
        return [row.backbone, row.architecture, row.seed]
    return row.model_sha256


def _name(row: Measurement) -> str:
    words = (row.model_name, row.board, row.runtime, row.kernels, row.optimization)
    return " ".join(word for word in words if word)


def _judged(value: float, low: float, high: float, margin: float) -> Ratio:
    limit = 1 + margin
    if low > limit:
        verdict = Verdict.WORSE
    elif high < 1 / limit:
        verdict = Verdict.BETTER
    elif low >= 1 / limit and high <= limit:
        verdict = Verdict.EQUIVALENT
    else:
        verdict = Verdict.UNDECIDED
    return Ratio(value, low, high, verdict)


def _overall(ratios: Sequence[Ratio], margin: float) -> Ratio:
    import numpy as np

    logs = np.log([ratio.value for ratio in ratios])
    mean = math.exp(float(logs.mean()))
    if len(ratios) < _FEWEST_FOR_BOOTSTRAP:
        low, high = (
            math.exp(float(np.log([getattr(ratio, end) for ratio in ratios]).mean()))
            for end in ("low", "high")
        )
        return _judged(mean, low, high, margin)
    # A fixed seed: the same rows give the same verdict.
    chosen = np.random.default_rng(0).integers(0, len(logs), (_RESAMPLES, len(logs)))
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.exp(np.percentile(logs[chosen].mean(axis=1), [tail, 100 - tail]))
    return _judged(mean, float(low), float(high), margin)
