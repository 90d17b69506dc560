"""Judge a run against the baseline of its campaign, and against the nights before it.

The *baseline* is what the store held when the newest accepted run ended: of each subject (a network
with board, runtime, kernels and flags) the newest usable row. Without an accepted run it is what
the store held before the run that is judged.

A figure is worse when the interval of its ratio lies above the margin (see `equivalence`), against
the baseline or against the median of the nights since.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from harness.results.equivalence import Verdict, interval_of, judge_ratio
from harness.results.policy import Allow, Figure, Policy
from harness.results.record import Measurement, Run, best_per_key
from harness.strict import to_json

if TYPE_CHECKING:
    from harness.results.store import Store

NIGHTS = 7
"""Nights before the run that it is compared with."""

_Interval = tuple[float, float, float]
_SUBJECT = ("model_name", "board", "source", "runtime", "kernels", "optimization", "flags",
            "one_firmware")  # fmt: skip
# Where these differ, cycles cannot be compared.
_CONDITIONS = ("timing_model", "clock_hz", "icache", "dcache", "art", "macs")
# Where these differ, it is said: a gate is about them.
_VERSIONS = ("toolchain", "runtime_version", "kernels_version", "harness_version", "model_sha256")
_SIZES: Mapping[Figure, str] = {
    "arena": "arena_bytes",
    "sram": "sram_bytes",
    "flash": "flash_total_bytes",
    "stack": "stack_bytes",
}
Word = Literal[
    "worse", "failed", "missing", "changed", "new", "mended", "better", "undecided", "same"
]
"""Verdict on a figure, the ones to look at first: ``failed`` has no figure although it had one,
``missing`` was measured before and should have been again, ``changed`` cannot be compared,
``mended`` failed before."""
WORDS: tuple[Word, ...] = (
    "worse", "failed", "missing", "changed", "new", "mended", "better", "undecided", "same",
)  # fmt: skip


_WORDS: Mapping[Verdict, Word] = {
    Verdict.EQUIVALENT: "same",
    Verdict.WORSE: "worse",
    Verdict.BETTER: "better",
    Verdict.UNDECIDED: "undecided",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A figure of a subject, before and after."""

    model: str
    board: str
    source: str
    station: str | None  # that measured it in this run
    configuration: str  # runtime, kernels and flags, for people
    key: str | None  # of this run's job
    figure: Figure
    verdict: Word
    why: str = ""
    layer: str | None = None
    before: float | None = None  # µs, cycles or bytes
    after: float | None = None
    ratio: float | None = None
    low: float | None = None  # ends of the ratio's interval
    high: float | None = None
    earlier: tuple[float, ...] = ()  # of the nights before, oldest first; latency only
    fails: bool = False  # whether the gate stays shut for it

    @property
    def name(self) -> str:
        """The subject and figure in a few words."""
        layer = f" {self.layer}" if self.layer else ""
        return f"{self.model} on {self.board} ({self.configuration}): {self.figure}{layer}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a gate found of a run; the findings to look at first come first."""

    run: Run
    baseline: Run | None  # None: nothing was accepted
    findings: tuple[Finding, ...]
    counts: Mapping[str, int] = field(default_factory=dict)  # findings by verdict

    @property
    def regressed(self) -> bool:
        """Whether something fails the gate."""
        return any(finding.fails for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "run": self.run.id,
            "campaign": self.run.campaign,
            "baseline": self.baseline and self.baseline.id,
            "regressed": self.regressed,
            "counts": dict(self.counts),
            "findings": [to_json(finding) for finding in self.findings],
        }


def judge(store: Store, run: str, policy: Policy | None = None) -> Judgement:
    """Judge the rows of a run; `run` is its id or how that begins.

    Raises `ConfigError` if there is no such run.
    """
    chosen = store.run(run)
    runs = store.runs(chosen.campaign)
    before = [one for one in runs if one.started_at < chosen.started_at]
    baseline = next((one for one in before if one.accepted_at is not None), None)
    after = _rows(store, chosen)
    sides = _specimens(after)
    tonight = {_subject(row, sides): row for row in after}
    last = baseline or (before[0] if before else None)
    known = _state(store, chosen, last, tonight.keys(), sides)
    nights = _nights(store, before, sides, baseline)
    made = _Judge(policy or Policy())
    findings: list[Finding] = []
    for subject, row in tonight.items():
        findings += made.compare(known.get(subject), row, nights.get(subject, ()))
    if chosen.repeat == "all" and chosen.outcome not in (None, "interrupted"):
        # What the bench could not run is no regression; the exit code of a night says so.
        bench = bool(chosen.notes or chosen.not_run)
        why = "no station for it" if bench else "measured before, and not in this run"
        findings += [
            _finding(row, "status", "missing", key=None, station=None, fails=not bench, why=why)
            for subject, row in known.items()
            if subject not in tonight and row.usable
        ]
    findings.sort(key=lambda one: (not one.fails, WORDS.index(one.verdict), -(one.ratio or 0)))
    counts = Counter(one.verdict for one in findings)
    ordered: dict[str, int] = {word: counts[word] for word in WORDS if counts[word]}
    return Judgement(chosen, baseline, tuple(findings), ordered)


