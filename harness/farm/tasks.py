"""What runs on the hosts of a farm: build a job, and measure what was built."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.campaign.measure import Built, build_job
from harness.campaign.plan import Job
from harness.campaign.prepare import prepare
from harness.errors import FarmError, HarnessError, StationDisabled
from harness.files import draft_of
from harness.paths import cache_dir

if TYPE_CHECKING:
    from harness.campaign.places import Report
    from harness.farm.worker import StationWorker


@dataclass(frozen=True, slots=True)
class Parcel:
    """A built job that another host can measure."""

    built: Built
    elf: bytes


def build(job: Job, content: bytes | None) -> Parcel:
    """Prepare and build a job on this host.

    Args:
        job: As the client planned it.
        content: The .tflite of a model that is a file of the client's; None for a sampled network.

    Raises:
        FarmError: This host would build something else than the client planned.
        HarnessError: As `prepare` and `build_job`.
    """
    there = Job.of(
        job.needs, job.spec, job.runtime, job.build, job.measure, one_firmware=job.one_firmware
    )
    if there.key != job.key:
        raise FarmError(
            f"host {socket.gethostname()} would not build what this one has planned",
            expected="the same harness, compiler, kernels and libraries on all hosts of a farm",
            fix="compare `harness doctor` of both; or start that host's worker with --builders 0",
        )
    local = job
    if content is not None:
        path = cache_dir() / "models" / "farm" / f"{hashlib.sha256(content).hexdigest()}.tflite"
        _keep(path, content)
        local = replace(job, spec=replace(job.spec, path=path))
    built = build_job(local, prepare(local.spec))
    return Parcel(replace(built, job=job), built.image.elf.read_bytes())


def measure(parcel: Parcel, campaign: str | None) -> Report:
    """Measure a built job on this worker's station; raises as `StationPlace.measure`."""
    image = parcel.built.image
    folder = cache_dir() / "images" / f"farm-{image.sha256[:32]}"
    _keep(folder / "firmware.elf", parcel.elf)
    image = replace(image, elf=folder / "firmware.elf", map=folder / "firmware.map")
    return _worker().measure(replace(parcel.built, image=image), campaign)


def get_ready() -> None:
    """Open this worker's station; raises as `StationPlace.open`."""
    _worker().get_ready()


def disable(failure: HarnessError) -> StationDisabled:
    """Disable this worker's station; return the error that says so."""
    return _worker().disable(failure)


def _worker() -> StationWorker:
    from distributed.worker import get_worker

    return cast("StationWorker", get_worker())


def _keep(path: Path, content: bytes) -> None:
    if not path.exists():
        with draft_of(path) as draft:
            draft.write_bytes(content)
