"""Predict latency, memory and flash of a model from a reference fit."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.boards import Board, all_boards, load_board
from harness.errors import BackboneError
from harness.fit import Margin
from harness.models.graph import Graph, TFLiteModel, read_model, require_int8
from harness.prediction.memory import Memory
from harness.prediction.reference import FAR, Reference, has_reference, load_reference
from harness.prediction.work import work_of
from harness.results.clock_error import expected_error, kind_of
from harness.runtimes.aot import lower, planner
from harness.runtimes.aot.blob import write_blob
from harness.runtimes.aot.program import Step
from harness.runtimes.region import staging_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPrediction:
    """One layer."""

    index: int  # position in execution order
    name: str
    operator: str  # TFLite builtin name
    macs: int
    cycles: float | None  # None where no layer of its kind was measured
    share: float  # of the network's cycles, from 0 to 1
    outside: str | None  # why the layer is outside the data


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPrediction:
    """What a model is predicted to take on a board, with the `aot` runtime."""

    model: str
    board: str
    kernels: str
    optimization: str
    timing_model: str | None  # what modelled the cycles of the data
    latency_us: float | None  # None where no layer of a kind was measured
    low_us: float | None  # interval
    high_us: float | None
    level: float  # coverage that the interval aims at
    extrapolated: tuple[str, ...]  # what is outside the data: the interval may be too narrow
    arena_bytes: int  # as the runtime plans it
    sram_bytes: int  # arena, static RAM and reserved stack
    sram_available: int
    flash_bytes: int  # weights, graph and code
    flash_available: int
    layers: tuple[LayerPrediction, ...]
    expected_error: float | None  # of the timing model, as a share; on top of the interval

    @property
    def fits(self) -> bool:
        """Whether the model fits RAM and flash."""
        return self.sram_bytes <= self.sram_available and self.flash_bytes <= self.flash_available

    def within(self, latency_us: float, margin: Margin = Margin.INTERVAL) -> bool:
        """Return whether the latency keeps a budget; one that is not known keeps none."""
        bound = self.latency_us if margin is Margin.NONE else self.high_us
        if bound is None:
            return False
        off = self.expected_error or 0.0 if margin is Margin.CLOCK else 0.0
        return bound * (1 + off) <= latency_us


def predict_boards(
    model: TFLiteModel, boards: Sequence[str] | None, kernels: str, optimization: str
) -> tuple[BoardPrediction, ...]:
    """Predict a model on boards; None takes each that has a reference fit.

    Raises:
        BoardError: No such board.
        FitError: There is no reference fit for the configuration.
        HarnessError: As `predict_model`.
    """
    known = [board.id for board in all_boards()]
    names = boards or [name for name in known if has_reference(name, kernels, optimization)]
    references = [load_reference(name, kernels, optimization) for name in names or known]
    return tuple(
        predict_model(model, load_board(name), reference)
        for name, reference in zip(names, references, strict=True)
    )


def sampled_model(backbone: str, decisions: str) -> TFLiteModel:
    """Return the network of a backbone with these decisions.

    Args:
        backbone: Its name.
        decisions: JSON object of the decisions, or what `harness sample --json` prints as
            ``architecture``.

    Raises:
        BackboneError: There is no such backbone, or the decisions are not in its space.
    """
    from harness.models.sampled import write_architecture

    try:
        data = json.loads(decisions)
    except ValueError as failure:
        raise BackboneError(
            f"decisions are not JSON: {failure}", expected='{"name": [1, ...]}'
        ) from None
    if not (isinstance(data, dict) and "decisions" in data):
        data = {"backbone": backbone, "decisions": data}
    return read_model(write_architecture(backbone, data), name=f"{backbone} sample")


def predict_model(model: TFLiteModel, board: Board, reference: Reference) -> BoardPrediction:
    """Predict a model on the board of a reference fit.

    Raises:
        ModelError: The model is not int8.
        RuntimeUnsupported: Names every operator that the `aot` runtime cannot take.
    """
    require_int8(model)
    fingerprint = reference.fingerprint
    kernels, clock = fingerprint.kernels or "", fingerprint.clock_hz or board.clock_hz
    program = lower.lower(model, kernels)
    plan = planner.plan(model.graph, program)
    memory = Memory.of(board, model.graph, plan, reference.arena_address)
    found = [_layer(step, kernels, memory, reference) for step in program.steps]
    total = sum(cycles or 0.0 for cycles, _ in found)
    layers = tuple(
        LayerPrediction(
            index=number,
            name=layer.name,
            operator=layer.operator,
            macs=layer.macs,
            cycles=cycles,
            share=(cycles or 0.0) / total if total else 0.0,
            outside=outside,
        )
        for number, (layer, (cycles, outside)) in enumerate(
            zip(model.graph.layers(), found, strict=True)
        )
    )
    complete = all(layer.cycles is not None for layer in layers)
    latency, half = total * 1e6 / clock, reference.relative_half_width
    blob = write_blob(model, program, plan, 0, defaultdict(int))
    arena_room = sum(region.bytes for region in board.arena_ram)
    code = reference.code.bytes({step.kernel for step in program.steps})
    return BoardPrediction(
        model=model.name,
        board=board.id,
        kernels=kernels,
        optimization=fingerprint.optimization or "",
        timing_model=fingerprint.timing_model,
        latency_us=latency if complete else None,
        low_us=latency * (1 - half) if complete else None,
        high_us=latency * (1 + half) if complete else None,
        level=reference.level,
        extrapolated=(
            *_too_small(total, reference),
            *(f"{layer.name} {layer.outside}" for layer in layers if layer.outside),
        ),
        arena_bytes=plan.arena_bytes,
        sram_bytes=plan.arena_bytes + reference.sram_fixed_bytes + staging_bytes(model),
        # An arena that its own memory does not hold gets no room from the others.
        sram_available=board.ram_bytes if plan.arena_bytes <= arena_room else arena_room,
        flash_bytes=len(blob) + code,
        flash_available=board.flash.bytes,
        layers=layers,
        expected_error=expected_error(
            fingerprint.timing_model,
            kernels,
            zip(_kinds(model.graph), (layer.cycles or 0.0 for layer in layers), strict=True),
        )
        if complete
        else None,
    )


def _kinds(graph: Graph) -> list[str]:
    """Return the kind of work of each operator."""
    weights = [
        graph.tensors[operator.inputs[1]] if operator.name == "CONV_2D" else None
        for operator in graph.operators
    ]
    return [
        kind_of(operator.name, None if tensor is None else tensor.shape[1:3])
        for operator, tensor in zip(graph.operators, weights, strict=True)
    ]


def _too_small(cycles: float, reference: Reference) -> tuple[str, ...]:
    """Return why a tiny network is outside the data: what its layers cost to call is not known."""
    smallest = reference.smallest_cycles
    if cycles * FAR >= smallest:
        return ()
    return (f"the network takes {cycles:,.0f} cycles, the smallest measured {smallest:,.0f}",)


def _layer(
    step: Step, kernels: str, memory: Memory, reference: Reference
) -> tuple[float | None, str | None]:
    work = work_of(step, kernels, memory)
    fit = reference.paths.get(work.path)
    if fit is None:
        return None, f"{work.path}: no layer of this kind was measured"
    return fit.cycles(work), fit.outside(work)
