"""docs/results.md explains every code that a row can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness import errors

PAGE = Path(__file__).parents[3] / "docs" / "results.md"
# What keeps a campaign from running at all makes no row.
NEVER_IN_A_ROW = (
    errors.ConfigError,
    errors.BenchError,
    errors.ToolchainMissing,
    errors.FarmError,
    errors.ResultsError,
    errors.FitError,
    errors.Interrupted,
)


def kinds(base: type[errors.HarnessError]) -> Iterator[type[errors.HarnessError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_code_of_a_row_is_explained() -> None:
    table = "\n".join(line for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    explained = set(re.findall(r"`([a-z-]+)`", table))
    codes = {k.code for k in kinds(errors.HarnessError) if not issubclass(k, NEVER_IN_A_ROW)}
    assert codes - explained == set()
