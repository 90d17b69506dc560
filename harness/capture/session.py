"""The one place that knows the order: lock, open port, program, reset, check, run, read, close."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness import protocol
from harness.bench import Station, station_lock
from harness.bench.check import serial_error
from harness.bench.disabled import check_enabled
from harness.bench.failure import UntilFailure
from harness.boards import Board, load_board
from harness.capture.arena import ArenaSearch, read_arena_parts
from harness.capture.clock import (
    HostStopwatch,
    Reading,
    Stopwatch,
    VirtualStopwatch,
    check_clock,
    read_time,
)
from harness.capture.console import Console
from harness.capture.image import check_image
from harness.capture.record import (
    ArenaReading,
    Capture,
    CapturePlan,
    Identity,
    MemoryReading,
)
from harness.errors import (
    ArenaTooSmall,
    CaptureError,
    CounterError,
    DeviceError,
    IdentityError,
    InvokeFailed,
    ModelRegionError,
    OperatorMissing,
    SchemaMismatch,
)
from harness.firmware.symbols import place_in

if TYPE_CHECKING:
    from harness.firmware import FirmwareImage

_BOOT_S = 5.0
# Plain C on a Cortex-M4 needs under 60 cycles per MAC ...
_CYCLES_PER_MAC = 60
# ... and this many for each element that an operator writes (softmax in plain C).
_CYCLES_PER_ELEMENT = 400
# The last pass is reported: caches and branch predictors are warm then, as in the timed run.
_LAYER_PASSES = 2
# Set-up, answers on the line; an emulator also translates and prices new code.
_MARGIN_S = {"hardware": 2.0, "emulated": 6.0}
_MEASURED_FACTOR = 5
# An emulator on a slow host may need this many seconds for one second of the device.
_EMULATION_FACTOR = 10
# What a runtime's set-up code means, as firmware_template/runtime/tflm/tflm_model.cpp has them.
_SETUP_FAILURES: dict[int, type[DeviceError]] = {
    1: ModelRegionError,
    2: SchemaMismatch,
    3: OperatorMissing,
    4: ArenaTooSmall,
}


class BoardSession:
    """A station that is locked and open; runs one image after another.

    After a failure that leaves the device in an unknown state, the session is `broken` and refuses
    further images: close it and open another.

    Use `BoardSession.open`.
    """

    def __init__(
        self,
        station: Station,
        board: Board,
        port: Any,
        target: Any,
        stack: ExitStack,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._stopwatch = stopwatch or HostStopwatch()
        self._clock_is_checked = False
        self._seconds_per_inference: float | None = None
        self._station = station
        self._board = board
        self._port = port
        self._target = target
        self._stack = stack
        self._where = f"{station.name}, {station.serial}"
        self._use = UntilFailure(f"the session on station '{station.name}'")

    @classmethod
    def open(cls, station: Station) -> BoardSession:
        """Lock the station, open its serial port, then its probe.

        Raises:
            StationDisabled: It failed several jobs in a row.
            StationLocked: Another process uses it.
            SerialUnavailable, ProbeNotFound, ProbeBusy: Port or probe cannot be opened.
        """
        from harness.flash import open_target

        check_enabled(station)
        board = load_board(station.board)
        stack = ExitStack()
        try:
            stack.enter_context(station_lock(station))
            port = open_port(station, board.facts.console.baud)
            stack.callback(port.close)
            target = stack.enter_context(open_target(station, board))
        except BaseException:
            stack.close()
            raise
        return cls(station, board, port, target, stack, _stopwatch(station))

    @property
    def broken(self) -> bool:
        """Whether a failure left the device in an unknown state."""
        return self._use.cause is not None

    def __enter__(self) -> BoardSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            return self._run(image, plan)

    def _run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        start = time.perf_counter()
        self._seconds_per_inference = None
        self._port.baudrate = plan.baud or self._board.facts.console.baud
        console = Console(
            self._port, where=self._where, place_of=lambda address: place_in(image, address)
        )
        report = self._target.program(image.elf)
        flashed = time.perf_counter()
        console.clear()
        cycles: tuple[int, ...] = ()
        for number in range(plan.boots):
            if number:
                console.restart()
            self._target.reset_and_run()
            boot = console.wait_for_boot(_BOOT_S)
            identity = self._check_identity(image, boot, report.chip_uid, console)
            first = read_time(console, self._stopwatch)
            self._set_up(console, plan)
            cycles += self._cycles(console, plan)
        outputs = tuple(
            self._output(console, index, size) for index, size in enumerate(plan.output_bytes)
        )
        memory = _memory(console)
        layers, total = self._layers(console, plan) if plan.layers else ((), None)
        parts = read_arena_parts(console)
        self._check_clock(console, first, identity)
        # Last, so that it speaks for all that was measured.
        check_image(console, report.checksums, where=self._where)
        measured = time.perf_counter()
        seconds = {"flash": flashed - start, "run": measured - flashed}
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
            timing_model=self._timing_model(),
            raw_log=console.log,
            seconds=seconds,
        )

    def _check_identity(
        self, image: FirmwareImage, boot: protocol.Boot, chip_uid: str, console: Console
    ) -> Identity:
        who = console.ask(protocol.encode_id(), _one(protocol.DeviceId), what="the device's id")
        for name, expected, found in (
            ("build id", image.build_id, boot.build),
            ("build id", image.build_id, who.build),
            ("board", self._board.id, who.board),
            ("model id", image.model_sha256[:16], who.model),
            ("grammar version", protocol.VERSION, who.version),
            # Read through the probe and told over the port: one and the same chip.
            ("unique id", chip_uid, who.uid),
        ):
            if expected != found:
                raise IdentityError(
                    f"the device's {name} is {found}",
                    where=self._where,
                    expected=f"{expected}: the image that was just flashed",
                    fix="another board answers on this port: `harness bench check`",
                    raw_log=console.log,
                )
        if who.counter == "none":
            raise CounterError(
                "the chip has no cycle counter",
                where=self._where,
                expected="DWT_CYCCNT",
                fix="only cores with a cycle counter can be measured",
                raw_log=console.log,
            )
        return Identity(
            build_id=who.build,
            board=who.board,
            uid=who.uid,
            clock_hz=who.clock,
            clock_source=who.src,
            icache=bool(who.icache),
            dcache=bool(who.dcache),
            art=None if who.art < 0 else bool(who.art),
        )

    def _check_clock(self, console: Console, first: Reading, identity: Identity) -> None:
        # Seconds on hardware, hence once for all images; no time at all on a virtual board.
        emulated = self._station.source == "emulated"
        check_clock(
            console,
            self._stopwatch,
            first,
            clock_hz=identity.clock_hz,
            fallback=identity.clock_source not in protocol.TRUSTED_CLOCKS,
            where=self._where,
            thorough=emulated or not self._clock_is_checked,
        )
        self._clock_is_checked = True

    def _set_up(self, console: Console, plan: CapturePlan) -> None:
        setup = console.ask(
            protocol.encode_setup(),
            _one(protocol.Setup),
            what="set-up",
            timeout_s=self._deadline(plan, 1),
        )
        if setup.rc:
            raise _SETUP_FAILURES.get(setup.rc, DeviceError)(
                f"the runtime cannot set the model up: {setup.message} (code {setup.rc})",
                where=self._where,
                raw_log=console.log,
            )
        sizes = console.ask(protocol.encode_io(), _tensors, what="the tensors")
        wanted = [len(item) for item in plan.inputs], list(plan.output_bytes)
        if sizes != wanted:
            raise IdentityError(
                f"the image has inputs and outputs of {sizes[0]} and {sizes[1]} bytes",
                where=self._where,
                expected=f"{wanted[0]} and {wanted[1]}, as the model has",
                raw_log=console.log,
            )
        _write_inputs(console, plan)

    def _verify_arena(
        self,
        console: Console,
        plan: CapturePlan,
        memory: MemoryReading,
        outputs: tuple[bytes, ...],
    ) -> ArenaReading:
        def revive() -> None:
            console.restart()
            self._target.reset_and_run()
            console.wait_for_boot(_BOOT_S)
            _write_inputs(console, plan)

        search = ArenaSearch(
            console,
            revive,
            outputs=outputs,
            deadline_s=self._deadline(plan, 1),
            where=self._where,
        )
        return search.run(used=memory.arena_used, capacity=memory.arena_capacity)

    def _cycles(self, console: Console, plan: CapturePlan) -> tuple[int, ...]:
        command = protocol.encode_run(plan.warmup, plan.repeats)
        inferences = plan.warmup + plan.repeats
        deadline = self._deadline(plan, inferences)

        def collect(records: list[protocol.Record]) -> tuple[int, ...] | None:
            end = _one(protocol.RunEnd)(records)
            if end is None:
                return None
            if end.rc:
                raise InvokeFailed(
                    f"inference failed with code {end.rc}", where=self._where, raw_log=console.log
                )
            found = {r.i: r.cycles for r in records if isinstance(r, protocol.Cycle)}
            complete = end.n == plan.repeats and sorted(found) == list(range(plan.repeats))
            return tuple(found[i] for i in range(plan.repeats)) if complete else None

        start = time.monotonic()
        cycles = console.ask(command, collect, what="the timed run", timeout_s=deadline)
        self._seconds_per_inference = (time.monotonic() - start) / inferences
        return cycles

    def _layers(
        self, console: Console, plan: CapturePlan
    ) -> tuple[tuple[protocol.Layer, ...], int | None]:
        def collect(
            records: list[protocol.Record],
        ) -> tuple[tuple[protocol.Layer, ...], int] | None:
            end = _one(protocol.LayersEnd)(records)
            if end is None:
                return None
            if end.rc:
                raise InvokeFailed(
                    f"the profiled inference failed with code {end.rc}",
                    where=self._where,
                    raw_log=console.log,
                )
            found = {r.i: r for r in records if isinstance(r, protocol.Layer)}
            if sorted(found) != list(range(end.n)):
                return None
            return tuple(found[i] for i in range(end.n)), end.total

        deadline = self._deadline(plan, _LAYER_PASSES)
        command = protocol.encode_layers(_LAYER_PASSES)
        return console.ask(command, collect, what="the layers", timeout_s=deadline)

    def _output(self, console: Console, index: int, size: int) -> bytes:
        def collect(records: list[protocol.Record]) -> bytes | None:
            content = bytearray(size)
            seen = 0
            for record in records:
                if isinstance(record, protocol.Output) and record.idx == index:
                    data = record.data
                    if record.off + len(data) > size:
                        raise CaptureError(
                            f"output {index} has bytes past its {size}",
                            where=self._where,
                            raw_log=console.log,
                        )
                    content[record.off : record.off + len(data)] = data
                    seen += len(data)
            return bytes(content) if seen == size else None

        command = protocol.encode_output(index, 0, size)
        # 2 digits a byte and a line's frame, at 115200 baud about 4,000 bytes a second.
        return console.ask(command, collect, what=f"output {index}", timeout_s=2 + size / 2000)

    def _deadline(self, plan: CapturePlan, inferences: int) -> float:
        """Return the longest time of some inferences: as measured, or as its operations tell."""
        margin = _MARGIN_S[self._station.source]
        if self._seconds_per_inference is not None:
            return margin + _MEASURED_FACTOR * self._seconds_per_inference * inferences
        cycles = plan.macs * _CYCLES_PER_MAC + plan.elements * _CYCLES_PER_ELEMENT
        seconds = cycles * inferences / self._board.clock_hz
        factor = _EMULATION_FACTOR if self._station.source == "emulated" else 1
        return margin + seconds * factor

    def _timing_model(self) -> str | None:
        if self._station.source != "emulated":
            return None
        from harness.virtual.registry import get_machine

        # As the machine that counted says, not as the environment does now.
        return get_machine(self._board.id).model.identity


def _stopwatch(station: Station) -> Stopwatch:
    if station.source != "emulated":
        return HostStopwatch()
    from harness.virtual.registry import get_machine

    return VirtualStopwatch(get_machine(station.board))


def open_port(station: Station, baud: int) -> Any:
    """Open the station's serial port, for ourselves alone.

    Raises:
        SerialUnavailable: It is not there, held by another program, or not ours to open.
    """
    import serial

    package = "harness.virtual.ports.serialurl"
    if package not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append(package)
    try:
        port = serial.serial_for_url(station.serial, baudrate=baud, timeout=0, do_not_open=True)
        if hasattr(port, "exclusive"):
            port.exclusive = True
        port.open()
    except (serial.SerialException, ValueError, OSError) as failure:
        raise serial_error(station.serial, failure) from failure
    return port


def _write_inputs(console: Console, plan: CapturePlan) -> None:
    for index, content in enumerate(plan.inputs):
        for command in protocol.encode_inputs(index, content):
            console.ask(command, _one(protocol.InputAck), what=f"input {index}")


def _one(kind: type[Any]) -> Any:
    def collect(records: list[protocol.Record]) -> Any:
        return next((record for record in records if isinstance(record, kind)), None)

    return collect


def _tensors(records: list[protocol.Record]) -> tuple[list[int], list[int]] | None:
    end = _one(protocol.TensorsEnd)(records)
    found = {(r.dir, r.idx): r.bytes for r in records if isinstance(r, protocol.Tensor)}
    if end is None or len(found) != end.n:
        return None
    inputs = [size for (way, _), size in sorted(found.items()) if way == "in"]
    outputs = [size for (way, _), size in sorted(found.items()) if way == "out"]
    return inputs, outputs


def _memory(console: Console) -> MemoryReading:
    reading = console.ask(protocol.encode_mem(), _one(protocol.Memory), what="memory use")
    return MemoryReading(
        arena_used=reading.arena_used,
        arena_capacity=reading.arena_capacity,
        arena_paint=None if reading.arena_paint < 0 else reading.arena_paint,
        stack_used=reading.stack_used,
        stack_size=reading.stack_size,
    )
