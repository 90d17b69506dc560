"""The questions of a measurement to the device, and when each answer is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness import protocol
from harness.boards import Board
from harness.capture.console import Console, first, numbered
from harness.capture.record import CapturePlan, Identity
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

if TYPE_CHECKING:
    from harness.firmware import FirmwareImage

LAYER_PASSES = 2
"""The last pass is reported: caches and branch predictors are warm, as in the timed run."""
# Of an exchange of 1,100 bytes, one gets lost far more often than of the usual 50.
_LONG_TRIES = 12
_MIN_CHUNK = 32
# What a runtime's set-up code means, as firmware_template/runtime/tflm/tflm_model.cpp has them.
_SETUP_FAILURES: dict[int, type[DeviceError]] = {
    1: ModelRegionError,
    2: SchemaMismatch,
    3: OperatorMissing,
    4: ArenaTooSmall,
}


def identify(
    console: Console, boot: protocol.Boot, image: FirmwareImage, board: Board, chip_uid: str
) -> Identity:
    """Return who answers, which must be the image that was flashed to the chip `chip_uid`.

    Raises:
        IdentityError: Another image, board, chip or grammar.
        CounterError: The chip counts no cycles.
    """
    who = console.ask_for(protocol.ID, protocol.DeviceId, what="the device's id")
    for name, expected, found in (
        ("build id", image.build_id, boot.build),
        ("build id", image.build_id, who.build),
        ("board", board.id, who.board),
        ("model id", image.model_sha256[:16], who.model),
        ("grammar version", protocol.VERSION, who.version),
        # Read through the probe and reported over the port: one and the same chip.
        ("unique id", chip_uid, who.uid),
    ):
        if expected != found:
            raise console.failure(
                IdentityError,
                f"the device's {name} is {found}",
                expected=f"{expected}: the image that was just flashed",
                fix="another board answers on this port: `harness bench check`",
            )
    if who.counter == "none":
        raise console.failure(
            CounterError,
            "the chip has no cycle counter",
            expected="DWT_CYCCNT",
            fix="only cores with a cycle counter can be measured",
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


def set_up(console: Console, plan: CapturePlan, *, timeout_s: float) -> None:
    """Set the model up, check its inputs and outputs, and write the inputs.

    Raises:
        DeviceError: The runtime cannot set the model up.
        IdentityError: The image has another model's inputs or outputs.
    """
    answer = console.ask_for(protocol.SETUP, protocol.Setup, what="set-up", timeout_s=timeout_s)
    if answer.rc:
        raise console.failure(
            _SETUP_FAILURES.get(answer.rc, DeviceError),
            f"the runtime cannot set the model up: {answer.message} (code {answer.rc})",
        )
    sizes = console.ask(protocol.IO, _tensors, what="the tensors")
    wanted = [len(item) for item in plan.inputs], list(plan.output_bytes)
    if sizes != wanted:
        raise console.failure(
            IdentityError,
            f"the image has inputs and outputs of {sizes[0]} and {sizes[1]} bytes",
            expected=f"{wanted[0]} and {wanted[1]}, as the model has",
        )
    write_inputs(console, plan.inputs)


def write_inputs(console: Console, inputs: Sequence[bytes]) -> None:
    """Write all inputs; every inference copies them to the model anew."""

    def acknowledged(
        records: list[protocol.Record], index: int, at: int, count: int
    ) -> bool | None:
        acks = (record for record in records if isinstance(record, protocol.InputAck))
        return any((ack.idx, ack.off, ack.n) == (index, at, count) for ack in acks) or None

    for index, content in enumerate(inputs):
        for at, count in _pieces(console, len(content)):
            console.ask(
                protocol.encode_input(index, at, content[at : at + count]),
                partial(acknowledged, index=index, at=at, count=count),
                what=f"input {index}",
                tries=_LONG_TRIES,
            )


def _pieces(console: Console, size: int) -> Iterator[tuple[int, int]]:
    """Cut `size` bytes into pieces, offset and length, that each take one exchange.

    After one that had to be repeated they are shorter: a bad wire hits a short line less often.
    """
    at, most = 0, protocol.MAX_INPUT_CHUNK
    while at < size:
        count = min(most, size - at)
        yield at, count
        at += count
        if console.attempts > 1:
            most = max(_MIN_CHUNK, most // 2)


def timed_cycles(
    console: Console, warmups: int, repeats: int, *, timeout_s: float
) -> tuple[int, ...]:
    """Run the model and return the cycles of each repeat.

    Raises:
        InvokeFailed: The runtime reports a failed inference.
    """

    def collect(records: list[protocol.Record]) -> tuple[int, ...] | None:
        end = first(records, protocol.RunEnd)
        if end is None:
            return None
        if end.rc:
            raise console.failure(InvokeFailed, f"inference failed with code {end.rc}")
        found = numbered(records, protocol.Cycle, repeats)
        return tuple(r.cycles for r in found) if found and end.n == repeats else None

    command = protocol.encode_run(warmups, repeats)
    return console.ask(command, collect, what="the timed run", timeout_s=timeout_s)


def layer_cycles(
    console: Console, *, timeout_s: float
) -> tuple[tuple[protocol.Layer, ...], int | None]:
    """Return each layer's cycles in a profiled pass, and the pass end to end.

    Raises:
        InvokeFailed: The runtime reports a failed inference.
    """

    def collect(records: list[protocol.Record]) -> tuple[tuple[protocol.Layer, ...], int] | None:
        end = first(records, protocol.LayersEnd)
        if end is None:
            return None
        if end.rc:
            raise console.failure(InvokeFailed, f"the profiled inference failed with code {end.rc}")
        found = numbered(records, protocol.Layer, end.n)
        return None if found is None else (found, end.total)

    command = protocol.encode_layers(LAYER_PASSES)
    return console.ask(command, collect, what="the layers", timeout_s=timeout_s)


def output(console: Console, index: int, size: int) -> bytes:
    """Return all bytes of an output."""

    def collect(records: list[protocol.Record], at: int, count: int) -> bytes | None:
        found: dict[int, bytes] = {}
        for record in records:
            if isinstance(record, protocol.Output) and record.idx == index:
                if record.off + len(record.data) > size:
                    raise console.failure(CaptureError, f"output {index} has bytes past its {size}")
                if at <= record.off < at + count:
                    found[record.off] = record.data
        content = b"".join(data for _, data in sorted(found.items()))
        return content if len(content) == count else None

    content = bytearray()
    for at, count in _pieces(console, size):
        content += console.ask(
            protocol.encode_output(index, at, count),
            partial(collect, at=at, count=count),
            what=f"output {index}",
            # 2 digits a byte and a line's frame, at 115200 baud about 4,000 bytes a second.
            timeout_s=2 + count / 2000,
            tries=_LONG_TRIES,
        )
    return bytes(content)


def _tensors(records: list[protocol.Record]) -> tuple[list[int], list[int]] | None:
    end = first(records, protocol.TensorsEnd)
    found = {(r.dir, r.idx): r.bytes for r in records if isinstance(r, protocol.Tensor)}
    if end is None or len(found) != end.n:
        return None
    inputs = [size for (way, _), size in sorted(found.items()) if way == "in"]
    outputs = [size for (way, _), size in sorted(found.items()) if way == "out"]
    return inputs, outputs
