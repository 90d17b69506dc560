"""What a capture is asked for, and what it yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness import protocol


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What to do with a flashed image.

    Attributes:
        warmup: Inferences before the timed ones.
        repeats: Timed inferences, 1 to 64, after each reset.
        layers: Whether a separate pass times each layer.
        inputs: Bytes of each input tensor, rewritten before every inference.
        output_bytes: Size of each output tensor.
        macs: Multiply-accumulates of one inference; the deadline is derived from them ...
        baud: Console speed of the image; None takes the board's default.
        verify_arena: Whether to search for the smallest arena that works.
        elements: ... and from how many elements all operators together write.
        boots: How often the device is reset and timed anew.
    """

    warmup: int
    repeats: int
    layers: bool
    inputs: tuple[bytes, ...]
    output_bytes: tuple[int, ...]
    macs: int
    baud: int | None = None
    verify_arena: bool = False
    elements: int = 0
    boots: int = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered.

    Attributes:
        build_id: Build id that the image carries.
        board: Board id that the image was built for.
        uid: 96-bit unique id of the chip, hex.
        clock_hz: Core clock that the device says it runs at.
        clock_source: ``hse`` or ``lse``, or ``hsi`` when the board's reference did not start.
        icache: Whether the instruction cache is on.
        dcache: Whether the data cache is on.
        art: Whether the flash accelerator is on, None where the chip has none.
    """

    build_id: str
    board: str
    uid: str
    clock_hz: int
    clock_source: str
    icache: bool
    dcache: bool
    art: bool | None


@dataclass(frozen=True, slots=True)
class ArenaReading:
    """The smallest arena that the model worked in, on the device.

    Attributes:
        min_bytes: Its size.
        tries: Sizes that were tried.
        below_bytes: The largest size that did not work, None when every size did.
        below_message: What the runtime, or the device, said to that.
    """

    min_bytes: int
    tries: int
    below_bytes: int | None
    below_message: str | None


@dataclass(frozen=True, slots=True)
class Capture:
    """What one image on one station yielded.

    Attributes:
        identity: Who answered.
        cycles: Core cycles of each repeat, in order.
        outputs: Bytes of each output tensor after the last repeat.
        memory: Arena and stack.
        layers: Cycles of each layer in the profiled pass, empty without one.
        layers_total_cycles: The profiled pass end to end.
        arena: The verified minimum of the arena, None when not asked for.
        arena_parts: Where the arena goes.
        timing_model: Name and version of what counted the cycles, for an emulated board.
        raw_log: Everything that went over the wire.
        seconds: Time of ``flash`` and ``run``, and of ``arena`` where it was verified.
    """

    identity: Identity
    cycles: tuple[int, ...]
    outputs: tuple[bytes, ...]
    memory: protocol.Memory
    layers: tuple[protocol.Layer, ...] = ()
    layers_total_cycles: int | None = None
    arena: ArenaReading | None = None
    arena_parts: tuple[protocol.ArenaPart, ...] = ()
    timing_model: str | None = None
    raw_log: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
