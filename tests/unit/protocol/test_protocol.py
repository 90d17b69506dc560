"""The wire grammar: what is encoded is decoded, and damage is never data."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import protocol as wire
from harness.protocol import Garbled, Line, LineAssembler, Ready, Text, encode_line, parse_line

_words = st.text(string.ascii_lowercase, min_size=1, max_size=8)
_kinds = st.lists(_words, min_size=1, max_size=3).map("-".join)
_keys = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
_values = st.text([chr(code) for code in range(0x21, 0x7F)], max_size=24)
_fields = st.dictionaries(_keys, _values, max_size=8)
_seqs = st.integers(0, 10**10 - 1)
_lines = st.builds(encode_line, _kinds, _seqs, _fields)


@given(_kinds, _seqs, _fields)
def test_what_is_encoded_is_parsed(kind: str, seq: int, fields: dict[str, str]) -> None:
    assert parse_line(encode_line(kind, seq, fields)) == Line(kind, seq, fields)


@given(_lines, st.data())
def test_a_changed_byte_is_detected(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 3))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    damaged = line[:at] + bytes([value]) + line[at + 1 :]
    assert all(isinstance(item, Garbled) for item in LineAssembler().feed(damaged))
    assert isinstance(parse_line(damaged), Garbled)


def test_every_changed_byte_of_one_line_is_detected() -> None:
    line = encode_line("cycle", 17, {"i": 3, "cycles": 1234567})
    for at in range(len(line) - 2):
        for value in range(256):
            if value != line[at]:
                damaged = line[:at] + bytes([value]) + line[at + 1 :]
                assert isinstance(parse_line(damaged), Garbled)


@given(_lines, st.data())
def test_a_lost_or_doubled_byte_is_detected(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 3))
    assert isinstance(parse_line(line[:at] + line[at + 1 :]), Garbled)
    assert isinstance(parse_line(line[: at + 1] + line[at:]), Garbled)


@given(_lines, _lines)
def test_a_damaged_line_end_never_makes_other_data(first: bytes, second: bytes) -> None:
    wanted = {repr(parse_line(first)), repr(parse_line(second))}
    for cut in (first[:-1], first[:-2], first[:-1] + b"\x00", first[:-2] + b"\x00\n"):
        for item in LineAssembler().feed(cut + second):
            assert isinstance(item, Garbled) or repr(item) in wanted


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    parse_line(data)
    LineAssembler().feed(data)


@given(st.text(max_size=100))
def test_arbitrary_text_never_raises(text: str) -> None:
    parse_line(text)


@given(st.lists(_lines, max_size=6), st.data())
def test_lines_may_arrive_in_any_pieces(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(lines)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    assembler, got = LineAssembler(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += assembler.feed(stream[start:stop])
    assert got == [parse_line(line) for line in lines]
    assert assembler.pending == b""


def test_ready_and_mlperf_lines() -> None:
    assert parse_line(b"m-ready\r\n") == Ready()
    assert parse_line(b"m-lap-us-12345\r\n") == Text("m-lap-us-12345")
    assert parse_line("e-[Unknown command: x]") == Text("e-[Unknown command: x]")
    assert isinstance(parse_line(b"m-readx"), Text)
    assert isinstance(parse_line(b"\xff\xfe"), Garbled)


def test_an_endless_line_is_given_up_once_and_the_next_is_read() -> None:
    assembler = LineAssembler()
    got = []
    for _ in range(10):
        got += assembler.feed(b"x" * 500)
    assert len(got) == 1
    assert isinstance(got[0], Garbled)
    assert assembler.feed(b"tail\r\nm-ready\r\n") == [Ready()]


def test_a_key_that_is_there_twice_is_refused() -> None:
    body = "m-hil-x 1 a=1 a=2"
    assert isinstance(parse_line(f"{body} #{wire.crc32(body)}"), Garbled)


_EXAMPLES: dict[str, tuple[dict[str, object], wire.Record]] = {
    "boot": (
        {"build": "0" * 16, "board": "nucleo_f746zg", "reset": "pin"},
        wire.Boot("0" * 16, "nucleo_f746zg", "pin"),
    ),
    "cycle": ({"i": 0, "cycles": 2**40}, wire.Cycle(0, 2**40)),
    "io": ({"dir": "in", "idx": 0, "bytes": 490}, wire.Tensor("in", 0, 490)),
    "out": ({"idx": 0, "off": 0, "hex": "00ff"}, wire.Output(0, 0, "00ff")),
    "layer": (
        {"i": 1, "cycles": 5, "op": "CONV_2D", "name": "a"},
        wire.Layer(1, 5, "CONV_2D", "a"),
    ),
    "mem": (
        {
            "arena_planned": 1, "arena_used": 2, "arena_capacity": 3, "arena_paint": -1,
            "stack_used": 4, "stack_size": 5,
        },
        wire.Memory(1, 2, 3, -1, 4, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_EXAMPLES))
def test_records_are_typed(kind: str) -> None:
    fields, record = _EXAMPLES[kind]
    line = parse_line(encode_line(kind, 1, {**fields, "later": "ignored"}))
    assert isinstance(line, Line)
    assert wire.decode(line) == record


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("cycle", {"i": "0"}), ("cycle", {"i": "0", "cycles": "x"}), ("nonsense", {})],
)
def test_a_line_of_another_version_is_refused(kind: str, fields: dict[str, str]) -> None:
    with pytest.raises(wire.RecordError):
        wire.decode(Line(kind, 1, fields))


def test_output_bytes() -> None:
    assert wire.Output(0, 0, "00ff").data == b"\x00\xff"
    with pytest.raises(wire.RecordError):
        _ = wire.Output(0, 0, "0g").data


def test_commands() -> None:
    assert wire.ID == b"hil-id%"
    assert wire.encode_run(2, 5) == b"hil-run 2 5%"
    assert wire.SYNC == b"%"
    assert wire.encode_output(0, 0, 12) == b"hil-out 0 0 12%"
    command = wire.encode_input(0, 16, b"\x01\xff").decode()
    assert command == f"hil-in 0 16 01ff {wire.crc32('0 16 01ff')}%"
    simple = (wire.IO, wire.SETUP, wire.CYCLES, wire.MEM)
    assert all(item.startswith(b"hil-") and item.endswith(b"%") for item in simple)
    assert wire.encode_layers() == b"hil-layers 1%"


def test_the_longest_piece_of_an_input_fits_a_command() -> None:
    command = wire.encode_input(99, 10**8, b"x" * wire.MAX_INPUT_CHUNK)
    assert len(command) - 1 <= wire.MAX_COMMAND_BYTES


@pytest.mark.parametrize(
    "call",
    [
        lambda: wire.encode_run(0, 0),
        lambda: wire.encode_run(0, wire.MAX_REPEATS + 1),
        lambda: wire.encode_input(0, 0, b""),
        lambda: wire.encode_layers(0),
        lambda: encode_line("Bad", 0),
        lambda: encode_line("ok", -1),
        lambda: encode_line("ok", 0, {"a": "b c"}),
    ],
)
def test_what_the_grammar_cannot_carry_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


# At most 12 characters of line a character, and a line has 1,024.
@given(st.text(max_size=80))
def test_a_message_survives_as_one_value(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    value = wire.encode_message(text)
    line = parse_line(encode_line("setup", 1, {"rc": 1, "err": value}))
    assert isinstance(line, Line)
    record = wire.decode(line)
    assert isinstance(record, wire.Setup) and record.message == text


@given(st.text())
def test_decoding_a_message_never_raises(value: str) -> None:
    wire.decode_message(value)
