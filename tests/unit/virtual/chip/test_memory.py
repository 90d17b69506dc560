from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.chip.memory import MemoryMap


def test_flash_is_erased_and_aliased() -> None:
    memory = MemoryMap(load_board("nucleo_f746zg"))
    assert set(bytes(memory.flash.data)) == {0xFF}
    memory.flash.data[4:8] = b"abcd"
    assert memory.read(0x0020_0004, 4) == b"abcd"
    assert memory.read(0x0800_0004, 4) == b"abcd"


def test_the_f446_sees_flash_at_zero() -> None:
    memory = MemoryMap(load_board("nucleo_f446re"))
    memory.flash.data[:2] = b"ok"
    assert memory.read(0, 2) == b"ok"


def test_ram_regions_join_and_end() -> None:
    memory = MemoryMap(load_board("nucleo_f746zg"))
    assert memory.write_ram(0x2000_FFFE, b"wxyz")
    assert memory.read(0x2000_FFFE, 4) == b"wxyz"
    assert memory.read(0x2005_0000 - 2, 4) is None
    assert not memory.write_ram(0x2005_0000 - 2, b"wxyz")
    assert not memory.write_ram(0x0800_0000, b"x")
    assert memory.find(0x3000_0000) is None


def test_a_flash_file_outlives_the_board(tmp_path: Path) -> None:
    board, file = load_board("nucleo_f746zg"), tmp_path / "sub" / "flash"
    first = MemoryMap(board, file)
    first.flash.data[10:14] = b"kept"
    with pytest.raises(VirtualError, match="in use by another process"):
        MemoryMap(board, file)
    first.close()
    second = MemoryMap(board, file)
    assert second.read(0x0800_000A, 4) == b"kept"
    second.close()


def test_a_flash_file_of_another_size_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "flash"
    file.write_bytes(b"x" * 100)
    with pytest.raises(VirtualError, match="100 bytes"):
        MemoryMap(load_board("nucleo_f746zg"), file)
