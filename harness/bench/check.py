"""Check that a station is ready, and say how to fix what is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Literal

from harness.bench.discovery import SeenProbe, list_probes
from harness.bench.labgrid import held_place
from harness.bench.port import open_port
from harness.bench.probe import (
    EMULATED_UID,
    match_probe,
    open_session,
    quiet_pyocd,
    typed_errors,
)
from harness.bench.station import Station
from harness.boards import Board
from harness.errors import HarnessError

Level = Literal["ok", "error"]


@dataclass(frozen=True, slots=True)
class SeenChip:
    """What the chip behind a probe says it is."""

    id_word: int  # word that holds the device id
    emulated: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    level: Level
    what: str
    fix: str | None = None  # None where nothing is wrong


def check(
    station: Station,
    board: Board,
    *,
    probes: Callable[[str], Sequence[SeenProbe]] = list_probes,
    chip: Callable[[Station, Board], SeenChip] | None = None,
    open_serial: Callable[[str], None] = lambda url: open_port(url).close(),
) -> list[Finding]:
    """Check probe, chip and console of a station; return findings in the order to fix them in.

    The chip keeps running. `probes`, `chip` and `open_serial` replace the bench in tests.
    """
    findings: list[Finding] = []
    with ExitStack() as stack:
        try:
            stack.enter_context(held_place(station))
        except HarnessError as problem:
            return [_finding(problem)]
        try:
            seen = match_probe(station.probe, probes(station.probe))
            findings.append(Finding("ok", f"probe {seen.unique_id} {seen.description}".rstrip()))
            findings.append(_check_chip(station, board, (chip or read_chip)(station, board)))
        except HarnessError as problem:
            findings.append(_finding(problem))
        try:
            open_serial(station.serial)
            findings.append(Finding("ok", f"console {station.serial} opens"))
        except HarnessError as problem:
            findings.append(_finding(problem))
    return findings


def _finding(problem: HarnessError) -> Finding:
    what = f"{problem.what} ({problem.where})" if problem.where else problem.what
    return Finding("error", what, problem.fix)


def _check_chip(station: Station, board: Board, chip: SeenChip) -> Finding:
    facts = board.facts.chip
    found, expected = chip.id_word & facts.id_mask, facts.device_id
    if found != expected:
        return Finding(
            "error",
            f"the chip's device id is 0x{found:03X}, that of {board.id} is 0x{expected:03X}",
            f"correct 'board' or 'probe' of station '{station.name}'",
        )
    kind = "emulated" if chip.emulated else "real"
    if chip.emulated != (station.source == "emulated"):
        return Finding(
            "error",
            f"the chip is {kind}, and the station counts as {station.source}",
            f"add emulated = \"pipeline\" to station '{station.name}'"
            if chip.emulated
            else f"remove 'emulated' from station '{station.name}'",
        )
    what = "an emulated" if chip.emulated else "a"
    return Finding("ok", f"chip is {what} {board.mcu} (device id 0x{found:03X})")


# What is behind a probe is not known yet, and keeps running.
_LOOKING = {
    "target_override": "cortex_m",
    "connect_mode": "attach",
    "resume_on_disconnect": False,
}


def boards_by_chip(probe: str, boards: Sequence[Board]) -> tuple[Board, ...]:
    """Return those of `boards` whose chip is behind a probe. Raises as `open_session`."""
    from pyocd.core.exceptions import TransferError

    found = []
    with quiet_pyocd(), typed_errors(probe), closing(open_session(probe, _LOOKING)) as session:
        for board in boards:
            facts = board.facts.chip
            with suppress(TransferError):  # another chip has nothing there
                if int(session.target.read32(facts.id_address)) & facts.id_mask == facts.device_id:
                    found.append(board)
    return tuple(found)


def read_chip(station: Station, board: Board) -> SeenChip:
    """Return what a station's chip says it is; it keeps running. Raises as `open_session`."""
    probe, facts = station.probe, board.facts.chip
    with quiet_pyocd(), typed_errors(probe), closing(open_session(probe, _LOOKING)) as session:
        target = session.target
        return SeenChip(
            id_word=int(target.read32(facts.id_address)),
            emulated=int(target.read32(facts.uid_address)) == EMULATED_UID,
        )
