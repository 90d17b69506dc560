"""Records of the build stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.runtimes import Optimization


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What can be chosen about an image besides board, model and runtime."""

    optimization: str = Optimization.O2  # GCC's level
    extra_flags: tuple[str, ...] = ()  # more flags for the compiler and the linker driver
    icache: bool = True  # core's instruction cache on, where there is one
    dcache: bool = True  # core's data cache on, where there is one
    art: bool = True  # ST's flash accelerator (prefetch and its caches) on, where there is one
    baud: int = 115200  # console rate
    stack_bytes: int = 8192  # size of the painted stack

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
    """Bytes of flash by kind; they add up to `total`."""

    weights: int  # weights and biases
    graph: int  # the rest of the generated model: code, quantisation, names
    kernels: int  # kernel library, what the model uses of it
    runtime: int  # runtime library and C library
    port: int  # bench, port, vectors and initial values of variables
    total: int  # all of the above, alignment included


@dataclass(frozen=True, slots=True)
class RamSplit:
    """Bytes of RAM that are taken at link time."""

    arena: int  # the model's arena
    stack: int  # reserved stack
    other: int  # staging copies of the inputs, results, console buffers, variables
    total: int  # all of the above, alignment included


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """A linked image."""

    elf: Path  # the ELF in the image store
    map: Path  # the linker's map beside it
    sha256: str  # of the ELF
    # First 16 hex digits of the hash over everything that went in; the device says it.
    build_id: str
    board: str
    model_name: str  # name of the network
    model_sha256: str  # of the .tflite
    runtime: str
    runtime_version: str  # version of the code generator
    kernels: str  # kernel set
    kernels_version: str  # version of the kernel set
    toolchain: str  # compiler and version
    flags: tuple[str, ...]  # compiler flags that the options stand for
    options: BuildOptions
    cached: bool  # whether it was in the store already
    sizes: FlashSplit  # flash by kind
    ram: RamSplit  # RAM by kind
    seconds: float  # time that this call took

    @property
    def ram_static_bytes(self) -> int:
        """RAM that is taken at link time besides the arena; the reserved stack is included.

        Runtimes differ in whether their arena is linked or is what the linker left free, so it is
        counted by itself.
        """
        return self.ram.total - self.ram.arena
