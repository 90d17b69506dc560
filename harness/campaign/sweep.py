"""Runtimes of a campaign: what is swept over, and which TFLM library serves which kernels."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from harness.boards import Board
from harness.errors import ConfigError
from harness.runtimes import (
    RUNTIME_KERNELS,
    SHIPPED_KERNELS,
    KernelSet,
    Optimization,
    RuntimeName,
    RuntimeOptions,
)
from harness.runtimes.library import absolute_spec
from harness.strict import Strict, from_json

VARIABLE = "HARNESS_TFLM"

_Spec = Annotated[str, Field(min_length=1)]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class RuntimeSweep(Strict):
    """A runtime and what to sweep over: every combination is measured."""

    name: RuntimeName = RuntimeName.AOT
    kernels: Annotated[tuple[KernelSet, ...], Field(min_length=1)] = (KernelSet.CMSIS_NN,)
    optimization: Annotated[tuple[Optimization, ...], Field(min_length=1)] = (Optimization.O2,)
    library: _Spec | None = None  # PlatformIO spec for every kernel set; tflm only
    libraries: dict[KernelSet, _Spec] = Field(default_factory=dict)  # by kernel set
    # Specs of CMSIS-NN trees to compare, `SHIPPED_KERNELS` for the installed one; aot only
    kernels_source: Annotated[tuple[_Spec, ...], BeforeValidator(_listed)] = ()
    # Flash the runtime once and then only models; by default `aot` does so for sampled networks.
    one_firmware: bool | None = None

    @model_validator(mode="after")
    def _options_fit_the_runtime(self) -> RuntimeSweep:
        known = RUNTIME_KERNELS[self.name]
        for kernels in (*self.kernels, *self.libraries):
            if kernels not in known:
                raise ValueError(
                    f"runtime '{self.name}' has no kernels '{kernels}', only {', '.join(known)}"
                )
        if self.name is not RuntimeName.TFLM and (self.library or self.libraries):
            raise ValueError(f"runtime '{self.name}' brings its own code and takes no library")
        if self.kernels_source and (
            self.name is not RuntimeName.AOT or KernelSet.CMSIS_NN not in self.kernels
        ):
            raise ValueError(
                "kernels_source is a CMSIS-NN tree: for runtime 'aot' with kernels 'cmsis_nn'"
            )
        return self

    @classmethod
    def of(
        cls,
        runtime: str,
        kernels: str,
        optimization: str = Optimization.O2,
        *,
        specs: Sequence[str] | None = None,
        kernels_source: str | None = None,
        one_firmware: bool | None = None,
    ) -> RuntimeSweep:
        """Return a single configuration; its libraries are those of `with_libraries`.

        Raises `ConfigError` for an unknown runtime, kernels that it lacks, or wrong `specs`.
        """
        data = {
            "name": runtime,
            "kernels": [kernels],
            "optimization": [optimization],
            "kernels_source": [kernels_source] if kernels_source else [],
            "one_firmware": one_firmware,
        }
        sweep = from_json(cls, data, where="the runtime's options").absolute(Path.cwd())
        return with_libraries((sweep,), specs)[0]

    def shares_firmware(self, board: Board, *, sampled: bool) -> bool:
        """Return whether a network is measured beside a firmware that stays on the board."""
        if self.one_firmware is not None:
            return self.one_firmware
        return sampled and self.name is RuntimeName.AOT and board.model_region is not None

    def library_for(self, kernels: str) -> str | None:
        """Return the library of a kernel set, None where none is named."""
        return self.libraries.get(KernelSet(kernels), self.library)

    def absolute(self, base: Path) -> RuntimeSweep:
        """Return the sweep with paths that are relative to `base` made absolute."""
        library = absolute_spec(self.library, base) if self.library else None
        libraries = {name: absolute_spec(spec, base) for name, spec in self.libraries.items()}
        sources = tuple(absolute_spec(spec, base) for spec in self.kernels_source)
        return self.model_copy(
            update={"library": library, "libraries": libraries, "kernels_source": sources}
        )

    def options(self) -> Iterator[RuntimeOptions]:
        """Yield each kernel set with its library, or with each tree that it is built from."""
        for kernels in self.kernels:
            sources: tuple[str | None, ...] = (None,)
            if kernels is KernelSet.CMSIS_NN and self.kernels_source:
                sources = tuple(
                    None if spec == SHIPPED_KERNELS else spec for spec in self.kernels_source
                )
            for source in sources:
                yield RuntimeOptions(
                    self.name.value, kernels.value, self.library_for(kernels), kernels_source=source
                )


def with_libraries(
    sweeps: Sequence[RuntimeSweep], specs: Sequence[str] | None
) -> tuple[RuntimeSweep, ...]:
    """Choose libraries: of the command line, else the sweep's own, else of $HARNESS_TFLM.

    `specs` are the ``[KERNELS=]SPEC`` texts of the command line. Raises `ConfigError` if a kernel
    set has two, or there are some and no runtime takes one.
    """
    if specs and all(sweep.name is not RuntimeName.TFLM for sweep in sweeps):
        raise ConfigError(
            "only the tflm runtime takes a library",
            where="--library",
            fix="add --runtime tflm, or leave --library out",
        )
    given, usual = parse_specs(specs or ()), parse_specs(shlex.split(os.environ.get(VARIABLE, "")))
    found = []
    for sweep in sweeps:
        if sweep.name is RuntimeName.TFLM:
            chosen = {
                kernels: given.get(kernels) or sweep.library_for(kernels) or usual.get(kernels)
                for kernels in sweep.kernels
            }
            libraries = {kernels: spec for kernels, spec in chosen.items() if spec}
            sweep = sweep.model_copy(update={"library": None, "libraries": libraries})
        found.append(sweep)
    return tuple(found)


def parse_specs(specs: Sequence[str]) -> dict[str, str]:
    """Return libraries by kernel set of ``[KERNELS=]SPEC`` texts.

    Paths are relative to the working directory. A SPEC without kernels is for those that no other
    SPEC names. Raises `ConfigError` if two are for the same kernels.
    """
    found: dict[str, str] = {}
    for text in specs:
        name, mark, spec = text.partition("=")
        if not mark or name not in RUNTIME_KERNELS[RuntimeName.TFLM]:
            name, spec = "", text
        if name in found:
            raise ConfigError(
                f"two libraries are named{f' for {name} kernels' if name else ''}",
                where=text,
                expected="one SPEC, or KERNELS=SPEC once for each kernel set",
            )
        found[name] = absolute_spec(spec, Path.cwd())
    if general := found.pop("", None):
        found = {**dict.fromkeys(RUNTIME_KERNELS[RuntimeName.TFLM], general), **found}
    return found
