"""Write `docs/linearity.md` and plots of the residuals from measured campaigns."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.results import Measurement
    from harness.results.store import Store

_CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
FILES = (_CAMPAIGNS / "linearity.toml", _CAMPAIGNS / "linearity_inputs.toml")
_COMMAND = "nox -s linearity"


def main() -> None:
    """Fit the rows of the campaigns and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", default=DEFAULT_STORE, help="results store [%(default)s]")
    parser.add_argument("--page", type=Path, help="where to write the page; else it is printed")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where to draw the residuals")
    options = parser.parse_args()
    from harness.report.linearity import linearity_page, study_rows
    from harness.report.residual_plot import plot_residuals
    from harness.results import open_store

    try:
        with open_store(options.db, create=False) as store:
            measured = {file.stem: _rows_of(file, store) for file in FILES}
        found = {name: study_rows(rows) for name, rows in measured.items() if rows}
        page = linearity_page(found, command=_COMMAND)
        if options.plots:
            for name, configurations in found.items():
                for where, studies in configurations.items():
                    file = options.plots / f"residuals-{name}-{where.board}.png"
                    sys.stderr.write(f"{plot_residuals(studies, file)}\n")
    except HarnessError as error:
        sys.exit(str(error))
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


def _rows_of(file: Path, store: Store) -> list[Measurement]:
    """Return the rows of a campaign's jobs, whichever campaign measured them; none until all are.

    A part of the samples would say less than the page claims.
    """
    from harness.bench import load_bench
    from harness.campaign.config import read_campaign
    from harness.campaign.plan import plan
    from harness.results.record import best_per_key

    wanted = {job.key for job in plan(read_campaign(file), load_bench())}
    rows = best_per_key(row for row in store.query(with_layers=False) if row.key in wanted)
    done = [row for row in rows if row.usable]
    if len(done) < len(wanted):
        sys.stderr.write(
            f"{file.stem}: {len(done)} of {len(wanted)} networks are measured, so it is left out "
            f"(`harness run {file}` measures the rest)\n"
        )
        return []
    return done


if __name__ == "__main__":
    main()
