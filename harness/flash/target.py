"""A debug session on one station: program, reset, identify."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench.discovery import REMOTE_PROBE
from harness.bench.failure import UntilFailure
from harness.bench.probe import (
    EMULATED_UID,
    is_bench_trouble,
    open_session,
    quiet_pyocd,
)
from harness.bench.station import Station
from harness.boards import Board
from harness.errors import (
    BenchError,
    HarnessError,
    TargetMismatch,
    VerifyError,
)
from harness.flash.failures import differs, translate
from harness.flash.image import Checksum, Image, read_image
from harness.flash.targets import choose

_log = logging.getLogger(__name__)

# The highest of an ST-LINK/V2-1. pyOCD takes the first entry of its table (4.6, 1.8, 1.2 MHz ...)
# that is not above what is asked for, so that 4.0 MHz would be 1.8.
_FREQUENCY_HZ = 4_600_000


@dataclass(frozen=True, slots=True)
class FlashReport:
    """Result of programming an image."""

    seconds: float  # wall-clock time, verification included
    #: Of it: ``erase``, ``write`` (comparing with what is there included) and ``verify``.
    stages: Mapping[str, float]
    bytes_total: int  # bytes of the image
    bytes_programmed: int  # bytes of the flash pages that were written
    bytes_unchanged: int  # bytes of the pages that already held what they should
    sectors_erased: int  # number of sectors that were erased
    probe_id: str  # unique id of the probe
    chip_uid: str  # the chip's unique id, hexadecimal
    checksums: tuple[Checksum, ...]  # what flash holds now, by segment


class Target:
    """An open debug session; made by `open_target`.

    After a failure that leaves the chip or the probe in doubt, every further call is refused: close
    it and open a new one.
    """

    def __init__(self, session: Any, station: Station, board: Board, log: Any) -> None:
        self.station = station
        self.board = board
        self.probe_id = str(session.probe.unique_id)
        self._session = session
        self._log = log
        self._use = UntilFailure(f"the debug session on station '{station.name}'")
        self._chip_uid: str | None = None

    def program(self, elf: Path) -> FlashReport:
        """Bring an image into flash and compare all of it; leave the core halted.

        Only sectors that differ are touched.

        Raises:
            FlashError: The image is unreadable, or erasing or programming failed (``address``).
            TargetMismatch: The image does not belong on this board.
            VerifyError: What was read back differs (``address``, ``expected_byte``, ``found``).
            ProbeNotFound: The probe was disconnected.
        """
        started = time.monotonic()
        image = read_image(elf, self.board)
        with self._guard(f"programming {elf.name}"):
            self._session.target.reset_and_halt()
            uid = self._read_unique_id()
            begun = time.monotonic()
            done, erasing = self._write(image)
            written = time.monotonic()
            self._verify(image)
            verified = time.monotonic()
            # The flash algorithm's registers and RAM are no state to resume from.
            self._session.target.reset_and_halt()
        return FlashReport(
            seconds=time.monotonic() - started,
            stages={
                "erase": erasing,
                "write": written - begun - erasing,
                "verify": verified - written,
            },
            bytes_total=image.bytes,
            bytes_programmed=sum(part.program_byte_count for part in done),
            bytes_unchanged=sum(part.skipped_byte_count for part in done),
            sectors_erased=sum(part.erase_sector_count for part in done),
            probe_id=self.probe_id,
            chip_uid=uid,
            checksums=image.checksums,
        )

    def reset_and_run(self) -> None:
        """Reset the chip and let it run.

        Raises:
            BenchError: The chip does not answer, or does not run after the reset.
            ProbeNotFound: The probe was disconnected.
        """
        with self._guard("resetting", connect=True):
            target = self._session.target
            target.reset()
            if target.is_halted():
                target.resume()

    def halt(self) -> None:
        """Stop the core.

        Raises:
            BenchError: The chip does not answer.
            ProbeNotFound: The probe was disconnected.
        """
        with self._guard("halting", connect=True):
            self._session.target.halt()

    def read_word(self, address: int) -> int:
        """Return a word; the core keeps running.

        Raises:
            BenchError: The chip does not answer.
            ProbeNotFound: The probe was disconnected.
        """
        with self._guard(f"reading 0x{address:08X}", connect=True):
            return int(self._session.target.read32(address))

    def write_word(self, address: int, value: int) -> None:
        """Write a word; raises as `read_word`."""
        with self._guard(f"writing 0x{address:08X}", connect=True):
            self._session.target.write32(address, value)

    def in_boot_loader(self) -> bool:
        """Halt the core and return whether it runs the boot loader in the chip's ROM.

        Raises:
            BenchError: The chip does not answer.
            ProbeNotFound: The probe was disconnected.
        """
        self.halt()
        with self._guard("looking where the core is", connect=True):
            pc = int(self._session.target.read_core_register("pc"))
        return any(low <= pc < end for low, end in self.board.facts.boot_roms)

    def chip_is_emulated(self) -> bool:
        """Return whether the chip's unique id is that of a virtual board; raises as `read_word`."""
        with self._guard("reading the chip's unique id", connect=True):
            return self._read_unique_id().startswith(f"{EMULATED_UID:08x}")

    def ping(self) -> None:
        """Check that the host of a remote probe still answers; the board is not touched.

        Raises:
            ProbeNotFound: It does not.
        """
        if self.station.probe.startswith(REMOTE_PROBE):
            with self._guard("waiting for the board", connect=True):
                self._session.probe.ping()

    def timing_model(self) -> str | None:
        """Return the timing model of a virtual board on another host, None if it tells none."""
        from harness.bench.remote import TIMING_MODEL

        found = self._ask(TIMING_MODEL)
        return found if isinstance(found, str) else None

    def seconds(self) -> float:
        """Return the time of a virtual board on another host, in seconds of its own.

        Raises:
            BenchError: The host does not tell it.
            ProbeNotFound: The host does not answer.
        """
        from harness.bench.remote import SECONDS

        found = self._ask(SECONDS)
        if not isinstance(found, float):
            raise BenchError(
                f"the probe server of station '{self.station.name}' does not tell virtual time",
                fix="serve the board with `harness virtual serve` or `harness bench serve`",
            )
        return found

    def _ask(self, name: str) -> Any:
        if not self.station.probe.startswith(REMOTE_PROBE):
            return None
        with self._guard("asking the probe server", connect=True):
            return self._session.probe.ask(name)

    def close(self) -> None:
        """End the session; a halted core is let run. May be called twice."""
        try:
            self._session.close()
        except Exception as failure:
            # A probe that was pulled out cannot be closed in good order; nothing is lost by it.
            _log.debug("closing probe %s: %s", self.probe_id, failure)

    def _read_unique_id(self) -> str:
        if self._chip_uid is None:
            chip, read = self.board.facts.chip, self._session.target.read32
            words = [read(chip.uid_address + 4 * i) for i in range(chip.uid_words)]
            self._chip_uid = "".join(f"{word:08x}" for word in words)
        return self._chip_uid

    def _write(self, image: Image) -> tuple[list[Any], float]:
        """Return what pyOCD did, by region, and the seconds of erasing in it."""
        from pyocd.core.memory_map import FlashRegion
        from pyocd.flash.loader import MemoryLoader

        parts: list[Any] = []
        erasing = 0.0

        def timed(erase: Callable[[int], None]) -> Callable[[int], None]:
            def run(address: int) -> None:
                nonlocal erasing
                begun = time.monotonic()
                erase(address)
                erasing += time.monotonic() - begun

            return run

        class Loader(MemoryLoader):
            def _log_performance(self, perf_list: list[Any]) -> None:
                parts.extend(perf_list)

        loader = Loader(
            self._session,
            progress=lambda _share: None,
            # A mass erase takes 10 s and more on these chips, a sector 0.25 to 2 s.
            chip_erase="sector",
            smart_flash=True,
            trust_crc=False,
            # All of the flash is ours: what an older image left beside this one is not kept.
            keep_unwritten=False,
        )
        for segment in image.segments:
            loader.add_data(segment.address, segment.data)
        with ExitStack() as stack:
            for region in self._session.target.memory_map:
                if isinstance(region, FlashRegion) and region.flash is not None:
                    driver = region.flash
                    driver.erase_sector = timed(type(driver).erase_sector.__get__(driver))
                    stack.callback(driver.__dict__.pop, "erase_sector")
            loader.commit()
        return parts, erasing

    def _verify(self, image: Image) -> None:
        step = 16 * 1024
        for segment in image.segments:
            for start in range(0, len(segment.data), step):
                expected = segment.data[start : start + step]
                address = segment.address + start
                found = bytes(self._session.target.read_memory_block8(address, len(expected)))
                if found != expected:
                    raise differs(image, address, expected, found)

    @contextmanager
    def _guard(self, doing: str, *, connect: bool = False) -> Iterator[None]:
        """Turn what comes out of pyOCD into typed errors, and refuse use after failure."""
        with self._use.use(VerifyError):
            try:
                yield
            except HarnessError as problem:
                if isinstance(problem, VerifyError):
                    problem.data["log"] = list(self._log)
                raise
            except Exception as failure:
                if not is_bench_trouble(failure):
                    raise  # a bug: it goes up with its traceback
                translated = translate(failure, doing, self.station, connect=connect)
                translated.data["log"] = list(self._log)
                raise translated from failure


