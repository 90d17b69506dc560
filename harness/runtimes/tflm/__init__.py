"""The `tflm` runtime: TensorFlow Lite for Microcontrollers, as a library that the user names.

The image is TFLM's interpreter with the model in flash as it is; what is generated is the op
resolver. The library is compiled where it is, and only the part of it that the operators need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.runtimes import GeneratedSources, LibraryTree, RuntimeOptions

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.models.graph import TFLiteModel
    from harness.runtimes.tflm.layout import Layout
    from harness.runtimes.tflm.resolver import Entry

VERSION = "1"  # raise it when the generated code or the glue changes

# Their kernels are compiled for every model, so that one project and its objects serve most models;
# the linker leaves out what a resolver does not name.
COMMON_OPERATORS = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEQUANTIZE",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "MAX_POOL_2D",
    "MEAN",
    "MUL",
    "PAD",
    "QUANTIZE",
    "RELU",
    "RELU6",
    "RESHAPE",
    "SOFTMAX",
    "SUB",
)


class TflmRuntime:
    """Generate what TFLM needs around one model; see the package's docstring."""

    name = "tflm"

    def identity(self, options: RuntimeOptions) -> dict[str, str]:
        """Return versions of glue, library and kernels.

        Raises:
            ConfigError: No library is named, it cannot be had, or it lacks these kernels.
        """
        return _identity(_layout(options), options)

    def generate(
        self, model: TFLiteModel, options: RuntimeOptions, board: Board
    ) -> GeneratedSources:
        """Generate the sources of an image with `model` in it; they do not depend on `board`.

        Raises:
            ModelError: The model is not int8.
            RuntimeUnsupported: Names every operator that the library cannot take.
            ConfigError: No library is named, it cannot be had, or it lacks these kernels.
        """
        from harness.models.graph import require_int8
        from harness.runtimes.tflm import emit, resolver

        del board
        require_int8(model)
        layout = _layout(options)
        entries = resolver.entries_for_model(layout, model, all_types=options.all_types)
        files = emit.embedded_files(model, entries, options.kernels)
        return self.describe(model, _sources(layout, options, entries, files))

    def shared_operators(self, options: RuntimeOptions) -> tuple[str, ...]:
        """Return the common operators that the library has: what every backbone needs."""
        from harness.runtimes.tflm import resolver

        return resolver.known_operators(_layout(options), COMMON_OPERATORS)

    def generate_shared(
        self, operators: Sequence[str], options: RuntimeOptions, board: Board
    ) -> GeneratedSources:
        """Generate the sources of an image for models of these operators, see `SharedFirmware`.

        Raises:
            RuntimeUnsupported: The library lacks an operator.
            ConfigError: No library is named, it cannot be had, or it lacks these kernels.
            BoardError: The board declares no model region.
        """
        from harness.runtimes.region import STAGING_BYTES
        from harness.runtimes.tflm import emit, resolver

        layout = _layout(options)
        entries = resolver.entries_for_operators(layout, operators, all_types=options.all_types)
        files = emit.shared_files(entries, options.kernels, board)
        sources = _sources(layout, options, entries, files)
        return replace(sources, staging_bytes=STAGING_BYTES)

    def describe(self, model: TFLiteModel, shared: GeneratedSources) -> GeneratedSources:
        """Return the facts of `model` as it runs on a shared image: layers, tensors, versions."""
        graph = model.graph
        return replace(
            shared,
            weights_bytes=graph.weights_bytes,
            input_bytes=tuple(tensor.bytes for tensor in graph.input_tensors()),
            output_bytes=tuple(tensor.bytes for tensor in graph.output_tensors()),
            layers=graph.layers(),
        )

    def code_parts(self, model: TFLiteModel, shared: GeneratedSources) -> tuple[str, ...]:
        """Return nothing: what an image of the model alone links is not known."""
        del model, shared
        return ()

    def model_segment(
        self,
        model: TFLiteModel,
        shared: GeneratedSources,
        board: Board,
        symbols: Mapping[str, int],
    ) -> tuple[int, bytes]:
        """Return where the model region is, and its header and model, see `SharedFirmware`."""
        from harness.runtimes.region import region_segment

        del shared, symbols
        return region_segment(model, board, model.content)


def _layout(options: RuntimeOptions) -> Layout:
    from harness.runtimes.tflm.layout import check_kernels, find_library, understand

    layout = understand(find_library(options.library))
    check_kernels(layout, options.kernels)
    return layout


def _identity(layout: Layout, options: RuntimeOptions) -> dict[str, str]:
    all_types = ", all types" if options.all_types else ""
    return {
        "runtime": TflmRuntime.name,
        "runtime_version": f"{layout.library.label}, glue {VERSION}",
        "kernels": options.kernels,
        "kernels_version": layout.kernels_label(options.kernels) + all_types,
    }


def _sources(
    layout: Layout,
    options: RuntimeOptions,
    entries: Iterable[Entry],
    files: Mapping[str, str | bytes],
) -> GeneratedSources:
    from harness.runtimes.tflm import resolver
    from harness.runtimes.tflm.sources import select_sources

    methods = resolver.library_methods(layout)
    common = {methods[name].registration for name in COMMON_OPERATORS if name in methods}
    needed = {entry.method.registration for entry in entries}
    core, kernels = select_sources(layout, options.kernels, frozenset(common | needed))
    identity = _identity(layout, options)
    return GeneratedSources(
        files=files,
        library_sources=(),
        include_dirs=(),
        defines=layout.defines(options.kernels),
        runtime=identity["runtime"],
        runtime_version=identity["runtime_version"],
        kernels=identity["kernels"],
        kernels_version=identity["kernels_version"],
        library=LibraryTree(
            root=layout.library.root,
            digest=layout.library.digest,
            include_dirs=layout.include_dirs,
            core_sources=core,
            kernel_sources=kernels,
        ),
    )
