"""`harness search`: find a network that meets budgets, prove it; compare such runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from harness.cli.library import Kernels, Libraries, Runtime, check_runtime
from harness.cli.output import (
    BenchFile,
    Database,
    Json,
    StationName,
    err,
    print_json,
    print_ready_table,
    print_table,
)
from harness.cli.search_setup import (
    choose_fit,
    load_data,
    make_measure,
    make_plan,
    numbers,
    split,
)
from harness.errors import EXIT_FAILED
from harness.paths import DEFAULT_BOARD, DEFAULT_STORE

if TYPE_CHECKING:
    from harness.search.record import SearchRun

DEFAULT_EPOCHS = 20
DEFAULT_RETRAIN_EPOCHS = 60
DEFAULT_TRIAL_EPOCHS = 20
DEFAULT_CANDIDATES = 8
THREADS = "2"
METHODS = ("random", "uniform")


class _RunByDefault(typer.core.TyperGroup):
    """Takes `search BACKBONE ...` as `search run BACKBONE ...`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)  # click's types are typer's own in some releases


def register(app: typer.Typer, name: str) -> None:
    """Add the commands to `app`."""
    commands = typer.Typer(
        cls=_RunByDefault,
        no_args_is_help=True,
        help="Search a network that meets budgets, and prove it on the board; compare runs. "
        "`harness search BACKBONE` is short for `harness search run BACKBONE`.",
    )
    commands.command("run")(run)
    commands.command("compare")(compare)
    app.add_typer(commands, name=name)


