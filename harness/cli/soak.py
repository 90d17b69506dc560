"""Measure under random faults and print what came of it; exit 1 if a row cannot be trusted."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from harness.campaign.soak import BOARDS, FAULTS, Soak, soak
from harness.errors import EXIT_FAILED


def main() -> None:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=5000)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--board", action="append", dest="boards", choices=BOARDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from harness.cli.progress import ProgressListener

    with (
        tempfile.TemporaryDirectory(prefix="harness-soak-") as folder,
        ProgressListener("soak") as listener,
    ):
        # Locks and stations that were set aside are no concern of the user's.
        os.environ["HARNESS_CACHE"] = str(Path(folder) / "cache")
        report = soak(
            options.measurements,
            Path(folder),
            faults=options.faults,
            seed=options.seed,
            boards=options.boards or BOARDS,
            listener=listener,
        )
    sys.stdout.write(
        json.dumps(report.as_json(), indent=2) + "\n" if options.json else text(report)
    )
    if not report.passed:
        sys.exit(EXIT_FAILED)


def text(report: Soak) -> str:
    """Return the figures for people."""

    def counted(items: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(items.items())) or "none"

    lines = [
        f"{report.measurements} measurements in {report.seconds:.0f} s and {report.runs} runs of "
        "the campaign",
        f"  faults that fell:      {counted(report.faults)}",
        f"  attempts repeated:     {counted(report.retries)}",
        f"  rows:                  {counted(report.rows)}",
        f"  codes of failed rows:  {counted(report.codes)}",
        f"  stations set aside:    {report.set_aside}",
        f"  wrong values valid:    {len(report.wrong)}",
        f"  finished rows lost:    {len(report.lost)}",
        f"  failures untyped:      {len(report.untyped)}",
        f"  jobs unfinished:       {report.unfinished}",
    ]
    return "\n".join([*lines, *report.wrong[:20]]) + "\n"


if __name__ == "__main__":
    main()
