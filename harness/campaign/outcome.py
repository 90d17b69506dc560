"""Write fits, plots and a summary of a set of rows to a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import FitError, ResultsError
from harness.results.record import Measurement, Run, best_per_key

if TYPE_CHECKING:
    from harness.fit import Fingerprint, Fit
    from harness.fit.model import Predictor
    from harness.results.table import Table

_NAMED = ("board", "backbone", "runtime", "kernels")


@dataclass(slots=True)
class Outcome:
    """What was written.

    Attributes:
        rows: Rows that it is about, where they were given as records.
        fits: One per backbone and configuration.
        pooled: One across the backbones of a configuration that has several, for comparison only.
        files: Paths by description.
        notes: What could not be made, and why.
    """

    rows: Sequence[Measurement] = ()
    fits: list[Fit] = field(default_factory=list)
    pooled: list[Fit] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "fits": [_figures(fit) for fit in self.fits],
            "pooled": [_figures(fit) for fit in self.pooled],
            "files": {label: str(path) for label, path in self.files.items()},
            "notes": self.notes,
        }


def write_outcome(
    rows: Sequence[Measurement],
    folder: Path,
    *,
    title: str,
    predictor: Predictor | str | None,
    run: Run | None = None,
    not_run: Sequence[str] = (),
) -> Outcome:
    """Write ``summary.md`` and, where a predictor is named, fits and plots of the rows.

    `run` is the run that they are of, `not_run` the names of its jobs that left no row.
    """
    from harness.report.summary import write_summary

    rows = best_per_key(rows)
    outcome = Outcome(rows)
    if predictor:
        outcome = write_fits(rows, folder, predictor=predictor)
        outcome.rows = [row for row in rows if row.backbone is not None]
    plot = next((path for label, path in outcome.files.items() if label.startswith("plot")), None)
    memory = _draw_memory(rows, folder, outcome)
    outcome.files["summary"] = write_summary(
        folder / "summary.md",
        rows,
        outcome.fits,
        pooled=outcome.pooled[0] if outcome.pooled else None,
        plot=plot,
        memory_plot=memory,
        title=title,
        notes=outcome.notes,
        run=run,
        not_run=not_run,
    )
    return outcome


def _draw_memory(rows: Sequence[Measurement], folder: Path, outcome: Outcome) -> Path | None:
    """Draw SRAM and flash of the models that are files; sampled networks are too many."""
    from harness.report.compare import by_model
    from harness.report.memory_plot import plot_memory

    named = [row for row in by_model(rows) if row.usable and row.backbone is None]
    if not named:
        return None
    try:
        path = plot_memory(named, folder / "memory.png")
    except ResultsError as failure:
        outcome.notes.append(f"no plot of memory: {failure.what}")
        return None
    outcome.files["plot memory"] = path
    return path


def write_fits(
    rows: Sequence[Measurement] | Table,
    folder: Path,
    *,
    degraded: bool = False,
    predictor: Predictor | str = "ops",
) -> Outcome:
    """Fit every configuration among the rows; write each fit, and a plot per configuration.

    Rows are records or a table, see `harness.fit.select`. A configuration that cannot be fitted
    is a note, not a failure.
    """
    import numpy as np

    from harness.fit import save_fit
    from harness.fit.regress import fit_all
    from harness.fit.select import LAYER_COLUMNS, select_rows
    from harness.report.plot import plot_latency
    from harness.results.table import table_of

    everything = table_of(rows, ("created_at", *LAYER_COLUMNS))
    table, _ = select_rows(everything, degraded=degraded)
    unnamed = [n for n, facts in table.configurations.items() if facts["backbone"] is None]
    if unnamed:
        table = table.take(~np.isin(table["configuration"], unnamed))
    outcome = Outcome()
    outcome.fits, failures = fit_all(table, degraded=degraded, predictor=predictor)
    if not outcome.fits and not failures:
        outcome.notes.append(_why_nothing(everything, degraded=degraded))
    for failure in failures:
        name = _label(failure.fingerprint, failure.fingerprint)
        outcome.notes.append(f"no fit of {name} ({failure.rows} rows): {failure.error.what}")
    for fit in outcome.fits:
        label = _label(fit.fingerprint, outcome.fits[0].fingerprint)
        outcome.files[f"fit {label}"] = save_fit(fit, folder / f"fit-{_slug(label)}.json")
    configurations: dict[Fingerprint, list[Fit]] = {}
    for fit in outcome.fits:
        configurations.setdefault(replace(fit.fingerprint, backbone=None), []).append(fit)
    for fingerprint, fits in configurations.items():
        pooled = _pool(fits, table, outcome, degraded=degraded)
        label = _label(fingerprint, outcome.fits[0].fingerprint)
        path = folder / f"latency-{_slug(label)}.png"
        outcome.files[f"plot {label}"] = plot_latency(fits, table, path, pooled=pooled)
    return outcome


def _why_nothing(rows: Table, *, degraded: bool) -> str:
    """Say of how many rows none can be fitted, and what is wrong with them."""
    statuses = rows["status"].tolist()
    count = Counter(statuses)
    taken = ("valid", "degraded") if degraded else ("valid",)
    files = sum(status in taken for status in statuses)  # else there were fits, or failures
    reasons = [f"{count['invalid']} invalid"] if count["invalid"] else []
    if count["degraded"] and not degraded:
        reasons.append(f"{count['degraded']} degraded, which --degraded takes")
    if files:
        reasons.append(f"{files} of models that are files: a fit is about networks of a backbone")
    found = f"{len(rows)} rows" + (f", {'; '.join(reasons)}" if reasons else "")
    return f"nothing to fit: {found}. Measure samples of a backbone (docs/campaigns.md)"


def _pool(fits: list[Fit], table: Table, outcome: Outcome, *, degraded: bool) -> Fit | None:
    """Fit across the backbones of a configuration, where there are several."""
    import numpy as np

    from harness.fit.regress import fit_rows

    if len(fits) == 1:
        return None
    keys = {key for fit in fits for key in (*fit.keys, *fit.holdout_keys)}
    try:
        members = table.take(np.array([key in keys for key in table["key"]]))
        pooled = fit_rows(members, pooled=True, degraded=degraded)
    except FitError as failure:
        outcome.notes.append(f"no pooled fit: {failure.what}")
        return None
    outcome.pooled.append(pooled)
    return pooled


def _label(fingerprint: Fingerprint, usual: Fingerprint) -> str:
    """Name a configuration: board, backbone, runtime, kernels, and what differs from the usual."""
    words = [str(value) for name in _NAMED if (value := getattr(fingerprint, name))]
    other = fingerprint.differences(usual).items()
    return " ".join(words + [f"{name}={mine}" for name, (mine, _) in other if name not in _NAMED])


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", label).strip("-")


def _figures(fit: Fit) -> Mapping[str, Any]:
    latency = fit.latency
    return {
        "board": fit.fingerprint.board,
        "source": fit.fingerprint.source,
        "backbones": fit.backbones,
        "throughput_mops_per_s": fit.throughput_ops_per_s / 1e6,
        "intercept_us": latency.intercept,
        "rows": len(fit.keys),
        "held_out_rows": len(fit.holdout_keys),
        "train": asdict(latency.train),
        "held_out": asdict(latency.holdout) if latency.holdout else None,
        "layers": asdict(fit.layers) if fit.layers else None,
    }
