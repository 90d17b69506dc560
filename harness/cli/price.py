"""Compare the speed of the timing models with counting alone, bare Unicorn and QEMU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, metavar="CMSIS-NN",
                        help="a tree of CMSIS-NN, as of December 2020")  # fmt: skip
    models = _ROOT.parent / "shared/models"
    parser.add_argument(
        "--model", type=Path, default=models / "micronets/kws_micronet_m_int8.tflite"
    )
    parser.add_argument("--board", default="nucleo_f746zg")
    options = parser.parse_args()
    from harness.errors import HarnessError
    from harness.fidelity.price import processors, rates

    sys.stdout.write(f"{options.model.stem} on {options.board}, {processors()}\n")
    try:
        for rate in rates(options.kernels, options.model, options.board):
            sys.stdout.write(
                f"{rate.name:<30}{rate.per_second:8.1f} million instructions per second of "
                f"processor time ({rate.instructions / 1e6:.0f} million in {rate.seconds:.2f} s)\n"
            )
            sys.stdout.flush()
    except HarnessError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
