"""Generated tables in Markdown that people write.

A page marks the place of a table by a pair of comments, ``<!-- table: NAME -->`` and
``<!-- end table -->``; a study replaces what is between them and leaves the rest alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end table -->)", re.DOTALL)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, one line a row."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def replace_tables(page: str, tables: Mapping[str, str]) -> str:
    """Return `page` with new content between the markers of each of `tables`.

    Raises:
        ValueError: The page's tables are not exactly those given.
    """
    names = [match[2] for match in _TABLE.finditer(page)]
    if sorted(names) != sorted(tables):
        raise ValueError(f"the page has the tables {sorted(names)}, not {sorted(tables)}")
    return _TABLE.sub(lambda match: match[1] + tables[match[2]].rstrip() + "\n" + match[3], page)
