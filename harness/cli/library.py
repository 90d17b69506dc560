"""The runtime that a command uses, and the library that the user brings for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ConfigError
from harness.runtimes import RUNTIME_KERNELS, RUNTIMES

if TYPE_CHECKING:
    from harness.campaign.config import CampaignConfig

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
    from harness.campaign.config import CampaignConfig
    from harness.strict import parse

    sweep = {"name": runtime, "kernels": [kernels]}
    data = {"name": "one", "boards": ["any"], "models": ["one"], "runtimes": [sweep]}
    config = parse(CampaignConfig, data, where="the command line", error=ConfigError)
    return with_libraries(config, specs).runtimes[0].library_for(kernels)


def with_libraries(config: CampaignConfig, specs: Sequence[str] | None) -> CampaignConfig:
    """Return the campaign with the libraries of the command line, else its own, else $HARNESS_TFLM.

    Raises:
        ConfigError: A spec is there twice, or one is given that nothing uses.
    """
    from harness.campaign.config import parse_libraries

    runtimes = config.runtimes
    if specs:
        if all(sweep.name != "tflm" for sweep in runtimes):
            raise ConfigError(
                "only the tflm runtime takes a library",
                where="--library",
                fix="add --runtime tflm, or leave --library out",
            )
        general, by_kernels = parse_libraries(specs)
        runtimes = tuple(
            sweep.with_libraries(general, by_kernels, override=True) for sweep in runtimes
        )
    general, by_kernels = parse_libraries(shlex.split(os.environ.get(ENVIRONMENT, "")))
    runtimes = tuple(
        sweep.with_libraries(general, by_kernels, override=False) for sweep in runtimes
    )
    return config.model_copy(update={"runtimes": runtimes})
