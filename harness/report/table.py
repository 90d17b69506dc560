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

_GAP, _EDGES = 2, 2  # cells between two columns, and at both ends of a line
_NUMBER = re.compile(r"[-+−]?[\d,.]+( %| MHz)?")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads with units, and rows of plain text.

    A column of numbers is right-aligned, any other left-aligned. `ranks` says, by column, which
    ones a narrow terminal does without: the highest first, never those of rank 0.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    ranks: Sequence[int] = ()

    def markdown(self) -> str:
        """Return a Markdown table; names are escaped."""
        lines = [[text.markdown(cell) for cell in line] for line in (self.columns, *self.rows)]
        lines.insert(1, ["---:" if numeric else ":---" for numeric in self.numeric()])
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def rich(self, width: int = 0) -> RichTable:
        """Return a table for a Rich console of this width; no markup is read from its cells.

        Columns that the width has no room for are left out by rank and named below the table.
        """
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Rich
        from rich.text import Text

        shown = self.narrowed(width) if width else self
        missing = ", ".join(name for name in self.columns if name not in shown.columns)
        table = Rich(
            title=Text(self.title),
            title_justify="left",
            header_style="bold",
            box=SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
            caption=Text(f"a wider terminal also shows {missing}") if missing else None,
            caption_justify="left",
        )
        for head, numeric in zip(shown.columns, shown.numeric(), strict=True):
            justify: Literal["left", "right"] = "right" if numeric else "left"
            table.add_column(Text(head), justify=justify, overflow="fold", no_wrap=numeric)
        rows = shown.rows
        several = any("\n" in cell for row in rows for cell in row)
        if rows and not several and _line(shown._longest()) <= width:
            # Rich takes three times as long for a thousand lines as for one of a thousand parts.
            rows = [["\n".join(cells) for cells in zip(*rows, strict=True)]]
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def narrowed(self, width: int) -> Table:
        """Return the table without the columns that it takes to fit a width, where ranks allow."""
        ranks = list(self.ranks) or [0] * len(self.columns)
        longest = self._longest()
        kept = list(range(len(self.columns)))
        while _line([longest[column] for column in kept]) > width:
            last = max(kept, key=lambda column: (ranks[column], column))
            if not ranks[last]:
                break
            kept.remove(last)
        return Table(
            self.title,
            [self.columns[column] for column in kept],
            [[row[column] for column in kept] for row in self.rows],
            [ranks[column] for column in kept],
        )

    def _longest(self) -> list[int]:
        """Return by column how many cells wide its longest line is."""
        from rich.cells import cell_len

        columns = zip(self.columns, *self.rows, strict=True)
        return [
            max(cell_len(line) for cell in cells for line in cell.split("\n")) for cells in columns
        ]

    def numeric(self) -> list[bool]:
        """Return for each column whether all its known cells are numbers."""
        known = [
            [cell for cell in column if cell != text.UNKNOWN]
            for column in zip(*self.rows, strict=True)
        ] or [[] for _ in self.columns]
        return [bool(cells) and all(map(_NUMBER.fullmatch, cells)) for cells in known]


def _line(widths: Sequence[int]) -> int:
    """Return how wide a line of a table is on a terminal."""
    return sum(widths) + _GAP * (len(widths) - 1) + _EDGES


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A head, and the text below it for one record."""

    head: str
    text: Callable[[T], str]
    rank: int = 0  # see `Table.ranks`


def table_of(
    title: str,
    records: Sequence[T],
    columns: Sequence[Column[T]],
    where: Sequence[Column[T]] = (),
    *,
    lead: int = 1,
) -> Table:
    """Return one line per record.

    Args:
        title: Followed by the values of `where` that all records share.
        where: Shown behind the first `lead` of `columns`, only where the records differ.
    """
    shared, varying = shared_and_varying(records, where)
    shown = [*columns[:lead], *varying, *columns[lead:]]
    return Table(
        f"{title} ({', '.join(shared)})" if shared else title,
        [column.head for column in shown],
        [[column.text(record) for column in shown] for record in records],
        [column.rank for column in shown],
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