class _Judge:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._limits: dict[tuple[object, ...], tuple[float, Allow]] = {}

    def _limit(self, figure: Figure, row: Measurement) -> tuple[float, Allow]:
        """Return the policy's limit, which is looked up once for all layers and all nights."""
        subject = (figure, row.model_name, row.board, row.source)
        if subject not in self._limits:
            self._limits[subject] = self._policy.limit(figure, row)
        return self._limits[subject]

    def compare(
        self, before: Measurement | None, row: Measurement, nights: Sequence[Measurement]
    ) -> Iterator[Finding]:
        """Yield what there is to say of a row."""
        if before is None:
            verdict: Word = "new" if row.usable else "failed"
            yield self._status(row, verdict, f"{_reason(row)}first measured now")
            return
        if not row.usable:
            fails = before.usable
            why = _reason(row) + ("" if fails else "and failed before")
            yield self._status(row, "failed", why, fails=fails)
            return
        if not before.usable:
            yield self._status(row, "mended", f"failed before: {_reason(before)}")
            return
        yield from self._outputs(before, row)
        changed = _differences(before, row, _CONDITIONS)
        if changed:
            yield _finding(row, "latency", "changed", why=f"not comparable: {changed}")
        else:
            yield from self._cycles(before, row, nights)
        yield from self._sizes(before, row)

    def _status(self, row: Measurement, verdict: Word, why: str, *, fails: bool = False) -> Finding:
        _, allow = self._limit("status", row)
        return _finding(
            row, "status", verdict, why=why.strip(" ;,"), fails=fails and allow != "anything"
        )

    def _outputs(self, before: Measurement, row: Measurement) -> Iterator[Finding]:
        if before.bit_exact == row.bit_exact:
            return
        verdict: Word = "mended" if row.bit_exact else "worse"
        differing, total = row.output_bytes_differing, row.output_bytes_total
        why = "bit-exact again" if row.bit_exact else f"{differing} of {total} bytes differ"
        yield self._changed(_finding(row, "outputs", verdict, why=why), row)

    def _cycles(
        self, before: Measurement, row: Measurement, nights: Sequence[Measurement]
    ) -> Iterator[Finding]:
        if not before.cycles or not row.cycles or not median(before.cycles):
            return
        per_us = (row.clock_hz or 1) / 1e6
        mine = interval_of(row.cycles)
        like = [one for one in nights if not _differences(one, row, _CONDITIONS)]
        earlier = [median(one.cycles) for one in like]
        kept = tuple(count / per_us for count in earlier)
        found = self._ratio("latency", row, interval_of(before.cycles), mine, per_us, kept)
        note = _differences(before, row, _VERSIONS)
        if earlier and not found.fails and found.verdict != "worse":
            middle = median(earlier)
            spread = (middle, min(earlier), max(earlier))
            lately = self._ratio("latency", row, spread, mine, per_us, kept)
            if lately.verdict == "worse":
                found, note = lately, "against the nights before, not against the baseline"
        yield replace(found, why=found.why or note)
        yield from self._layers(before, row)

    def _layers(self, before: Measurement, row: Measurement) -> Iterator[Finding]:
        was = {(one.index, one.name): one.cycles for one in before.layers}
        total = sum(one.cycles or 0 for one in row.layers)
        for one in row.layers:
            old = was.get((one.index, one.name))
            if not old or not one.cycles or one.cycles < self._policy.least_layer_share * total:
                continue
            margin, _ = self._limit("layer", row)
            if 1 / (1 + margin) <= one.cycles / old <= 1 + margin:
                continue  # the same, as are most
            ends = (float(old),) * 3, (float(one.cycles),) * 3
            found = self._ratio("layer", row, *ends)
            if found.verdict not in ("same", "undecided"):
                yield replace(found, layer=f"{one.index} {one.name}", why=one.operator)

    def _sizes(self, before: Measurement, row: Measurement) -> Iterator[Finding]:
        for figure, name in _SIZES.items():
            old, new = getattr(before, name), getattr(row, name)
            if old and new is not None and old != new:
                yield self._ratio(figure, row, (float(old),) * 3, (float(new),) * 3)

    def _ratio(
        self,
        figure: Figure,
        row: Measurement,
        before: _Interval,
        after: _Interval,
        per: float = 1.0,
        earlier: tuple[float, ...] = (),
    ) -> Finding:
        margin, _ = self._limit(figure, row)
        ratio = judge_ratio(before, after, margin)
        verdict = _WORDS[ratio.verdict]
        found = _finding(
            row,
            figure,
            verdict,
            before=before[0] / per,
            after=after[0] / per,
            ratio=ratio.value,
            low=ratio.low,
            high=ratio.high,
            earlier=earlier,
        )
        return self._changed(found, row)

    def _changed(self, found: Finding, row: Measurement) -> Finding:
        _, allow = self._limit(found.figure, row)
        fails = {"better": ("worse",), "nothing": ("worse", "better"), "anything": ()}[allow]
        return replace(found, fails=found.verdict in fails)


