"""`harness measure`: one .tflite on one station."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.library import Kernels, KernelsSource, Libraries, Runtime, check_runtime
from harness.cli.output import (
    BenchFile,
    Database,
    Json,
    StationName,
    err,
    print_json,
    print_table,
)
from harness.paths import DEFAULT_BOARD, DEFAULT_STORE

if TYPE_CHECKING:
    from harness.results.record import Measurement


def register(app: typer.Typer, name: str) -> None:
    """Add the command to `app`."""
    app.command(name)(measure)


def measure(
    model: Annotated[Path, typer.Argument(help="A full-int8 .tflite file.")],
    board: Annotated[
        str, typer.Option("--board", "-b", help="Board, where no station is named.")
    ] = DEFAULT_BOARD,
    station: StationName = None,
    runtime: Runtime = "aot",
    kernels: Kernels = "cmsis_nn",
    library: Libraries = None,
    kernels_source: KernelsSource = None,
    optimization: Annotated[str, typer.Option("-O", help="Optimisation level.")] = "-O2",
    warmup: Annotated[int, typer.Option(min=0, help="Inferences before the timed ones.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, max=64, help="Timed inferences.")] = 3,
    boots: Annotated[
        int, typer.Option(min=1, max=16, help="Resets, each followed by the repeats.")
    ] = 1,
    layers: Annotated[bool, typer.Option(help="Time each layer in a pass of its own.")] = True,
    verify_arena: Annotated[
        bool, typer.Option("--verify-arena", help="Search the smallest arena that works.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the input data.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Measure even if it was before.")] = False,
    db: Database = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Build, flash and measure a model; print latency, memory, flash and layers."""
    from harness.bench import load_bench
    from harness.campaign.config import MeasureOptions
    from harness.campaign.entry import measure_job, one_model, plan_now
    from harness.cli.progress import spinner
    from harness.results import open_store

    if optimization and not optimization.startswith("-"):
        optimization = f"-{optimization}" if optimization.startswith("O") else f"-O{optimization}"
    check_runtime(runtime, kernels)
    config = one_model(
        model,
        name="measure",
        board=board,
        station=station,
        runtime=runtime,
        kernels=kernels,
        library=library,
        kernels_source=kernels_source,
        optimization=optimization,
        seed=seed,
        measure=MeasureOptions(
            warmup=warmup, repeats=repeats, boots=boots, layers=layers, verify_arena=verify_arena
        ),
    )
    (job,) = plan_now(config, load_bench(Path(bench) if bench else None))
    with open_store(db or DEFAULT_STORE) as store:
        row, fresh = measure_job(job, store, again=again, step=spinner)
    if not fresh:
        err().print("measured before; --again measures once more")
    if json:
        print_json(as_json(row))
    else:
        print_row(row)


def as_json(row: Measurement) -> dict[str, Any]:
    """Return a row as plain data, without its log."""
    from dataclasses import asdict

    data = asdict(row)
    data.pop("raw_log")
    return data


def print_row(row: Measurement) -> None:
    """Print one row: facts, then layers."""
    kib = 1024
    latency = f"{row.latency_us / 1000:.3f} ms" if row.latency_us is not None else "–"
    if row.latency_us is not None and row.latency_ci_low_us is not None:
        low, high = row.latency_ci_low_us / 1000, (row.latency_ci_high_us or 0) / 1000
        latency += f" ({low:.3f} – {high:.3f}, {len(row.cycles)} repeats)"
    cycles = sorted(row.cycles)[len(row.cycles) // 2] if row.cycles else None
    facts: list[tuple[str, object]] = [
        ("status", f"{row.status} {' '.join(row.issues)}".strip()),
        ("source", f"{row.source}" + (f", {row.timing_model}" if row.timing_model else "")),
        ("station", f"{row.station} ({row.board}, chip {row.chip_uid or '–'})"),
        ("latency", latency),
        ("cycles", cycles),
        *_outliers(row),
        ("MACs", row.macs),
        ("cycles per MAC", cycles / row.macs if cycles and row.macs else None),
        *_arena(row),
        ("stack used / reserved", _pair(row.stack_bytes, row.stack_capacity_bytes)),
        ("static RAM", row.ram_static_bytes),
        ("flash", f"{(row.flash_total_bytes or 0) / kib:.1f} KiB"),
        ("  weights", row.flash_weights_bytes),
        ("  graph", row.flash_graph_bytes),
        ("  kernels", row.flash_kernels_bytes),
        ("  runtime", row.flash_runtime_bytes),
        ("  port", row.flash_port_bytes),
        (
            "outputs",
            f"{row.output_bytes_total} bytes, {row.output_bytes_differing} differ from "
            f"{row.reference}"
            + (f" by at most {row.output_max_abs_diff}" if row.output_bytes_differing else ""),
        ),
        ("built with", f"{row.runtime}/{row.kernels} {row.optimization}, {row.toolchain}"),
        ("versions", " / ".join(v or "–" for v in (row.runtime_version, row.kernels_version))),
    ]
    if row.library:
        facts.append(("library", row.library))
    if row.message:
        facts.append(("message", row.message))
    print_table(row.model_name or "model", ("fact", "value"), facts)
    if row.layers:
        total = sum(layer.cycles or 0 for layer in row.layers) or 1
        print_table(
            "Layers (a pass of their own)",
            ("layer", "operator", "MACs", "cycles", "share %", "cycles per MAC"),
            [
                (
                    layer.name,
                    layer.operator,
                    layer.macs,
                    layer.cycles,
                    f"{100 * (layer.cycles or 0) / total:.1f}",
                    layer.cycles / layer.macs if layer.macs and layer.cycles else None,
                )
                for layer in row.layers
            ],
        )
        if row.additivity_gap is not None:
            typer.echo(
                f"the layers add up to {total:,} cycles, {100 * row.additivity_gap:+.3f} % from "
                "the median of the undisturbed inference"
            )


def _outliers(row: Measurement) -> list[tuple[str, object]]:
    """Return which repeats lie apart, nothing where none does."""
    from harness.results.record import outliers

    apart = outliers(row.cycles)
    text = ", ".join(f"{row.cycles[index]:,} (repeat {index})" for index in apart)
    return [("  outliers, kept", text)] if apart else []


def _arena(row: Measurement) -> list[tuple[str, object]]:
    """Return what is known about the arena, the runtime's own categories indented."""
    facts: list[tuple[str, object]] = []
    if row.arena_min_bytes is not None:
        below = (
            f" (at {row.arena_below_bytes:,}: {row.arena_below_message})"
            if row.arena_below_bytes is not None
            else ""
        )
        facts.append(("arena verified minimum", f"{row.arena_min_bytes:,} bytes{below}"))
    facts += [
        ("arena planned / used", _pair(row.arena_planned_bytes, row.arena_used_bytes)),
        ("arena capacity", row.arena_capacity_bytes),
    ]
    for kind, part in (row.arena_parts or {}).items():
        own = kind not in ("persistent", "nonpersistent")
        note = f", {part['requested']:,} requested in {part['count']:,}" if own else " bytes"
        facts.append((f"{'    ' if own else '  '}{kind}", f"{part['used']:,}{note}"))
    return facts


def _pair(left: int | None, right: int | None) -> str:
    return " / ".join("–" if value is None else f"{value:,}" for value in (left, right)) + " bytes"
