"""Draw a search: the network as its layers, the trajectory, runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.patches import Patch

from harness.backbones import get_backbone
from harness.errors import ResultsError
from harness.report import text
from harness.report.search import boards_text
from harness.report.style import MUTED, drawing
from harness.search.choice.ranking import Ranking
from harness.search.cost.budgets import FIGURES
from harness.search.record import SearchRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette.
_OPERATORS = {
    "CONV_2D": ("#0072B2", "convolution"),
    "DEPTHWISE_CONV_2D": ("#E69F00", "depthwise convolution"),
    "AVERAGE_POOL_2D": ("#009E73", "average pool"),
    "ADD": ("#CC79A7", "addition"),
}
_METHODS = {
    "search": ("#0072B2", "o"),
    "random": ("#D55E00", "s"),
    "evolution": ("#CC79A7", "D"),
    "uniform": ("#009E73", "^"),
}


def plot_architecture(run: SearchRun, path: Path) -> Path:
    """Draw the layers from input to logits: width of the bar is channels, text is shape and MACs.

    Raises:
        ResultsError: The file cannot be written.
    """
    backbone = get_backbone(run.backbone).with_classes(len(run.dataset.classes))
    layers = [layer for layer in backbone.layers(run.architecture) if layer.operator in _OPERATORS]
    widest = max(layer.output_shape[2] for layer in layers)
    with drawing(path, (8.4, 0.27 * len(layers) + 1.4), ResultsError) as figure:
        axes = figure.subplots()
        for place, layer in enumerate(layers):
            height, width, channels = layer.output_shape
            colour, _ = _OPERATORS[layer.operator]
            axes.barh(place, channels, height=0.72, color=colour)
            kernel = "×".join(map(str, layer.kernel))
            over_all = layer.kernel == layer.input_shape[:2]
            stride = f", stride {layer.stride}" if layer.stride > 1 and not over_all else ""
            macs = f"   {layer.macs / 1e6:,.3f} M" if layer.macs else ""
            axes.text(
                channels + widest * 0.01,
                place,
                f"{height}×{width}×{channels}   {kernel}{stride}{macs}",
                va="center",
                fontsize=7.5,
                color=MUTED,
            )
        axes.set_yticks(range(len(layers)), [layer.name for layer in layers], fontsize=7.5)
        axes.invert_yaxis()
        axes.set_xlim(0, widest * 1.55)
        axes.set_xlabel("channels")
        used = [item for key, item in _OPERATORS.items() if key in {o.operator for o in layers}]
        figure.legend(
            handles=[Patch(color=colour, label=label) for colour, label in used],
            frameon=False,
            fontsize=8,
            ncols=len(used),
            loc="outside lower left",
        )
        height, width, channels = backbone.input_shape_of(run.architecture)
        axes.set_title(
            f"{run.backbone} {run.architecture.id}: input {height}×{width}×{channels}; "
            "output shape, kernel, MACs",
            loc="left",
            fontsize=9,
            parse_math=False,
        )
    return path


def plot_trajectory(run: SearchRun, path: Path) -> Path:
    """Draw loss, accuracy, expected cost against the budgets and temperature by epoch.

    Raises:
        ResultsError: The run has no search, or the file cannot be written.
    """
    if run.search is None or not run.search.trajectory:
        raise ResultsError(f"a run of method '{run.method}' has no trajectory")
    reports = run.search.trajectory
    epochs = [report.epoch for report in reports]
    pairs = (
        ("loss (cross-entropy)", "weights", "loss", "decisions", "architecture_loss", 1),
        ("accuracy of sampled networks (%)", "training", "accuracy", "validation",
         "architecture_accuracy", 100),
    )  # fmt: skip
    place = f" on {run.board}" if run.others else ""
    with drawing(path, (9.6, 6.4), ResultsError) as figure:
        panels = figure.subplots(2, 3, sharex=True)
        for axes, (name, first, one, second, other, scale) in zip(panels[0], pairs, strict=False):
            for label, field, colour in ((first, one, "#0072B2"), (second, other, "#D55E00")):
                values = [getattr(report, field) for report in reports]
                _line(axes, epochs, values, label, colour, scale)
            axes.legend(frameon=False, fontsize=8)
            _finish(axes, name)
        _line(panels[0][2], epochs, [report.temperature for report in reports], "", "#444444")
        _finish(panels[0][2], "temperature")
        for axes, (name, (label, divisor, unit, _)) in zip(panels[1], FIGURES.items(), strict=True):
            _cost(axes, run, name, divisor)
            _finish(axes, f"expected {label} ({unit}){place}")
            axes.set_xlabel("epoch")
    return path


def plot_ranking(found: Ranking, path: Path) -> Path:
    """Draw each network's loss with the supernet's weights against its accuracy alone.

    Raises:
        ResultsError: The file cannot be written.
    """
    with drawing(path, (6.4, 4.8), ResultsError) as figure:
        axes = figure.subplots()
        for network in found.networks:
            each = [100 * accuracy for accuracy in network.accuracies]
            at = [network.supernet_loss] * len(each)
            axes.plot(at, each, color="#0072B2", marker="o", ms=4, lw=0.8)
        low, high = found.interval
        axes.set_title(f"tau {found.tau:.2f} ({low:.2f} to {high:.2f})", fontsize=10)
        axes.set_xlabel("validation loss with the supernet's weights")
        axes.set_ylabel(f"validation accuracy after {found.epochs} epochs alone (%)")
        axes.grid(alpha=0.3)
    return path


def plot_runs(runs: Sequence[SearchRun], path: Path) -> Path:
    """Draw int8 accuracy against measured latency, one mark per run, with each method's front.

    Runs that were not measured are hollow, at their predicted latency.

    Raises:
        ResultsError: No runs, runs of several boards, sources or data sets, or a file that cannot
            be written.
    """
    with drawing(path, (8.4, 5.6), ResultsError) as figure:
        axes = figure.subplots()
        for method, (colour, marker) in _METHODS.items():
            own = [run for run in runs if run.method == method]
            if not own:
                continue
            mark: dict[str, Any] = {"color": colour, "marker": marker, "ms": 6.5}
            for run in own:
                fill = "white" if run.measured_of("latency_us") is None else colour
                at = latency_ms(run), 100 * run.score
                axes.plot(*at, ls="none", mfc=fill, zorder=3, **mark)
            points = front((latency_ms(run), 100 * run.score) for run in own)
            label = f"{method} ({len(own)} runs)"
            axes.step(
                *zip(*points, strict=True), where="post", lw=1.4, mfc="none", label=label, **mark
            )
        for limit in sorted(
            {run.budgets.latency_us for run in runs if run.budgets.latency_us is not None}
        ):
            axes.axvline(limit / 1000, color=MUTED, lw=0.8, ls=":", zorder=1)
        source = next((run.measured.source for run in runs if run.measured), None)
        verb = text.verb(source) if source else "predicted"
        place = f" on {runs[0].board}" if runs[0].others else ""
        axes.set_xlabel(f"{verb} latency{place} (ms); dotted: the budgets; hollow: predicted only")
        axes.set_ylabel("int8 accuracy or AUC on the test split (%)")
        axes.grid(visible=True)
        axes.legend(frameon=False, fontsize=9)
        first = runs[0]
        axes.set_title(
            f"{first.backbone} on {first.dataset.name} for {boards_text(first)}",
            loc="left",
            fontsize=11,
            parse_math=False,
        )
    return path


def latency_ms(run: SearchRun) -> float:
    """Return the measured latency, or the predicted one where there is none."""
    measured = run.measured_of("latency_us")
    return (run.predicted.latency_us if measured is None else measured) / 1000


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other beats: no slower, and more accurate."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _cost(axes: Axes, run: SearchRun, name: str, scale: float) -> None:
    reports = run.search.trajectory if run.search else ()
    values = [getattr(report.expected, name) for report in reports]
    epochs = [report.epoch for report in reports]
    _line(axes, epochs, values, "expected", "#0072B2", 1 / scale)
    limit = dict(run.budgets.items()).get(name)
    if limit is not None:
        axes.axhline(limit / scale, color="#B00020", lw=1, ls="--", label="budget")
    derived = getattr(run.predicted, name)
    if derived is not None:
        axes.plot(reports[-1].epoch, derived / scale, "D", color="#009E73", label="derived")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)


def _line(
    axes: Axes,
    epochs: Sequence[int],
    values: Sequence[float | None],
    label: str,
    colour: str,
    scale: float = 1,
) -> None:
    known = [(x, scale * y) for x, y in zip(epochs, values, strict=True) if y is not None]
    if known:
        axes.plot(
            *zip(*known, strict=True), color=colour, lw=1.5, marker=".", ms=4, label=label or None
        )


def _finish(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=9)
    axes.grid(visible=True)
