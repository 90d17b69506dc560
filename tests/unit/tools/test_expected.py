from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import load_board
from tools.expected import AFTER, BEFORE, Way, Work, expected_seconds

KWS = Work(image_bytes=90 * 1024, input_bytes=490, layers=13, inference_s=0.0248)
VWW = Work(image_bytes=330 * 1024, input_bytes=27_648, layers=31, inference_s=0.0796)
PAGE = Path(__file__).parents[3] / "docs/hardware.md"


def total(board: str, work: Work, way: Way, part: str) -> float:
    found = expected_seconds(load_board(board), work, way)
    return sum(seconds for name, seconds in found.items() if name.startswith(part))


def test_the_way_it_was_is_what_the_audit_estimated() -> None:
    board = "nucleo_f746zg"
    assert 6 <= total(board, KWS, BEFORE, "flash") <= 7
    assert total(board, VWW, BEFORE, "flash") == pytest.approx(22, abs=1)
    assert total(board, VWW, BEFORE, "run") == pytest.approx(7, abs=1)
    assert 7 <= total(board, KWS, BEFORE, "session") <= 10


@pytest.mark.parametrize("board", ["nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re"])
def test_it_is_less_than_half_of_that_now(board: str) -> None:
    for work in (KWS, VWW):
        for part in ("flash", "session"):
            assert total(board, work, AFTER, part) < 0.5 * total(board, work, BEFORE, part)
    assert total(board, VWW, AFTER, "run") < 0.5 * total(board, VWW, BEFORE, "run")


def test_the_page_has_these_seconds() -> None:
    board, page = load_board("nucleo_f746zg"), PAGE.read_text(encoding="utf-8")
    columns = [expected_seconds(board, w, way) for w in (KWS, VWW) for way in (BEFORE, AFTER)]
    for stage in columns[0]:
        cells = " | ".join(f"{column[stage]:.2f} s" for column in columns)
        assert f"| `{stage}` | {cells} |" in page
