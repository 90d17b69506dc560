from __future__ import annotations

import pytest

from harness.boards import all_boards, load_board
from harness.boards.stm32 import Stm32Facts, stm32_facts
from harness.errors import BoardError, ConfigError
from harness.firmware import BuildOptions
from harness.firmware.boardconfig import board_config, linker_script
from harness.paths import data_dir

TEMPLATE = (data_dir("firmware_template") / "ld" / "board.ld.in").read_text()


def _values(text: str) -> dict[str, str]:
    lines = (line.split(maxsplit=2) for line in text.splitlines() if line.startswith("#define B"))
    return {line[1]: line[2] for line in lines if len(line) == 3}


_WITH_PLL = [board for board in all_boards() if isinstance(board.facts, Stm32Facts)]


@pytest.mark.parametrize("board", _WITH_PLL, ids=lambda board: board.id)
def test_pll_factors_give_the_core_clock(board) -> None:
    values = _values(board_config(board, BuildOptions()))
    clock = stm32_facts(board).clock
    for name, source in (("PLL", clock.reference_hz), ("PLL_HSI", clock.hsi_hz)):
        m, n, p = (int(values[f"BOARD_{name}_{factor}"].rstrip("u")) for factor in "MNP")
        assert source * n // (m * p) == board.clock_hz


def test_options_reach_the_header() -> None:
    board = load_board("nucleo_f746zg")
    off = BuildOptions(icache=False, dcache=False, art=False, baud=921600)
    values = _values(board_config(board, off))
    assert (values["BOARD_ICACHE"], values["BOARD_DCACHE"], values["BOARD_ART"]) == ("0",) * 3
    assert values["BOARD_CONSOLE_BAUD"] == "921600u"


def test_a_core_without_caches_reports_none() -> None:
    values = _values(board_config(load_board("nucleo_f446re"), BuildOptions()))
    assert (values["BOARD_ICACHE"], values["BOARD_DCACHE"], values["BOARD_DWT_LOCK"]) == ("0",) * 3


def test_an_lpuart_divides_256ths_of_its_clock() -> None:
    board = load_board("nucleo_l4r5zi")
    values = _values(board_config(board, BuildOptions(baud=2_000_000)))
    assert values["BOARD_CONSOLE_SCALE"] == "256u"
    with pytest.raises(BoardError, match="cannot run"):
        board_config(board, BuildOptions(baud=9600))  # 120 MHz is more than 4096 times that


@pytest.mark.parametrize(("baud", "why"), [(3_000_000, "cannot run"), (3_080_000, "would run")])
def test_a_rate_that_the_uart_cannot_make_is_refused(baud: int, why: str) -> None:
    board = load_board("nucleo_f746zg")
    if why == "would run":
        console = board.facts.console.model_copy(update={"max_baud": 4_000_000})
        facts = board.facts.model_copy(update={"console": console})
        board = board.model_copy(update={"facts": facts})
    with pytest.raises(BoardError, match=why):
        board_config(board, BuildOptions(baud=baud))


@pytest.mark.parametrize(
    ("board_id", "origin", "size"),
    [("nucleo_f746zg", "0x20000000", 320), ("nucleo_f767zi", "0x20000000", 512),
     ("nucleo_f446re", "0x20000000", 128), ("nucleo_l4r5zi", "0x20000000", 640)],
)  # fmt: skip
def test_contiguous_ram_is_merged(board_id: str, origin: str, size: int) -> None:
    board = load_board(board_id)
    script = linker_script(board, BuildOptions(), TEMPLATE)
    assert f"ORIGIN = {origin}, LENGTH = {size * 1024}" in script
    assert f"LENGTH = {board.flash.bytes}" in script
    assert "$" not in script


def test_of_separate_ram_the_largest_run_is_taken() -> None:
    board = load_board("nucleo_f746zg")
    low, *rest = board.ram_regions
    apart = tuple(
        region.model_copy(update={"origin": region.origin + 0x1000_0000}) for region in rest
    )
    facts = board.facts.model_copy(update={"memory": (board.flash, low, *apart)})
    moved = board.model_copy(update={"facts": facts})
    assert moved.arena_ram == apart


def test_an_arena_of_its_own_memory_has_all_of_it() -> None:
    script = linker_script(load_board("nucleo_h743zi"), BuildOptions(), TEMPLATE)
    assert "RAM (rw)   : ORIGIN = 0x20000000, LENGTH = 131072" in script
    assert "ARENA (rw) : ORIGIN = 0x24000000, LENGTH = 524288" in script
    assert "_free_end = ORIGIN(ARENA) + LENGTH(ARENA)" in script
    assert ">ARENA AT>ARENA :arena" in script


def test_a_stack_that_fills_the_ram_is_refused() -> None:
    with pytest.raises(BoardError, match="stack"):
        linker_script(load_board("nucleo_f446re"), BuildOptions(stack_bytes=1 << 17), TEMPLATE)


@pytest.mark.parametrize(
    "wrong",
    [{"optimization": "-O9"}, {"baud": 1}, {"stack_bytes": 1001}, {"extra_flags": ("two\nlines",)}],
)
def test_wrong_options_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        BuildOptions(**wrong)


def test_a_clock_that_is_no_whole_megahertz_is_refused() -> None:
    board = load_board("nucleo_f746zg")
    clock = board.facts.clock.model_copy(update={"sysclk_hz": 216_500_000})
    facts = board.facts.model_copy(update={"clock": clock})
    with pytest.raises(BoardError, match="core clock"):
        board_config(board.model_copy(update={"facts": facts}), BuildOptions())