@contextmanager
def open_target(station: Station, board: Board) -> Iterator[Target]:
    """Open a debug session on a station, for as many images as wanted; the core is halted.

    A real chip that does not answer (asleep, or with its debug pins in other use) is tried once
    more under reset.

    Raises:
        ProbeNotFound: The probe is not there; lists those that are.
        ProbeBusy: Another program has it.
        TargetMismatch: The chip's device id is not the board's.
        BenchError: No permission, or the chip does not answer.
    """
    with ExitStack() as stack:
        log = stack.enter_context(quiet_pyocd())
        name = choose(board, packs=station.source == "hardware")
        options = {"target_override": name, "frequency": _FREQUENCY_HZ, "connect_mode": "halt"}
        try:
            session = _open_whole(station, options)
        except BenchError as failure:
            silent = type(failure) is BenchError and station.source == "hardware"
            if not silent and not isinstance(failure, _HalfOpenError):
                failure.data["log"] = list(log)
                raise
            session = _open_whole(station, {**options, "connect_mode": "under-reset"})
        target = Target(session, station, board, log)
        stack.callback(target.close)
        _read_plainly(session.target)
        with target._guard("identifying the chip", connect=True):
            _check_chip(session.target, board, station)
            _check_source(target)
        yield target


class _HalfOpenError(BenchError):
    """pyOCD could not set a core up, said so in its log, and opened the session all the same."""