def run(
    backbone: Annotated[str, typer.Argument(help="Backbone, see `harness sample`.")],
    data: Annotated[
        str,
        typer.Option("--data", help="Folder of WAV files or images, a .npz file, or 'digits'."),
    ],
    board: Annotated[str, typer.Option("--board", "-b", help="Board id.")] = DEFAULT_BOARD,
    latency_ms: Annotated[
        float | None, typer.Option(min=0, help="Budget of one inference.")
    ] = None,
    sram_kib: Annotated[
        float | None, typer.Option(min=0, help="Budget of arena, static RAM and stack.")
    ] = None,
    flash_kib: Annotated[
        float | None, typer.Option(min=0, help="Budget of the whole image.")
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(help="Fit file (default: the newest that suits below results/)."),
    ] = None,
    margin: Annotated[
        str,
        typer.Option(
            help="What is held against the budgets: interval (upper end of the fit's prediction "
            "interval, so that they hold as measured) or none (the prediction itself)."
        ),
    ] = "interval",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of the search.")] = DEFAULT_EPOCHS,
    retrain_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the final training.")
    ] = DEFAULT_RETRAIN_EPOCHS,
    trial_epochs: Annotated[
        int,
        typer.Option(
            min=0,
            help="Epochs that the best of the search and the hand-designed network are tried for; "
            "what is hand-designed stays unless it is clearly beaten on the validation split "
            "(0: the search decides alone).",
        ),
    ] = DEFAULT_TRIAL_EPOCHS,
    batch: Annotated[int, typer.Option(min=2, help="Batch size.")] = 64,
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.9)] = 0.1,
    distill: Annotated[
        bool,
        typer.Option(
            "--distill", help="Learn from the hand-designed network of twice the budgets as well."
        ),
    ] = False,
    augment: Annotated[
        bool,
        typer.Option(
            help="Vary inputs in search and training: speech by shifts, pace, vocal tract and "
            "masked times and frequencies; images by shifts and mirroring."
        ),
    ] = True,
    baseline: Annotated[
        str | None,
        typer.Option(help="Instead of searching: random (best of networks) or uniform."),
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=1, help="Networks that --baseline random tries.")
    ] = DEFAULT_CANDIDATES,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Give --baseline random as much learning time as this finished run had "
            "(default: --retrain-epochs for each network)."
        ),
    ] = None,
    refine: Annotated[
        int, typer.Option(min=0, help="Measure so many networks near the optimum and fit again.")
    ] = 0,
    pattern: Annotated[
        str | None,
        typer.Option(help="How names carry label and speaker: {label}_{speaker}_{index}.wav"),
    ] = None,
    words: Annotated[
        str | None, typer.Option(help="Words of Speech Commands, by commas (default: its ten).")
    ] = None,
    test_speakers: Annotated[
        str | None, typer.Option(help="Speakers to test on, by commas (default: by hash).")
    ] = None,
    validation_speakers: Annotated[
        str | None, typer.Option(help="Speakers to validate on, by commas (default: by hash).")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(min=1000, help="Sample rate in Hz (default: the files').")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Convert recordings of another rate.")
    ] = False,
    speeds: Annotated[
        str | None,
        typer.Option(
            help="Hear the training recordings at these speeds as well, by commas: 0.87,1.15 "
            "makes three voices of one, and an epoch three times as long."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run (default: below results/search)."),
    ] = None,
    station: StationName = None,
    proof: Annotated[
        bool, typer.Option("--proof/--no-proof", help="Measure the network on the station.")
    ] = True,
    runtime: Runtime = "aot",
    kernels: Kernels = "cmsis_nn",
    library: Libraries = None,
    db: Database = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Search a network, train it, quantise it, measure it; write everything into one folder.

    The same command run again goes on where it was.
    """
    from harness.backbones import get_backbone
    from harness.cli.progress import SearchWatcher
    from harness.errors import ConfigError
    from harness.report.search import write_search_page
    from harness.results import open_store
    from harness.search import Budgets
    from harness.search.run import run_search

    # Training may take the cores that converting leaves to a firmware build.
    os.environ.setdefault("HARNESS_TF_THREADS", THREADS)
    check_runtime(runtime, kernels)
    if baseline is not None and baseline not in METHODS:
        raise ConfigError(
            f"there is no baseline '{baseline}'", expected=f"one of {', '.join(METHODS)}"
        )
    for name, given, method in (("--refine", refine, None), ("--like", like, "random")):
        if given and baseline != method:
            raise ConfigError(
                f"{name} says nothing to {'a search' if baseline is None else baseline}",
                expected=f"{name} with {f'--baseline {method}' if method else 'no --baseline'}",
            )
    budgets = Budgets(
        latency_us=None if latency_ms is None else latency_ms * 1000,
        sram_bytes=None if sram_kib is None else int(sram_kib * 1024),
        flash_bytes=None if flash_kib is None else int(flash_kib * 1024),
    )
    if not budgets.items():
        raise ConfigError(
            "no budget is given",
            expected="one or more of --latency-ms, --sram-kib and --flash-kib",
        )
    space = get_backbone(backbone)
    fit_file, chosen = choose_fit(fit, backbone, board, runtime, kernels)
    dataset = load_data(
        data,
        space.input_shape,
        {
            "pattern": pattern,
            "words": split(words),
            "sample_rate_hz": sample_rate,
            "resample": resample,
            "speeds": numbers(speeds),
        },
        split(test_speakers),
        split(validation_speakers),
    )
    with open_store(db or DEFAULT_STORE) as store:
        plan = make_plan(
            method=baseline or "search",
            backbone=space.with_classes(len(dataset.classes)),
            dataset=dataset,
            source=data,
            fit=chosen,
            fit_file=fit_file,
            store=store,
            margin=margin,
            budgets=budgets,
            seed=seed,
            epochs=epochs,
            train={
                "seed": seed,
                "epochs": retrain_epochs,
                "batch_size": batch,
                "label_smoothing": label_smoothing,
            },
            augment=augment,
            distill=distill,
            trial_epochs=trial_epochs,
            candidates=candidates,
            like=like,
            refine=refine,
            folder=out,
        )
        with SearchWatcher() as watcher:
            measure = (
                make_measure(chosen, store, bench, station, library, seed, watcher)
                if proof
                else None
            )
            found = run_search(plan, measure, watcher)
            watcher.stage("page")
            write_search_page(found, plan.folder)
    page = plan.folder / "search.md"
    if json:
        print_json({**found.to_json(), "folder": str(plan.folder), "page": str(page)})
    else:
        _print(found, plan.folder)
    if found.measured is not None and not all(found.holds.values()):
        raise typer.Exit(EXIT_FAILED)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for page and plot.")] = Path(
        "results/search/compare"
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
    err().print(f"  page: {page}", markup=False, soft_wrap=True)


def _folders(paths: Sequence[Path]) -> list[Path]:
    """Return the runs named, and those below a folder that is none itself."""
    found: list[Path] = []
    for path in paths:
        inner = sorted(file.parent for file in path.glob("*/search.json")) if path.is_dir() else []
        found += inner if inner and not (path / "search.json").is_file() else [path]
    return found


def _print(run: SearchRun, folder: Path) -> None:
    from harness.report.search import cost_rows, title

    heads = ("", "budget", "bound", "predicted", "measured", "predicted − measured", "")
    print_table(title(run), heads, cost_rows(run))
    found = run.evaluation["test"]
    facts: list[tuple[str, object]] = [
        ("int8 accuracy on the test split", f"{100 * found['accuracy']:.2f} %"),
        ("float accuracy", f"{100 * found['float_accuracy']:.2f} %"),
    ]
    if found.get("anomalies"):
        facts.append(("AUC", f"{found['anomalies']['auc']:.4f}"))
    facts += [
        ("network", run.architecture.id),
        ("ops", run.predicted.ops),
        ("seconds", round(sum(run.seconds.values()))),
    ]
    print_table("Result", ("fact", "value"), facts)
    if run.measured is not None and run.measured.source == "emulated":
        err().print("emulated board: cycles are modelled, not measured on hardware")
    err().print(f"  run: {folder}/search.md", markup=False, soft_wrap=True)
