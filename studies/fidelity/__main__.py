"""Compare the timing models with published latencies; update the tables of docs/fidelity.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.firmware.toolchain import find_toolchain
from harness.virtual.time import Timing
from studies.fidelity.page import PAGE, tables
from studies.fidelity.truths import check_all
from studies.published import MODELS
from studies.tables import replace_tables


def main() -> None:
    """Run the checks; print each, then write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, metavar="CMSIS-NN",
                        help="a tree of CMSIS-NN, as of December 2020")  # fmt: skip
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--optimization", action="append", default=[], metavar="FLAG",
                        help="a further compiler flag to compare")  # fmt: skip
    parser.add_argument("--write", action="store_true", help=f"replace the tables of {PAGE.name}; "
                        "else the page is printed")  # fmt: skip
    options = parser.parse_args()
    checks = []
    try:
        for check in check_all(
            options.kernels,
            options.models,
            timings=tuple(Timing),
            optimizations=tuple(options.optimization),
        ):
            checks.append(check)
            sys.stderr.write(
                f"{check.truth.name} on {check.truth.board} {check.optimization} "
                f"{check.replay.timing}: {check.replay.latency_ms:.2f} ms, published "
                f"{check.truth.latency_ms:g}, {100 * check.error:+.1f} %\n"
            )
    except HarnessError as error:
        sys.exit(str(error))
    page = replace_tables(PAGE.read_text(), tables(checks, find_toolchain().name))
    if options.write:
        PAGE.write_text(page)
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
