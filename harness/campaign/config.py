"""The campaign file: which stations measure which networks, built how, and how often.

Nothing here opens a station or imports a heavy package; `plan.py` turns it into jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.backbones import Architecture
from harness.campaign.sweep import RuntimeSweep, with_libraries
from harness.errors import CampaignError
from harness.models.formats import TFLITE
from harness.strict import Strict, from_json, read_toml, to_json


class BackboneSamples(Strict):
    """Networks to sample from one backbone."""

    name: str  # see `harness sample`
    samples: Annotated[int, Field(ge=1, le=100_000)]
    # Index of the first sample, so that a later campaign can continue an earlier one
    first: Annotated[int, Field(ge=0)] = 0
    max_working_memory_bytes: Annotated[int, Field(gt=0)] | None = None
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    # Grid of channel widths; 1 shows what widths not divisible by 4 cost
    width_step: Annotated[int, Field(ge=1, le=32)] = 4
    resolution: Annotated[int, Field(gt=0)] | None = None  # side of the input; None samples it too


class ArchitectureEntry(Strict):
    """One network of a backbone."""

    backbone: str
    decisions: dict[str, tuple[int, ...]]


class MeasureOptions(Strict):
    """How one network is measured."""

    warmup: Annotated[int, Field(ge=0, le=1000)] = 1  # inferences before the timed ones
    repeats: Annotated[int, Field(ge=1, le=64)] = 3  # timed inferences after each boot
    boots: Annotated[int, Field(ge=1, le=16)] = 1  # resets, each followed by the repeats
    layers: bool = True  # time each layer in a separate pass
    verify_arena: bool = False  # search for the smallest arena that works
    icache: bool = True
    dcache: bool = True
    art: bool = True  # flash accelerator and prefetch
    baud: Annotated[int, Field(gt=0)] | None = None  # console speed; None: the board's


class FitOptions(Strict):
    """What is fitted when the campaign is done."""

    predictor: Literal["ops", "layers"] = "ops"


class Schedule(Strict):
    """What a night measures although an earlier one did; the rest is measured once."""

    # Share of the jobs, another one each night; 1 is all of them
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    canaries: tuple[str, ...] = ()  # names of networks, with * and ?, that every night measures


class CampaignConfig(Strict):
    """A campaign file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # of sampling, weights and inputs
    boards: tuple[str, ...] = ()  # any station of the bench that has one takes its jobs
    stations: tuple[str, ...] = ()  # instead of `boards`
    tags: tuple[str, ...] = ()  # only stations that have all of them
    source: Literal["hardware", "emulated"] | None = None  # None: hardware where there is some
    # Every station measures everything, to compare specimens; equal stations else share the jobs
    every_station: bool = False
    backbones: tuple[BackboneSamples, ...] = ()
    architectures: tuple[ArchitectureEntry, ...] = ()  # as `harness sample --json` prints
    models: tuple[str, ...] = ()  # .tflite files, relative to the campaign file
    runtimes: Annotated[tuple[RuntimeSweep, ...], Field(min_length=1)] = (RuntimeSweep(),)
    measure: MeasureOptions = MeasureOptions()
    fit: FitOptions | None = None  # None: no fit
    schedule: Schedule = Schedule()  # of `harness nightly`

    @model_validator(mode="after")
    def _something_to_do(self) -> CampaignConfig:
        if not self.backbones and not self.architectures and not self.models:
            raise ValueError("nothing to measure: add [[backbones]], [[architectures]] or models")
        if not self.boards and not self.stations:
            raise ValueError("nowhere to measure: add boards or stations")
        return self

    @classmethod
    def of(
        cls,
        name: str,
        *,
        station: str | None = None,
        boards: Sequence[str] = (),
        models: Sequence[Path] = (),
        architectures: Sequence[Architecture] = (),
        backbones: Sequence[BackboneSamples] = (),
        runtime: RuntimeSweep | None = None,
        measure: MeasureOptions | None = None,
        seed: int = 0,
        where: str = "the command line",
    ) -> CampaignConfig:
        """Return a campaign that is not in a file, with one runtime.

        A station replaces the boards; paths of models are relative to the working directory. Raises
        `ConfigError` if a value is out of range.
        """
        data = {
            "name": name,
            "seed": seed,
            "stations": [station] if station else [],
            "boards": [] if station else list(boards),
            "models": [str(model.resolve()) for model in models],
            "architectures": [item.to_json() for item in architectures],
            "backbones": [to_json(item) for item in backbones],
            "runtimes": [to_json(runtime or RuntimeSweep())],
            "measure": to_json(measure or MeasureOptions()),
        }
        return from_json(cls, data, where=where)


def read_campaign(
    path: Path,
    *,
    models: Path | None = None,
    stations: Sequence[str] = (),
    tags: Sequence[str] = (),
    every_station: bool | None = None,
    samples: int | None = None,
    seed: int | None = None,
    library: Sequence[str] | None = None,
    verify_arena: bool | None = None,
) -> CampaignConfig:
    """Read a campaign file, with replacements; None and empty leave what the file says.

    The models are looked up below `models` (see `find_model`), else relative to the campaign file.
    `stations` replaces the stations and the boards, `tags` the tags. Raises `CampaignError` if the
    file is missing or wrong or lacks a model, `ConfigError` as `with_libraries`.
    """
    if _is_model(path):
        raise CampaignError(
            f"{path} is a model, not a campaign file",
            fix=f"measure one model with `harness measure {path}`",
        )
    data = read_toml(path, error=CampaignError)
    if seed is not None:
        data["seed"] = seed
    if stations:
        data |= {"stations": list(stations), "boards": []}
    if tags:
        data["tags"] = list(tags)
    if every_station is not None:
        data["every_station"] = every_station
    config = from_json(CampaignConfig, data, where=str(path), error=CampaignError)
    base = path.resolve().parent
    changes: dict[str, object] = {
        "models": tuple(
            str(find_model(models, name) if models else (base / name).resolve())
            for name in config.models
        ),
        "runtimes": with_libraries([sweep.absolute(base) for sweep in config.runtimes], library),
    }
    if samples is not None:
        backbones = (entry.model_copy(update={"samples": samples}) for entry in config.backbones)
        changes["backbones"] = tuple(backbones)
    if verify_arena is not None:
        changes["measure"] = config.measure.model_copy(update={"verify_arena": verify_arena})
    return config.model_copy(update=changes)


def _is_model(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError:
        return path.suffix == ".tflite"
    return path.suffix == ".tflite" or start[4:] == TFLITE


def find_model(folder: Path, name: str) -> Path:
    """Return ``folder/name``, else the one file of that name anywhere below `folder`.

    So `folder` may have any layout: a checkout of the repository that publishes the models, or a
    folder of downloads. Several copies are accepted if they are equal; raises `CampaignError` if
    they differ or there is none.
    """
    exact = folder / name
    if exact.is_file():
        return exact.resolve()
    found = sorted(path for path in folder.rglob(Path(name).name) if path.is_file())
    if found and len({path.read_bytes() for path in found}) == 1:
        return found[0].resolve()
    if found:
        raise CampaignError(
            f"{len(found)} different files are called '{Path(name).name}'",
            where=", ".join(str(path) for path in found[:4]),
            expected=f"one, or {exact}",
            fix="name a folder nearer to the right one with --models",
        )
    raise CampaignError(
        f"there is no model '{name}'",
        where=str(folder),
        expected=f"{exact}, or a file called {exact.name} in a folder below",
        fix="name the folder that holds the campaign's models with --models",
    )
