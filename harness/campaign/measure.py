"""One job on one station: generate and build the firmware, then flash and measure it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.bench import Station
from harness.campaign.plan import Job
from harness.campaign.prepare import Prepared
from harness.campaign.rows import assemble
from harness.capture import Capture, CapturePlan
from harness.errors import IdentityError
from harness.firmware import FirmwareImage, build
from harness.models import TFLiteModel, read_model
from harness.results.record import Measurement
from harness.runtimes import GeneratedSources, get_runtime


@dataclass(frozen=True, slots=True)
class Built:
    """A job whose image is ready."""

    job: Job
    prepared: Prepared
    model: TFLiteModel
    sources: GeneratedSources
    image: FirmwareImage
    seconds: Mapping[str, float]  # by stage


def build_job(job: Job, prepared: Prepared, *, slot: int = 0) -> Built:
    """Generate and build the firmware of a job.

    Raises `RuntimeUnsupported` if the runtime, or the firmware shared by many models, cannot take
    the network, and `BuildError` if the compiler or linker refuses it.
    """
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
    """What a job needs of `harness.capture.session.BoardSession`."""

    @property
    def broken(self) -> bool:
        """Whether a failure left the device in an unknown state."""

    def run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        """Program an image and measure it."""

    def close(self) -> None:
        """Give the station back."""


def run_job(
    built: Built, session: Session, station: Station, *, campaign: str | None
) -> Measurement:
    """Flash and measure a built job on the station of a session.

    Raises `IdentityError` if another timing model counted than the job is planned for, and
    `FlashError`, `CaptureError` or `BenchError` if the station does not deliver.
    """
    job, graph = built.job, built.model.graph
    outputs = (index for operator in graph.operators for index in operator.outputs)
    plan = CapturePlan(
        warmup=job.measure.warmup,
        repeats=job.measure.repeats,
        boots=job.measure.boots,
        layers=job.measure.layers,
        inputs=built.prepared.inputs,
        output_bytes=tuple(len(item) for item in built.prepared.outputs),
        macs=graph.macs,
        elements=sum(graph.tensors[index].elements for index in outputs),
        baud=job.build.baud,
        verify_arena=job.measure.verify_arena,
    )
    capture = session.run(built.image, plan)
    if capture.timing_model != job.needs.timing_model:
        raise IdentityError(
            f"the cycles were counted by timing model {capture.timing_model}",
            where=station.name,
            expected=f"{job.needs.timing_model}, as the job was planned",
            fix="plan the campaign again: HARNESS_TIMING or the station has changed since",
            raw_log=capture.raw_log,
        )
    return assemble(built, capture, station, campaign=campaign)
