"""`harness explain`: where a virtual board's cycles go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.options import BoardId, FirmwareOptions, Json, ModelFile
from harness.cli.output import note, print_json, print_table
from harness.errors import ConfigError
from harness.paths import DEFAULT_BOARD

if TYPE_CHECKING:
    from harness.campaign.sweep import RuntimeSweep
    from harness.explain.record import Explanation, Split

_FUNCTIONS = 15


def explain(
    model: ModelFile,
    firmware: FirmwareOptions,
    board: BoardId = DEFAULT_BOARD,
    against: str | None = typer.Option(
        None, metavar="RUNTIME/KERNELS[/-O]", help="Another firmware to compare with."
    ),
    plot: Path | None = typer.Option(
        None, help="Draw cycles by layer and cause to this image file."
    ),
    json: Json = False,
) -> None:
    """Split a model's modelled cycles by layer, function, operator and cause.

    A core issues at most two instructions a cycle (Cortex-M7) or one (Cortex-M4): its issue slots.
    "Slots used" is the share of all cycles' slots that took an instruction. Of the causes, "issue"
    is the cycles in which the core was not waiting: those that the instructions need if every slot
    is used, and those that are added by slots left empty, as an instruction needs the result of
    another one or may not be issued beside it. The other causes are waits: for memory, and after
    branches.
    """
    from harness.campaign.sweep import RuntimeSweep

    sweeps = [firmware.sweep()]
    if against is not None:
        parts = against.split("/")
        if not 2 <= len(parts) <= 3:
            raise ConfigError(
                f"--against is '{against}'", expected="RUNTIME/KERNELS or RUNTIME/KERNELS/-O2"
            )
        runtime, kernels, level = [*parts, firmware.optimization][:3]
        # A tree of kernels is named for the first firmware; the other may have no use for it.
        source = firmware.kernels_source if parts[:2] == ["aot", "cmsis_nn"] else None
        specs = firmware.library
        sweeps.append(RuntimeSweep.of(runtime, kernels, level, specs=specs, kernels_source=source))
    found = [_explained(model, board, sweep) for sweep in sweeps]
    if plot is not None:
        from harness.explain.plot import plot as draw

        draw(found, plot)
    if json:
        print_json([_as_json(explanation) for explanation in found])
        return
    for explanation in found:
        _print(explanation)
    if len(found) > 1:
        _print_comparison(*found)


def _explained(model: Path, board: str, sweep: RuntimeSweep) -> Explanation:
    from harness.bench import load_bench
    from harness.campaign.config import CampaignConfig, MeasureOptions
    from harness.campaign.entry import build_now, plan_now
    from harness.cli.progress import spinner
    from harness.explain.collect import explain as collect

    once = MeasureOptions(warmup=1, repeats=1)
    config = CampaignConfig.of(
        "explain", boards=[board], models=[model], runtime=sweep, measure=once
    )
    bench = load_bench(None)
    (job,) = plan_now(config, bench)
    station = job.needs.find(bench)[0]
    built = build_now(job, spinner)
    with spinner(f"running on {station.name}"):
        return collect(built, station)


def _share(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f}"


def _per_mac(split: Split, macs: int | None) -> float | None:
    return split.total / macs if macs else None


_COLUMNS = ("modelled cycles", "share %", "slots used %", "code misses", "load misses")


def _cells(split: Split, whole: Split) -> tuple[object, ...]:
    """Return the cells of `_COLUMNS`."""
    share, used = split.total / max(1, whole.total), split.slots_used
    return split.total, _share(share), _share(used), split.code_misses, split.load_misses


def _print(explanation: Explanation) -> None:
    from harness.explain.record import CAUSES
    from harness.report.text import plus_minus

    total, operators = explanation.total, explanation.operators()
    title = f"{explanation.label} on {explanation.board}, modelled by {explanation.timing}"
    print_table(
        f"Layers: {title}",
        ("layer", "operator", *_COLUMNS, "per MAC"),
        [
            (one.name, one.operator, *_cells(one.split, total), _per_mac(one.split, one.macs))
            for one in explanation.layers
        ],
    )
    counts = (total.instructions, None, *total.events)
    print_table(
        "Causes",
        ("cause", "times", *_COLUMNS[:2]),
        [
            (cause, count, cycles, _share(cycles / max(1, total.total)))
            for cause, count, cycles in zip(CAUSES, counts, total.cycles, strict=True)
            if cycles
        ],
    )
    functions = list(explanation.functions().items())[:_FUNCTIONS]
    rows = [(name, *_cells(split, total)) for name, split in functions]
    print_table("Functions", ("function", *_COLUMNS), rows)
    print_table(
        "Operators",
        ("operator", "MACs", *_COLUMNS, "per MAC"),
        [
            (name, macs, *_cells(split, total), _per_mac(split, macs))
            for name, split in operators.items()
            for macs in (explanation.macs(name),)
        ],
    )
    error = plus_minus(explanation.expected_error)
    note(
        f"Cycles are modelled, not measured; expected error {error} (docs/fidelity.md). Issue "
        "slots: two a cycle on a Cortex-M7, one on a Cortex-M4; see `harness explain --help`."
    )


def _print_comparison(one: Explanation, two: Explanation) -> None:
    left, right = one.operators(), two.operators()
    rows = []
    for name in dict.fromkeys([*left, *right]):
        cycles = [side[name].total if name in side else None for side in (left, right)]
        ratio = cycles[1] / cycles[0] if cycles[0] and cycles[1] else None
        rows.append((name, *cycles, ratio))
    rows.append(("all", one.total.total, two.total.total, two.total.total / one.total.total))
    columns = ("operator", one.label, two.label, "second / first")
    print_table("Modelled cycles of both", columns, rows)


def _as_json(explanation: Explanation) -> dict[str, Any]:
    from harness.explain.record import CAUSES

    def plain(split: Split) -> dict[str, Any]:
        figures = ("instructions", "slots_used", "code_misses", "load_misses")
        return {
            "cycles": split.total,
            **{name: getattr(split, name) for name in figures},
            "causes": {c: n for c, n in zip(CAUSES, split.cycles, strict=True) if n},
        }

    return {
        "firmware": explanation.label,
        "board": explanation.board,
        "timing_model": explanation.timing,
        "expected_error": explanation.expected_error,
        "total": plain(explanation.total),
        "layers": [
            {
                "name": layer.name,
                "operator": layer.operator,
                "macs": layer.macs,
                **plain(layer.split),
                "functions": {name: split.total for name, split in layer.functions.items()},
            }
            for layer in explanation.layers
        ],
        "functions": {name: plain(split) for name, split in explanation.functions().items()},
    }
