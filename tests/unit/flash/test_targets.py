from __future__ import annotations

import pytest

from harness.boards import Board, all_boards, load_board
from harness.errors import FlashError
from harness.flash import targets


def test_registering_twice_is_harmless() -> None:
    first = targets.register()
    from pyocd.target import TARGET

    classes = [TARGET[name] for name in first]
    assert targets.register() == first
    assert [TARGET[name] for name in first] == classes
    assert {"stm32f746zg", "stm32f446re", "stm32l4r5zi"} <= set(first)
    assert "stm32f767zi" not in first  # pyOCD has its own


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.id)
def test_memory_map_is_the_boards(board: Board) -> None:
    from pyocd.target import TARGET

    name = targets.choose(board, packs=False)
    memory = TARGET[name].MEMORY_MAP
    for address, size in board.sectors():
        region = memory.get_region_for_address(address)
        assert region is not None
        assert region.is_flash
        assert region.sector_size == size
    flash_bytes = sum(region.length for region in memory if region.is_flash)
    assert flash_bytes == board.flash.bytes
    boot = memory.get_boot_memory()
    assert boot.start == board.flash.origin


def test_pages_divide_sectors_and_buffers_are_in_ram() -> None:
    for board in all_boards():
        from pyocd.target import TARGET

        for region in TARGET[targets.choose(board, packs=False)].MEMORY_MAP:
            if not region.is_flash:
                continue
            assert region.sector_size % region.page_size == 0
            for buffer in region.algo["page_buffers"]:
                end = buffer + region.page_size
                assert any(r.origin <= buffer and end <= r.end for r in board.ram_regions)


def test_installed_pack_is_preferred_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["STM32F746ZETx", "STM32F746ZGTx", "STM32F746ZGYx"]
    monkeypatch.setattr(targets, "_installed_parts", lambda: iter(parts))
    board = load_board("nucleo_f746zg")
    assert targets.choose(board, packs=True) == "stm32f746zgtx"
    assert targets.choose(board, packs=False) == "stm32f746zg"
    # pyOCD has a target of this name, whose driver erases slowly.
    assert targets.choose(load_board("nucleo_f767zi"), packs=False) == "harness_stm32f767zi"


def test_unknown_family_says_what_to_do() -> None:
    board = load_board("nucleo_f446re")
    facts = board.facts.model_copy(update={"family": "stm32g4", "pyocd_target": "stm32g4xx"})
    with pytest.raises(FlashError, match="stm32g4"):
        targets.register([board.model_copy(update={"facts": facts})])
