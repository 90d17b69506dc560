"""A station whose probe and console are open at once, for steps that a measurement has not."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from harness import protocol
from harness.bench import Station, station_lock
from harness.bench.port import open_port
from harness.boards import Board
from harness.capture import answers
from harness.capture.clock import Stopwatch
from harness.capture.console import Console
from harness.capture.record import CapturePlan, Identity
from harness.capture.session import stopwatch_of
from harness.errors import CaptureTimeout
from harness.firmware import FirmwareImage
from harness.firmware.symbols import place_in
from harness.flash import FlashReport, Target, open_target

_BOOT_S, _BOOT_TRIES = 8.0, 2


class Device:
    """A locked station; closed at the end of a ``with`` block."""

    def __init__(self, station: Station, board: Board) -> None:
        self.station, self.board = station, board
        self._stack = ExitStack()
        self.target: Target
        self.console: Console
        self.report: FlashReport | None = None  # of what was flashed last
        self.image: FirmwareImage | None = None

    def __enter__(self) -> Device:
        with ExitStack() as stack:
            stack.enter_context(station_lock(self.station))
            self.port = open_port(self.station.serial, self.board.facts.console.baud)
            stack.callback(self.port.close)
            self.target = stack.enter_context(open_target(self.station, self.board))
            self._listen(None)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _listen(self, image: FirmwareImage | None) -> None:
        place = partial(place_in, image) if image is not None else lambda _: None
        self.console = Console(self.port, where=self.station.name, place_of=place)

    @property
    def stopwatch(self) -> Stopwatch:
        """Time that is not the device's."""
        return stopwatch_of(self.station, self.target)

    @property
    def byte_s(self) -> float:
        """Seconds of a byte on the line; 0 on a virtual board."""
        return 0.0 if self.station.source == "emulated" else 9.8 / self.port.baudrate

    def flash(self, image: FirmwareImage) -> FlashReport:
        """Program an image."""
        self.report, self.image = self.target.program(image.elf), image
        self._listen(image)
        return self.report

    def boot(self) -> tuple[protocol.Boot, float]:
        """Reset the device at its usual rate; return its first line and the seconds it took.

        Raises:
            CaptureTimeout: It says nothing, twice.
        """
        for attempt in range(_BOOT_TRIES):
            self.console.set_rate(self.board.facts.console.baud)
            self.console.clear()
            self.target.reset_and_run()
            begun = time.monotonic()
            try:
                boot = self.console.wait_for_boot(_BOOT_S)
            except CaptureTimeout:
                if attempt + 1 == _BOOT_TRIES:
                    raise
            else:
                return boot, time.monotonic() - begun
        raise AssertionError("not reached")

    def identify(self, boot: protocol.Boot) -> Identity:
        """Return who answers; raises as `answers.identify`."""
        if self.image is None or self.report is None:
            raise ValueError("nothing was flashed")
        return answers.identify(self.console, boot, self.image, self.board, self.report.chip_uid)

    def set_up(self, plan: CapturePlan) -> None:
        """Boot, set the model up and write its inputs."""
        self.boot()
        answers.set_up(self.console, plan, timeout_s=10)
