"""The campaign file: which stations measure which networks, built how, and how often.

Nothing here opens a station or imports a heavy package; `plan.py` turns it into jobs.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.errors import CampaignError, ConfigError
from harness.runtimes import RUNTIME_KERNELS, SHIPPED_KERNELS, RuntimeOptions
from harness.runtimes.library import absolute_spec
from harness.strict import Strict, parse, read_toml

LIBRARY_VARIABLE = "HARNESS_TFLM"

Optimization = Literal["-O0", "-O1", "-O2", "-O3", "-Os", "-Ofast"]


Spec = Annotated[str, Field(min_length=1)]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class BackboneSamples(Strict):
    """Networks to sample from one backbone.

    Attributes:
        name: Backbone, see ``harness sample --help``.
        samples: How many.
        first: Index of the first, so that a later campaign can go on where one ended.
        max_working_memory_bytes: Reject samples that need more.
        max_parameters: Reject samples that have more.
        width_step: Grid of channel widths; 1 shows what widths not divisible by 4 cost.
        resolution: Side of the input, where it is a decision; None samples it too.
    """

    name: str
    samples: Annotated[int, Field(ge=1, le=100_000)]
    first: Annotated[int, Field(ge=0)] = 0
    max_working_memory_bytes: Annotated[int, Field(gt=0)] | None = None
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    width_step: Annotated[int, Field(ge=1, le=32)] = 4
    resolution: Annotated[int, Field(gt=0)] | None = None


class ArchitectureEntry(Strict):
    """One network of a backbone.

    Attributes:
        backbone: Backbone, see ``harness sample --help``.
        decisions: Its decisions by name.
    """

    backbone: str
    decisions: dict[str, tuple[int, ...]]


class RuntimeSweep(Strict):
    """A runtime and what to sweep over: every combination is measured.

    Attributes:
        name: ``aot`` or ``tflm``.
        kernels: Kernel sets of that runtime.
        optimization: GCC's levels.
        library: PlatformIO spec of the runtime's library, for every kernel set; `tflm` only.
        libraries: The same by kernel set, where they need different ones.
        kernels_source: Specs of CMSIS-NN trees to compare, `SHIPPED_KERNELS` for the installed one;
            `aot` only.
        one_firmware: Flash the runtime once and then only models; `tflm` only.
    """

    name: Literal["aot", "tflm"] = "aot"
    kernels: Annotated[tuple[str, ...], Field(min_length=1)] = ("cmsis_nn",)
    optimization: Annotated[tuple[Optimization, ...], Field(min_length=1)] = ("-O2",)
    library: Spec | None = None
    libraries: dict[str, Spec] = Field(default_factory=dict)
    kernels_source: Annotated[tuple[Spec, ...], BeforeValidator(_listed)] = ()
    one_firmware: bool = False

    @model_validator(mode="after")
    def _kernels_and_library_fit_the_runtime(self) -> RuntimeSweep:
        known = RUNTIME_KERNELS[self.name]
        for kernels in (*self.kernels, *self.libraries):
            if kernels not in known:
                raise ValueError(
                    f"runtime '{self.name}' has no kernels '{kernels}', only {', '.join(known)}"
                )
        if self.name != "tflm" and (self.library or self.libraries):
            raise ValueError(f"runtime '{self.name}' brings its own code and takes no library")
        if self.kernels_source and (self.name != "aot" or "cmsis_nn" not in self.kernels):
            raise ValueError(
                "kernels_source is a CMSIS-NN tree: for runtime 'aot' with kernels 'cmsis_nn'"
            )
        if self.name != "tflm" and self.one_firmware:
            raise ValueError(
                f"runtime '{self.name}' compiles the model in: one_firmware is for 'tflm'"
            )
        return self

    def library_for(self, kernels: str) -> str | None:
        """Return the library of a kernel set, None where none is named."""
        return self.libraries.get(kernels, self.library)

    def options(self) -> Iterator[RuntimeOptions]:
        """Yield each kernel set with its library, or with each tree that it is built from."""
        for kernels in self.kernels:
            sources: tuple[str | None, ...] = (None,)
            if kernels == "cmsis_nn" and self.kernels_source:
                sources = tuple(
                    None if spec == SHIPPED_KERNELS else spec for spec in self.kernels_source
                )
            for source in sources:
                yield RuntimeOptions(
                    self.name, kernels, self.library_for(kernels), kernels_source=source
                )

    def with_libraries(
        self, general: str | None, by_kernels: Mapping[str, str], *, override: bool
    ) -> RuntimeSweep:
        """Return the sweep with these libraries, instead of its own or where it has none."""
        if self.name != "tflm":
            return self
        chosen = {}
        for kernels in self.kernels:
            named, own = by_kernels.get(kernels, general), self.library_for(kernels)
            chosen[kernels] = (named or own) if override else (own or named)
        libraries = {kernels: spec for kernels, spec in chosen.items() if spec is not None}
        return self.model_copy(update={"library": None, "libraries": libraries})


class MeasureOptions(Strict):
    """How one network is measured.

    Attributes:
        warmup: Inferences before the timed ones.
        repeats: Timed inferences, after each reset.
        boots: How often the device is reset and measured anew.
        layers: Whether a separate pass times each layer.
        verify_arena: Whether the smallest arena that works is searched on the device.
        icache: Instruction cache on.
        dcache: Data cache on.
        art: Flash accelerator and prefetch on.
        baud: Console speed; None takes the board's default.
    """

    warmup: Annotated[int, Field(ge=0, le=1000)] = 1
    repeats: Annotated[int, Field(ge=1, le=64)] = 3
    boots: Annotated[int, Field(ge=1, le=16)] = 1
    layers: bool = True
    verify_arena: bool = False
    icache: bool = True
    dcache: bool = True
    art: bool = True
    baud: Annotated[int, Field(gt=0)] | None = None


class FitOptions(Strict):
    """What is fitted when the campaign is done."""

    predictor: Literal["ops", "layers"] = "ops"


class CampaignConfig(Strict):
    """A campaign file.

    Attributes:
        name: Name that rows carry.
        seed: Seed of sampling, weights and inputs.
        boards: Board types; each is measured on the first station of the bench that has it.
        stations: Names of stations, as an alternative to `boards`.
        backbones: Networks to sample.
        architectures: Networks by their decisions, as `harness sample --json` prints them.
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
    architectures: tuple[ArchitectureEntry, ...] = ()
    models: tuple[str, ...] = ()
    runtimes: Annotated[tuple[RuntimeSweep, ...], Field(min_length=1)] = (RuntimeSweep(),)
    measure: MeasureOptions = MeasureOptions()
    fit: FitOptions | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> CampaignConfig:
        if not self.backbones and not self.architectures and not self.models:
            raise ValueError("nothing to measure: add [[backbones]], [[architectures]] or models")
        if not self.boards and not self.stations:
            raise ValueError("nowhere to measure: add boards or stations")
        return self


