"""Templates, and tables as they see them. Every text is escaped: names are data of strangers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.report.table import Table

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent

_LONG = 50  # characters of a cell that may take several lines
_SHORT = 300  # rows that site.js shows at first
MARKS = {
    **dict.fromkeys(("worse", "failed", "invalid", "error", "disabled", "BROKEN"), "bad"),
    **dict.fromkeys(("degraded", "warning", "undecided", "changed", "missing", "bench"), "warn"),
    **dict.fromkeys(("better", "mended", "valid", "ready", "ok", "holds", "complete"), "good"),
    **dict.fromkeys(("new", "running", "interrupted"), "info"),
}
"""Words that a cell may consist of, and how it looks then."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of a page.

    Attributes:
        table: Heads and cells.
        links: Of each row, the page that its first cell leads to, from the root of the site.
        bars: Of each row, the length of a bar in its cell `bar_at`, in percent.
        note: A line below it.
    """

    table: Table
    links: Sequence[str | None] = ()
    bars: Sequence[float] = ()
    bar_at: int = 0
    note: str = ""

    @property
    def look(self) -> str:
        """Return the classes of the columns that are right-aligned, and ``long``."""
        looks = [f"n{at}" for at, right in enumerate(self.table.numeric(), 1) if right]
        return " ".join(["long", *looks] if len(self.table.rows) > _SHORT else looks)

    def html(self, root: str) -> str:
        """Return the table as HTML, escaped; a template takes five times as long.

        HTML needs no end tags of cells and rows. `root` leads to the root of the site.
        """
        if not self.table.rows:
            return ""
        heads = "".join(f"<th scope=col>{escape(head)}" for head in self.table.columns)
        caption = f"<caption>{escape(self.table.title)}</caption>" if self.table.title else ""
        lines = [
            f'<div class=scroll><table class="{self.look}">{caption}<thead><tr>{heads}</thead>',
            "<tbody>",
        ]
        for at, row in enumerate(self.table.rows):
            cells = [f"<td{_look(cell)}>{escape(cell)}" for cell in row]
            if self.links and self.links[at]:
                cells[0] = f'<td><a href="{escape(f"{root}{self.links[at]}")}">{escape(row[0])}</a>'
            if self.bars:
                cells[self.bar_at] += f'<i class=bar style="width:{self.bars[at]:.1f}%"></i>'
            lines.append("<tr>" + "".join(cells))
        lines.append("</tbody></table></div>")
        if self.note:
            lines.append(f"<p class=note>{escape(self.note)}</p>")
        return "\n".join(lines)


def _look(cell: str) -> str:
    if cell in MARKS:
        return f" class={MARKS[cell]}"
    return " class=wrap" if len(cell) > _LONG else ""


@dataclass(frozen=True, slots=True)
class Stack:
    """A bar of parts: its title, what the whole is, and names, sizes and texts of the parts."""

    title: str
    of: str
    parts: Sequence[tuple[str, float, str]]

    @property
    def html(self) -> str:
        """Return bar and legend as HTML, escaped."""
        whole = sum(size for _, size, _ in self.parts) or 1
        bar, legend = [], []
        for at, (name, size, value) in enumerate(self.parts, 1):
            look = "p0" if name == "free" else f"p{at}"
            named = f"{escape(name)} <b>{escape(value)}</b>"
            bar.append(f'<i class={look} style="width:{100 * size / whole:.2f}%"></i>')
            legend.append(f"<li><i class={look}></i>{named}")
        head = f"<h4>{escape(self.title)} <small>{escape(self.of)}</small></h4>"
        listed = f"<ul>{''.join(legend)}</ul>"
        return f"<div class=stack>{head}<div class=parts>{''.join(bar)}</div>{listed}</div>"


@dataclass(frozen=True, slots=True)
class Figure:
    """A Plotly figure: traces and layout, without the colours that depend on the theme."""

    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    caption: str = ""

    @property
    def json(self) -> str:
        """Return it as JSON that no text in it can end early."""
        packed = json.dumps({"data": self.data, "layout": self.layout}, separators=(",", ":"))
        return packed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def environment() -> Environment:
    """Return the templates.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise missing("Jinja2") from None
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def missing(what: str) -> ConfigError:
    """Return the error for a package of the extra that is not there."""
    return ConfigError(
        f"{what} is not installed", fix="install it: pip install 'tinyml-harness[report]'"
    )
