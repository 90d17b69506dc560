"""Tables of text, for a terminal (Rich) and for Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from harness.report import text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

T = TypeVar("T")

_NUMBER = re.compile(r"[-+−]?[\d,.]+( %| MHz)?")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads with units, and rows of plain text.

    A column of numbers is right-aligned, any other left-aligned.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return a Markdown table; names are escaped."""
        lines = [[text.markdown(cell) for cell in line] for line in (self.columns, *self.rows)]
        lines.insert(1, ["---:" if numeric else ":---" for numeric in self.numeric()])
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def rich(self, width: int = 0) -> RichTable:
        """Return a table for a Rich console of this width; no markup is read from its cells."""
        from rich.table import Table as Rich
        from rich.text import Text

        table = Rich(title=Text(self.title), title_justify="left", header_style="bold")
        for head, numeric in zip(self.columns, self.numeric(), strict=True):
            justify: Literal["left", "right"] = "right" if numeric else "left"
            table.add_column(Text(head), justify=justify)
        rows = self.rows
        if self._fits(width):
            # Rich takes three times as long for a thousand lines as for one of a thousand parts.
            rows = [["\n".join(cells) for cells in zip(*rows, strict=True)]]
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _fits(self, width: int) -> bool:
        """Whether no cell is wrapped or has several lines, so that lines of columns agree."""
        from rich.cells import cell_len

        columns = list(zip(self.columns, *self.rows, strict=True))
        frame = 3 * len(columns) + 1
        return (
            bool(self.rows)
            and not any("\n" in cell for row in self.rows for cell in row)
            and sum(max(map(cell_len, cells)) for cells in columns) + frame <= width
        )

    def numeric(self) -> list[bool]:
        """Return for each column whether all its known cells are numbers."""
        known = [
            [cell for cell in column if cell != text.UNKNOWN]
            for column in zip(*self.rows, strict=True)
        ] or [[] for _ in self.columns]
        return [bool(cells) and all(map(_NUMBER.fullmatch, cells)) for cells in known]


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A head, and the text below it for one record."""

    head: str
    text: Callable[[T], str]


def table_of(
    title: str, records: Sequence[T], columns: Sequence[Column[T]], where: Sequence[Column[T]] = ()
) -> Table:
    """Return one line per record.

    Args:
        title: Followed by the values of `where` that all records share.
        where: Shown behind the first of `columns` only where the records differ.
    """
    shared, varying = shared_and_varying(records, where)
    shown = [*columns[:1], *varying, *columns[1:]]
    return Table(
        f"{title} ({', '.join(shared)})" if shared else title,
        [column.head for column in shown],
        [[column.text(record) for column in shown] for record in records],
    )


def shared_and_varying(
    records: Sequence[T], columns: Sequence[Column[T]]
) -> tuple[list[str], list[Column[T]]]:
    """Return the known texts that all records share, and the columns in which they differ."""
    shared: list[str] = []
    varying: list[Column[T]] = []
    for column in columns:
        values = {column.text(record) for record in records}
        if len(values) == 1:
            shared += values - {text.UNKNOWN}
        elif values:
            varying.append(column)
    return shared, varying
