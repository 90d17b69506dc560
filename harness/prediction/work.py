"""The work of one step: how often each loop of its kernel runs, and the lines of memory it misses.

Counts follow the loops of CMSIS-NN 4 (Source/, named at each function) and of the harness's own C
kernels (firmware_template/runtime). A loop's body takes the same cycles each time, so the cycles of
a step are a sum of counts with one coefficient each, which `harness.prediction.reference` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from harness.prediction.memory import Counts, Memory
from harness.runtimes.aot.program import Braces, Step, Table


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does."""

    path: str  # which code of the kernel runs, such as ``depthwise 3x3``
    counts: Mapping[str, float]  # how often each part of it runs; memory in lines


def work_of(step: Step, kernels: str, memory: Memory) -> Work:
    """Return the work of a step with a kernel set."""
    table = _PORTABLE if kernels == "portable" else _CMSIS_NN
    path, counts = table.get(step.kernel, _elements)(step, memory)
    return Work(path, {"call": 1, **counts})


@dataclass(frozen=True, slots=True)
class _Window:
    """Shapes of a convolution, depthwise convolution or pool."""

    batch: int
    width: int  # of the input
    inner: int  # input channels
    rows: int  # of the output
    columns: int
    outer: int  # output channels
    high: int  # kernel
    wide: int
    tap_rows: int  # rows of the kernel inside the input, over all output rows
    taps: int  # taps inside the input, over all output pixels

    @classmethod
    def of(cls, step: Step) -> _Window:
        batch, height, width, inner = _numbers(step, "in")
        _, rows, columns, outer = _numbers(step, "out")
        high, wide = _numbers(step, "kernel")
        strides, pads = _numbers(step, "stride"), _numbers(step, "pad")
        apart = _numbers(step, "dilation") if "dilation" in step.fields else (1, 1)
        down = batch * _inside(rows, height, high, strides[0], pads[0], apart[0])
        taps = down * _inside(columns, width, wide, strides[1], pads[1], apart[1])
        return cls(batch, width, inner, rows, columns, outer, high, wide, down, taps)

    @property
    def pixels(self) -> int:
        return self.batch * self.rows * self.columns

    @property
    def area(self) -> int:
        return self.high * self.wide

    @property
    def outside(self) -> int:
        """Taps outside the input."""
        return self.pixels * self.area - self.taps

    def data(self, step: Step, memory: Memory) -> Counts:
        """Count lines of the input, of which the kernel takes bands, and of the output."""
        size = memory.cached(step.fields["input"]) * self.taps / self.area * self.inner
        band = self.high * self.width * self.inner
        return memory.lines("input", size, self.area, band) | _output(step, memory)


def _inside(outputs: int, size: int, kernel: int, stride: int, pad: int, apart: int) -> int:
    places = (output * stride - pad for output in range(outputs))
    return sum(0 <= place + tap * apart < size for place in places for tap in range(kernel))


def _numbers(step: Step, name: str) -> tuple[int, ...]:
    value = step.fields[name]
    assert isinstance(value, Braces)
    return value.values


def _number(step: Step, name: str) -> int:
    value = step.fields[name]
    assert isinstance(value, int)
    return value


