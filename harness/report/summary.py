"""The Markdown summary of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from harness.errors import ResultsError
from harness.files import draft_of
from harness.fit.model import Fit, LinearModel
from harness.report import text
from harness.report.compare import comparison_table, has_several
from harness.report.table import Column, Table, table_of
from harness.report.tables import WHERE, fit_table, measurement_table, predictor_table
from harness.results.record import Measurement, Run, Status, best_per_key

_SHOWN = 20  # names of jobs that were not run


def write_summary(
    path: str | Path,
    rows: Iterable[Measurement],
    fits: Sequence[Fit] = (),
    *,
    pooled: Fit | None = None,
    plot: str | Path | None = None,
    memory_plot: str | Path | None = None,
    title: str = "Results",
    notes: Sequence[str] = (),
    run: Run | None = None,
    not_run: Sequence[str] = (),
) -> Path:
    """Write verdicts, what failed, fits, plots, a table of all networks and the time by stage.

    Args:
        run: The run that the rows are of: where, when, and which stations failed.
        not_run: Names of its jobs that no station was left for.
        pooled: Fit over all backbones, shown beneath the others.
        plot: Image of latency to show, linked relative to `path`.
        notes: Remarks for the reader, such as why a backbone has no fit.

    Raises:
        ResultsError: The file cannot be written.
    """
    file = Path(path)
    best = best_per_key(rows)
    parts = [f"# {text.markdown(title)}\n", _verdict(best), *_run(run, not_run)]
    invalid = [row for row in best if row.status is Status.INVALID]
    if invalid:
        table = table_of("Invalid rows", sorted(invalid, key=_by_size), _INVALID, WHERE)
        parts += ["## Invalid rows\n", f"{text.markdown(table.title)}\n", table.markdown()]
    parts += [f"- {text.markdown(note)}" for note in notes]
    if notes:
        parts.append("")
    if fits:
        table = fit_table([*fits, *([pooled] if pooled else [])])
        parts += ["## Fits\n", f"{text.markdown(table.title)}\n", table.markdown()]
        parts.append(
            "Latency = intercept + ops / throughput. The columns right of *held out* are errors "
            "on held-out architectures, which were not fitted on; *in interval* should be near "
            "95 %.\n"
        )
        if any(fit.layers for fit in fits):
            table = predictor_table(fits)
            parts += [
                "Latency from ops alone and from layers (docs/linearity.md), on the held-out "
                "architectures:\n",
                table.markdown(),
            ]
        parts += _memory_models(fits)
    if plot is not None:
        link = os.path.relpath(plot, file.parent).replace(os.sep, "/")
        parts.append(f"![Latency against operations](<{link}>)\n")
    if has_several(best):
        table = comparison_table(best)
        parts += ["## Side by side\n", f"{text.markdown(table.title)}\n", table.markdown()]
        parts.append(
            "*× best*: cycles against the model's best here. *code*: flash without weights. "
            "*SRAM*: arena (verified minimum where there is one), other static RAM and stack.\n"
        )
    if memory_plot is not None:
        link = os.path.relpath(memory_plot, file.parent).replace(os.sep, "/")
        parts.append(f"![Where SRAM and flash go](<{link}>)\n")
    if best:
        table = measurement_table(sorted(best, key=_by_size))
        parts += ["## Networks\n", f"{text.markdown(table.title)}\n", table.markdown()]
    times = _stage_table(best)
    if times.rows:
        parts += ["## Time by stage\n", times.markdown()]
    with draft_of(file, what="summary", error=ResultsError) as draft:
        draft.write_text("\n".join(parts), encoding="utf-8")
    return file


def _by_size(row: Measurement) -> tuple[str, int, str]:
    return (row.backbone or "", row.ops or 0, row.key)


def _run(run: Run | None, not_run: Sequence[str]) -> list[str]:
    """Return where and when the rows were measured, what failed there and what is missing."""
    if run is None:
        return []
    ended = f" to {run.ended_at:%Y-%m-%d %H:%M}" if run.ended_at else ""
    version = " ".join(filter(None, (run.harness_version, run.git_revision)))
    lines = [
        f"Run {run.id} on host {run.host} by {run.user}, {run.started_at:%Y-%m-%d %H:%M}{ended} "
        f"UTC, harness {version}: {run.outcome or 'not ended'}."
    ]
    for name, told in run.stations.items():
        if "what" in told:
            left = f" {told['left']} jobs were not run for it." if told.get("left") else ""
            lines.append(f"Station {name} failed: error[{told.get('code')}]: {told['what']}.{left}")
    lines += run.notes
    if not_run:
        more = f" and {len(not_run) - _SHOWN} more" if len(not_run) > _SHOWN else ""
        lines.append(f"{len(not_run)} jobs were not run: {', '.join(not_run[:_SHOWN])}{more}.")
    return [*(f"- {text.markdown(line)}" for line in lines), ""]


def _verdict(rows: Sequence[Measurement]) -> str:
    count = Counter(row.status for row in rows)
    words = ", ".join(f"{count[status]} {status.value}" for status in Status)
    lines = [f"{len(rows)} networks: {words}."]
    compared = [row for row in rows if row.bit_exact is not None]
    if compared:
        exact = sum(bool(row.bit_exact) for row in compared)
        lines.append(f"Outputs equal the reference bit for bit in {exact} of {len(compared)}.")
    if any(row.source.value == "emulated" for row in rows):
        models = sorted({row.timing_model for row in rows if row.timing_model is not None})
        by = f" by {text.markdown(', '.join(models))}" if models else ""
        lines.append(f"**Emulated:** cycles are modelled{by}, not measured on hardware.")
    codes = Counter(code for row in rows for code in row.issues)
    if codes:
        lines.append("Issues: " + ", ".join(f"{code} × {n}" for code, n in codes.most_common()))
    return "  \n".join(lines) + "\n"


_INVALID: tuple[Column[Measurement], ...] = (
    Column("model", lambda row: text.name(row.model_name)),
    Column("code", lambda row: " ".join(row.issues) or text.UNKNOWN),
    Column("reason", lambda row: text.name(row.message, 300)),
    Column("key", lambda row: row.key[:10]),
)
_MEMORY: tuple[Column[tuple[Fit, LinearModel]], ...] = (
    Column("backbone", lambda pair: text.name(pair[0].fingerprint.backbone)),
    Column("target", lambda pair: pair[1].target),
    Column(
        "model", lambda pair: f"{pair[1].intercept:,.0f} + {pair[1].slope:.3f} × {pair[1].feature}"
    ),
    Column("r² held out", lambda pair: text.r_squared(_held(pair[1], "r2"))),
    Column("largest error", lambda pair: text.percent(_held(pair[1], "max_error_pct"))),
)


def _held(model: LinearModel, name: str) -> float | None:
    return getattr(model.holdout, name, None)


def _memory_models(fits: Sequence[Fit]) -> list[str]:
    pairs = [(fit, model) for fit in fits for model in (fit.arena, fit.flash) if model]
    return [table_of("Memory", pairs, _MEMORY).markdown()] if pairs else []


def _stage_table(rows: Sequence[Measurement]) -> Table:
    seconds: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.stage_seconds.items():
            seconds.setdefault(name, []).append(value)
    lines = [
        (text.name(name), str(len(own)), f"{mean(own):.2f}", f"{max(own):.2f}", f"{sum(own):,.1f}")
        for name, own in seconds.items()
    ]
    return Table("Time by stage", ("stage", "networks", "mean s", "longest s", "sum s"), lines)
