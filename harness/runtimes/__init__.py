"""Runtimes: turn a model into firmware sources behind one Protocol and one C header (`model.h`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.models.graph import Layer, TFLiteModel


class RuntimeName(StrEnum):
    """Runtimes that there are."""

    AOT = "aot"
    TFLM = "tflm"


class KernelSet(StrEnum):
    """Kernel sets that there are: Arm's, plain C loops of `aot`, TFLM's own."""

    CMSIS_NN = "cmsis_nn"
    PORTABLE = "portable"
    REFERENCE = "reference"


class Optimization(StrEnum):
    """GCC's optimisation levels; ``Optimization("2")`` and ``("O2")`` are ``-O2`` too."""

    O0 = "-O0"
    O1 = "-O1"
    O2 = "-O2"
    O3 = "-O3"
    OS = "-Os"
    OG = "-Og"
    OFAST = "-Ofast"
    OZ = "-Oz"

    @classmethod
    def _missing_(cls, value: object) -> Optimization | None:
        return next((level for level in cls if value in (level[1:], level[2:])), None)


# Kernel sets by runtime; the first is the default.
RUNTIME_KERNELS: Mapping[RuntimeName, tuple[KernelSet, ...]] = {
    RuntimeName.AOT: (KernelSet.CMSIS_NN, KernelSet.PORTABLE),
    RuntimeName.TFLM: (KernelSet.CMSIS_NN, KernelSet.REFERENCE),
}
SHIPPED_KERNELS = "bakenn"
"""As `kernels_source`: the CMSIS-NN that is installed with the harness."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Which runtime and which kernels."""

    runtime: str = "aot"  # name for `get_runtime`
    # ``cmsis_nn`` (Arm's kernels, as TFLM calls them), or for `aot` ``portable`` (plain C loops),
    # for `tflm` ``reference`` (TFLM's own).
    kernels: str = "cmsis_nn"
    library: str | None = None  # PlatformIO library spec of TFLM; `tflm` only
    # Link kernels for every data type, also where there are some for int8 alone; `tflm` only.
    all_types: bool = False
    # Spec of a CMSIS-NN tree for `aot`; None is the one that is installed.
    kernels_source: str | None = None


@dataclass(frozen=True, slots=True)
class LibraryTree:
    """Sources of a library that are compiled where they are."""

    root: Path  # folder of the library
    digest: str  # SHA-256 of what it holds; stands for the contents
    include_dirs: tuple[str, ...]  # include paths relative to `root`
    core_sources: tuple[str, ...]  # sources of the runtime itself, relative to `root`
    kernel_sources: tuple[str, ...]  # sources of its kernels, relative to `root`


@dataclass(frozen=True, slots=True)
class GeneratedSources:
    """What goes into the firmware project for one model."""

    # Content by relative name; the names are the same for every model.
    files: Mapping[str, str | bytes]
    # Kernel sources to compile; the same for every model of one `kernels`.
    library_sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]  # include paths of `library_sources` and `files`
    # Macro definitions without ``-D``; the same for every model of one `kernels`.
    defines: tuple[str, ...]
    runtime: str
    runtime_version: str  # version of the code generator
    kernels: str  # kernel set
    kernels_version: str  # version of the kernel set
    # Size of the arena: activations and kernel scratch; None when only the device plans it.
    arena_planned_bytes: int | None = None
    # Of the model; none of it in an image that takes any model.
    weights_bytes: int = 0  # weights and biases in flash
    input_bytes: tuple[int, ...] = ()  # size of each model input
    output_bytes: tuple[int, ...] = ()  # size of each model output
    layers: tuple[Layer, ...] = ()  # rows of the per-layer profile
    # A library that is compiled where it is, besides `library_sources`.
    library: LibraryTree | None = None
    # Room for inputs in an image that takes any model; 0 when it has its own.
    staging_bytes: int = 0
    # The arena has no fixed size and lies where an image of one model has it; what else needs RAM
    # goes to its end. For an image that takes any model.
    arena_first: bool = False


class Runtime(Protocol):
    """Turns a model into firmware sources."""

    name: str

    def identity(self, options: RuntimeOptions) -> Mapping[str, str]:
        """Return names and versions that decide the generated code, without generating any.

        Raises:
            ConfigError: The runtime has no such kernels, or its library cannot be had.
        """
        ...

    def generate(
        self, model: TFLiteModel, options: RuntimeOptions, board: Board
    ) -> GeneratedSources:
        """Generate the sources of `model` for `board`.

        Raises:
            RuntimeUnsupported: Names every operator that the runtime cannot take, and why.
        """
        ...


@runtime_checkable
class SharedFirmware(Protocol):
    """What a `Runtime` offers besides where one firmware can serve many models.

    The firmware is generated for a list of operators, without a model; models are written to a
    flash region of their own (`harness.firmware.shared`).
    """

    def shared_operators(self, options: RuntimeOptions) -> tuple[str, ...]:
        """Return the TFLite operators that the firmware is generated with by default."""
        ...

    def generate_shared(
        self, operators: Sequence[str], options: RuntimeOptions, board: Board
    ) -> GeneratedSources:
        """Generate the sources of a firmware for models of these operators.

        Raises:
            RuntimeUnsupported: The runtime lacks an operator.
            BoardError: The board declares no model region.
        """
        ...

    def describe(self, model: TFLiteModel, shared: GeneratedSources) -> GeneratedSources:
        """Return `shared` with the layers and tensors of a model that runs on it."""
        ...

    def code_parts(self, model: TFLiteModel, shared: GeneratedSources) -> tuple[str, ...]:
        """Return what decides how much code an image of the model alone has; empty: not known."""
        ...

    def model_segment(
        self,
        model: TFLiteModel,
        shared: GeneratedSources,
        board: Board,
        symbols: Mapping[str, int],
    ) -> tuple[int, bytes]:
        """Return the address and the content of a model's flash region.

        Args:
            model: A model of the image's operators.
            shared: What the image was built from.
            board: Declares the region.
            symbols: Addresses in the built image, by name.

        Raises:
            RuntimeUnsupported: The model does not fit the region, or its inputs the staging memory.
            BoardError: The board declares no model region.
        """
        ...


def get_runtime(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        ConfigError: No such runtime.
    """
    if name == "aot":
        from harness.runtimes.aot import AotRuntime

        return AotRuntime()
    if name == "tflm":
        from harness.runtimes.tflm import TflmRuntime

        return TflmRuntime()
    raise ConfigError(
        f"unknown runtime '{name}'",
        expected=f"one of {', '.join(RuntimeName)}",
        fix="correct the runtime option",
    )
