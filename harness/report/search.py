"""Write the page of a search: predicted against measured, accuracy, the network, the trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import ResultsError
from harness.files import draft_of
from harness.fit import Margin
from harness.report import text
from harness.report.table import Column, Table, table_of
from harness.search.choice.refine import LocalError
from harness.search.cost.budgets import FIGURES
from harness.search.record import (
    Candidate,
    Measured,
    Method,
    OnBoard,
    Refinement,
    SearchRun,
    held,
)
from harness.search.training.evaluate import Evaluation

PAGE = "search.md"
_VERDICTS = {True: "holds", False: "BROKEN", None: "not measured"}  # of a budget
_BOUNDS = {
    Margin.INTERVAL: "the upper end of the prediction interval",
    Margin.CLOCK: "the upper end of the prediction interval, and on top of it the expected error "
    "of a modelled latency",
    Margin.NONE: "here the prediction itself",
}
_METHODS = {
    Method.SEARCH: "differentiable search (DNAS)",
    Method.RANDOM: "best of random networks",
    Method.EVOLUTION: "best of evolved networks",
    Method.UNIFORM: "hand-designed network, scaled uniformly",
    Method.PUBLISHED: "published network",
}


def write_search_page(run: SearchRun, folder: Path) -> Path:
    """Write ``search.md`` with its plots beside it.

    Raises:
        ResultsError: The folder cannot be written.
    """
    from harness.report.search_plot import plot_architecture, plot_trajectory

    parts = [f"# {text.markdown(title(run))}\n"]
    for one in run.boards:
        parts += [f"## On {one.board}\n"] if run.others else []
        parts += [_verdict(one, run.expected_error(one)), cost_table(one).markdown()]
    parts.append(
        "*predicted* is the fit's prediction, *bound* the value compared with the budget: "
        f"{_BOUNDS[Margin(run.fit.margin)]}. SRAM is arena, other static RAM and stack.\n"
    )
    parts += ["## Accuracy\n", accuracy_table(run).markdown(), _data(run)]
    plot_architecture(run, folder / "architecture.png")
    parts += ["## The network\n", _network(run), "![The network](<architecture.png>)\n"]
    if run.search is not None and run.search.trajectory:
        plot_trajectory(run, folder / "trajectory.png")
        parts += ["## The search\n", _search(run), "![The search](<trajectory.png>)\n"]
    if run.candidates:
        parts += ["## Networks tried\n", _candidate_table(run).markdown()]
    for one in run.boards:
        if one.refinement:
            place = f" on {one.board}" if run.others else ""
            parts += [f"## Measured near the optimum{place}\n", _refinement(one.refinement)]
    parts += ["## Where the time went\n", _time_table(run).markdown()]
    parts += ["## Made with\n", _made_with(run)]
    return write_page(folder / PAGE, parts)


def write_page(file: Path, parts: Sequence[str]) -> Path:
    """Write a Markdown page, whole or not at all.

    Raises:
        ResultsError: It cannot be written.
    """
    with draft_of(file, what="page", error=ResultsError) as draft:
        draft.write_text("\n".join(parts), encoding="utf-8")
    return file


def title(run: SearchRun) -> str:
    """Return one line that names a run."""
    return (
        f"{run.backbone} on {run.dataset.name} for {boards_text(run)}, seed {run.seed}: "
        f"{_METHODS[run.method]}"
    )


def boards_text(run: SearchRun) -> str:
    """Return the boards of a run."""
    return " and ".join(one.board for one in run.boards)


def error_pct(run: OnBoard, budget: str) -> float | None:
    """Return predicted against measured in percent of the measured figure; None: not known."""
    predicted = getattr(run.predicted, budget)
    measured = run.measured_of(budget)
    if predicted is None or not measured:
        return None
    return float(100 * (predicted - measured) / measured)


def cost_table(run: OnBoard, name: str = "Cost") -> Table:
    """Return a line for latency, SRAM and flash: budget, bound, predicted, measured, verdict."""
    bounds, budgets = run.predicted.bounds(), dict(run.budgets.items())
    rows = []
    for budget, (label, scale, unit, digits) in FIGURES.items():
        predicted, measured = getattr(run.predicted, budget), run.measured_of(budget)
        figures = (budgets.get(budget), bounds[budget], predicted, measured)
        off = error_pct(run, budget)
        rows.append(
            (
                f"{label} ({unit})",
                *(text.number(figure, digits, per=scale) for figure in figures),
                text.number(off, 1, sign=True, unit=" %"),
                _VERDICTS[run.holds[budget]] if budget in budgets else "no budget",
            )
        )
    verb = text.verb(run.measured.source) if run.measured else "measured"
    heads = ("", "budget", "bound", "predicted", verb, "predicted − " + verb, "budget as measured")
    return Table(name, heads, rows)


def check_table(run: OnBoard, now: Measured, board: str) -> Table:
    """Return a line for latency, SRAM and flash: budget, as recorded, as measured now, verdict."""
    budgets, holds = dict(run.budgets.items()), held(run.budgets, now)
    rows = [
        (
            f"{label} ({unit})",
            *(
                text.number(figure, digits, per=scale)
                for figure in (budgets.get(name), run.measured_of(name), getattr(now, name))
            ),
            _VERDICTS[holds[name]] if name in budgets else "no budget",
        )
        for name, (label, scale, unit, digits) in FIGURES.items()
    ]
    heads = ("", "budget", f"recorded on {run.board}", f"{now.source} {board}", "budget")
    return Table("Measured again", heads, rows)


_ACCURACY: tuple[Column[tuple[str, Evaluation]], ...] = (
    Column("split", lambda item: item[0]),
    Column("samples", lambda item: text.number(item[1].samples)),
    Column("int8", lambda item: _percent(item[1].accuracy)),
    Column("float", lambda item: _percent(item[1].float_accuracy)),
    Column("agree", lambda item: _percent(item[1].agreement)),
)
_ANOMALIES: tuple[Column[tuple[str, Evaluation]], ...] = (
    Column("AUC (int8)", lambda item: _of_anomalies(item[1], "auc")),
    Column("pAUC (int8)", lambda item: _of_anomalies(item[1], "partial_auc")),
)
_ERROR: tuple[Column[tuple[str, LocalError]], ...] = (
    Column("fit", lambda item: item[0]),
    Column("MAPE %", lambda item: text.number(item[1].mape_pct, 2)),
    Column("largest %", lambda item: text.number(item[1].max_error_pct, 2)),
    Column("bias %", lambda item: text.number(item[1].bias_pct, 2)),
    Column("in interval", lambda item: text.share(item[1].inside)),
    Column("interval ± %", lambda item: text.number(item[1].half_width_pct, 2)),
)


def accuracy_table(run: SearchRun) -> Table:
    """Return a line for each split."""
    has_anomalies = any(found.anomalies for found in run.evaluation.values())
    columns = (*_ACCURACY, *_ANOMALIES) if has_anomalies else _ACCURACY
    return table_of("Accuracy", list(run.evaluation.items()), columns)


def _verdict(run: OnBoard, error: float | None) -> str:
    lines = []
    if run.measured is None:
        lines.append("Not measured: the run was not verified on a board.")
    else:
        broken = [FIGURES[name][0] for name, holds in run.holds.items() if holds is False]
        if broken:
            lines.append(f"**Budgets broken as measured: {', '.join(broken)}.**")
        elif all(run.holds.values()):
            lines.append("Every budget holds as measured.")
        else:
            lines.append("Not every figure was measured.")
        if run.measured.message:
            lines.append(f"The board said: {text.markdown(run.measured.message)}")
        if run.measured.issues:
            lines.append(f"Issues: {text.markdown(', '.join(run.measured.issues))}.")
        if run.measured.source == "emulated":
            model = text.markdown(run.measured.timing_model or "a timing model")
            lines.append(
                f"**Emulated:** cycles are modelled by {model}, not measured on hardware. Expected "
                f"error of the latency: {text.plus_minus(error)}."
            )
    if run.predicted.extrapolated:
        names = ", ".join(run.predicted.extrapolated)
        lines.append(f"The fit extrapolates: {text.markdown(names)} lie outside its range.")
    return "  \n".join(lines) + "\n"


def _data(run: SearchRun) -> str:
    data = run.dataset
    counts = ", ".join(f"{count:,} {name}" for name, count in data.samples.items())
    lines = [f"{len(data.classes)} classes; samples: {counts}."]
    division = data.division
    if division.get("by") == "speaker":
        names = "; ".join(
            f"{name}: {', '.join(division[name])}" for name in ("train", "validation", "test")
        )
        lines.append(f"Divided by speaker ({names}): nobody is in two splits.")
    else:
        lines.append(f"Divided by {division.get('by', 'the data set itself')}.")
    return text.markdown(" ".join(lines)) + "\n"


def _network(run: SearchRun) -> str:
    predicted = run.predicted
    decisions = "; ".join(
        f"{name}: {', '.join(map(str, values))}" for name, values in run.architecture.decisions
    )
    return (
        f"`{run.architecture.id}`: {text.markdown(decisions)} (0: the block is skipped).  \n"
        f"{predicted.ops / 1e6:,.2f} Mop, {predicted.parameters:,} parameters, working memory "
        f"{predicted.working_memory_bytes:,} bytes.\n"
    )


def _search(run: SearchRun) -> str:
    found = run.search
    if found is None:
        return ""
    moved = f"{found.shrunk} steps down to meet the budgets, {found.grown} up to use what was left"
    lines = [
        f"{len(found.trajectory)} epochs in {found.seconds:,.0f} s. Derived from the likeliest "
        f"options with {moved}."
    ]
    if run.candidates:
        lines.append(
            "Its finalists were each trained for a few epochs, and the two best again for longer, "
            "with the hand-designed network. That one stays unless another is better on the "
            "validation split by more than one standard error."
        )
        if run.architecture not in found.finalists and run.refinement is None:
            lines.append("It stayed.")
    return " ".join(lines) + "\n"


def _candidate_table(run: SearchRun) -> Table:
    columns: tuple[Column[Candidate], ...] = (
        Column("taken", lambda item: "✓" if item.architecture == run.architecture else ""),
        Column("Mop", lambda item: text.number(item.predicted.ops, 2, per=1e6)),
        Column(
            "predicted ms" + (f" on {run.board}" if run.others else ""),
            lambda item: text.number(item.predicted.latency_us, 2, per=1000),
        ),
        Column("epochs", lambda item: text.number(item.epochs)),
        Column("s", lambda item: text.number(item.seconds)),
        Column("validation accuracy (float)", lambda item: _percent(item.validation_accuracy)),
    )
    return table_of("Networks tried", run.candidates, columns)


def _refinement(found: Refinement) -> str:
    lines = [f"{found.added} networks were measured where the fit was least certain.\n"]
    if found.before and found.after:
        rows = (("before", found.before), ("after", found.after))
        lines.append(table_of("", rows, _ERROR).markdown())
        lines.append(
            "The error is on the networks that were added; *after* predicts each of them by a fit "
            "that has seen all rows but its own.\n"
        )
    return "\n".join(lines)


def _time_table(run: SearchRun) -> Table:
    times = {
        **run.seconds,
        "sum": sum(run.seconds.values()),
        "of it training": run.training_seconds,
    }
    rows = [(name, text.number(seconds, 1)) for name, seconds in times.items()]
    return Table("Where the time went", ("stage", "s"), rows)


def _made_with(run: SearchRun) -> str:
    facts = {
        "created": run.created_at,
        "data": f"{run.dataset.source} ({run.dataset.fingerprint})",
        "fit": ", ".join(one.fit.file for one in run.boards),
        **run.versions,
    }
    return "".join(
        f"- {text.markdown(name)}: {text.markdown(value)}\n"
        for name, value in facts.items()
        if value
    )


def _of_anomalies(found: Evaluation, name: str) -> str:
    return text.number(getattr(found.anomalies, name, None), 4)


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
