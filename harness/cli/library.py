"""The runtime that a command uses, and the library that the user brings for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harness.errors import ConfigError
from harness.runtimes import RUNTIME_KERNELS, RUNTIMES, RuntimeOptions

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


KernelsSource = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="CMSIS-NN tree for the aot runtime: a folder, or a git repository with #commit "
        "(default: the one that is installed).",
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


def runtime_options(
    runtime: str,
    kernels: str,
    libraries: Sequence[str] | None,
    kernels_source: str | None,
) -> RuntimeOptions:
    """Return one runtime with the library or the kernel tree that the user names for it.

    Raises:
        ConfigError: As `check_runtime` and `with_libraries`; or a kernel tree that nothing uses.
    """
    from harness.campaign.config import CampaignConfig, runtime_sweep, with_libraries
    from harness.strict import parse

    check_runtime(runtime, kernels)
    sweep = runtime_sweep(runtime, kernels, kernels_source)
    data = {"name": "one", "boards": ["any"], "models": ["one"], "runtimes": [sweep]}
    config = parse(CampaignConfig, data, where="the command line", error=ConfigError)
    return next(with_libraries(config, libraries).runtimes[0].options())