def _row(name: str, times: int, row: int) -> Counts:
    """Count a loop over `row` bytes, four at a time, and the words that it reads unaligned."""
    words = times * (row // 4)
    unaligned = {0: 0.0, 2: 0.5}.get(row % 4, 0.75)
    return {
        name: times,
        f"{name} 4": words,
        f"{name} 1": times * (row % 4),
        f"{name} unaligned": words * unaligned,
    }


def _output(step: Step, memory: Memory, passes: float = 1) -> Counts:
    pointer = step.fields["output"]
    size = memory.graph.tensors[step.operator.outputs[0]].bytes
    return memory.lines("output", memory.cached(pointer) * size, passes, size)


def _conv(step: Step, memory: Memory) -> tuple[str, Counts]:
    w = _Window.of(step)
    if w.area == 1 and not any(_numbers(step, "pad")) and _numbers(step, "dilation") == (1, 1):
        once = _numbers(step, "stride") == (1, 1)
        return _pointwise(step, memory, w, 1 if once else w.batch * w.rows)
    return _columns(step, memory, w)


def _pointwise(step: Step, memory: Memory, w: _Window, calls: int = 1) -> tuple[str, Counts]:
    """Count arm_nn_mat_mult_nt_t_s8: pairs of channels outside, pairs of pixels inside."""
    row, pixels, channels = w.inner, w.pixels // calls, w.outer
    pairs = calls * (channels // 2)
    blocks = pairs * (pixels // 2)
    share, streamed = memory.cached(step.fields["input"]), pixels * row
    return "convolution 1x1", {
        "row of calls": calls,
        "pair": pairs,
        "pair sum": pairs * row,
        **_row("block", blocks, row),
        "block 16": blocks * (row // 16),
        "block 4": blocks * (row % 16 // 4),
        **_row("last", pairs * (pixels % 2), row),
        **_row("odd", calls * (channels % 2) * pixels, row),
        **memory.lines("weights", row * channels, pixels / 2, 2 * row),
        **memory.lines("rows", row * channels, calls, row * channels + share * streamed),
        **memory.lines("input", share * w.pixels * row, channels / 2, streamed),
        **_output(step, memory, min(channels, memory.line_bytes) / 2),
    }


def _columns(step: Step, memory: Memory, w: _Window) -> tuple[str, Counts]:
    """Count arm_convolve_s8: pairs of columns outside, pairs of channels inside."""
    row, channels = w.area * w.inner, w.outer
    pairs, single = (w.batch * n for n in divmod(w.rows * w.columns, 2))
    blocks, odd = pairs * (channels // 2), pairs * (channels % 2)
    weights = (row + 12) * channels  # with bias, multiplier and shift
    counts = {
        "pixel": w.pixels,
        "padding": w.outside,
        "padding value": w.outside * w.inner,
        "pair": pairs,
        **_row("tap", w.taps, w.inner),
        **_row("block", blocks, row),
        "block halves": blocks * (row // 4) * (row % 2),  # the second column is not aligned
        **_row("odd", odd, row),
        **_row("single", single * channels, row),
        **memory.lines("weights", weights, pairs + single, weights),
        **w.data(step, memory),
    }
    if memory.scratch_cached(step.operator.index):
        counts |= memory.lines("column", 4 * row * pairs, channels / 2, 4 * row)
    return "convolution", counts


def _depthwise(step: Step, memory: Memory) -> tuple[str, Counts]:
    w = _Window.of(step)
    times = _number(step, "depth_multiplier")
    plain = w.batch == 1 and _numbers(step, "dilation") == (1, 1)
    fours, ones = divmod(w.outer, 4)
    lines = w.tap_rows * w.columns
    counts: Counts
    if times == 1 and plain and (w.high, w.wide) == (3, 3) and max(_numbers(step, "pad")) <= 1:
        path = "depthwise 3x3"  # arm_depthwise_conv_3x3_s8
        counts = {
            "group": w.pixels * fours,
            "group row": lines * fours,
            "single": w.pixels * ones,
            "single row": lines * ones,
            **_row("tap", w.taps, w.outer),
        }
    elif times == 1 and plain:
        path = "depthwise"  # arm_depthwise_conv_s8_opt: a column, then pairs of taps
        counts = {
            "padding": w.outside,
            "padding value": w.outside * w.inner,
            **_row("tap", w.taps, w.inner),
            "group": w.pixels * fours,
            "group pair": w.pixels * fours * (w.area // 2),
            "group odd": w.pixels * fours * (w.area % 2),
            "group unaligned": w.pixels * fours * w.area * (w.inner % 4 > 0),
            "single": w.pixels * ones,
            "single tap": w.pixels * ones * w.area,
        }
    elif times % 4 == 0 and plain:
        path = "depthwise by 4"  # depthwise_conv_s8_mult_4
        counts = {
            "channel": w.pixels * w.inner,
            "group": w.pixels * fours,
            "group row": lines * fours,
            "group tap": w.taps * fours,
        }
    else:
        path = "depthwise generic"  # depthwise_conv_s8_generic
        counts = {"value": w.pixels * w.outer, "row": lines * w.outer, "tap": w.taps * w.outer}
    weights = (w.area + 12) * w.outer
    return path, {
        "pixel": w.pixels,
        **counts,
        **memory.lines("weights", weights, w.pixels, weights),
        **w.data(step, memory),
    }


def _fully_connected(step: Step, memory: Memory) -> tuple[str, Counts]:
    """Count arm_nn_vec_mat_mult_t_s8: pairs of outputs; or, portable, one after the other."""
    rows, row, outer = (_number(step, name) for name in ("rows", "inputs", "outputs"))
    size = memory.cached(step.fields["input"]) * row * rows
    return "fully connected", {
        "row": rows,
        **_row("pair", rows * (outer // 2), row),
        **_row("odd", rows * (outer % 2), row),
        **memory.lines("weights", row * outer, rows, row * outer),
        **memory.lines("input", size, outer / 2, 3 * row),
        **_output(step, memory),
    }


def _connected_channels(step: Step, memory: Memory) -> tuple[str, Counts]:
    return _pointwise(step, memory, _Window.of(step))


def _pool(step: Step, memory: Memory) -> tuple[str, Counts]:
    w = _Window.of(step)
    return step.kernel, {
        "pixel": w.pixels,
        "value": w.pixels * w.outer,
        "first": w.taps,
        **_row("tap", w.taps - w.pixels, w.outer),  # the first tap is copied
        **w.data(step, memory),
    }


def _loops(step: Step, memory: Memory) -> tuple[str, Counts]:
    """Count the portable convolution, depthwise convolution and pools: one output at a time."""
    w = _Window.of(step)
    inner = w.inner if step.kernel in ("conv", "fully_connected_channels") else 1
    values, lines = w.pixels * w.outer, w.tap_rows * w.columns * w.outer
    weights = (w.area * inner + 12) * w.outer if "filter" in step.fields else 0
    # A loop over one channel ends at once, as the branch predictor knows.
    path = f"{step.kernel} of one channel" if step.kernel == "conv" and inner == 1 else step.kernel
    return path, {
        "pixel": w.pixels,
        "value": values,
        "row": lines,
        "row outside": values * w.high - lines,
        "tap": w.taps * w.outer,
        "tap outside": w.outside * w.outer,
        "product": w.taps * w.outer * inner,
        **memory.lines("weights", weights, w.pixels, weights),
        **w.data(step, memory),
    }


def _elements(step: Step, memory: Memory) -> tuple[str, Counts]:
    """Count an operator of the harness's own, which takes one value after the other."""
    if step.kernel == "alias":
        return "alias", {}
    sources = [memory.graph.tensors[i] for i in step.operator.inputs[:1]]
    size = prod(sources[0].shape)
    counts: Counts = {"value": size}
    if step.block == "binary":
        counts["row"] = size / max(1, _number(step, "size2"))
    elif step.block == "softmax":
        counts["row"] = _number(step, "rows")
    elif step.block == "mean":
        outer, inner = _number(step, "outer"), _number(step, "inner")
        counts |= {"row": outer * _number(step, "reduced"), "result": outer * inner}
    elif step.block == "pad":
        *pixels, channels = _numbers(step, "out")
        rows = size // max(1, _numbers(step, "in")[3])
        counts |= {"pixel": prod(pixels), "filled": prod(pixels) * channels, "row": rows}
    elif step.block == "concat":
        table, outer = step.fields["bytes"], _number(step, "outer")
        parts = [n for n in table.values if isinstance(n, int)] if isinstance(table, Table) else []
        counts = {"value": outer * sum(parts), "row": outer * len(parts)}
        counts["rest"] = outer * sum(part % 4 for part in parts)
    share = memory.cached(step.fields.get("input") or step.fields.get("input1"))
    return step.kernel, counts | memory.lines("input", share * size) | _output(step, memory)


_CMSIS_NN: Mapping[str, Callable[[Step, Memory], tuple[str, Counts]]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "fully_connected": _fully_connected,
    "fully_connected_channels": _connected_channels,
    "average_pool": _pool,
    "max_pool": _pool,
}
_PORTABLE = {**dict.fromkeys(_CMSIS_NN, _loops), "fully_connected": _fully_connected}
