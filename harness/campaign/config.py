"""The campaign file: which stations measure which networks, built how, and how often.

Nothing here opens a station or imports a heavy package; `plan.py` turns it into jobs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.errors import CampaignError
from harness.strict import Strict, parse, read_toml

Optimization = Literal["-O0", "-O1", "-O2", "-O3", "-Os", "-Ofast"]


class BackboneSamples(Strict):
    """Networks to sample from one backbone.

    Attributes:
        name: Backbone, see ``harness sample --help``.
        samples: How many.
        first: Index of the first, so that a later campaign can go on where one ended.
        max_working_memory_bytes: Reject samples that need more.
        max_parameters: Reject samples that have more.
        width_step: Grid of channel widths; 1 shows what widths not divisible by 4 cost.
    """

    name: str
    samples: Annotated[int, Field(ge=1, le=100_000)]
    first: Annotated[int, Field(ge=0)] = 0
    max_working_memory_bytes: Annotated[int, Field(gt=0)] | None = None
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    width_step: Annotated[int, Field(ge=1, le=64)] = 4


class RuntimeSweep(Strict):
    """A runtime and what to sweep over: every combination is measured."""

    name: str = "aot"
    kernels: Annotated[tuple[str, ...], Field(min_length=1)] = ("cmsis_nn",)
    optimization: Annotated[tuple[Optimization, ...], Field(min_length=1)] = ("-O2",)


class MeasureOptions(Strict):
    """How one network is measured.

    Attributes:
        warmup: Inferences before the timed ones.
        repeats: Timed inferences.
        layers: Whether a separate pass times each layer.
        icache: Instruction cache on.
        dcache: Data cache on.
        art: Flash accelerator and prefetch on.
        baud: Console speed; None takes the board's default.
    """

    warmup: Annotated[int, Field(ge=0, le=1000)] = 1
    repeats: Annotated[int, Field(ge=1, le=64)] = 3
    layers: bool = True
    icache: bool = True
    dcache: bool = True
    art: bool = True
    baud: Annotated[int, Field(gt=0)] | None = None


class FitOptions(Strict):
    """What is fitted when the campaign is done."""

    predictor: Literal["ops"] = "ops"


class CampaignConfig(Strict):
    """A campaign file.

    Attributes:
        name: Name that rows carry.
        seed: Seed of sampling, weights and inputs.
        boards: Board types; each is measured on the first station of the bench that has it.
        stations: Names of stations, as an alternative to `boards`.
        backbones: Networks to sample.
        models: Paths of .tflite files, relative to the campaign file.
        runtimes: Runtimes and their sweeps.
        measure: How each is measured.
        fit: Fit when done; absent means no fit.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    boards: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    backbones: tuple[BackboneSamples, ...] = ()
    models: tuple[str, ...] = ()
    runtimes: Annotated[tuple[RuntimeSweep, ...], Field(min_length=1)] = (RuntimeSweep(),)
    measure: MeasureOptions = MeasureOptions()
    fit: FitOptions | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> CampaignConfig:
        if not self.backbones and not self.models:
            raise ValueError("nothing to measure: add [[backbones]] or models")
        if not self.boards and not self.stations:
            raise ValueError("nowhere to measure: add boards or stations")
        return self


def read_campaign(path: Path, **overrides: Any) -> CampaignConfig:
    """Read a campaign file.

    Args:
        path: TOML file.
        **overrides: Top-level keys to replace, e.g. from the command line; None is no override.

    Raises:
        CampaignError: The file is missing, not TOML, or a key is unknown or out of range.
    """
    data = read_toml(path, error=CampaignError)
    data.update({key: value for key, value in overrides.items() if value is not None})
    config = parse(CampaignConfig, data, where=str(path), error=CampaignError)
    base = path.resolve().parent
    resolved = tuple(str((base / model).resolve()) for model in config.models)
    return config.model_copy(update={"models": resolved})
