"""Options of `harness search` about boards: which, the budgets there, the fits that predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import Kernels, MarginChoice, Runtime
from harness.cli.output import note
from harness.errors import ConfigError, FitError
from harness.paths import DEFAULT_BOARD
from harness.runtimes import KernelSet, RuntimeName

if TYPE_CHECKING:
    from harness.fit import Fit
    from harness.search.cost.budgets import Budgets


@dataclass(frozen=True)
class BudgetOptions:
    """Upper bounds."""

    latency_ms: str | None = typer.Option(
        None,
        metavar="MS[,MS...]",
        help="Budget of one inference; BOARD=MS,BOARD=MS where boards differ. Several values, "
        "separated by commas: a network for each, from one supernet.",
    )
    sram_kib: str | None = typer.Option(
        None,
        metavar="KIB",
        help="Budget of arena, static RAM and stack; BOARD=KIB,BOARD=KIB where boards differ.",
    )
    flash_kib: str | None = typer.Option(
        None,
        metavar="KIB",
        help="Budget of the whole image; BOARD=KIB,BOARD=KIB where boards differ.",
    )

    def budgets(self, boards: Sequence[str]) -> tuple[dict[str, Budgets], ...]:
        """Return each board's budgets, for each value of a list of latencies, the largest first.

        Raises `ConfigError` if a value is wrong, or a board has no budget.
        """
        from harness.search.cost.budgets import Budgets

        latencies = _values("--latency-ms", self.latency_ms, boards)
        sram, *more_sram = _values("--sram-kib", self.sram_kib, boards)
        flash, *more_flash = _values("--flash-kib", self.flash_kib, boards)
        if more_sram or more_flash:
            raise ConfigError(
                f"{'--sram-kib' if more_sram else '--flash-kib'} has several values",
                expected="one, or BOARD=KIB for each board; only --latency-ms takes a list",
            )
        found = tuple(
            {
                board: Budgets(
                    latency_us=1000 * latency[board] if board in latency else None,
                    sram_bytes=int(1024 * sram[board]) if board in sram else None,
                    flash_bytes=int(1024 * flash[board]) if board in flash else None,
                )
                for board in boards
            }
            for latency in latencies
        )
        if without := [board for board, budgets in found[0].items() if not budgets.items()]:
            raise ConfigError(
                "no budget is given" + (f" for {', '.join(without)}" if len(boards) > 1 else ""),
                expected="one or more of --latency-ms, --sram-kib and --flash-kib",
            )
        return found


def _values(option: str, text: str | None, boards: Sequence[str]) -> list[dict[str, float]]:
    """Return the value of each board; for a list of values, of each in turn, the largest first."""
    if text is None:
        return [{}]
    pairs = [part.strip().rpartition("=") for part in text.split(",")]
    names = [board for board, _, _ in pairs]
    try:
        numbers = [float(number) for _, _, number in pairs]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise ConfigError(
            f"{option} is '{text}'",
            expected="numbers above 0, several separated by commas, or BOARD=NUMBER for each board",
        )
    if "=" not in text:
        return [dict.fromkeys(boards, number) for number in sorted(set(numbers), reverse=True)]
    if not set(names) <= set(boards) or len(set(names)) < len(names):
        raise ConfigError(
            f"{option} is '{text}'",
            expected=f"BOARD=NUMBER, once for each of {', '.join(boards)}",
            fix="name every board of the search with --board BOARD,BOARD",
        )
    return [dict(zip(names, numbers, strict=True))]


@dataclass(frozen=True)
class FitOptions:
    """The fits that predict, and the configuration that they are of."""

    board: str = typer.Option(
        DEFAULT_BOARD,
        "--board",
        "-b",
        metavar="BOARD[,BOARD...]",
        help="Board id. Several, separated by commas: one network that meets the budgets on all, "
        "or see --per-board.",
    )
    fit: list[Path] | None = typer.Option(
        None,
        help="Fit file, may be repeated for several boards (default: the newest that suits below "
        "results/).",
    )
    margin: MarginChoice = typer.Option(
        MarginChoice.INTERVAL,
        help="Value compared with the budgets: the upper end of the fit's prediction interval, "
        "so that they hold as measured; (clock) on an emulated board also the expected error of "
        "its latency; or (none) the prediction itself.",
    )
    runtime: Runtime = RuntimeName.AOT
    kernels: Kernels = KernelSet.CMSIS_NN

    @property
    def boards(self) -> tuple[str, ...]:
        """Return the boards, each once."""
        return tuple(dict.fromkeys(part.strip() for part in self.board.split(",")))


def choose_fits(options: FitOptions, backbone: str) -> dict[str, tuple[Path, Fit]]:
    """Return the fit of each board that was named, else the newest below results/ that suits.

    Raises `FitError` with the commands that make those that are missing.
    """
    from harness.fit import load_fit

    boards = options.boards
    wanted = {"backbone": backbone, "runtime": options.runtime, "kernels": options.kernels}
    found: dict[str, tuple[Path, Fit]] = {}
    for file in options.fit or ():
        fit = load_fit(file)
        own = fit.fingerprint.board
        fit.require({**wanted, "board": own if own in boards else boards[0]})
        found[own] = file, fit
    files = sorted(Path("results").glob("**/fit-*.json"), key=lambda item: -item.stat().st_mtime)
    for board in boards:
        for file in files if board not in found else ():
            try:
                fit = load_fit(file)
                fit.require({**wanted, "board": board})
            except FitError:  # of another configuration, or of an older harness
                continue
            note(f"fit: {file}")
            found[board] = file, fit
            break
    if missing := [board for board in boards if board not in found]:
        commands = [
            "`harness fit "
            + " ".join(f"--{name} {value}" for name, value in {**wanted, "board": board}.items())
            + "`"
            for board in missing
        ]
        raise FitError(
            f"there is no fit of {backbone} on {' and '.join(missing)} with "
            f"{options.runtime}/{options.kernels} below results/",
            expected="a file results/*/fit-*.json" + (" of each" if len(missing) > 1 else ""),
            fix=f"measure with `harness run`, then {' and '.join(commands)}; or name one with "
            "--fit",
        )
    return found
