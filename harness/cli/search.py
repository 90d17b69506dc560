"""`harness search`: find a network that meets budgets, verify it on the board, compare runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from harness.cli import search_setup as setup
from harness.cli.options import BenchFile, Database, Json, Libraries, StationName, grouped
from harness.cli.output import note, print_json, print_ready_table, print_table
from harness.cli.search_boards import BudgetOptions, FitOptions
from harness.cli.search_data import DataOptions
from harness.cli.search_measure import VerifyOptions, make_measure, measure_again
from harness.errors import EXIT_FAILED, Interrupted
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.search.record import SearchRun

THREADS = "2"


class _RunByDefault(typer.core.TyperGroup):
    """Takes `search BACKBONE ...` and `search --task ...` as `search run ...`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)  # click's types are typer's own in some releases

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # The group itself has no option but --help: `search --task kws` names no backbone.
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        found: list[str] = super().parse_args(ctx, args)
        return found


commands = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Find a network that meets budgets and verify it on the board; compare runs. "
    "`harness search BACKBONE` is short for `harness search run BACKBONE`, and "
    "`harness search --task TASK` takes the task's backbone.",
)


@commands.command("run")
@grouped
def run(
    *,
    backbone: Annotated[
        str | None,
        typer.Argument(help="Backbone, see `harness sample` (default: that of --task)."),
    ] = None,
    budgets: BudgetOptions,
    fit: FitOptions,
    data: DataOptions,
    training: setup.TrainingOptions,
    method: setup.MethodOptions,
    verify: VerifyOptions,
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of the run (default: below results/search)."
    ),
    json: Json = False,
) -> None:
    """Search a network, train it, quantise it, measure it; write everything into one folder.

    With several budgets of latency, or --per-board, one supernet gives a network, and a folder, for
    each. The same command run again continues where it was.
    """
    from harness.cli.progress import SearchWatcher
    from harness.report.search import write_search_page
    from harness.results import open_store
    from harness.search.run import run_search

    # Training may take the cores that converting leaves to a firmware build.
    os.environ.setdefault("HARNESS_TF_THREADS", THREADS)
    with open_store(verify.db) as store:
        plans = setup.make_plans(
            data.backbone(backbone), budgets, fit, training, method, data, store, out
        )
        found = []
        try:
            with SearchWatcher() as watcher:
                measure = None
                if verify.wanted:
                    boards = [one for plan in plans for one in plan.constraint.boards]
                    fits = [one.cost_model.fit for one in boards]
                    measure = make_measure(
                        [fit.fingerprint for fit in fits], verify, store, training.seed, watcher
                    )
                for plan in plans:
                    one = run_search(plan, measure, watcher)
                    found.append((one, plan.folder, write_search_page(one, plan.folder)))
        except KeyboardInterrupt:
            folders = ", ".join(str(plan.folder) for plan in plans)
            raise Interrupted(
                f"stopped; finished epochs and rows are kept in {folders}",
                fix="run the same command to continue after them",
            ) from None
    if json:
        records = [
            {**one.to_json(), "folder": str(folder), "page": str(page)}
            for one, folder, page in found
        ]
        print_json(records[0] if len(records) == 1 else {"runs": records})
    else:
        for one, _, page in found:
            _print(one, page)
    if any(one.measured is not None and not one.verdict for one, _, _ in found):
        raise typer.Exit(EXIT_FAILED)