def read_campaign(path: Path, *, models: Path | None = None, **overrides: Any) -> CampaignConfig:
    """Read a campaign file.

    Args:
        path: TOML file.
        models: Folder that the file's model names are looked up in, see `find_model`; None takes
            them relative to the campaign file.
        **overrides: Top-level keys to replace, e.g. from the command line; None is no override.

    Raises:
        CampaignError: The file is missing, not TOML, a key is unknown or out of range, or a model
            is not in `models`.
    """
    data = read_toml(path, error=CampaignError)
    data.update({key: value for key, value in overrides.items() if value is not None})
    config = parse(CampaignConfig, data, where=str(path), error=CampaignError)
    base = path.resolve().parent
    if models is None:
        resolved = tuple(str((base / model).resolve()) for model in config.models)
    else:
        resolved = tuple(str(find_model(models, model)) for model in config.models)
    runtimes = tuple(_absolute(sweep, base) for sweep in config.runtimes)
    return config.model_copy(update={"models": resolved, "runtimes": runtimes})


def configure(
    path: Path,
    *,
    stations: Sequence[str] = (),
    samples: int | None = None,
    seed: int | None = None,
    models: Path | None = None,
    library: Sequence[str] | None = None,
    verify_arena: bool | None = None,
) -> CampaignConfig:
    """Read a campaign file and replace what is given; None and empty leave it as the file says.

    Args:
        path: TOML file.
        stations: Stations instead of the file's stations and boards.
        samples: Networks per backbone.
        seed: Seed of sampling, weights and inputs.
        models: See `read_campaign`.
        library: See `with_libraries`.
        verify_arena: Search for the smallest arena that works.

    Raises:
        CampaignError, ConfigError: As `read_campaign` and `with_libraries`.
    """
    overrides: dict[str, Any] = {"seed": seed}
    if stations:
        overrides |= {"stations": list(stations), "boards": []}
    config = read_campaign(path, models=models, **overrides)
    if samples is not None:
        backbones = tuple(
            entry.model_copy(update={"samples": samples}) for entry in config.backbones
        )
        config = config.model_copy(update={"backbones": backbones})
    if verify_arena is not None:
        measure = config.measure.model_copy(update={"verify_arena": verify_arena})
        config = config.model_copy(update={"measure": measure})
    return with_libraries(config, library)


