"""Our firmware on QEMU, an emulator that is not ours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import BenchError
from harness.models import read_model
from tools import crosscheck

needs_qemu = pytest.mark.skipif(
    crosscheck.qemu_version() is None, reason=f"{crosscheck.HOW_TO_GET_IT} (or nox -s crosscheck)"
)


@needs_qemu
@pytest.mark.usefixtures("virtual_board")
def test_a_network_gives_the_same_on_qemu_and_on_the_virtual_board(tiny: Path) -> None:
    found = crosscheck.check("nucleo_f446re", read_model(tiny), "portable")
    assert found.differences == ()
    assert found.output_bytes == 64


@needs_qemu
def test_qemu_that_ends_is_told_with_what_it_said(tmp_path: Path) -> None:
    absent = replace(crosscheck.MACHINES["nucleo_f446re"], name="absent")
    with (
        pytest.raises(BenchError, match=r"ended with code 1: .*unsupported machine type"),
        crosscheck.running(absent, tmp_path),
    ):
        pass


@pytest.mark.parametrize("board_id", crosscheck.MACHINES)
def test_the_board_for_qemu_has_its_memory_and_an_id_that_can_be_read(
    board_id: str, tmp_path: Path
) -> None:
    ours = load_board(board_id)
    board = crosscheck.qemu_board(ours, tmp_path)
    assert board.ram_bytes == crosscheck.MACHINES[board_id].ram_bytes
    assert board.facts.chip.uid_address == ours.flash.origin
    assert board.facts.console == ours.facts.console


def test_without_qemu_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert crosscheck.main([]) == 3
    assert re.search("apt-get install qemu-system-arm", capsys.readouterr().err)
