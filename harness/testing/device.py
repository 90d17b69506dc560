"""A device in memory: the wire grammar behind a port with pyserial's interface.

`FakeDevice.mangle` damages what it sends, line by line.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import protocol
from harness.flash.image import Checksum

FLASH = 0x0800_0000


@dataclass(slots=True)
class FakeDevice:
    """A device that answers the harness's commands as the firmware does."""

    build: str = "0123456789abcdef"  # build id that it reports
    board: str = "nucleo_f746zg"  # board id that it reports
    model: str = "fedcba9876543210"  # model id that it reports
    uid: str = "00112233445566778899aabb"  # unique id that it reports
    clock_hz: int = 216_000_000  # clock that it reports
    art: int = 1  # flash accelerator that it reports: 1 on, 0 off, -1 none
    cycles: tuple[int, ...] = (1000, 1001, 1002)  # of successive timed inferences
    # (name, operator, cycles) of each layer.
    layers: tuple[tuple[str, str, int], ...] = (("conv", "CONV_2D", 900), ("fc", "SOFTMAX", 90))
    input_bytes: tuple[int, ...] = (490,)  # size of each input
    outputs: tuple[bytes, ...] = (bytes(range(12)),)  # content of each output
    arena_needs: int = 1600  # bytes of arena below which it does not work
    # Its answer below: ``refuse`` (an error), ``differ`` (another output), ``fault``, or none:
    # ``hang``.
    arena_fails: str = "refuse"
    counter_stuck: bool = False  # whether its cycle counter stands still
    flash: bytes = b"image"  # content of its flash, from its beginning
    flash_rots: bool = False  # whether a bit of flash flips after programming
    # Called with each line that would be sent; yields the lines that are.
    mangle: Callable[[bytes], Iterable[bytes]] = field(default=lambda line: (line,))
    received: dict[int, bytearray] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)
    _seq: int = 0
    _dead: bool = False

    def boot(self) -> bytes:
        """Return what it sends after a reset."""
        self._seq = 0
        self._dead = False
        self.received.clear()
        return self._send(
            b"m-init-done\r\n",
            self._line("boot", build=self.build, board=self.board, reset="software"),
            b"m-ready\r\n",
        )

    def answer(self, command: bytes) -> bytes:
        """Return its answer to one command (given without its ``%``)."""
        self.commands.append(command)
        if self._dead:
            return b""
        word, *arguments = command.decode("ascii", "replace").split() or [""]
        # `hil-id` is answered by `_hil_id`, and so on.
        handler = getattr(self, f"_{word.replace('-', '_')}", None) if "hil-" in word else None
        lines = handler(arguments) if handler else []
        if handler is None and word:
            lines = [self._line("err", code="unknown", cmd=word)]
        return self._send(*lines, *([] if self._dead else [b"m-ready\r\n"]))

    def _line(self, kind: str, /, **fields: object) -> bytes:
        line = protocol.encode_line(kind, self._seq, fields)
        self._seq += 1
        return line

    def _send(self, *lines: bytes) -> bytes:
        return b"".join(part for line in lines for part in self.mangle(line))

    def _hil_id(self, _: list[str]) -> list[bytes]:
        fields = {
            "build": self.build, "board": self.board, "uid": self.uid,
            "model": self.model, "runtime": "aot", "kernels": "cmsis_nn", "clock": self.clock_hz,
            "src": "hse", "icache": 1, "dcache": 1, "art": self.art, "counter": "dwt",
            "baud": 115200, "version": protocol.VERSION,
        }  # fmt: skip
        return [self._line("id", **fields)]

    def _hil_io(self, _: list[str]) -> list[bytes]:
        tensors = [("in", i, size) for i, size in enumerate(self.input_bytes)]
        tensors += [("out", i, len(data)) for i, data in enumerate(self.outputs)]
        lines = [self._line("io", dir=way, idx=index, bytes=size) for way, index, size in tensors]
        return [*lines, self._line("io-end", n=len(tensors))]

    def _hil_time(self, _: list[str]) -> list[bytes]:
        seconds = time.monotonic()
        cycles = 0 if self.counter_stuck else round(seconds * self.clock_hz)
        fields = {"cycles": cycles, "ticks": round(seconds * 1e6) % 2**32}
        return [self._line("time", **fields, counter=cycles % 2**32)]

    def _hil_crc(self, words: list[str]) -> list[bytes]:
        address, size = (int(word) for word in words)
        crc = zlib.crc32(self.flash[address - FLASH :][:size]) ^ self.flash_rots
        return [self._line("crc", address=address, bytes=size, crc=f"{crc:08x}")]

    def _hil_setup(self, _: list[str]) -> list[bytes]:
        return [self._line("setup", rc=0, err="none")]

    def _hil_in(self, words: list[str]) -> list[bytes]:
        *body, crc = words
        if protocol.crc32(" ".join(body)) != crc:
            return [self._line("err", code="crc", cmd="hil-in")]
        index, offset, text = body
        data, at = bytes.fromhex(text), int(offset)
        content = self.received.setdefault(int(index), bytearray(self.input_bytes[int(index)]))
        content[at : at + len(data)] = data
        return [self._line("in", idx=index, off=offset, n=len(data))]

    def _hil_run(self, words: list[str]) -> list[bytes]:
        warmups, repeats = (int(word) for word in words)
        cycles = itertools.islice(itertools.cycle(self.cycles), repeats)
        lines = [self._line("cycle", i=i, cycles=count) for i, count in enumerate(cycles)]
        return [*lines, self._line("run-end", w=warmups, n=repeats, rc=0)]

    def _hil_layers(self, _: list[str]) -> list[bytes]:
        lines = [
            self._line("layer", i=i, cycles=cycles, op=operator, name=name)
            for i, (name, operator, cycles) in enumerate(self.layers)
        ]
        total = sum(cycles for _, _, cycles in self.layers)
        return [*lines, self._line("layers-end", n=len(self.layers), total=total, rc=0)]

    def _hil_out(self, words: list[str]) -> list[bytes]:
        index, offset, length = (int(word) for word in words)
        data = self.outputs[index][offset : offset + length]
        step = protocol.MAX_OUTPUT_CHUNK
        lines = [
            self._line("out", idx=index, off=offset + at, hex=data[at : at + step].hex())
            for at in range(0, len(data), step)
        ]
        return [*lines, self._line("out-end", idx=index, n=len(data))]

    def _hil_mem(self, _: list[str]) -> list[bytes]:
        fields = {
            "arena_planned": 2000, "arena_used": 2000, "arena_capacity": 2000,
            "arena_paint": 1900, "stack_used": 700, "stack_size": 8192,
        }  # fmt: skip
        return [self._line("mem", **fields)]

    def _hil_arena(self, words: list[str]) -> list[bytes]:
        size = int(words[0])
        crc = protocol.crc32(b"".join(self.outputs))
        if sorted(self.received) != list(range(len(self.input_bytes))):
            crc = "00000000"  # it was reset and has no inputs
        if size >= self.arena_needs:
            return [self._line("arena", bytes=size, rc=0, out=crc, err="")]
        if self.arena_fails == "differ":
            return [self._line("arena", bytes=size, rc=0, out="deadbeef", err="")]
        if self.arena_fails == "refuse":
            err = protocol.encode_message(f"{self.arena_needs - size} bytes missing")
            return [self._line("arena", bytes=size, rc=1, out="00000000", err=err)]
        self._dead = True
        if self.arena_fails == "hang":
            return []
        registers = dict.fromkeys(("pc", "lr", "sp", "psr", "cfsr", "hfsr", "bfar"), "08000000")
        return [self._line("fault", exc=3, **registers, stack="ok")]

    def _hil_arena_parts(self, _: list[str]) -> list[bytes]:
        parts = (("nonpersistent", 1500), ("persistent", 500))
        lines = [
            self._line("arena-part", i=i, kind=kind, used=used, requested=used - 10, count=1)
            for i, (kind, used) in enumerate(parts)
        ]
        return [*lines, self._line("arena-parts-end", n=len(parts))]


