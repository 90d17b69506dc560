"""Measure under random faults and print what came of it; exit 1 if a row cannot be trusted.

With ``--kills`` kill campaigns at random moments instead, and let each finish.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.campaign.kills import BOARDS as KILLED_BOARDS
from harness.campaign.kills import Kills, kill_campaigns
from harness.campaign.soak import BOARDS, FAULTS, Soak, soak
from harness.errors import EXIT_FAILED


def main() -> None:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=5000)
    parser.add_argument("--kills", type=int, help="kill a campaign so often instead")
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--board", action="append", dest="boards", choices=BOARDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.kills is not None:
        _kills(options)
        return
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


# What a campaign loads; all of it is there before the first one is forked.
_MODULES = (
    "capstone",
    "harness.campaign.outcome",
    "harness.capture.session",
    "harness.cli.progress",
    "harness.firmware",
    "harness.flash.target",
    "harness.report",
    "harness.results.store",
    "harness.runtimes.aot",
    "harness.virtual.machine",
    "matplotlib.pyplot",
    "pyocd.core.session",
)


def _kills(options: argparse.Namespace) -> None:
    for module in _MODULES:
        import_module(module)
    with tempfile.TemporaryDirectory(prefix="harness-kills-") as folder:
        cache = Path(folder) / "cache"
        os.environ["HARNESS_CACHE"] = str(cache)
        report = kill_campaigns(
            options.kills,
            Path(folder),
            run_campaign,
            cache=cache,
            boards=options.boards or KILLED_BOARDS,
            seed=options.seed,
            heard=_hear,
        )
    sys.stdout.write(
        json.dumps(report.as_json(), indent=2) + "\n" if options.json else kills_text(report)
    )
    if not report.passed:
        sys.exit(EXIT_FAILED)


def run_campaign(campaign: Path, database: Path) -> int:
    """Run `harness run`; return its exit code."""
    from harness.cli.app import main

    try:
        main(["run", str(campaign), "--db", str(database)])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _hear(report: Kills) -> None:
    if report.kills % 10 == 0:
        sys.stderr.write(f"{report.kills} killed\n")


def kills_text(report: Kills) -> str:
    """Return the figures for people."""
    lines = [
        f"{report.kills} campaigns killed in {report.seconds:.0f} s, and run again",
        f"  rows finished at kill: {counted(report.finished_at_kill)} (rows: kills)",
        f"  without its children:  {report.alone}",
        f"  images to be built:    {report.rebuilt}",
        f"  kills after the end:   {report.late} (not counted)",
        f"  rows compared:         {report.rows}",
        f"  reruns that failed:    {len(report.failed)}",
        f"  finished rows lost:    {len(report.lost)}",
        f"  figures that differ:   {len(report.differing)}",
    ]
    return "\n".join([*lines, *(report.failed + report.lost + report.differing)[:20]]) + "\n"


def counted(items: Mapping[Any, int]) -> str:
    """Return counts on one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(items.items())) or "none"


def text(report: Soak) -> str:
    """Return the figures for people."""
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
