"""Hold the timing models against published latencies, and write `docs/fidelity.md`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.virtual.time import NAMES

_ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run the checks and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, metavar="CMSIS-NN",
                        help="a tree of CMSIS-NN, as of December 2020")  # fmt: skip
    parser.add_argument("--models", type=Path, default=_ROOT.parent / "shared/models")
    parser.add_argument("--optimization", action="append", default=[], metavar="FLAG")
    parser.add_argument("--page", type=Path, help="where to write the page; else it is printed")
    options = parser.parse_args()
    from harness.fidelity.page import render
    from harness.fidelity.truths import check_all
    from harness.firmware.toolchain import find_toolchain

    checks = []
    try:
        for check in check_all(
            options.kernels,
            options.models,
            timings=NAMES,
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
    page = render(checks, find_toolchain().name)
    if options.page:
        options.page.write_text(page)
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
