"""Tables on a terminal: however they are handed to Rich, they look the same."""

from __future__ import annotations

import io

from rich.console import Console

from harness.report.table import Table


def _shown(table: Table, width: int, told: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(table.rich(told))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    return text


def test_a_table_that_fits_looks_as_if_made_line_by_line() -> None:
    rows = [["a", "1", "[bold]x[/]"], ["", "23", "漢字"], ["–", "–", "trailing  "]]
    table = Table("title", ("name", "n", "text"), rows)
    for width in (80, 22, 12, 0):  # of which it fits the first two
        assert _shown(table, width or 80, width) == _shown(table, width or 80, 0)


def test_cells_of_several_lines_keep_their_rows() -> None:
    table = Table("title", ("name", "text"), [["a", "one\ntwo"], ["b", "three"]])
    assert _shown(table, 80, 80) == _shown(table, 80, 0)


def test_an_empty_table_is_shown() -> None:
    assert "name" in _shown(Table("title", ("name",), []), 80, 80)


def test_a_narrow_terminal_goes_without_the_least_needed_columns_and_names_them() -> None:
    columns = ("name", "few", "many", "n")
    table = Table("title", columns, [["a-name", "1", "some words", "12"]], (0, 2, 1, 0))
    assert "shows" not in _shown(table, 80, 80)
    shown = _shown(table, 24, 24)
    assert "few" not in shown.splitlines()[2] and shown.split()[-1] == "few"
    assert "some words" in shown
    shown = _shown(table, 14, 14)
    assert "a-name" in shown and "12" in shown and "some words" not in shown
    assert "few, many" in " ".join(shown.split())


def test_numbers_are_never_cut() -> None:
    table = Table("title", ("a long name of a column", "n"), [["word " * 20, "123,456,789"]])
    shown = _shown(table, 30, 30)
    assert "123,456,789" in shown and max(map(len, shown.splitlines())) <= 30
