"""Records of a capture: the plan and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness import protocol


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What to do with a flashed image."""

    warmup: int  # inferences before the timed ones
    repeats: int  # timed inferences, 1 to 64, after each reset
    layers: bool  # whether a separate pass times each layer
    inputs: tuple[bytes, ...]  # bytes of each input tensor, rewritten before every inference
    output_bytes: tuple[int, ...]  # size of each output tensor
    macs: int  # multiply-accumulates of one inference; the deadline is derived from them
    baud: int | None = None  # console speed of the image; None takes the board's default
    verify_arena: bool = False  # whether to search for the smallest arena that works
    elements: int = 0  # elements that all operators write; the deadline is derived from them too
    boots: int = 1  # how often the device is reset and timed anew


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered."""

    build_id: str  # build id that the image carries
    board: str  # board id that the image was built for
    uid: str  # unique id of the chip, hex
    clock_hz: int  # core clock that the device says it runs at
    clock_source: str  # ``hse`` or ``lse``, or ``hsi`` when the board's reference did not start
    icache: bool  # whether the instruction cache is on
    dcache: bool  # whether the data cache is on
    art: bool | None  # whether the flash accelerator is on, None where the chip has none


@dataclass(frozen=True, slots=True)
class ArenaReading:
    """The smallest arena that the model worked in, on the device."""

    min_bytes: int
    tries: int  # sizes that were tried
    below_bytes: int | None  # the largest size that did not work, None when every size did
    below_message: str | None  # what the runtime, or the device, reported then


@dataclass(frozen=True, slots=True)
class Capture:
    """What one image on one station yielded."""

    identity: Identity
    cycles: tuple[int, ...]  # core cycles of each repeat, in order
    outputs: tuple[bytes, ...]  # bytes of each output tensor after the last repeat
    memory: protocol.Memory  # arena and stack
    # Cycles of each layer in the profiled pass; empty without one.
    layers: tuple[protocol.Layer, ...] = ()
    layers_total_cycles: int | None = None  # the profiled pass end to end
    arena: ArenaReading | None = None  # the verified minimum of the arena, if it was searched
    arena_parts: tuple[protocol.ArenaPart, ...] = ()  # where the arena goes
    # Name and version of what counted the cycles, for an emulated board.
    timing_model: str | None = None
    raw_log: str = ""  # everything that went over the wire
    # Time of ``flash`` and ``run``, and of ``arena`` where it was verified; what is within them has
    # a dot: ``flash.erase``, ``flash.write``, ``flash.verify``, ``run.boot``, ``run.upload``,
    # ``run.inference``, ``run.layers``, ``run.answers``, ``run.clock``, ``run.check``.
    seconds: Mapping[str, float] = field(default_factory=dict)
