"""The model region: what the host writes is what the device's structure reads."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest

from harness.boards import load_board
from harness.errors import BoardError, RuntimeUnsupported
from harness.models import read_model
from harness.runtimes.region import (
    CONTENT_OFFSET,
    STAGING_BYTES,
    model_region,
    region_place,
    region_segment,
    staging_bytes,
)
from harness.testing import ModelWriter

BOARD = load_board("nucleo_f746zg")


def model(size: int = 20, name: str = "a model/1") -> object:
    writer = ModelWriter()
    source = writer.tensor((1, size), scale=0.5, zero_point=3)
    sink = writer.tensor((size,), scale=0.25, zero_point=-7)
    writer.operator("RESHAPE", [source], [sink])
    return read_model(writer.finish([source], [sink]), name=name)


def test_header_fields_are_where_the_device_looks() -> None:
    network = model()
    _, content = region_segment(network, BOARD, network.content)
    magic, size, crc, inputs, outputs = struct.unpack_from("<IIIII", content)
    assert magic == int.from_bytes(b"THM1", "little")
    assert (size, crc) == (len(network.content), zlib.crc32(network.content))
    assert (inputs, outputs) == (1, 1)
    assert content[20:40].rstrip(b"\0").decode() == network.model_id
    assert content[40:80].rstrip(b"\0") == b"a_model_1"
    assert struct.unpack_from("<IIfi", content, 80) == (20, 0, 0.5, 3)
    assert struct.unpack_from("<IIfi", content, 80 + 8 * 16) == (20, 0, 0.25, -7)
    assert content[336:508] == bytes(172)  # int8 inputs, and nothing more
    assert struct.unpack_from("<I", content, 508)[0] == zlib.crc32(content[:508])
    assert content[CONTENT_OFFSET:] == network.content


def test_a_benchmark_of_mlperf_tiny_is_named_and_its_window_has_room() -> None:
    writer = ModelWriter()
    source = writer.tensor((1, 640), scale=0.5, zero_point=3)
    sink = writer.tensor((1, 640), scale=0.25, zero_point=-7)
    writer.operator("RESHAPE", [source], [sink])
    network = read_model(writer.finish([source], [sink]), name="mine")
    _, content = region_segment(network, BOARD, network.content)
    assert content[40:80].rstrip(b"\0") == b"ad01"
    assert struct.unpack_from("<I", content, 336) == (2,)
    assert staging_bytes(network) == 640 + 4 * 640


def test_the_image_is_linked_with_the_region_s_addresses() -> None:
    text = region_place(BOARD, "tflm_model")
    assert ".set model_region, 0x08040000" in text
    assert ".set model_content, 0x08040200" in text
    assert ".set tflm_model, 0x08040200" in text


def test_a_region_begins_and_ends_with_flash_sectors() -> None:
    for name in ("nucleo_f446re", "nucleo_f746zg", "nucleo_f767zi"):
        board = load_board(name)
        region = model_region(board)
        starts = {address for address, _ in board.sectors()}
        assert region.origin in starts
        assert region.end == board.flash.end


def test_a_model_that_does_not_fit_says_by_how_much() -> None:
    with pytest.raises(RuntimeUnsupported) as caught:
        region_segment(model(STAGING_BYTES + 1), BOARD, b"")
    assert caught.value.data["available"] == STAGING_BYTES
    large = replace(model(), content=b"\0" * 800_000)
    with pytest.raises(RuntimeUnsupported, match="800512 bytes of flash"):
        region_segment(large, BOARD, large.content)


def test_a_board_without_a_region_says_what_to_add() -> None:
    facts = BOARD.facts.model_copy(update={"model_region": None})
    with pytest.raises(BoardError, match="declares no model region"):
        region_place(BOARD.model_copy(update={"facts": facts}))
