"""The Markdown summary of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from harness.errors import ResultsError
from harness.files import draft_of
from harness.fit.model import Fit
from harness.report import text
from harness.report.compare import comparison_table, has_several
from harness.report.tables import Table, fit_table, measurement_table, predictor_table
from harness.results.record import Measurement, Status, best_per_key


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
) -> Path:
    """Write verdicts, fits, plots, a table of all networks and the time by stage.

    Args:
        path: The Markdown file.
        rows: Attempts; the best of each job is shown.
        fits: Fits made from them.
        pooled: Fit over all backbones, shown beneath the others.
        plot: Image of latency to show, linked relative to `path`.
        memory_plot: Image of SRAM and flash, likewise.
        title: Heading.
        notes: Remarks for the reader, such as why a backbone has no fit.

    Raises:
        ResultsError: The file cannot be written.
    """
    file = Path(path)
    best = best_per_key(rows)
    parts = [f"# {text.markdown(title)}\n", _verdict(best)]
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
        parts += ["## Where the time went\n", times.markdown()]
    _write(file, "\n".join(parts))
    return file


def _by_size(row: Measurement) -> tuple[str, int, str]:
    return (row.backbone or "", row.ops or 0, row.key)


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


def _memory_models(fits: Sequence[Fit]) -> list[str]:
    rows = []
    for fit in fits:
        for model in (fit.arena, fit.flash):
            if model is None:
                continue
            rows.append(
                (
                    text.name(fit.fingerprint.backbone),
                    model.target,
                    f"{model.intercept:,.0f} + {model.slope:.3f} × {model.feature}",
                    text.r_squared(model.holdout.r2 if model.holdout else None),
                    text.number(model.holdout.max_error_pct if model.holdout else None, 1),
                )
            )
    if not rows:
        return []
    heads = ("backbone", "target", "model", "r² held out", "largest error %")
    return [Table("Memory", heads, tuple(rows), frozenset({0, 1, 2})).markdown()]


def _stage_table(rows: Sequence[Measurement]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.stage_seconds))
    lines = []
    for name in names:
        values = [row.stage_seconds[name] for row in rows if name in row.stage_seconds]
        lines.append(
            (
                text.name(name),
                str(len(values)),
                text.number(mean(values), 2),
                text.number(max(values), 2),
                text.number(sum(values), 1),
            )
        )
    heads = ("stage", "networks", "mean s", "longest s", "sum s")
    return Table("Where the time went", heads, tuple(lines), frozenset({0}))


def _write(file: Path, content: str) -> None:
    with draft_of(file, what="summary", error=ResultsError) as draft:
        draft.write_text(content, encoding="utf-8")