def _finding(row: Measurement, figure: Figure, verdict: Word, **more: Any) -> Finding:
    words = (f"{row.runtime}/{row.kernels}", row.optimization, *row.flags)
    return Finding(
        **{
            "model": row.model_name or "model",
            "board": row.board,
            "source": row.source.value,
            "station": row.station,
            "configuration": " ".join(word for word in words if word),
            "key": row.key,
            "figure": figure,
            "verdict": verdict,
            **more,
        }
    )


def _reason(row: Measurement) -> str:
    return f"{' '.join(row.issues)}: {row.message or ''}; " if not row.usable else ""


def _differences(before: Measurement, after: Measurement, names: Iterable[str]) -> str:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return ", ".join(f"{name} {_short(was)} → {_short(now)}" for name, was, now in pairs
                     if was != now)  # fmt: skip


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


_Subject = tuple[Any, ...]


def _subject(row: Measurement, specimens: bool) -> _Subject:
    station = row.station if specimens else None
    return (*(getattr(row, name) for name in _SUBJECT), station)


def _specimens(rows: Sequence[Measurement]) -> bool:
    """Return whether each station measured for itself, to compare specimens."""
    counts = Counter(_subject(row, specimens=False) for row in rows)
    return any(count > 1 for count in counts.values())


def _rows(store: Store, run: Run, columns: Sequence[str] | None = None) -> list[Measurement]:
    from harness.results.store import Filter

    where = Filter(run=run.id)
    if columns is None:
        return best_per_key(store.stream(where, with_layers=True))
    return best_per_key(store.stream(where, columns=columns))


def _state(
    store: Store, run: Run, last: Run | None, subjects: Collection[_Subject], specimens: bool
) -> dict[_Subject, Measurement]:
    """Return the row of each subject that the store held when `last` had ended.

    Those of `last` itself, where that is the baseline its failures among them; then the newest of
    the `subjects` that it did not measure.
    """
    from harness.results.read import CHUNK
    from harness.results.store import Filter

    found: dict[_Subject, Measurement] = {}
    until = run.started_at
    if last is not None:
        until = min(last.ended_at or until, until)
        rows = _rows(store, last)
        found = {_subject(row, specimens): row for row in rows
                 if row.usable or last.accepted_at is not None}  # fmt: skip
    failed: dict[_Subject, Measurement] = {}
    names = sorted({str(one[0]) for one in subjects if one not in found})
    for first in range(0, len(names), CHUNK):
        where = Filter(campaign=run.campaign, until=until, model_name=names[first : first + CHUNK])
        for row in store.stream(where, newest_first=True, with_layers=True):
            (found if row.usable else failed).setdefault(_subject(row, specimens), row)
    return failed | found


def _nights(
    store: Store, before: Sequence[Run], specimens: bool, baseline: Run | None
) -> dict[_Subject, list[Measurement]]:
    """Return the usable rows of the last nights since the baseline by subject, oldest first."""
    names = (*_SUBJECT, *_CONDITIONS, "key", "created_at", "status", "station", "cycles")
    found: defaultdict[_Subject, list[Measurement]] = defaultdict(list)
    since = [one for one in before if baseline is None or one.started_at > baseline.started_at]
    for run in reversed(since[:NIGHTS]):
        for row in _rows(store, run, names):
            if row.usable and row.cycles:
                found[_subject(row, specimens)].append(row)
    return found
