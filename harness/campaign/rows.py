"""The row that a job leaves: of a capture, or of a failure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.backbones import get_backbone
from harness.errors import HarnessError
from harness.paths import git_revision
from harness.results.record import LayerCycles, Measurement, Status, gap, summarise_cycles

if TYPE_CHECKING:
    from harness.bench import Station
    from harness.campaign.measure import Built
    from harness.campaign.plan import Job
    from harness.capture import Capture

_IDENTITY = ("clock_hz", "clock_source", "icache", "dcache", "art")
_COSTS = ("macs", "ops", "parameters", "working_memory_bytes")


def assemble(
    built: Built, capture: Capture, station: Station, *, campaign: str | None
) -> Measurement:
    """Make the row of a capture."""
    from harness.models.reference import compare_outputs, default_reference, tflm_arena_bytes

    job, identity, memory = built.job, capture.identity, capture.memory
    comparison = compare_outputs(b"".join(capture.outputs), b"".join(built.prepared.outputs))
    median, low, high = summarise_cycles(capture.cycles, identity.clock_hz)
    macs = {layer.index: layer.macs for layer in built.sources.layers}
    layers = tuple(
        LayerCycles(layer.i, layer.name, layer.op, macs.get(layer.i), layer.cycles)
        for layer in capture.layers
    )
    issues, arena = _issues(job, capture, comparison.bit_exact), capture.arena
    on_host = arena and default_reference() == "tflm"  # else its wheel is not installed
    image, sources, graph = built.image, built.sources, built.model.graph
    flash = {f"flash_{part}_bytes": size for part, size in asdict(image.sizes).items()}
    return Measurement(
        **{**_provenance(job, station, campaign), "model_sha256": built.model.sha256},
        **{name: getattr(graph, name) for name in _COSTS},
        **flash,
        macs_by_operator=dict(graph.macs_by_operator()),
        runtime_version=sources.runtime_version,
        kernels_version=sources.kernels_version,
        toolchain=image.toolchain,
        firmware_sha256=image.sha256,
        build_id=image.build_id,
        arena_planned_bytes=sources.arena_planned_bytes,
        status=Status.DEGRADED if issues else Status.VALID,
        issues=issues,
        chip_uid=identity.uid,
        timing_model=capture.timing_model,
        **{name: getattr(identity, name) for name in _IDENTITY},
        cycles=capture.cycles,
        latency_us=median,
        latency_ci_low_us=low,
        latency_ci_high_us=high,
        arena_used_bytes=memory.arena_used,
        arena_capacity_bytes=memory.arena_capacity,
        arena_min_bytes=arena.min_bytes if arena else None,
        arena_below_bytes=arena.below_bytes if arena else None,
        arena_below_message=arena.below_message if arena else None,
        arena_host_bytes=tflm_arena_bytes(built.model) if on_host else None,
        arena_parts={
            part.kind: {"used": part.used, "requested": part.requested, "count": part.count}
            for part in capture.arena_parts
        },
        arena_paint_bytes=memory.painted,
        stack_bytes=memory.stack_used,
        stack_capacity_bytes=memory.stack_size,
        ram_static_bytes=image.ram_static_bytes,
        ram_other_bytes=image.ram.other,
        reference=built.prepared.reference,
        output_bytes_total=comparison.bytes_total,
        output_bytes_differing=comparison.bytes_differing,
        output_max_abs_diff=comparison.max_abs_diff,
        bit_exact=comparison.bit_exact,
        layers=layers,
        layers_total_cycles=capture.layers_total_cycles,
        additivity_gap=gap(capture.cycles, layers),
        stage_seconds={**built.seconds, **capture.seconds},
        raw_log=capture.raw_log,
    )


def failed_row(
    job: Job, failure: HarnessError, station: Station | None, *, campaign: str | None
) -> Measurement:
    """Make the row of a job that failed: invalid, with its issue code and its log.

    `station` is None where the job failed before it got to one.
    """
    log, network = failure.data.get("raw_log"), job.spec.architecture
    # The costs of an architecture need no .tflite.
    cost: Any = get_backbone(network.backbone).cost(network) if network else None
    return Measurement(
        **_provenance(job, station, campaign),
        **({name: getattr(cost, name) for name in _COSTS} if cost else {}),
        status=Status.INVALID,
        issues=(failure.code,),
        message=failure.what,
        raw_log=f"{log or ''}{failure}\n",
    )


def _issues(job: Job, capture: Capture, bit_exact: bool) -> tuple[str, ...]:
    """Return the issue codes of a row; `docs/results.md` explains each."""
    identity, caches = capture.identity, job.board.facts.caches
    wanted = (
        job.build.icache and caches.icache_bytes > 0,
        job.build.dcache and caches.dcache_bytes > 0,
        job.build.art if caches.art else None,
    )
    found = {
        "output-differs": not bit_exact,
        "clock-fallback": identity.clock_source != job.board.facts.clock.reference,
        "clock-differs": identity.clock_hz != job.board.clock_hz,
        "caches-differ": (identity.icache, identity.dcache, identity.art) != wanted,
    }
    return tuple(code for code, holds in found.items() if holds)


def _provenance(job: Job, station: Station | None, campaign: str | None) -> dict[str, Any]:
    spec, architecture = job.spec, job.spec.architecture
    return {
        "key": job.key,
        "created_at": datetime.now(UTC),
        "campaign": campaign,
        "source": job.needs.source,
        "board": job.board.id,
        "station": station.name if station else None,
        "probe_id": station.probe if station else None,
        "model_name": spec.name,
        "model_sha256": spec.sha256,
        "backbone": architecture.backbone if architecture else None,
        "architecture": architecture.to_json() if architecture else None,
        "seed": spec.seed,
        "sample_index": spec.sample_index,
        "runtime": job.runtime.runtime,
        "kernels": job.runtime.kernels,
        "library": job.runtime.library or job.runtime.kernels_source,
        "one_firmware": job.one_firmware,
        "optimization": job.build.optimization,
        "flags": job.build.extra_flags,
        "warmup": job.measure.warmup,
        "repeats": job.measure.repeats,
        "harness_version": __version__,
        "git_revision": git_revision(),
    }
