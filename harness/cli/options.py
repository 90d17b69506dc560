"""Options that several commands share; those that belong together travel as one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from harness.cli.output import note
from harness.errors import ResultsError
from harness.paths import DEFAULT_STORE
from harness.runtimes import KernelSet, Optimization, RuntimeName

if TYPE_CHECKING:
    from harness.campaign.sweep import RuntimeSweep
    from harness.results.store import Filter, Store


class MarginChoice(StrEnum):
    """Values of --margin, see `harness.fit.Margin`."""

    INTERVAL = "interval"
    CLOCK = "clock"
    NONE = "none"


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
    ),
]
FarmAddress = Annotated[
    str | None,
    typer.Option(
        "--farm",
        metavar="ADDRESS",
        envvar="HARNESS_FARM",
        help="Measure on the stations of the farm at this address.",
    ),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls",
        envvar="HARNESS_FARM_TLS",
        file_okay=False,
        help="Folder with this host's certificate, made by `harness farm certificates`.",
    ),
]
StationName = Annotated[
    str | None,
    typer.Option(
        "--station",
        "-s",
        help="Station of the bench (default: one that has the board and is free).",
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long to wait for a station that another process uses; inf waits without end.",
    ),
]
BoardId = Annotated[str, typer.Option("--board", "-b", help="Board.")]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A full-int8 .tflite file.")
]
ModelFolder = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        exists=True,
        help="Folder to look the file's models up in, sub-folders included.",
    ),
]
Samples = Annotated[
    int | None, typer.Option(min=1, help="Networks per backbone instead of the file's.")
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
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="Margins and directions (TOML); default: docs/lab.md."),
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
    run: str | None = typer.Option(None, help="Only rows of this run (`harness runs`).")
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
            campaign=self.campaign,
            run=self.run,
            backbone=self.backbone,
            board=self.board,
            source=self.source,
        )


@contextmanager
def store_if_any(db: str) -> Iterator[Store | None]:
    """Open a store that is there; None where none is, or it cannot be used, which is noted."""
    from harness.results import open_store

    if "://" not in db and not Path(db).is_file():
        yield None
        return
    try:
        store = open_store(db, create=False)
    except ResultsError as failure:
        note(f"the results store is left out: {failure.what}")
        yield None
        return
    with store:
        yield store


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of each record among a command's parameters as options.

    A parameter annotated with a dataclass stands for its fields, whose annotations are Typer's;
    the command gets the record.
    """
    own = _parameters(command)
    kinds = {name: item.annotation for name, item in own.items()}
    records: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    if not records:
        return command
    fields = {name: _parameters(kind) for name, kind in records.items()}
    options = [
        option for name, item in own.items() for option in fields.get(name, {name: item}).values()
    ]

    def run(**values: Any) -> None:
        made = {
            name: kind(**{field: values.pop(field) for field in fields[name]})
            for name, kind in records.items()
        }
        command(**values, **made)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in options}
    return run


def _parameters(kind: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the parameters by name, with their annotations resolved.

    All are keyword-only, as a record with defaults may stand before a parameter without one.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: item.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, item in signature(kind).parameters.items()
    }