@commands.command("rank")
@grouped
def rank(
    *,
    backbone: Annotated[
        str | None,
        typer.Argument(help="Backbone, see `harness sample` (default: that of --task)."),
    ] = None,
    budgets: BudgetOptions,
    fit: FitOptions,
    data: DataOptions,
    training: setup.TrainingOptions,
    networks: int = typer.Option(24, min=3, help="Random networks that meet the budgets."),
    seeds: int = typer.Option(1, min=1, help="Seeds that each network is trained with."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder of the run, see `run`."),
    db: Database = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Compare the supernet's ranking of networks with training each of them (--trial-epochs).

    With the options and the folder of a search its supernet is not trained again.
    """
    from harness.cli.progress import SearchWatcher
    from harness.report.search_plot import plot_ranking
    from harness.results import open_store
    from harness.search.choice.ranking import save_ranking
    from harness.search.methods import rank as rank_networks
    from harness.search.plan import Work
    from harness.strict import to_json

    os.environ.setdefault("HARNESS_TF_THREADS", THREADS)
    method = setup.MethodOptions(
        baseline=None, candidates=1, like=None, published=None, refine=0, per_board=False
    )
    with open_store(db) as store:
        plan, *_ = setup.make_plans(
            data.backbone(backbone), budgets, fit, training, method, data, store, out
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    with SearchWatcher() as watcher:
        found = rank_networks(Work(plan, None, watcher), networks, seeds)
    save_ranking(found, plan.folder)
    plot = plot_ranking(found, plan.folder / "ranking.png")
    if json:
        print_json({**to_json(found), "plot": str(plot)})
        return
    low, high = found.interval
    facts = [
        ("networks", len(found.networks)),
        ("Kendall's tau, supernet against training alone", f"{found.tau:.2f}"),
        ("95 % interval", f"{low:.2f} to {high:.2f}"),
        ("tau of operations alone", f"{found.ops_tau:.2f}"),
    ]
    if found.seed_tau is not None:
        facts.append(("tau between two seeds of training alone", f"{found.seed_tau:.2f}"))
    print_table("Ranking", ("fact", "value"), facts)
    note(f"  plot: {plot}")


@commands.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    board: str | None = typer.Option(
        None, "--board", "-b", help="Board id (default: the run's boards)."
    ),
    station: StationName = None,
    library: Libraries = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Check the hashes of a run, build and measure its network again; exit 1 if a budget breaks.

    Nothing but the folder is needed. On another board it says which budgets hold there.
    """
    from harness.cli.progress import SearchWatcher
    from harness.report.search import check_table
    from harness.search.record import Measured, check_sums, held, read_run
    from harness.strict import to_json

    checked = check_sums(folder)
    run = read_run(folder)
    with SearchWatcher() as watcher:
        rows = measure_again(folder, run, board, station, library, bench, watcher)
    found = [(one, row.board, Measured.of_row(row)) for one, row in rows]
    verdicts: list[dict[str, Any]] = [
        {
            "board": name,
            "measured": to_json(now),
            "holds": held(one.budgets, now),
            "expected_error": row.expected_error,
        }
        for (one, name, now), (_, row) in zip(found, rows, strict=True)
    ]
    if json:
        of_all = verdicts[0] if len(verdicts) == 1 else {"boards": verdicts}
        print_json({"files": checked, **of_all})
    else:
        for one, name, now in found:
            print_ready_table(check_table(one, now, name))
            if now.message:
                note(f"  {now.message}")
        note(f"  hashes agree: {', '.join(checked)}")
        for _, row in rows:
            if row.source == "emulated":
                _note_emulated(row.board, row.expected_error)
    if not all(all(verdict["holds"].values()) for verdict in verdicts):
        raise typer.Exit(EXIT_FAILED)


@commands.command("compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Path = typer.Option(
        Path("results/search/compare"), "--out", "-o", help="Folder for page and plot."
    ),
    json: Json = False,
) -> None:
    """Compare runs: accuracy against measured latency, means over seeds, which budgets hold."""
    from harness.report.search_compare import (
        differences_table,
        means_table,
        runs_table,
        write_comparison,
    )
    from harness.search.record import read_run

    found = [read_run(path) for path in _folders(runs)]
    page = write_comparison(found, out)
    if json:
        print_json({"page": str(page), "runs": [run.to_json() for run in found]})
        return
    for table in (means_table(found), differences_table(found), runs_table(found)):
        if table is not None:
            print_ready_table(table)
    note(f"  page: {page}")


def _folders(paths: Sequence[Path]) -> list[Path]:
    """Return the runs named, and those below a folder that is none itself."""
    found: list[Path] = []
    for path in paths:
        inner = sorted(file.parent for file in path.glob("*/search.json")) if path.is_dir() else []
        found += inner if inner and not (path / "search.json").is_file() else [path]
    return found


def _note_emulated(board: str, error: float | None) -> None:
    from harness.report.text import plus_minus

    note(
        f"{board} is emulated: cycles are modelled, not measured on hardware; expected error of "
        f"the latency {plus_minus(error)}"
    )


def _print(run: SearchRun, page: Path) -> None:
    from harness.report.search import cost_table, title

    for one in run.boards:
        place = f" on {one.board}" if run.others else ""
        print_ready_table(cost_table(one, title(run) + place))
    found = run.evaluation["test"]
    facts = [
        ("int8 accuracy on the test split", f"{100 * found.accuracy:.2f} %"),
        ("float accuracy", f"{100 * found.float_accuracy:.2f} %"),
        *([("AUC", f"{found.anomalies.auc:.4f}")] if found.anomalies else []),
        ("network", run.architecture.id),
        ("ops", run.predicted.ops),
        ("seconds", round(sum(run.seconds.values()))),
    ]
    print_table("Result", ("fact", "value"), facts)
    for one in run.boards:
        if one.measured is not None and one.measured.source == "emulated":
            _note_emulated(one.board, run.expected_error(one))
    note(f"  run: {page}")
