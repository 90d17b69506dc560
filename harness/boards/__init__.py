"""Board types: what exists, with the facts that the build, the flasher and the emulator need."""

from __future__ import annotations

from harness.boards.model import Board, MemoryRegion
from harness.boards.registry import all_boards, board_ids, load_board, read_manifest

__all__ = ["Board", "MemoryRegion", "all_boards", "board_ids", "load_board", "read_manifest"]
