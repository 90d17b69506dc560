"""Where the kernel sources are: ours in the firmware template, CMSIS-NN in the `bakenn` wheel."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import ToolchainMissing
from harness.paths import data_dir

_OWN = (
    "aot_activation.c",
    "aot_arithmetic.c",
    "aot_data.c",
    "aot_fixed_point.c",
    "aot_model.c",
)
_PORTABLE = ("portable_conv.c", "portable_pool.c")
# The functions behind arm_convolve_wrapper_s8, arm_depthwise_conv_wrapper_s8,
# arm_fully_connected_s8 and the pools on a core with the DSP extension.
_CMSIS_NN = (
    "ConvolutionFunctions/arm_convolve_1_x_n_s8.c",
    "ConvolutionFunctions/arm_convolve_1x1_s8.c",
    "ConvolutionFunctions/arm_convolve_1x1_s8_fast.c",
    "ConvolutionFunctions/arm_convolve_s8.c",
    "ConvolutionFunctions/arm_convolve_wrapper_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_3x3_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_s8_opt.c",
    "ConvolutionFunctions/arm_depthwise_conv_wrapper_s8.c",
    "ConvolutionFunctions/arm_nn_mat_mult_kernel_s8_s16.c",
    "FullyConnectedFunctions/arm_fully_connected_s8.c",
    "NNSupportFunctions/arm_nn_mat_mult_nt_t_s8.c",
    "NNSupportFunctions/arm_nn_vec_mat_mult_t_s8.c",
    "NNSupportFunctions/arm_q7_to_q15_with_offset.c",
    "PoolingFunctions/arm_avgpool_s8.c",
    "PoolingFunctions/arm_max_pool_s8.c",
)
_CMSIS_NN_VERSION = "4.0.0"  # what bakenn 1.0.0 vendors, by its BAKENN_PROVENANCE.md


@dataclass(frozen=True, slots=True)
class Library:
    """A kernel set.

    Attributes:
        sources: C files to compile.
        include_dirs: Include paths.
        defines: Macro definitions without ``-D``.
        version: What it is a version of.
    """

    sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]
    defines: tuple[str, ...]
    version: str


@cache
def library(kernels: str) -> Library:
    """Return the kernel set ``cmsis_nn`` or ``portable``.

    Raises:
        ToolchainMissing: The CMSIS-NN sources are not installed.
    """
    template = data_dir("firmware_template")
    own = template / "runtime" / "aot"
    include_dirs: tuple[Path, ...] = (own, template / "src")
    sources = tuple(own / name for name in _OWN)
    if kernels == "portable":
        portable = template / "runtime" / "portable"
        sources += tuple(portable / name for name in _PORTABLE)
        return Library(sources, include_dirs, (), "portable-1")
    vendor = _vendor_dir()
    cmsis_nn = vendor / "cmsis_nn"
    sources += (own / "aot_cmsis_nn.c", *(cmsis_nn / "Source" / name for name in _CMSIS_NN))
    missing = [path for path in sources if not path.is_file()]
    if missing:
        raise _not_installed(f"the kernel source {missing[0]} is missing")
    include_dirs += (cmsis_nn / "Include", vendor / "cmsis_core" / "Include")
    package = importlib.metadata.version("bakenn")
    return Library(sources, include_dirs, (), f"CMSIS-NN {_CMSIS_NN_VERSION} (bakenn {package})")


def _vendor_dir() -> Path:
    # find_spec of the top package alone imports nothing.
    spec = importlib.util.find_spec("bakenn")
    if spec is None or not spec.submodule_search_locations:
        raise _not_installed("the package 'bakenn', which carries CMSIS-NN's sources, is missing")
    return Path(spec.submodule_search_locations[0]) / "backend" / "cmsis_nn" / "vendor"


def _not_installed(what: str) -> ToolchainMissing:
    return ToolchainMissing(
        what,
        expected="bakenn 1.0.0 beside the harness",
        fix="python -m pip install --force-reinstall bakenn==1.0.0",
    )