def runtime_sweep(runtime: str, kernels: str, kernels_source: str | None) -> dict[str, object]:
    """Return the ``[[runtimes]]`` entry of one configuration, as in a campaign file.

    A path of `kernels_source` is taken relative to the working directory.
    """
    sources = (absolute_spec(kernels_source, Path.cwd()),) if kernels_source else ()
    return {"name": runtime, "kernels": [kernels], "kernels_source": sources}


def find_model(folder: Path, name: str) -> Path:
    """Return ``folder/name``, else the one file of that name anywhere below `folder`.

    So a campaign names files, and any layout of folders will do: a checkout of the repository that
    publishes them, or a folder of downloads. Several copies are fine when they are equal.

    Raises:
        CampaignError: There is no such file, or several that differ.
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


def parse_libraries(specs: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Return the library for all kernels and those by kernels from ``[KERNELS=]SPEC`` texts.

    Paths are taken relative to the working directory.

    Raises:
        ConfigError: Two specs for the same kernels.
    """
    general: str | None = None
    by_kernels: dict[str, str] = {}
    for text in specs:
        name, mark, spec = text.partition("=")
        named = bool(mark) and name in RUNTIME_KERNELS["tflm"]
        if by_kernels.get(name) if named else general:
            raise ConfigError(
                f"two libraries are named{f' for {name} kernels' if named else ''}",
                where=text,
                expected="one SPEC, or KERNELS=SPEC once for each kernel set",
            )
        if named:
            by_kernels[name] = absolute_spec(spec, Path.cwd())
        else:
            general = absolute_spec(text, Path.cwd())
    return general, by_kernels


def with_libraries(config: CampaignConfig, specs: Sequence[str] | None) -> CampaignConfig:
    """Return the campaign with the libraries of the command line, else its own, else $HARNESS_TFLM.

    Raises:
        ConfigError: A spec is there twice, or one is given that nothing uses.
    """
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
    general, by_kernels = parse_libraries(shlex.split(os.environ.get(LIBRARY_VARIABLE, "")))
    runtimes = tuple(
        sweep.with_libraries(general, by_kernels, override=False) for sweep in runtimes
    )
    return config.model_copy(update={"runtimes": runtimes})


def _absolute(sweep: RuntimeSweep, base: Path) -> RuntimeSweep:
    library = absolute_spec(sweep.library, base) if sweep.library else None
    libraries = {name: absolute_spec(spec, base) for name, spec in sweep.libraries.items()}
    sources = tuple(absolute_spec(spec, base) for spec in sweep.kernels_source)
    return sweep.model_copy(
        update={"library": library, "libraries": libraries, "kernels_source": sources}
    )
