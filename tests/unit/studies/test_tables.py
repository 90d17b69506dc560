"""Studies replace the tables of a page and nothing else."""

from __future__ import annotations

import pytest

from studies.tables import markdown_table, replace_tables

PAGE = "Prose.\n<!-- table: one -->\nold\n<!-- end table -->\nMore prose.\n"


def test_only_what_is_between_the_markers_changes() -> None:
    table = markdown_table(("a", "b"), [("1", "2")])
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    assert replace_tables(PAGE, {"one": table}) == PAGE.replace("old\n", table)


@pytest.mark.parametrize("tables", [{}, {"two": "x"}, {"one": "x", "two": "y"}])
def test_a_table_that_has_no_place_is_an_error(tables: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="the page has the tables"):
        replace_tables(PAGE, tables)
