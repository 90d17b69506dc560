"""Measure a job on its virtual station and note what every basic block costs.

The firmware reads the cycle counter before and after each layer; each read takes a snapshot, and
a layer's two snapshots are those whose difference is the layer's reading.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.errors import VirtualError
from harness.explain.record import Explanation, LayerSplit, Split
from harness.firmware.symbols import Functions
from harness.virtual.time.decode import decode_block

if TYPE_CHECKING:
    from harness.bench import Station
    from harness.campaign.measure import Built
    from harness.results.record import LayerCycles
    from harness.virtual.machine import VirtualMachine

_WIDTH = {"cortex-m7": 2, "cortex-m4": 1}  # issue slots a cycle


class Reading(NamedTuple):
    """A read of the cycle counter and the counts at that time."""

    cycles: int
    counts: Any
    events: Any


def explain(built: Built, station: Station) -> Explanation:
    """Measure a built job on its virtual board and split its cycles.

    Raises `VirtualError` if the station is not virtual, its timing model counts no events, or the
    layers' readings are not among the snapshots; otherwise as `run_job`.
    """
    from harness.campaign.measure import run_job
    from harness.capture.session import BoardSession
    from harness.virtual.registry import power_on

    job = built.job
    if not station.virtual:
        raise VirtualError(
            f"station {station.name} is not virtual",
            expected="a virtual station, as a real core does not tell why it waits",
        )
    machine = power_on(job.board.id, station.timing, number=station.number or 1)
    if machine.observer is None:
        raise VirtualError(
            f"the timing model '{machine.model.name}' counts no events",
            fix="set HARNESS_TIMING=pipeline",
        )
    readings: list[Reading] = []
    counts = machine.cpu.counter.counts
    machine.chip.dwt.on_read = lambda cycles: readings.append(Reading(cycles, *counts()))
    try:
        with BoardSession.open(station) as session:
            row = run_job(built, session, station, campaign=None)
    finally:
        machine.chip.dwt.on_read = None
    pairs = _around(readings, row.layers)
    functions, width = Functions.of(built.image.elf), _WIDTH[job.board.facts.core.cpu]
    layers = tuple(
        _layer(machine, layer, *pair, functions, width)
        for layer, pair in zip(row.layers, pairs, strict=True)
    )
    options = job.runtime
    label = f"{options.runtime}/{options.kernels} {job.build.optimization}"
    timing = row.timing_model or ""
    return Explanation(label, job.board.id, timing, layers, row.expected_error)


def _around(
    readings: list[Reading], layers: tuple[LayerCycles, ...]
) -> list[tuple[Reading, Reading]]:
    """Return the readings before and after each layer, from the last pass that fits."""
    for start in reversed(range(len(readings))):
        later = pairwise(readings[start:])
        found: list[tuple[Reading, Reading]] = []
        for layer in layers:
            wanted = layer.cycles
            fits = (p for p in later if (p[1].cycles - p[0].cycles) & 0xFFFF_FFFF == wanted)
            found += islice(fits, 1)
        if len(found) == len(layers):
            return found
    raise VirtualError("the layers' cycles are not among the reads of the cycle counter")


def _layer(
    machine: VirtualMachine,
    layer: LayerCycles,
    before: Reading,
    after: Reading,
    functions: Functions,
    width: int,
) -> LayerSplit:
    counts, events = after.counts.copy(), after.events.copy()
    counts[: len(before.counts)] -= before.counts
    events[: len(before.events)] -= before.events
    by_function: dict[str, Split] = {}
    for slot in np.nonzero(counts)[0]:
        cost, count = machine.cpu.counter.cost(int(slot)), int(counts[slot])
        instructions = _instructions(machine.memory.read(cost.address, cost.size) or b"")
        ideal = min(-(-instructions // width), cost.cycles)
        happened = tuple(events[slot].tolist())
        cycles = (
            count * ideal,
            count * (cost.cycles - ideal),
            *(times * each for times, each in zip(happened, cost.event_cycles, strict=True)),
        )
        split = Split(instructions * count, width * sum(cycles), cycles, happened)
        name = functions.at(cost.address) or "(no symbol)"
        by_function[name] = by_function.get(name, Split()) + split
    return LayerSplit(layer.name, layer.operator, layer.macs, by_function)


@lru_cache(maxsize=1 << 14)
def _instructions(code: bytes) -> int:
    return sum(1 for _ in decode_block(code))
