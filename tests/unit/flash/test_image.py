from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import FlashError, TargetMismatch
from harness.flash import read_image

BOARD = load_board("nucleo_f746zg")
MakeElf = Callable[..., Path]


def test_segments_come_in_address_order(make_elf: MakeElf) -> None:
    image = read_image(make_elf((0x0800_8000, b"two!"), (0x0800_0000, b"one")), BOARD)
    assert [(s.address, s.data) for s in image.segments] == [
        (0x0800_0000, b"one"),
        (0x0800_8000, b"two!"),
    ]
    assert image.bytes == 7
    assert image.segments[0].end == 0x0800_0003


def test_missing_file() -> None:
    with pytest.raises(FlashError, match="cannot read") as caught:
        read_image(Path("none.elf"), BOARD)
    assert caught.value.fix


@pytest.mark.parametrize(
    "content", [b"", b"not an ELF file", b"\x7fELF", b"\x7fELF\x01\x01\x01" + bytes(80)]
)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.elf"
    path.write_bytes(content)
    with pytest.raises((FlashError, TargetMismatch)):
        read_image(path, BOARD)


def test_every_truncation_is_refused(make_elf: MakeElf) -> None:
    whole = make_elf((0x0800_0000, bytes(range(200))))
    content = whole.read_bytes()
    for length in range(0, len(content), 7):
        whole.write_bytes(content[:length])
        with pytest.raises((FlashError, TargetMismatch)):
            read_image(whole, BOARD)


def test_image_for_another_processor(make_elf: MakeElf) -> None:
    with pytest.raises(TargetMismatch, match="EM_386"):
        read_image(make_elf((0x0800_0000, b"x"), machine=3), BOARD)


def test_image_that_loads_nothing(make_elf: MakeElf) -> None:
    with pytest.raises(FlashError, match="loads nothing"):
        read_image(make_elf(), BOARD)


@pytest.mark.parametrize(
    ("address", "size"), [(0x2000_0000, 4), (0x0810_0000 - 2, 4), (0x0, 4), (0x0020_0000, 4)]
)
def test_addresses_outside_flash(make_elf: MakeElf, address: int, size: int) -> None:
    with pytest.raises(TargetMismatch, match="outside the flash of nucleo_f746zg") as caught:
        read_image(make_elf((address, bytes(size))), BOARD)
    assert caught.value.data["address"] == address
    assert "1024 KiB" in str(caught.value)


def test_overlapping_segments(make_elf: MakeElf) -> None:
    with pytest.raises(FlashError, match="two segments"):
        read_image(make_elf((0x0800_0000, bytes(8)), (0x0800_0004, bytes(8))), BOARD)


def test_an_image_of_ours_says_which_board_it_is_for(make_elf: MakeElf) -> None:
    def image(board: bytes) -> Path:
        return make_elf((0x0800_0000, bytes(64) + b"TMLH1 " + board + b"\0rest"))

    assert read_image(image(b"nucleo_f746zg"), BOARD).bytes > 64
    with pytest.raises(TargetMismatch, match="built for nucleo_f767zi") as caught:
        read_image(image(b"nucleo_f767zi"), BOARD)
    assert caught.value.data["board"] == "nucleo_f746zg"
