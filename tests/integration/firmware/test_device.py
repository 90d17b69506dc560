"""The command loop on an emulated core: every command, and all that can be wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import protocol as wire
from harness.boards import load_board
from harness.firmware import BuildOptions, build
from support import bare
from support import firmware as fakes

DATA = bytes(range(100))
FLIPPED = bytes(byte ^ 1 for byte in DATA)


class Device:
    """A chip that runs the fake model."""

    def __init__(self, chip: Any) -> None:
        self.chip = chip

    def ask(self, command: bytes) -> list[wire.Parsed]:
        """Send a command; return its lines, the closing `m-ready` checked and dropped."""
        lines = wire.LineAssembler().feed(self.chip.send(command))
        assert lines[-1] == wire.Ready()
        return lines[:-1]

    def records(self, command: bytes) -> list[Any]:
        lines = self.ask(command)
        assert all(isinstance(line, wire.Line) for line in lines), lines
        return [wire.decode(line) for line in lines if isinstance(line, wire.Line)]

    def text(self, command: bytes) -> list[str]:
        return self.chip.send(command).decode().splitlines()


def _boot(
    library: Path, cache: Path, board_id: str, model: Any = None, size: int = 100, **chip: Any
) -> tuple[Device, list[wire.Parsed]]:
    board = load_board(board_id)
    model, sources = model or fakes.fake_model(), fakes.fake_sources(library, size=size)
    image = build(board, model, sources, BuildOptions(), cache_dir=cache)
    device = Device(bare.BareChip(image.elf, family=board.family, cpu=board.facts.core.cpu, **chip))
    return device, device.ask(b"")


@pytest.fixture(params=["nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi"])
def device(request, library, cache, compiler) -> Device:
    return _boot(library, cache, request.param)[0]


@pytest.fixture(scope="module")
def f746(library, cache, compiler) -> Device:
    device = _boot(library, cache, "nucleo_f746zg")[0]
    assert device.records(wire.SETUP) == [wire.Setup(0, "")]
    return device


def test_boot_says_which_image_and_why(library, cache, compiler) -> None:
    _, lines = _boot(library, cache, "nucleo_f746zg")
    image = build(
        load_board("nucleo_f746zg"),
        fakes.fake_model(),
        fakes.fake_sources(library),
        cache_dir=cache,
    )
    assert lines[0] == wire.Text(wire.INIT_DONE)
    assert isinstance(lines[1], wire.Line)
    assert wire.decode(lines[1]) == wire.Boot(image.build_id, "nucleo_f746zg", "pin")


def test_an_image_is_not_let_onto_another_board(library, cache, compiler) -> None:
    from harness.errors import TargetMismatch
    from harness.flash import read_image

    boards = {name: load_board(name) for name in ("nucleo_f746zg", "nucleo_f767zi")}
    for board in boards.values():
        image = build(board, fakes.fake_model(), fakes.fake_sources(library), cache_dir=cache)
        for other in boards.values():
            if other is board:
                assert read_image(image.elf, other).bytes
            else:
                with pytest.raises(TargetMismatch, match=f"built for {board.id}"):
                    read_image(image.elf, other)


def test_a_measurement(device: Device) -> None:
    (identity,) = device.records(wire.ID)
    assert identity.uid == "112233445566778899aabbcc"
    assert identity.model == fakes.fake_model().sha256[:16]
    assert identity.src == ("lse" if identity.board == "nucleo_l4r5zi" else "hse")
    assert identity.version == wire.VERSION
    assert device.records(wire.IO) == [
        wire.Tensor("in", 0, 100), wire.Tensor("out", 0, 100), wire.TensorsEnd(2),
    ]  # fmt: skip
    assert device.records(wire.encode_run(0, 1)) == [wire.DeviceErr("setup", "hil-run")]
    assert device.records(wire.SETUP) == [wire.Setup(0, "")]
    assert device.records(wire.encode_input(0, 0, DATA[:60])) == [wire.InputAck(0, 0, 60)]
    assert device.records(wire.encode_input(0, 60, DATA[60:])) == [wire.InputAck(0, 60, 40)]
    *cycles, end = device.records(wire.encode_run(2, 5))
    assert end == wire.RunEnd(2, 5, 0)
    assert [cycle.i for cycle in cycles] == list(range(5))
    assert device.records(wire.CYCLES) == [*cycles, end]
    *parts, end = device.records(wire.encode_output(0, 0, 100))
    assert b"".join(part.data for part in parts) == FLIPPED
    assert end == wire.OutputEnd(0, 100)
    layer, end = device.records(wire.encode_layers(2))
    assert (layer.op, layer.name, end.n) == ("CUSTOM", "flip", 1)
    (memory,) = device.records(wire.MEM)
    assert (memory.arena_planned, memory.arena_paint) == (200, 200)
    assert 0 < memory.stack_used < memory.stack_size == 8192


def test_the_input_is_written_again_before_every_inference(f746: Device) -> None:
    # The fake clears its input, so a second inference on what is left would give another output.
    f746.records(wire.encode_input(0, 0, DATA))
    f746.records(wire.encode_run(3, 3))
    *parts, _ = f746.records(wire.encode_output(0, 10, 70))
    assert b"".join(part.data for part in parts) == FLIPPED[10:80]
    assert [part.off for part in parts] == [10, 74]


def test_a_smaller_arena_is_tried_and_the_whole_given_back(f746: Device) -> None:
    f746.records(wire.encode_input(0, 0, DATA))
    (enough,) = f746.records(wire.encode_arena(fakes.ARENA_NEEDS))
    assert (enough.rc, enough.out, enough.message) == (0, wire.crc32(FLIPPED), "")
    (less,) = f746.records(wire.encode_arena(fakes.ARENA_NEEDS - 1))
    assert (less.rc, less.message) == (7, "100% full: more, please")
    # The device stays responsive, and does not run what could not be set up.
    assert f746.records(wire.encode_run(0, 1)) == [wire.DeviceErr("setup", "hil-run")]
    assert f746.records(wire.ARENA_PARTS) == [wire.DeviceErr("setup", "hil-arena-parts")]
    (again,) = f746.records(wire.encode_arena(200))
    assert (again.rc, again.out) == (0, enough.out)
    assert f746.records(wire.SETUP) == [wire.Setup(0, "")]
    assert f746.records(wire.ARENA_PARTS) == [
        wire.ArenaPart(0, "nonpersistent", 200, 100, 2), wire.ArenaPartsEnd(1),
    ]  # fmt: skip
    assert f746.records(wire.encode_run(0, 1))[-1] == wire.RunEnd(0, 1, 0)


def test_without_its_external_clock_it_runs_and_says_so(library, cache, compiler) -> None:
    device, _ = _boot(library, cache, "nucleo_f746zg", hse=False)
    (identity,) = device.records(wire.ID)
    assert (identity.src, identity.clock) == ("hsi", 216_000_000)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"hil-foo%", "unknown"),
        (b"foo%", "unknown"),
        (b"hil-id now%", "syntax"),
        (b"hil-run 1%", "range"),
        (b"hil-run 0 0%", "range"),
        (b"hil-run 0 65%", "range"),
        (b"hil-run 0 1 1%", "syntax"),
        (b"hil-run -1 1%", "range"),
        (b"hil-layers%", "range"),
        (b"hil-arena%", "range"),
        (b"hil-arena 201%", "range"),
        (b"hil-arena 8 8%", "syntax"),
        (b"hil-arena-parts 1%", "syntax"),
        (b"hil-out 0 0%", "syntax"),
        (b"hil-out 1 0 1%", "range"),
        (b"hil-out 0 100 1%", "range"),
        (b"hil-out 0 0 4294967295%", "syntax"),
        (b"hil-in%", "syntax"),
        (b"hil-in 0 0 00 00000000%", "crc"),
        (b"hil-in 0 0 00 xx%", "syntax"),
        (wire.encode_input(1, 0, b"x"), "range"),
        (wire.encode_input(0, 99, b"xy"), "range"),
        (b"hil-in 0 0 123 " + wire.crc32("0 0 123").encode() + b"%", "syntax"),
        (b"hil-in 0 0 zz " + wire.crc32("0 0 zz").encode() + b"%", "syntax"),
        (b"hil-in 0 " + wire.crc32("0").encode() + b"%", "syntax"),
        (b"\x00hil-id%", "garbled"),
        (b"hil\xff-id%", "garbled"),
        (b"x" * 5000 + b"%", "long"),
    ],
)
def test_a_wrong_command_is_refused_and_the_next_works(
    f746: Device, command: bytes, code: str
) -> None:
    errors = [line for line in f746.ask(command) if isinstance(line, wire.Line)]
    assert [line.fields["code"] for line in errors] == [code]
    assert [type(record) for record in f746.records(wire.ID)] == [wire.DeviceId]


def test_an_empty_command_only_asks_for_ready(f746: Device) -> None:
    assert f746.ask(wire.SYNC) == []
    assert f746.ask(b"\r\n %") == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(noise=st.binary(max_size=200).filter(lambda noise: wire.GUARD[:-1] not in noise))
def test_noise_never_hangs_it(f746: Device, noise: bytes) -> None:
    # A first terminator ends what the noise began, the second command must then work. One command
    # faults on purpose, and Hypothesis finds it among the constants of the source.
    f746.chip.send(noise + b"%")
    assert [type(record) for record in f746.records(wire.ID)] == [wire.DeviceId]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_input_never_reaches_the_staging_copy(f746: Device, data: st.DataObject) -> None:
    f746.records(wire.encode_input(0, 0, DATA))
    command = wire.encode_input(0, 0, bytes(100))
    at = data.draw(st.integers(len("hil-in "), len(command) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (command[at], 0x25)))
    same_letter = chr(byte).lower() == chr(command[at]) and at > len(command) - 10
    f746.chip.send(command[:at] + bytes([byte]) + command[at + 1 :])
    f746.records(wire.encode_run(0, 1))
    *parts, _ = f746.records(wire.encode_output(0, 0, 100))
    # A hex digit of the CRC in the other case is the same CRC.
    assert b"".join(part.data for part in parts) == FLIPPED or same_letter


def load(device: Device, data: bytes) -> None:
    """Load an input as the runner does, 31 bytes at a time."""
    expecting = f"m-[Expecting {len(data)} bytes]"
    assert device.text(f"db load {len(data)}%".encode()) == [expecting, "m-ready"]
    for start in range(0, len(data), 31):
        answer = device.text(b"db " + data[start : start + 31].hex().encode() + b"%")
    assert answer == ["m-load-done", "m-ready"]


def results(device: Device) -> list[str]:
    *_, line, ready = device.text(b"infer 1 0%")
    assert ready == "m-ready" and line.startswith("m-results-[") and line.endswith("]")
    return line[len("m-results-[") : -1].split(",")


def test_mlperf_tiny(f746: Device) -> None:
    assert f746.text(b"name%") == ["m-name-dut-[tinyml-harness]", "m-ready"]
    assert f746.text(b"profile%")[1] == "m-model-[flip]"
    assert f746.text(b"timestamp%")[0].startswith("m-lap-us-")
    assert f746.text(b"help%")[-1] == "m-ready"
    assert f746.text(b"foo%")[0] == "e-[Unknown command]"
    load(f746, DATA)
    assert f746.text(b"db print%")[0] == "m-buffer-00-01-02-03-04-05-06-07"
    lines = f746.text(b"infer 2 1%")
    assert lines[:3] == ["m-warmup-start-1", "m-warmup-done", "m-infer-start-2"]
    assert [line[:9] for line in lines[3:5]] == ["m-lap-us-"] * 2
    assert lines[5] == "m-infer-done"
    values = [float(value) for value in lines[6][len("m-results-[") : -1].split(",")]
    signed = [byte - 256 if byte > 127 else byte for byte in FLIPPED]
    assert values == [(value + 128) * 0.5 for value in signed]
    assert f746.text(b"results%")[0] == lines[6]


@pytest.mark.parametrize(
    "command",
    [b"db%", b"db load%", b"db load 0%", b"db load 101%", b"db 123%", b"db zz%", b"infer 0%",
     b"infer 1 x%"],
)  # fmt: skip
def test_mlperf_errors(f746: Device, command: bytes) -> None:
    error, ready = f746.text(command)
    assert error.startswith("e-[")
    assert ready == "m-ready"


def test_after_a_refused_load_nothing_runs_until_the_next_one(f746: Device) -> None:
    load(f746, DATA)
    before = results(f746)
    refused = ["e-[An input of flip has 100 bytes]", "m-ready"]
    assert f746.text(b"db load 101%") == refused
    nothing = ["e-[No bytes are expected: 'db load' comes first]", "m-ready"]
    assert f746.text(b"db 00%") == nothing
    missing = ["e-[The input was not loaded: 0 of its 100 bytes came]", "m-ready"]
    assert f746.text(b"infer 1 0%") == missing
    f746.text(b"db load 3%")
    assert f746.text(b"db 000102ff%") == ["m-load-done", "m-ready"]
    assert f746.text(b"infer 1 0%")[0] == "e-[The input was not loaded: 3 of its 100 bytes came]"
    load(f746, DATA)
    assert f746.text(b"db 00%") == nothing  # more than was announced
    assert results(f746) == before


def test_pixels_are_unsigned(library, cache, compiler) -> None:
    model = fakes.fake_model("pixels", shape=(32, 32, 3), outputs=10)
    device, _ = _boot(library, cache, "nucleo_f746zg", model, 3072)
    assert device.text(b"profile%")[1] == "m-model-[ic01]"
    pixels = bytes(value & 0xFF for value in range(3072))
    load(device, pixels)
    assert device.text(b"db print%")[1] == "m-buffer-08-09-0a-0b-0c-0d-0e-0f"
    # The fake toggles the lowest bit; its values are (q + 128) / 2.
    assert [float(value) for value in results(device)] == [(pixel ^ 1) / 2 for pixel in pixels]


def test_a_window_is_quantised_and_the_answer_is_its_error(library, cache, compiler) -> None:
    model = fakes.fake_model("window", shape=(640,), scale=0.25)
    device, _ = _boot(library, cache, "nucleo_f746zg", model, 640)
    assert device.text(b"profile%")[1] == "m-model-[ad01]"
    assert device.text(b"db load 2561%")[0] == "e-[An input of ad01 has 2560 bytes]"
    rng = np.random.default_rng(2)
    windows = [rng.uniform(-40, 40, 640), np.full(640, 1e30), np.full(640, 0.125)]
    for window in (values.astype(np.float32) for values in windows):
        load(device, window.tobytes())
        (answer,) = results(device)
        steps = window.astype(np.float64) / 0.25
        rounded = np.trunc(steps + np.copysign(0.5, steps))  # halves away from zero
        inside = np.clip(rounded - 128, -128, 127).astype(np.int8)
        output = np.float32(0.25) * ((inside ^ 1).astype(np.float32) + 128)
        total = np.float32(0)
        with np.errstate(over="ignore"):
            for difference in output - window:
                total += difference * difference
        assert answer == f"{total / np.float32(640):.3f}"
    device.text(b"db load 2560%")
    nothing = "e-[No window was loaded that the output could be compared with]"
    assert device.text(b"results%")[0] == nothing


def test_a_fault_is_reported_and_so_is_an_overflowed_stack(library, cache, compiler) -> None:
    device, _ = _boot(library, cache, "nucleo_f746zg")
    for sp, state in ((device.chip.stack_pointer() - 64, "ok"), (0x1FFF_FFC0, "overflow")):
        lines = wire.LineAssembler().feed(device.chip.call("port_fault", sp=sp))
        assert isinstance(lines[-1], wire.Line)
        fault = wire.decode(lines[-1])
        assert isinstance(fault, wire.Fault)
        assert (fault.sp, fault.stack) == (f"{sp:08x}", state)


def test_time_is_told_by_both_counters(f746: Device) -> None:
    first, second = (f746.records(wire.TIME)[0] for _ in range(2))
    assert second.cycles > first.cycles and second.ticks > first.ticks
    assert second.counter - first.counter > 0


def test_an_assertion_and_a_fault_are_told_with_their_places(library, cache, compiler) -> None:
    from harness.capture.crash import assertion_error
    from harness.firmware.symbols import locate, place_in

    board = load_board("nucleo_f746zg")
    code = fakes.MODEL_C.replace('#include "kernel.h"', '#include "kernel.h"\n#include <assert.h>')
    code = code.replace(
        "    kernel_flip(arena", "    assert(arena[0] != 0);\n    kernel_flip(arena"
    )
    sources = fakes.fake_sources(library, model_c=code)
    image = build(board, fakes.fake_model(content=b"asserts"), sources, cache_dir=cache)
    device = Device(bare.BareChip(image.elf, cpu=board.facts.core.cpu))
    device.ask(b"")
    device.records(wire.SETUP)
    *_, line = wire.LineAssembler().feed(device.chip.send(wire.encode_run(0, 1), timeout_s=0.5))
    record = wire.decode(line)
    error = assertion_error(record, where="here", raw_log="")
    assert "model_invoke" in error.what and "arena[0] != 0" in error.what
    assert record.line == 1 + code[: code.index("assert(arena")].count("\n")
    place = place_in(image, device.chip.symbols["kernel_flip"] + 2)
    assert (place.function, place.file) == ("kernel_flip", "kernel.c") and place.line
    assert locate(image.elf, 0x2000_0000) is None
    assert locate(image.elf.with_name("nothing.elf"), 0x0800_0000) is None


def test_the_other_cycle_count_wraps(library, cache, compiler) -> None:
    """Minutes of inference: the 1 MHz timer says how often the 32-bit counter wrapped."""
    device, _ = _boot(library, cache, "nucleo_f746zg")
    device.records(wire.SETUP)
    device.chip.jump = 216_000_000 * 1000  # a thousand seconds, 50 wraps
    cycle, end = device.records(wire.encode_run(0, 1))
    assert end == wire.RunEnd(0, 1, 0)
    assert 216_000_000_000 < cycle.cycles < 216_000_100_000


def test_without_over_drive_or_wait_states_it_stays_on_its_own_oscillator(
    library, cache, compiler
) -> None:
    for broken in ({0x4000_7004: 0}, {0x4002_3C00: 0}):  # PWR_CSR, FLASH_ACR
        device, _ = _boot(library, cache, "nucleo_f746zg", stuck=broken)
        (identity,) = device.records(wire.ID)
        assert (identity.src, identity.clock) == ("hsi", 16_000_000)


def test_the_backup_domain_of_the_l4_is_waited_for(library, cache, compiler) -> None:
    device, _ = _boot(library, cache, "nucleo_l4r5zi", stuck={0x4000_7000: 0})  # PWR_CR1.DBP
    (identity,) = device.records(wire.ID)
    assert (identity.src, identity.clock) == ("hsi", 120_000_000)


def test_a_counter_that_a_debugger_stopped_counts_again(library, cache, compiler) -> None:
    device, _ = _boot(library, cache, "nucleo_f746zg")
    device.records(wire.SETUP)
    chip = device.chip
    chip._registers[0xE000_EDFC] = 0  # DEMCR, as pyOCD leaves it
    device.records(wire.encode_run(0, 1))
    assert chip._registers[0xE000_EDFC] >> 24 & 1


def test_unaligned_accesses_across_a_boundary(library, cache, compiler) -> None:
    device, _ = _boot(library, cache, "nucleo_f746zg")
    (edge,) = device.records(wire.encode_edge(0x2001_0000))
    assert edge == wire.Edge(0x2001_0000, 32, 0)
    for outside in (0x2000_0000, 0x2001_0001, 0x2005_0000):
        (refused,) = device.records(wire.encode_edge(outside))
        assert refused == wire.DeviceErr("range", "hil-edge")
