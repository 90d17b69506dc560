"""Compare two sets of rows: equivalent within a margin, or has something become worse?

Rows are paired by network and configuration (board, runtime, kernels, flags, clock, caches), not by
versions, which a comparison is usually about. A pair's ratio is after / before. It is *equivalent*
when the interval of the ratio lies within the margin (two one-sided tests: Schuirmann 1987),
*worse* when the whole interval lies above it, *better* when it lies below, else *undecided*.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist, median
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from harness.errors import ResultsError
from harness.results.record import Measurement, Status, interval_rank
from harness.results.table import Table, table_of
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
    """Return the columns of rows that a comparison by this metric uses."""
    model = ("model_name", "model_sha256", "network", "seed")
    return ("status", *model, *_FIGURES[metric])


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
    pairs: Sequence[Pair]  # the worst first; made when looked at, as a store has many
    counts: Mapping[str, int]  # pairs by verdict
    overall: Ratio  # geometric mean
    only_before: tuple[str, ...]  # names of networks
    only_after: tuple[str, ...]
    unknown: tuple[str, ...]  # no value in one of the sets

    @property
    def regressed(self) -> bool:
        """Whether a pair, or all of them together, became worse than the margin allows."""
        return self.counts[Verdict.WORSE] > 0 or self.overall.verdict is Verdict.WORSE

    @property
    def equivalent(self) -> bool:
        """Whether every pair is shown to be the same within the margin."""
        return self.counts[Verdict.EQUIVALENT] == len(self.pairs)

    def as_json(self) -> dict[str, Any]:
        """Return the fields and both answers as plain data."""
        answers = {"regressed": self.regressed, "equivalent": self.equivalent}
        return {**to_json(replace(self, pairs=tuple(self.pairs))), **answers}


_Subject: TypeAlias = tuple[object, object]  # network and number of a configuration
_Values: TypeAlias = npt.NDArray[np.float64]  # value and ends of each subject, NaN where unknown


def compare_rows(
    before: Iterable[Measurement] | Table,
    after: Iterable[Measurement] | Table,
    *,
    metric: str = "latency",
    margin: float = DEFAULT_MARGIN,
    across: Collection[str] = (),
    degraded: bool = False,
) -> Comparison:
    """Pair two sets of rows and judge each pair, and all of them together, by a metric.

    Rows are records, or a table of `columns_of`. `margin` is the relative difference that does not
    matter; `across` are the parts of `IDENTITY` in which a pair may differ; `degraded` rows are
    used where that is set. Raises `ResultsError` for an unknown metric or part, a margin out of
    range, or if there is no pair.
    """
    _check(metric, margin, across)
    old_rows, new_rows = (table_of(rows, columns_of(metric)) for rows in (before, after))
    parts = [name for name in IDENTITY if name not in across]
    numbers: dict[tuple[object, ...], int] = {}
    old, new = (_by_subject(rows, parts, numbers, degraded) for rows in (old_rows, new_rows))
    old_names, new_names = _Names(old_rows, old), _Names(new_rows, new)
    both = [subject for subject in old if subject in new]
    was, now = (
        _values(metric, rows, [found[subject] for subject in both])
        for rows, found in ((old_rows, old), (new_rows, new))
    )
    known = (was[:, 1] > 0) & (now[:, 1] > 0)
    paired = [both[place] for place in np.flatnonzero(known)]
    if not paired:
        raise ResultsError(
            f"no network has a {metric} in both sets ({len(old)} before, {len(new)} after)",
            expected=f"rows that agree in {', '.join(parts)}",
            fix="let pairs differ in a part with --across, or use degraded rows with --degraded",
        )
    pairs = _Pairs(old_names, paired, was[known], now[known], margin)
    return Comparison(
        metric,
        margin,
        pairs=pairs,
        counts=pairs.counts(),
        overall=_overall(pairs.ratios, margin),
        only_before=old_names.sorted(old.keys() - new.keys()),
        only_after=new_names.sorted(new.keys() - old.keys()),
        unknown=old_names.sorted(both[place] for place in np.flatnonzero(~known)),
    )


class _Names(dict[_Subject, str]):
    """Names of subjects, each made when it is asked for: of many few are shown."""

    def __init__(self, rows: Table, places: Mapping[_Subject, Sequence[int]]) -> None:
        words = ("board", "runtime", "kernels", "optimization")
        self._where = {
            number: [facts[word] for word in words if facts[word]]
            for number, facts in rows.configurations.items()
        }
        self._models, self._numbers = rows["model_name"], rows["configuration"]
        self._places = places

    def __missing__(self, subject: _Subject) -> str:
        first, *_ = self._places[subject]
        words = (self._models[first], *self._where[self._numbers[first]])
        name = self[subject] = " ".join(filter(None, words))
        return name

    def sorted(self, subjects: Iterable[_Subject]) -> tuple[str, ...]:
        return tuple(sorted(self[subject] for subject in subjects))


class _Pairs(Sequence[Pair]):
    """Pairs as arrays, the worst first and by name where equal."""

    def __init__(
        self,
        names: _Names,
        subjects: Sequence[_Subject],
        was: _Values,
        now: _Values,
        margin: float,
    ) -> None:
        ratio = now[:, 0] / was[:, 0]
        order = np.argsort(-ratio, kind="stable")
        _, first, length = np.unique(-ratio[order], return_index=True, return_counts=True)
        for start, count in zip(first[length > 1], length[length > 1], strict=True):
            equal = slice(start, start + count)
            order[equal] = sorted(order[equal], key=lambda place: names[subjects[place]])
        self._names, self._subjects, self._order = names, subjects, order
        self._margin = margin
        was, now = was[order], now[order]
        self._values = np.column_stack([was[:, 0], now[:, 0]])
        ends = (now[:, 1] / was[:, 2], now[:, 2] / was[:, 1])
        self.ratios = np.column_stack([ratio[order], *ends])

    def counts(self) -> dict[str, int]:
        """Return the number of pairs by verdict."""
        found = _verdicts(self.ratios[:, 1], self.ratios[:, 2], self._margin)
        return {verdict.value: int((found == verdict.value).sum()) for verdict in Verdict}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as of other mutable sequences

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Pair: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Pair]: ...
    def __getitem__(self, place: int | slice) -> Pair | Sequence[Pair]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        value, low, high = self.ratios[place].tolist()
        before, after = self._values[place].tolist()
        name = self._names[self._subjects[self._order[place]]]
        return Pair(name, before, after, _judged(value, low, high, self._margin))


def _check(metric: str, margin: float, across: Collection[str]) -> None:
    for name, known in ((metric, tuple(_FIGURES)), *((part, IDENTITY) for part in across)):
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
    rows: Table, parts: Sequence[str], numbers: dict[tuple[object, ...], int], degraded: bool
) -> dict[_Subject, list[int]]:
    """Return the places of each subject's rows; `numbers` holds the configurations seen so far."""
    wanted = {Status.VALID, Status.DEGRADED} if degraded else {Status.VALID}
    shared = {
        number: numbers.setdefault(
            tuple(facts[part] for part in parts if part != "model"), len(numbers)
        )
        for number, facts in rows.configurations.items()
    }
    found: defaultdict[_Subject, list[int]] = defaultdict(list)
    columns = ("status", "configuration", "network", "seed", "model_sha256")
    for place, (status, number, network, seed, sha256) in enumerate(rows.lines(*columns)):
        if status in wanted:
            # The .tflite of a sampled network depends on TensorFlow's version.
            model = sha256 if network is None else (network, seed)
            found[model if "model" in parts else None, shared[number]].append(place)
    return found


