"""Fit the rows of the linearity campaigns; update the tables of docs/linearity.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench import load_bench
from harness.campaign.config import read_campaign
from harness.campaign.plan import plan
from harness.errors import FitError, HarnessError
from harness.paths import DEFAULT_STORE
from harness.results import open_store
from studies.linearity.plot import plot_residuals
from studies.linearity.study import study_rows
from studies.linearity.tables import tables
from studies.tables import replace_tables

if TYPE_CHECKING:
    from harness.results.record import Measurement
    from harness.results.store import Store

_ROOT = Path(__file__).parents[2]
CAMPAIGNS = ("linearity", "linearity_inputs")
PAGE = _ROOT / "docs" / "linearity.md"


def main() -> None:
    """Fit the rows of the campaigns, then write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", default=DEFAULT_STORE, help="results store [%(default)s]")
    parser.add_argument("--write", action="store_true", help=f"replace the tables of {PAGE.name}; "
                        "else the page is printed")  # fmt: skip
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where to draw the residuals")
    options = parser.parse_args()
    found = {}
    try:
        with open_store(options.db, create=False) as store:
            for name in CAMPAIGNS:
                configurations = study_rows(_rows_of(_ROOT / "campaigns" / f"{name}.toml", store))
                if len(configurations) > 1:
                    raise FitError(
                        f"{name} was measured in {len(configurations)} configurations",
                        expected="one, as the page has one section for each campaign",
                        fix="name a store that holds one with --db",
                    )
                (found[name],) = configurations.items()
                where, studies = found[name]
                if options.plots:
                    file = options.plots / f"residuals-{name}-{where.board}.png"
                    sys.stderr.write(f"{plot_residuals(studies, file)}\n")
        page = replace_tables(PAGE.read_text(encoding="utf-8"), tables(found))
    except HarnessError as error:
        sys.exit(str(error))
    if options.write:
        PAGE.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


def _rows_of(file: Path, store: Store) -> list[Measurement]:
    """Return the rows of a campaign's jobs, also where another campaign measured them.

    Raises:
        FitError: A network is not measured: the page is about all of them.
    """
    wanted = {job.key for job in plan(read_campaign(file), load_bench())}
    done = [row for row in store.best(wanted) if row.usable]
    if len(done) < len(wanted):
        raise FitError(
            f"{len(done)} of the {len(wanted)} networks of {file.name} are measured",
            expected="all of them",
            fix=f"`harness run {file}` measures the rest",
        )
    return done


if __name__ == "__main__":
    main()