class FakePort:
    """A `FakeDevice` behind the methods of `serial.Serial` that a console uses."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.timeout = 0.0
        self.baudrate = 115200
        self._to_device = bytearray()
        self._to_host = bytearray()

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        return len(self._to_host)

    def read(self, size: int = 1) -> bytes:
        """Return up to `size` bytes; nothing when nothing is waiting."""
        data = bytes(self._to_host[:size])
        del self._to_host[:size]
        return data

    def write(self, data: bytes) -> int:
        """Hand bytes to the device and queue its answers."""
        self._to_device += data
        while (end := self._to_device.find(b"%")) >= 0:
            command = bytes(self._to_device[:end])
            del self._to_device[: end + 1]
            self._to_host += self.device.answer(command)
        return len(data)

    def reset_input_buffer(self) -> None:
        """Drop what was not read."""
        self._to_host.clear()

    def reset(self) -> None:
        """Reset the device, as the debug probe does."""
        self._to_host += self.device.boot()

    def close(self) -> None:
        """Do nothing; there is nothing to give back."""


@dataclass(frozen=True, slots=True)
class FakeReport:
    """The fields of `harness.flash.FlashReport` that a session uses."""

    chip_uid: str
    checksums: tuple[Checksum, ...]
    stages: Mapping[str, float] = field(default_factory=dict)


class FakeTarget:
    """The methods of `harness.flash.Target` that a session uses, for a `FakePort`."""

    def __init__(self, port: FakePort) -> None:
        self._port = port
        self.programmed: list[Path] = []
        self.loader = False  # whether the core runs the boot loader in its ROM

    def program(self, elf: Path) -> FakeReport:
        """Record the ELF in `programmed`."""
        self.programmed.append(elf)
        device = self._port.device
        return FakeReport(device.uid, (Checksum.of(FLASH, device.flash),))

    def in_boot_loader(self) -> bool:
        """Return `loader`."""
        return self.loader

    def reset_and_run(self) -> None:
        """Reset the device."""
        self._port.reset()