def _values(metric: str, rows: Table, places: Sequence[Sequence[int]]) -> _Values:
    """Return the figure of each group of rows, shape (groups, 3)."""
    if metric == "latency":
        return _latencies(rows, places)
    made = rows["created_at"].tolist()
    newest = [max(some, key=made.__getitem__) for some in places]
    figures = {name: rows.numbers(name)[newest, 0] for name in _FIGURES[metric][1:]}
    arena = np.full(len(newest), np.nan)
    for name in _ARENA:
        arena = np.where(np.isnan(arena), figures.pop(name, np.nan), arena)
    sizes = sum(figures.values(), arena if metric in ("arena", "sram") else 0.0)
    return np.column_stack([sizes] * 3)


def _latencies(rows: Table, places: Sequence[Sequence[int]]) -> _Values:
    """Return median latency of all repeats of all rows, in µs, with its interval."""
    cycles = json.loads(f"[{','.join(rows['cycles'])}]")
    clock = np.array([facts or np.nan for facts in rows.facts("clock_hz")], dtype=float)
    found = np.full((len(places), 3), np.nan)
    pooled: defaultdict[int, list[int]] = defaultdict(list)
    repeats = [
        cycles[some[0]] if len(some) == 1 else [count for place in some for count in cycles[place]]
        for some in places
    ]
    for group, counts in enumerate(repeats):
        pooled[len(counts)].append(group)
    for n, groups in pooled.items():
        if n:
            ordered = np.sort([repeats[group] for group in groups], axis=1).astype(float)
            middle = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
            rank = interval_rank(n, _CONFIDENCE)
            ends = [ordered[:, rank], ordered[:, n - 1 - rank]] if n > 1 else [middle, middle]
            # Where a repeat took no cycle, there is no interval.
            ends = [np.where(end == 0, middle, end) for end in ends]
            hz = clock[[places[group][0] for group in groups]]
            found[groups] = np.column_stack([middle, *ends]) * 1e6 / hz[:, None]
    return found


def judge_ratio(
    before: tuple[float, float, float], after: tuple[float, float, float], margin: float
) -> Ratio:
    """Judge two figures, each with the ends of its interval; those before are positive."""
    (was, low, high), (now, least, most) = before, after
    return _judged(now / was, least / high, most / low, margin)


def interval_of(cycles: Sequence[int]) -> tuple[float, float, float]:
    """Return the median of some repeats, and the ends of its interval."""
    ordered, n = sorted(cycles), len(cycles)
    rank = interval_rank(n, _CONFIDENCE) if n > 1 else 0
    return median(ordered), float(ordered[rank]), float(ordered[n - 1 - rank])


def _judged(value: float, low: float, high: float, margin: float) -> Ratio:
    # As `_verdicts`, without arrays: a gate judges each layer of each row.
    limit = 1 + margin
    if low > limit:
        verdict = Verdict.WORSE
    elif high < 1 / limit:
        verdict = Verdict.BETTER
    else:
        same = low >= 1 / limit and high <= limit
        verdict = Verdict.EQUIVALENT if same else Verdict.UNDECIDED
    return Ratio(value, low, high, verdict)


def _verdicts(low: Any, high: Any, margin: float) -> npt.NDArray[np.str_]:
    """Return the verdict on each interval of a ratio."""
    limit = 1 + margin
    conditions = {
        Verdict.WORSE: low > limit,
        Verdict.BETTER: high < 1 / limit,
        Verdict.EQUIVALENT: (low >= 1 / limit) & (high <= limit),
    }
    return np.select(
        list(conditions.values()), [v.value for v in conditions], Verdict.UNDECIDED.value
    )


def _overall(ratios: _Values, margin: float) -> Ratio:
    logs = np.log(ratios)
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
