"""The `aot` runtime: ahead-of-time C that calls CMSIS-NN as TensorFlow Lite Micro's kernels do.

Why our own reader and direct calls, rather than the code generator of PyPI's `bakenn`, whose wheel
carries the CMSIS-NN sources that we compile: its rules hand every convolution with asymmetric SAME
padding (each first layer of a keyword spotter) to scalar code, and refuse dynamic batches, MEAN,
SOFTMAX and QUANTIZE. CMSIS-NN itself takes all of these shapes. Calling it directly keeps the
instruction counts those of TFLM with CMSIS-NN, so that what is measured is a proxy for it.

What is generated is data only: one constant parameter block per operator, run in order by
`firmware_template/runtime/aot/aot_model.c`. `emit` writes it as C for an image of one model, `blob`
as bytes for a firmware that takes any model. Operators that the wheel lacks are plain C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import ConfigError
from harness.paths import data_dir
from harness.runtimes import RUNTIME_KERNELS, GeneratedSources, RuntimeName, RuntimeOptions

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.models.graph import TFLiteModel
    from harness.runtimes.aot.planner import Plan
    from harness.runtimes.aot.program import Program

VERSION = "2"  # raise it when the generated code changes


class AotRuntime:
    """Generate C for one model; see the package's docstring."""

    name = "aot"

    def identity(self, options: RuntimeOptions) -> dict[str, str]:
        """Return name and version of the code generator and of the kernels.

        Raises:
            ConfigError: No such kernel set.
        """
        from harness.runtimes.aot import kernels

        _check_kernels(options)
        return {
            "runtime": self.name,
            "runtime_version": VERSION,
            "kernels": options.kernels,
            "kernels_version": kernels.kernel_set(options.kernels, options.kernels_source).version,
        }

    def generate(
        self, model: TFLiteModel, options: RuntimeOptions, board: Board
    ) -> GeneratedSources:
        """Generate the sources of `model`.

        Args:
            model: An int8 model.
            options: `kernels` chooses ``cmsis_nn`` or ``portable``.
            board: Where it will run; every supported core has the DSP extension, so the result
                does not depend on it.

        Raises:
            ModelError: The model is not int8.
            RuntimeUnsupported: Names every operator that cannot be taken, and why.
            ConfigError: No such kernel set.
        """
        from harness.runtimes.aot import emit

        del board
        _check_kernels(options)
        lowered = _lower(model, options.kernels)
        files, weights_bytes = emit.emit(model, lowered.program, lowered.plan)
        return _described(_sources(options, files), model, lowered, weights_bytes)

    def shared_operators(self, options: RuntimeOptions) -> tuple[str, ...]:
        """Return every operator of the runtime: the firmware has all kernels."""
        from harness.runtimes.aot import lower

        _check_kernels(options)
        return lower.supported_operators()

    def generate_shared(
        self,
        operators: Sequence[str],
        options: RuntimeOptions,
        board: Board,
    ) -> GeneratedSources:
        """Generate the sources of a firmware that runs graphs from the model region.

        Raises:
            ConfigError: No such kernel set.
            BoardError: The board declares no model region.
        """
        from harness.runtimes.region import STAGING_BYTES, region_files, region_place

        del operators
        _check_kernels(options)
        source = data_dir("firmware_template") / "runtime" / "aot" / "aot_shared.c"
        files: dict[str, str | bytes] = {
            **region_files(),
            "runtime/aot/aot_shared.c": source.read_text("utf-8"),
            "model/model_place.S": region_place(board),
        }
        return replace(_sources(options, files), staging_bytes=STAGING_BYTES, arena_first=True)

    def describe(self, model: TFLiteModel, shared: GeneratedSources) -> GeneratedSources:
        """Return the facts of `model` as it runs on a shared image, see `SharedFirmware`.

        Raises:
            RuntimeUnsupported: Names every operator that cannot be taken, and why.
        """
        lowered = _lower(model, shared.kernels)
        return _described(shared, model, lowered, model.graph.weights_bytes)

    def code_parts(self, model: TFLiteModel, shared: GeneratedSources) -> tuple[str, ...]:
        """Return the kernels that the model calls."""
        steps = _lower(model, shared.kernels).program.steps
        return tuple(sorted({step.kernel for step in steps}))

    def model_segment(
        self,
        model: TFLiteModel,
        shared: GeneratedSources,
        board: Board,
        symbols: Mapping[str, int],
    ) -> tuple[int, bytes]:
        """Return where the model region is, and its header and graph, see `SharedFirmware`."""
        from harness.runtimes.aot.blob import write_blob
        from harness.runtimes.region import CONTENT_OFFSET, model_region, region_segment, too_big

        program, plan = _lower(model, shared.kernels)
        room = symbols["_free_end"] - symbols["_free_start"]
        if plan.arena_bytes > room:
            raise too_big(model, "bytes of arena", plan.arena_bytes, room)
        origin = model_region(board).origin + CONTENT_OFFSET
        return region_segment(model, board, write_blob(model, program, plan, origin, symbols))


class _Lowered(NamedTuple):
    program: Program
    plan: Plan


@lru_cache(maxsize=4)
def _lowered(model: TFLiteModel, kernels: str) -> _Lowered:
    from harness.runtimes.aot import lower, planner

    program = lower.lower(model, kernels)
    return _Lowered(program, planner.plan(model.graph, program))


def _lower(model: TFLiteModel, kernels: str) -> _Lowered:
    from harness.models.graph import require_int8

    require_int8(model)
    return _lowered(model, kernels)


def _described(
    sources: GeneratedSources, model: TFLiteModel, lowered: _Lowered, weights_bytes: int
) -> GeneratedSources:
    graph = model.graph
    return replace(
        sources,
        arena_planned_bytes=lowered.plan.arena_bytes,
        weights_bytes=weights_bytes,
        input_bytes=tuple(tensor.bytes for tensor in graph.input_tensors()),
        output_bytes=tuple(tensor.bytes for tensor in graph.output_tensors()),
        layers=tuple(graph.layer(step.operator) for step in lowered.program.steps),
    )


def _sources(options: RuntimeOptions, files: Mapping[str, str | bytes]) -> GeneratedSources:
    from harness.runtimes.aot import kernels

    library = kernels.kernel_set(options.kernels, options.kernels_source)
    return GeneratedSources(
        files=files,
        library_sources=library.sources,
        include_dirs=library.include_dirs,
        defines=library.defines,
        runtime=AotRuntime.name,
        runtime_version=VERSION,
        kernels=options.kernels,
        kernels_version=library.version,
    )


def _check_kernels(options: RuntimeOptions) -> None:
    known = RUNTIME_KERNELS[RuntimeName.AOT]
    if options.kernels not in known:
        raise ConfigError(
            f"the aot runtime has no kernels '{options.kernels}'",
            expected=f"one of {', '.join(known)}",
            fix="correct the kernels option",
        )
