"""The `aot` runtime: ahead-of-time C that calls CMSIS-NN as TensorFlow Lite Micro's kernels do.

Why our own reader and direct calls, rather than the code generator of PyPI's `bakenn`, whose wheel
carries the CMSIS-NN sources that we compile: its rules hand every convolution with asymmetric SAME
padding (each first layer of a keyword spotter) to scalar code, and refuse dynamic batches, MEAN,
SOFTMAX and QUANTIZE. CMSIS-NN itself takes all of these shapes. Calling it directly keeps the
instruction counts those of TFLM with CMSIS-NN, so that what is measured is a proxy for it.

The generated file holds data only: one constant parameter block per operator, run in order by
`firmware_template/runtime/aot/aot_model.c`. Operators that the wheel lacks are plain C there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.runtimes import RUNTIME_KERNELS, GeneratedSources, RuntimeName, RuntimeOptions

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.models.graph import TFLiteModel

VERSION = "1"  # raise it when the generated code changes


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
        from harness.models.graph import require_int8
        from harness.runtimes.aot import emit, kernels, lower, planner

        del board
        _check_kernels(options)
        require_int8(model)
        program = lower.lower(model, options.kernels)
        plan = planner.plan(model.graph, program)
        files, weights_bytes = emit.emit(model, program, plan)
        library = kernels.kernel_set(options.kernels, options.kernels_source)
        graph = model.graph
        return GeneratedSources(
            files=files,
            library_sources=library.sources,
            include_dirs=library.include_dirs,
            defines=library.defines,
            arena_planned_bytes=plan.arena_bytes,
            weights_bytes=weights_bytes,
            input_bytes=tuple(tensor.bytes for tensor in graph.input_tensors()),
            output_bytes=tuple(tensor.bytes for tensor in graph.output_tensors()),
            layers=tuple(graph.layer(step.operator) for step in program.steps),
            runtime=self.name,
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
