"""The runtime that a command uses, and the library that the user brings for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harness.errors import ConfigError
from harness.runtimes import RUNTIME_KERNELS, RUNTIMES

ENVIRONMENT = "HARNESS_TFLM"

Runtime = Annotated[str, typer.Option(help=f"Runtime: {' or '.join(RUNTIMES)}.")]
Kernels = Annotated[
    str,
    typer.Option(help="Kernels: cmsis_nn, and portable (aot) or reference (tflm)."),
]
Libraries = Annotated[
    list[str] | None,
    typer.Option(
        "--library",
        metavar="[KERNELS=]SPEC",
        help="PlatformIO spec of the TFLM library, for all kernels or for these; may be repeated "
        f"(default: ${ENVIRONMENT}).",
        show_default=False,
    ),
]


def check_runtime(runtime: str, kernels: str) -> None:
    """Refuse a runtime that is unknown, or kernels that it does not have.

    Raises:
        ConfigError: Names those that there are.
    """
    if runtime not in RUNTIME_KERNELS:
        from harness.strict import suggest

        raise ConfigError(
            f"there is no runtime '{runtime}'{suggest(runtime, RUNTIMES)}",
            where="--runtime",
            expected=f"one of {', '.join(RUNTIMES)}",
        )
    if kernels in RUNTIME_KERNELS[runtime]:
        return
    having = [name for name, known in RUNTIME_KERNELS.items() if kernels in known]
    raise ConfigError(
        f"the {runtime} runtime has no kernels '{kernels}'",
        where="--kernels",
        expected=f"one of {', '.join(RUNTIME_KERNELS[runtime])}",
        fix=f"these are kernels of --runtime {having[0]}" if having else "correct --kernels",
    )


def chosen_library(runtime: str, kernels: str, specs: Sequence[str] | None) -> str | None:
    """Return the library for one runtime and one kernel set, None where none is named.

    Raises:
        ConfigError: As `with_libraries`.
    """
    from harness.campaign.config import CampaignConfig, with_libraries
    from harness.strict import parse

    sweep = {"name": runtime, "kernels": [kernels]}
    data = {"name": "one", "boards": ["any"], "models": ["one"], "runtimes": [sweep]}
    config = parse(CampaignConfig, data, where="the command line", error=ConfigError)
    return with_libraries(config, specs).runtimes[0].library_for(kernels)