def _open_whole(station: Station, options: dict[str, Any]) -> Any:
    """Open a session whose cores are all set up; a program gone wild may upset the discovery."""
    session = open_session(station.probe, options)
    if all("xpsr" in core.core_registers.by_name for core in session.target.cores.values()):
        return session
    session.close()
    raise _HalfOpenError(
        f"the debugger cannot set up the core of the chip on station '{station.name}'",
        expected="a chip that answers while its core is being set up",
        fix="power-cycle the board",
        station=station.name,
    )


def flash(image_elf: Path, station: Station, board: Board) -> FlashReport:
    """Program one image on a station and start it.

    Raises:
        HarnessError: As `open_target`, `Target.program` and `Target.reset_and_run`.
    """
    with open_target(station, board) as target:
        report = target.program(image_elf)
        target.reset_and_run()
    return report


def _read_plainly(target: Any) -> None:
    """Keep pyOCD from looking for software breakpoints, one Python call a byte it reads."""
    from pyocd.debug.breakpoints.software import SoftwareBreakpointProvider

    class Unfiltered(SoftwareBreakpointProvider):
        @property
        def do_filter_memory(self) -> bool:
            return False

    for core in target.cores.values():
        core.bp_manager.add_provider(Unfiltered(core))


def _check_chip(target: Any, board: Board, station: Station) -> None:
    chip = board.facts.chip
    found, expected = int(target.read32(chip.id_address)) & chip.id_mask, chip.device_id
    if found != expected:
        raise TargetMismatch(
            f"the chip on station '{station.name}' has device id 0x{found:03X}",
            expected=f"0x{expected:03X} ({board.mcu} of {board.id})",
            fix="correct 'board' or 'probe' of the station in bench.toml",
            station=station.name,
            found_id=found,
            expected_id=expected,
        )
    _check_revision(target, board, station)
    option = board.facts.flash_option
    if option is not None and not int(target.read32(option.register)) & option.bit:
        raise TargetMismatch(
            f"the flash of the chip on station '{station.name}' is not in {option.mode} mode",
            expected=f"{option.mode} mode (option bit {option.name} = 1), which the sector map is "
            "for",
            fix=f"set {option.name} with STM32CubeProgrammer",
            station=station.name,
        )


def _check_revision(target: Any, board: Board, station: Station) -> None:
    """Refuse a chip that is too old for the board's clock."""
    chip, least = board.facts.chip, board.facts.least_revision
    found = chip.revision(int(target.read32(chip.id_address)))
    if least is None or found is None or found >= least:
        return
    raise TargetMismatch(
        f"the chip on station '{station.name}' is of revision 0x{found:04X}, which is not made for "
        f"{board.clock_hz / 1e6:g} MHz",
        expected=f"revision 0x{chip.expected_revision:04X}, as the manifest says",
        fix=f"use a newer {board.name}, or a manifest of your own with the clock of this revision",
        station=station.name,
        found_revision=found,
    )


def _check_source(target: Target) -> None:
    """Refuse a station that takes an emulated chip for a real one, or the reverse."""
    station = target.station
    emulated = target.chip_is_emulated()
    if emulated == (station.source == "emulated"):
        return
    found, stated = ("emulated", "hardware") if emulated else ("real", "emulated")
    raise TargetMismatch(
        f"station '{station.name}' counts as {stated}, but its chip is {found}",
        expected='emulated = "pipeline", or the model that the board is served with, so that rows '
        "say so"
        if emulated
        else "no 'emulated' in the station",
        fix=f"correct station '{station.name}' in bench.toml",
        station=station.name,
    )
