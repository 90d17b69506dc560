"""Records of the build stage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import ConfigError


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


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What can be chosen about an image besides board, model and runtime.

    Attributes:
        optimization: GCC's level.
        extra_flags: More flags for the compiler and the linker driver.
        icache: Core's instruction cache on, where there is one.
        dcache: Core's data cache on, where there is one.
        art: ST's flash accelerator (prefetch and its caches) on, where there is one.
        baud: Console rate.
        stack_bytes: Size of the painted stack.
    """

    optimization: str = Optimization.O2
    extra_flags: tuple[str, ...] = ()
    icache: bool = True
    dcache: bool = True
    art: bool = True
    baud: int = 115200
    stack_bytes: int = 8192

    def __post_init__(self) -> None:
        if self.optimization not in list(Optimization):
            raise ConfigError(
                f"optimization is '{self.optimization}'",
                expected=f"one of {', '.join(Optimization)}",
            )
        if not 1200 <= self.baud <= 12_500_000:
            raise ConfigError(f"baud is {self.baud}", expected="1200 to 12500000")
        if not 1024 <= self.stack_bytes <= 1 << 20 or self.stack_bytes % 8:
            raise ConfigError(
                f"stack_bytes is {self.stack_bytes}", expected="1024 to 1048576, a multiple of 8"
            )
        for flag in self.extra_flags:
            if not flag.startswith("-") or any(mark in flag for mark in "\n\r;$"):
                raise ConfigError(
                    f"extra flag {flag!r} cannot be passed on",
                    expected="GCC flags, one string each, such as '-funroll-loops'",
                )


@dataclass(frozen=True, slots=True)
class FlashSplit:
    """Bytes of flash by kind; they add up to `total`.

    Attributes:
        weights: Weights and biases.
        graph: The rest of the generated model: code, quantisation, names.
        kernels: Kernel library, what the model uses of it.
        runtime: Runtime library and C library.
        port: Bench, port, vectors and initial values of variables.
        total: All of the above, alignment included.
    """

    weights: int
    graph: int
    kernels: int
    runtime: int
    port: int
    total: int


@dataclass(frozen=True, slots=True)
class RamSplit:
    """Bytes of RAM that are taken at link time.

    Attributes:
        arena: The model's arena.
        stack: Reserved stack.
        other: Staging copies of the inputs, results, console buffers, variables.
        total: All of the above, alignment included.
    """

    arena: int
    stack: int
    other: int
    total: int


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """A linked image.

    Attributes:
        elf: The ELF in the image store.
        map: The linker's map beside it.
        sha256: Of the ELF.
        build_id: First 16 hex digits of the hash over everything that went in; the device says it.
        board: Board id.
        model_name: Name of the network.
        model_sha256: Of the .tflite.
        runtime: Runtime name.
        runtime_version: Version of the code generator.
        kernels: Kernel set.
        kernels_version: Version of the kernel set.
        toolchain: Compiler and version.
        flags: Compiler flags that the options stand for.
        options: The options.
        cached: Whether it was in the store already.
        sizes: Flash by kind.
        ram: RAM by kind.
        seconds: Time that this call took.
    """

    elf: Path
    map: Path
    sha256: str
    build_id: str
    board: str
    model_name: str
    model_sha256: str
    runtime: str
    runtime_version: str
    kernels: str
    kernels_version: str
    toolchain: str
    flags: tuple[str, ...]
    options: BuildOptions
    cached: bool
    sizes: FlashSplit
    ram: RamSplit
    seconds: float

    @property
    def ram_static_bytes(self) -> int:
        """RAM that is taken at link time besides the arena; the reserved stack is included.

        Runtimes differ in whether their arena is linked or is what the linker left free, so it is
        counted by itself.
        """
        return self.ram.total - self.ram.arena
