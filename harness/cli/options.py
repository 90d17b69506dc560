"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.paths import DEFAULT_STORE
from harness.runtimes import KernelSet, Optimization, RuntimeName

if TYPE_CHECKING:
    from harness.campaign.sweep import RuntimeSweep
    from harness.results.store import Filter


def _level(text: str) -> Optimization:
    try:
        return Optimization(text)
    except ValueError:
        known = ", ".join(Optimization)
        raise typer.BadParameter(f"'{text}' is not one of {known}") from None


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Database = Annotated[
    str,
    typer.Option(
        "--db", envvar="HARNESS_DB", help="Results store: a SQLAlchemy URL or a SQLite file."
    ),
]
BenchFile = Annotated[
    Path | None,
    typer.Option(
        "--bench",
        envvar="HARNESS_BENCH",
        help="Bench file (default: ./bench.toml, else the virtual boards).",
        show_default=False,
    ),
]
StationName = Annotated[
    str | None,
    typer.Option(
        "--station",
        "-s",
        help="Station of the bench (default: the first one that has the board).",
        show_default=False,
    ),
]
BoardId = Annotated[str, typer.Option("--board", "-b", help="Board.")]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A full-int8 .tflite file.")
]
Runtime = Annotated[RuntimeName, typer.Option(help="Runtime.")]
Kernels = Annotated[
    KernelSet, typer.Option(help="Kernels: cmsis_nn, and portable (aot) or reference (tflm).")
]
Libraries = Annotated[
    list[str] | None,
    typer.Option(
        "--library",
        metavar="[KERNELS=]SPEC",
        help="PlatformIO spec of the TFLM library, for all kernels or for these; may be repeated "
        "(default: $HARNESS_TFLM).",
        show_default=False,
    ),
]
Status = Annotated[
    Literal["valid", "degraded", "invalid"] | None, typer.Option(help="Only rows of this status.")
]
Level = Annotated[
    Optimization,
    typer.Option("-O", parser=_level, metavar="LEVEL", help="GCC's optimisation level."),
]


@dataclass(frozen=True, slots=True)
class FirmwareOptions:
    """What goes into the firmware besides the model."""

    runtime: Runtime = RuntimeName.AOT
    kernels: Kernels = KernelSet.CMSIS_NN
    library: Libraries = None
    kernels_source: str | None = typer.Option(
        None,
        metavar="SPEC",
        help="CMSIS-NN tree for the aot runtime: a folder, or a git repository with #commit "
        "(default: the one that is installed).",
        show_default=False,
    )
    optimization: Level = Optimization.O2

    def sweep(self) -> RuntimeSweep:
        """Return runtime and options; raise `ConfigError` if they do not belong together."""
        from harness.campaign.sweep import RuntimeSweep

        return RuntimeSweep.of(
            self.runtime,
            self.kernels,
            self.optimization,
            specs=self.library,
            kernels_source=self.kernels_source,
        )


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Which rows of the store."""

    campaign: str | None = typer.Option(None, help="Only this campaign.")
    backbone: str | None = typer.Option(None, help="Only this backbone.")
    board: str | None = typer.Option(None, help="Only this board.")
    # As harness.results.record.Source, whose module takes too long to load.
    source: Literal["hardware", "emulated"] | None = typer.Option(
        None, help="Only rows of this source."
    )
    db: Database = DEFAULT_STORE

    def where(self) -> Filter:
        """Return them as a filter."""
        from harness.results.store import Filter

        return Filter(
            campaign=self.campaign, backbone=self.backbone, board=self.board, source=self.source
        )
