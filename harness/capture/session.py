"""The order of a measurement: lock, open port, program, reset, check, run, read, close."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import protocol
from harness.bench import Station, station_lock
from harness.bench.disabled import check_enabled
from harness.bench.failure import UntilFailure
from harness.bench.port import has_rate, open_port
from harness.boards import Board, load_board
from harness.capture import answers
from harness.capture.arena import ArenaSearch, read_arena_parts
from harness.capture.clock import HOST, Stopwatch, check_clock, read_time
from harness.capture.console import Console
from harness.capture.edges import check_edges
from harness.capture.image import check_image
from harness.capture.rate import best_rate, raise_rate
from harness.capture.record import ArenaReading, Capture, CapturePlan
from harness.errors import CaptureTimeout, DeviceError, HarnessError
from harness.firmware.symbols import place_in

if TYPE_CHECKING:
    from harness.firmware import FirmwareImage
    from harness.flash import Target

# A crystal of 32 kHz that does not start takes the firmware of an L4 4.1 to 4.5 s to give up.
_BOOT_S = {"hardware": 8.0, "emulated": 5.0}
# Ports on which the faster console failed, so that this process does not try again.
_SLOW_PORTS: set[str] = set()
# Plain C on a Cortex-M4 needs under 60 cycles per MAC ...
_CYCLES_PER_MAC = 60
# ... and this many for each element that an operator writes (softmax in plain C).
_CYCLES_PER_ELEMENT = 400
# Set-up, answers on the line; an emulator also translates new code and computes its block costs.
_MARGIN_S = {"hardware": 2.0, "emulated": 6.0}
_MEASURED_FACTOR = 5
# An emulator on a slow host may need this many seconds for one second of the device.
_EMULATION_FACTOR = 10


class BoardSession:
    """A station that `BoardSession.open` has locked and opened; runs one image after another.

    After a failure that leaves the device in an unknown state, the session is `broken` and refuses
    further images: close it and open another.
    """

    def __init__(
        self,
        station: Station,
        board: Board,
        port: Any,
        target: Any,
        stack: ExitStack,
        stopwatch: Stopwatch = HOST,
    ) -> None:
        self._stopwatch = stopwatch
        self._clock_is_checked = False
        self._edges_are_checked = False
        self._seconds_per_inference: float | None = None
        self._usual_baud = board.facts.console.baud
        self._wanted_baud: int | None = None  # to ask the device for after each reset
        self._station = station
        self._board = board
        self._port = port
        self._target = target
        self._stack = stack
        self._use = UntilFailure(f"the session on station '{station.name}'")

    @classmethod
    def open(cls, station: Station, *, although_disabled: bool = False) -> BoardSession:
        """Lock the station, open its serial port, then its probe.

        A disabled station is opened only to find out whether it works again.

        Raises:
            StationDisabled: It failed several jobs in a row.
            StationLocked: Another process uses it.
            SerialUnavailable, ProbeNotFound, ProbeBusy: Port or probe cannot be opened.
        """
        from harness.flash import open_target

        if not although_disabled:
            check_enabled(station)
        board = load_board(station.board)
        with ExitStack() as stack:
            stack.enter_context(station_lock(station))
            port = open_port(station.serial, board.facts.console.baud)
            stack.callback(port.close)
            target = stack.enter_context(open_target(station, board))
            stopwatch = stopwatch_of(station, target)
            return cls(station, board, port, target, stack.pop_all(), stopwatch)

    @property
    def broken(self) -> bool:
        """Whether a failure left the device in an unknown state."""
        return self._use.cause is not None

    def __enter__(self) -> BoardSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close probe and port and give the station back."""
        self._stack.close()

    def run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        """Program an image and measure it.

        Raises:
            FlashError: Programming or verifying failed.
            IdentityError: The device runs another image or is another board.
            CaptureError: No complete, checked answer.
            BenchError: An earlier run failed and left the device in an unknown state.
        """
        with self._use.use(DeviceError):
            try:
                return self._run(image, plan)
            except CaptureTimeout:
                if self._port.baudrate != self._usual_baud:
                    _SLOW_PORTS.add(self._station.serial)
                raise

    def _run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        start = time.perf_counter()
        self._seconds_per_inference = None
        self._choose_baud(plan)
        where = f"{self._station.name}, {self._station.serial}"
        place_of = partial(place_in, image)
        console = Console(self._port, where=where, place_of=place_of, check_host=self._check_host)
        report = self._target.program(image.elf)
        flashed = time.perf_counter()
        console.clear()
        seconds: dict[str, float] = {}
        lap = flashed

        def spent(stage: str) -> None:
            nonlocal lap
            before, lap = lap, time.perf_counter()
            seconds[stage] = seconds.get(stage, 0.0) + lap - before

        cycles: tuple[int, ...] = ()
        for number in range(plan.boots):
            if number:
                console.restart()
            boot = self._boot(console)
            identity = answers.identify(console, boot, image, self._board, report.chip_uid)
            first = read_time(console, self._stopwatch, byte_s=self._byte_s)
            spent("run.boot")
            answers.set_up(console, plan, timeout_s=self._deadline(plan, 1))
            spent("run.upload")
            cycles += self._cycles(console, plan)
            spent("run.inference")
        outputs = tuple(
            answers.output(console, index, size) for index, size in enumerate(plan.output_bytes)
        )
        memory = console.ask_for(protocol.MEM, protocol.Memory, what="memory use")
        spent("run.answers")
        layers: tuple[protocol.Layer, ...] = ()
        total = None
        if plan.layers:
            deadline = self._deadline(plan, answers.LAYER_PASSES)
            layers, total = answers.layer_cycles(console, timeout_s=deadline)
            spent("run.layers")
        parts = read_arena_parts(console)
        spent("run.answers")
        # Seconds on hardware, hence once for all images; no time at all on a virtual board.
        check_clock(
            console,
            self._stopwatch,
            first,
            clock_hz=identity.clock_hz,
            fallback=identity.clock_source != self._board.facts.clock.reference,
            thorough=self._station.virtual or not self._clock_is_checked,
            byte_s=self._byte_s,
        )
        self._clock_is_checked = True
        spent("run.clock")
        if not self._edges_are_checked and self._board.facts.core.cpu == "cortex-m7":
            check_edges(console, self._board)
            self._edges_are_checked = True
        # Last, so that it covers everything that was measured.
        check_image(console, report.checksums)
        spent("run.check")
        measured = time.perf_counter()
        seconds |= {"flash": flashed - start, "run": measured - flashed}
        seconds |= {f"flash.{stage}": value for stage, value in report.stages.items()}
        arena = None
        if plan.verify_arena:
            arena = self._verify_arena(console, plan, memory, outputs)
            seconds["arena"] = time.perf_counter() - measured
        return Capture(
            identity=identity,
            cycles=cycles,
            outputs=outputs,
            memory=memory,
            layers=layers,
            layers_total_cycles=total,
            arena=arena,
            arena_parts=parts,
            timing_model=self._stopwatch.timing_model,
            raw_log=console.log,
            seconds=seconds,
        )

    def _check_host(self) -> None:
        """Find out whether the silence is the board's, or its host has gone."""
        self._target.ping()
        if hasattr(self._port, "ping"):
            self._port.ping()

    def _choose_baud(self, plan: CapturePlan) -> None:
        self._usual_baud = plan.baud or self._board.facts.console.baud
        wanted = self._station.baud
        if wanted is None and self._station.source == "hardware":
            wanted = self._board.facts.console.fast_baud
        faster = wanted is not None and wanted > self._usual_baud
        faster = faster and has_rate(self._station.serial)
        self._wanted_baud = best_rate(self._board, wanted) if wanted and faster else None

    @property
    def _byte_s(self) -> float:
        """Seconds of a byte on the line; 0 on a virtual board, which moves bytes in no time."""
        emulated = self._station.source == "emulated"
        # At most 2 % faster than the nominal rate.
        return 0.0 if emulated else 10 / self._port.baudrate * 0.98

    def _boot(self, console: Console) -> protocol.Boot:
        """Reset the device, wait for it, and let it talk as fast as the wire allows."""
        console.set_rate(self._usual_baud)
        boot = self._reset(console)
        wanted = self._wanted_baud
        if wanted is None or self._station.serial in _SLOW_PORTS:
            return boot
        if not raise_rate(console, self._port, wanted):
            _SLOW_PORTS.add(self._station.serial)
        return boot

    def _reset(self, console: Console) -> protocol.Boot:
        self._target.reset_and_run()
        try:
            return console.wait_for_boot(_BOOT_S[self._station.source])
        except CaptureTimeout as silent:
            if not self._in_boot_loader():
                raise
            silent.what = f"{silent.what}; the chip runs the boot loader in its ROM"
            silent.fix = (
                "check that BOOT0 is low (no jumper to VDD), and the boot option bits with "
                "STM32CubeProgrammer; power-cycle the board"
            )
            raise

    def _in_boot_loader(self) -> bool:
        try:
            return bool(self._target.in_boot_loader())
        except HarnessError:
            return False  # the silence is what is reported

    def _verify_arena(
        self,
        console: Console,
        plan: CapturePlan,
        memory: protocol.Memory,
        outputs: tuple[bytes, ...],
    ) -> ArenaReading:
        def revive() -> None:
            console.restart()
            self._boot(console)
            answers.write_inputs(console, plan.inputs)

        search = ArenaSearch(console, revive, outputs=outputs, deadline_s=self._deadline(plan, 1))
        return search.run(used=memory.arena_used, capacity=memory.arena_capacity)

    def _cycles(self, console: Console, plan: CapturePlan) -> tuple[int, ...]:
        inferences = plan.warmup + plan.repeats
        deadline = self._deadline(plan, inferences)
        start = time.monotonic()
        cycles = answers.timed_cycles(console, plan.warmup, plan.repeats, timeout_s=deadline)
        self._seconds_per_inference = (time.monotonic() - start) / inferences
        return cycles

    def _deadline(self, plan: CapturePlan, inferences: int) -> float:
        """Return the longest time of some inferences: as measured, or as its operations tell."""
        margin = _MARGIN_S[self._station.source]
        if self._seconds_per_inference is not None:
            return margin + _MEASURED_FACTOR * self._seconds_per_inference * inferences
        cycles = plan.macs * _CYCLES_PER_MAC + plan.elements * _CYCLES_PER_ELEMENT
        seconds = cycles * inferences / self._board.clock_hz
        factor = _EMULATION_FACTOR if self._station.source == "emulated" else 1
        return margin + seconds * factor


def stopwatch_of(station: Station, target: Target) -> Stopwatch:
    """Return the time that a station's clock is compared with: the host's, or virtual time."""
    if station.source != "emulated":
        return HOST
    if not station.virtual:
        # While the core waits for input, the time of a virtual board passes as the host's does.
        return Stopwatch(target.seconds, time.sleep, target.timing_model())
    from harness.virtual.registry import get_machine

    machine = get_machine(station.board, station.number or 1)
    return Stopwatch(machine.now, machine.let_pass, machine.model.identity)
