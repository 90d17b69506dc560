"""`harness predict`: what a model takes on every board, without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, Level, MarginChoice
from harness.cli.output import note, print_json, print_ready_table, print_table
from harness.runtimes import KernelSet, Optimization

if TYPE_CHECKING:
    from harness.models import TFLiteModel
    from harness.prediction import BoardPrediction

_HEADS = (
    "board", "latency (ms)", "interval (ms)", "clock ±", "arena (KiB)", "SRAM (KiB)",
    "flash (KiB)", "fits",
)  # fmt: skip
_RANKS = (0, 0, 0, 0, 1, 0, 0, 0)  # SRAM has the arena in it
_KIB = 1024
_MOST_REASONS = 5


def predict(
    model: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="A full-int8 .tflite file."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Instead of a file: a network of this backbone.")
    ] = None,
    decisions: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Its decisions, as `harness sample --json` prints them."),
    ] = None,
    board: Annotated[
        list[str] | None,
        typer.Option("--board", "-b", help="Only this board; may be repeated.", show_default=False),
    ] = None,
    kernels: Annotated[
        KernelSet, typer.Option(help="Kernels: cmsis_nn or portable.")
    ] = KernelSet.CMSIS_NN,
    optimization: Level = Optimization.O2,
    latency_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Budget of one inference, for what fits.", min=0.0),
    ] = None,
    margin: Annotated[
        MarginChoice,
        typer.Option(
            help="Latency compared with that budget: the upper end of the interval; (clock) with "
            "its expected error on top; or (none) the prediction itself."
        ),
    ] = MarginChoice.INTERVAL,
    layers: Annotated[bool, typer.Option(help="Also print the share of each layer.")] = True,
    json: Json = False,
) -> None:
    """Predict latency, memory and flash for the aot runtime; needs no board and no compiler.

    Latency is fitted to modelled cycles of virtual boards. Arena, SRAM and flash are computed.
    """
    from harness.fit import Margin
    from harness.prediction import predict_boards
    from harness.report.table import Table
    from harness.strict import to_json

    def fits(item: BoardPrediction) -> bool:
        keeps = latency_ms is None or item.within(1000 * latency_ms, Margin(margin))
        return item.fits and keeps

    chosen = _network(model, backbone, decisions)
    found = predict_boards(chosen, board, kernels.value, optimization.value)
    if json:
        print_json([{**to_json(item), "fits": fits(item)} for item in found])
        return
    title = f"{chosen.name}, aot/{kernels} {optimization}: predicted"
    rows = [(*_row(item), "yes" if fits(item) else "no") for item in found]
    print_ready_table(Table(title, _HEADS, rows, _RANKS))
    if layers:
        _print_layers(found)
    _explain(found)


def _network(model: Path | None, backbone: str | None, decisions: str | None) -> TFLiteModel:
    from harness.models import read_model

    if (model is None) == (backbone is None) or (backbone is None) != (decisions is None):
        raise typer.BadParameter("name a .tflite file, or --backbone with --decisions")
    if model is not None:
        return read_model(model)
    from harness.prediction import sampled_model

    return sampled_model(backbone or "", decisions or "")


def _row(item: BoardPrediction) -> tuple[str, ...]:
    from harness.report.text import share

    interval = "–"
    if item.low_us is not None and item.high_us is not None:
        interval = f"{item.low_us / 1000:.2f} – {item.high_us / 1000:.2f}"
    latency = None if item.latency_us is None else f"{item.latency_us / 1000:.2f}"
    return (
        item.board,
        f"{latency or '–'}{' extrapolated' if item.extrapolated else ''}",
        interval,
        share(item.expected_error),
        f"{item.arena_bytes / _KIB:.1f}",
        f"{item.sram_bytes / _KIB:.1f} of {item.sram_available / _KIB:.0f}",
        f"{item.flash_bytes / _KIB:.1f} of {item.flash_available / _KIB:.0f}",
    )


def _print_layers(found: tuple[BoardPrediction, ...]) -> None:
    rows = [
        (
            layers[0].name,
            layers[0].operator,
            layers[0].macs,
            *(f"{100 * layer.share:.1f}" for layer in layers),
        )
        for layers in zip(*(item.layers for item in found), strict=True)
    ]
    boards = (f"{item.board} %" for item in found)
    print_table("Share of each layer", ("layer", "operator", "MACs", *boards), rows)


def _explain(found: tuple[BoardPrediction, ...]) -> None:
    for item in found:
        if item.extrapolated:
            note(f"{item.board}: extrapolated, the interval may be too narrow:")
            shown = item.extrapolated[:_MOST_REASONS]
            more = len(item.extrapolated) - len(shown)
            note(
                "\n".join(f"  {text}" for text in [*shown, *([f"and {more} more"] if more else [])])
            )
    models = dict.fromkeys(item.timing_model for item in found)
    note(f"cycles are modelled ({', '.join(map(str, models))}), not measured on hardware")
