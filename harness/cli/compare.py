"""`harness compare`: test one set of rows against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import Json
from harness.cli.output import note, print_json, print_table
from harness.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from harness.results.equivalence import Comparison, Ratio
    from harness.results.table import Table

_Set = typer.Argument(
    help="A results store (file or URL), or STORE#CAMPAIGN.", metavar="STORE", show_default=False
)
_SHOWN = 30
Metric = Literal["latency", "arena", "sram", "flash", "stack"]


def compare(
    before: Annotated[str, _Set],
    after: Annotated[str, _Set],
    metric: Metric = typer.Option("latency", "--metric", "-m", help="Figure to compare."),
    margin: float = typer.Option(0.02, help="Relative difference that counts as equivalent."),
    across: list[str] | None = typer.Option(
        None, help="What a pair may differ in, such as optimization, kernels or runtime."
    ),
    degraded: bool = typer.Option(False, "--degraded", help="Take degraded rows too."),
    strict: bool = typer.Option(
        False, "--strict", help="Exit 1 unless every pair is shown to be equivalent."
    ),
    json: Json = False,
) -> None:
    """Compare the rows of AFTER with those of BEFORE; exit 1 if something became worse."""
    from harness.results.equivalence import compare_rows

    old, new = _rows(before, metric), _rows(after, metric)
    result = compare_rows(
        old, new, metric=metric, margin=margin, across=across or (), degraded=degraded
    )
    if json:
        print_json(result.as_json())
    else:
        _show(result)
    if result.regressed or (strict and not result.equivalent):
        raise typer.Exit(EXIT_FAILED)


def _rows(where: str, metric: Metric) -> Table:
    from harness.results import open_store
    from harness.results.equivalence import columns_of
    from harness.results.store import Filter

    place, _, campaign = where.partition("#")
    if "://" not in place and not Path(place).is_file():
        raise ConfigError(
            f"there is no results store {place}",
            expected="two SQLite files or SQLAlchemy URLs, BEFORE and AFTER",
            fix="check the path; STORE#CAMPAIGN names one campaign of a store",
        )
    with open_store(place, create=False) as store:
        return store.table(Filter(campaign=campaign or None), columns_of(metric))


def _show(result: Comparison) -> None:
    digits = 1 if result.metric == "latency" else 0
    print_table(
        f"{result.metric}, margin {result.margin:.1%}",
        ("network", "before", "after", "change", "interval", "verdict"),
        [
            (
                pair.name,
                f"{pair.before:,.{digits}f}",
                f"{pair.after:,.{digits}f}",
                *_change(pair.ratio),
                pair.ratio.verdict.value,
            )
            for pair in result.pairs[:_SHOWN]
        ],
    )
    change, interval = _change(result.overall)
    counted = ", ".join(f"{count} {name}" for name, count in result.counts.items() if count)
    lines = [
        f"{len(result.pairs)} pairs: {counted}; "
        f"together {change} ({interval}): {result.overall.verdict.value}"
    ]
    for what, names in (
        ("only before", result.only_before),
        ("only after", result.only_after),
        (f"without a {result.metric}", result.unknown),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"{what}: {', '.join(names[:5])}{more}")
    note("\n".join(lines))


def _change(ratio: Ratio) -> tuple[str, str]:
    interval = f"{ratio.low - 1:+.2%} to {ratio.high - 1:+.2%}"
    return f"{ratio.value - 1:+.2%}", interval
