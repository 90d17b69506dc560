"""One job on one station: generate, build, flash, run, and the row that comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from harness import __version__
from harness.backbones import get_backbone
from harness.campaign.plan import Job
from harness.campaign.prepare import Prepared
from harness.capture import CapturePlan
from harness.errors import HarnessError, IdentityError
from harness.models import TFLiteModel, read_model
from harness.paths import git_revision
from harness.protocol import TRUSTED_CLOCKS
from harness.results.record import LayerCycles, Measurement, Status, gap, summarise_cycles
from harness.runtimes import GeneratedSources, get_runtime

if TYPE_CHECKING:
    from harness.capture import Capture
    from harness.firmware import FirmwareImage


@dataclass(frozen=True, slots=True)
class Built:
    """A job whose image is ready.

    Attributes:
        job: The job.
        prepared: Network, inputs and expected outputs.
        model: The parsed network.
        sources: What the runtime generated.
        image: The linked firmware.
        seconds: Time per stage so far.
    """

    job: Job
    prepared: Prepared
    model: TFLiteModel
    sources: GeneratedSources
    image: FirmwareImage
    seconds: Mapping[str, float]


def build_job(job: Job, prepared: Prepared, *, slot: int = 0) -> Built:
    """Generate and build the firmware of a job.

    Raises:
        RuntimeUnsupported: The runtime, or the firmware shared by many models, cannot take the
            network.
        BuildError: The compiler or linker refused it.
    """
    from harness.firmware import build
    from harness.firmware.shared import build_shared

    model = read_model(prepared.content, name=job.spec.name)
    start = time.perf_counter()
    if job.one_firmware:
        shared = build_shared(job.board, job.runtime, job.build, slot=slot)
        sources = shared.sources_for(model)
        generated = time.perf_counter()
        image = shared.image_for(model)
    else:
        sources = get_runtime(job.runtime.runtime).generate(model, job.runtime, job.board)
        generated = time.perf_counter()
        image = build(job.board, model, sources, job.build, slot=slot)
    seconds = {
        "convert": prepared.seconds,
        "generate": generated - start,
        "build": time.perf_counter() - generated,
    }
    return Built(job, prepared, model, sources, image, seconds)


class Session(Protocol):
    """What a job needs of `harness.capture.BoardSession`."""

    @property
    def broken(self) -> bool:
        """Whether a failure left the device in an unknown state."""
        ...

    def run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        """Program an image and measure it."""
        ...

    def close(self) -> None:
        """Give the station back."""
        ...


def run_job(built: Built, session: Session, *, campaign: str | None) -> Measurement:
    """Flash and measure a built job.

    Raises:
        FlashError, CaptureError, BenchError: The station did not deliver.
        IdentityError: Another timing model counted than the job is planned for.
    """
    job = built.job
    plan = CapturePlan(
        warmup=job.measure.warmup,
        repeats=job.measure.repeats,
        boots=job.measure.boots,
        layers=job.measure.layers,
        inputs=built.prepared.inputs,
        output_bytes=tuple(len(item) for item in built.prepared.outputs),
        macs=built.model.graph.macs,
        elements=_elements(built.model),
        baud=job.build.baud,
        verify_arena=job.measure.verify_arena,
    )
    capture = session.run(built.image, plan)
    if capture.timing_model != job.timing_model:
        raise IdentityError(
            f"the cycles were counted by timing model {capture.timing_model}",
            where=job.station.name,
            expected=f"{job.timing_model}, as the job was planned",
            fix="plan the campaign again: HARNESS_TIMING or the station has changed since",
            raw_log=capture.raw_log,
        )
    return assemble(built, capture, campaign=campaign)


def _elements(model: TFLiteModel) -> int:
    graph = model.graph
    outputs = (index for operator in graph.operators for index in operator.outputs)
    return sum(graph.tensors[index].elements for index in outputs)


def assemble(built: Built, capture: Capture, *, campaign: str | None) -> Measurement:
    """Make the row of a capture."""
    from harness.models.reference import compare_outputs

    job, identity, memory = built.job, capture.identity, capture.memory
    comparison = compare_outputs(b"".join(capture.outputs), b"".join(built.prepared.outputs))
    median, low, high = summarise_cycles(capture.cycles, identity.clock_hz)
    layers, arena = _layers(built.sources, capture), capture.arena
    issues = _issues(built, capture, comparison.bit_exact)
    split = built.image.sizes
    known = {**_provenance(job, campaign), **_model_facts(built.model), **_build_facts(built)}
    return Measurement(
        **known,
        status=Status.DEGRADED if issues else Status.VALID,
        issues=issues,
        chip_uid=identity.uid,
        timing_model=capture.timing_model,
        clock_hz=identity.clock_hz,
        clock_source=identity.clock_source,
        icache=identity.icache,
        dcache=identity.dcache,
        art=identity.art,
        cycles=capture.cycles,
        latency_us=median,
        latency_ci_low_us=low,
        latency_ci_high_us=high,
        arena_used_bytes=memory.arena_used,
        arena_capacity_bytes=memory.arena_capacity,
        arena_min_bytes=arena.min_bytes if arena else None,
        arena_below_bytes=arena.below_bytes if arena else None,
        arena_below_message=arena.below_message if arena else None,
        arena_host_bytes=_host_arena(built.model) if arena else None,
        arena_parts={
            part.kind: {"used": part.used, "requested": part.requested, "count": part.count}
            for part in capture.arena_parts
        },
        arena_paint_bytes=memory.painted,
        stack_bytes=memory.stack_used,
        stack_capacity_bytes=memory.stack_size,
        flash_total_bytes=split.total,
        flash_weights_bytes=split.weights,
        flash_graph_bytes=split.graph,
        flash_kernels_bytes=split.kernels,
        flash_runtime_bytes=split.runtime,
        flash_port_bytes=split.port,
        ram_static_bytes=built.image.ram_static_bytes,
        ram_other_bytes=built.image.ram.other,
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


def _host_arena(model: TFLiteModel) -> int | None:
    """Return the arena that TFLM uses on the host, None where its wheel is not installed."""
    from harness.models.reference import default_reference, tflm_arena_bytes

    return tflm_arena_bytes(model) if default_reference() == "tflm" else None


def failed_row(job: Job, failure: HarnessError, *, campaign: str | None) -> Measurement:
    """Make the row of a job that did not deliver: invalid, with its code and its log."""
    log = failure.data.get("raw_log")
    return Measurement(
        **_provenance(job, campaign),
        **_analytic_cost(job),
        status=Status.INVALID,
        issues=(failure.code,),
        message=failure.what,
        raw_log=f"{log or ''}{failure}\n",
    )


def _issues(built: Built, capture: Capture, bit_exact: bool) -> tuple[str, ...]:
    """Return what makes a row less than valid; `docs/results.md` explains each code."""
    job, identity, issues = built.job, capture.identity, []
    if not bit_exact:
        issues.append("output-differs")
    if identity.clock_source not in TRUSTED_CLOCKS:
        issues.append("clock-fallback")
    if identity.clock_hz != job.board.clock_hz:
        issues.append("clock-differs")
    caches = job.board.facts.caches
    wanted = (
        job.build.icache and caches.icache_bytes > 0,
        job.build.dcache and caches.dcache_bytes > 0,
        job.build.art if caches.art else None,
    )
    if (identity.icache, identity.dcache, identity.art) != wanted:
        issues.append("caches-differ")
    return tuple(issues)


def _provenance(job: Job, campaign: str | None) -> dict[str, Any]:
    spec, architecture = job.spec, job.spec.architecture
    return {
        "key": job.key,
        "created_at": datetime.now(UTC),
        "campaign": campaign,
        "source": job.station.source,
        "board": job.board.id,
        "station": job.station.name,
        "probe_id": job.station.probe,
        "model_name": spec.name,
        "model_sha256": spec.sha256,
        "backbone": spec.backbone,
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


def _model_facts(model: TFLiteModel) -> dict[str, Any]:
    graph = model.graph
    return {
        "model_sha256": model.sha256,
        "macs": graph.macs,
        "ops": graph.ops,
        "parameters": graph.parameters,
        "working_memory_bytes": graph.working_memory_bytes,
        "macs_by_operator": dict(graph.macs_by_operator()),
    }


def _build_facts(built: Built) -> dict[str, Any]:
    image, sources = built.image, built.sources
    return {
        "runtime_version": sources.runtime_version,
        "kernels_version": sources.kernels_version,
        "toolchain": image.toolchain,
        "firmware_sha256": image.sha256,
        "build_id": image.build_id,
        "arena_planned_bytes": sources.arena_planned_bytes,
    }


def _analytic_cost(job: Job) -> dict[str, Any]:
    """Return what is known of a sampled network without its .tflite."""
    architecture = job.spec.architecture
    if architecture is None:
        return {}
    cost = get_backbone(architecture.backbone).cost(architecture)
    names = ("macs", "ops", "parameters", "working_memory_bytes")
    return {name: getattr(cost, name) for name in names}


def _layers(sources: GeneratedSources, capture: Capture) -> tuple[LayerCycles, ...]:
    macs = {layer.index: layer.macs for layer in sources.layers}
    return tuple(
        LayerCycles(layer.i, layer.name, layer.op, macs.get(layer.i), layer.cycles)
        for layer in capture.layers
    )
