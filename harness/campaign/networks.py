"""Measure networks exactly as the rows of a fit were measured, through an ordinary campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backbones import Architecture
from harness.bench import Bench
from harness.campaign.config import CampaignConfig, MeasureOptions
from harness.campaign.crew import Crew, LocalCrew
from harness.campaign.ledger import Listener
from harness.campaign.plan import plan
from harness.campaign.runner import run
from harness.campaign.sweep import RuntimeSweep
from harness.errors import BenchError
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.fit import Fingerprint
    from harness.results.store import Store


def sweep_of(fingerprint: Fingerprint, specs: Sequence[str] | None = None) -> RuntimeSweep:
    """Return the runtime of a fit; `specs` name its library as on the command line.

    Raises `ConfigError` if the fit's runtime is unknown or `specs` are wrong.
    """
    return RuntimeSweep.of(
        fingerprint.runtime or "",
        fingerprint.kernels or "",
        fingerprint.optimization or "",
        specs=specs,
        one_firmware=bool(fingerprint.one_firmware),
    )


def measure_networks(
    networks: Sequence[Path] | Sequence[Architecture],
    fingerprint: Fingerprint,
    bench: Bench,
    store: Store,
    listener: Listener,
    *,
    crew: Callable[[Bench], Crew] = LocalCrew,
    station: str | None = None,
    runtime: RuntimeSweep | None = None,
    seed: int = 0,
    repeats: int = 3,
    name: str = "search",
) -> list[Measurement]:
    """Build, flash and measure networks; return a row of each, in their order.

    By default all stations with the board share the work, and `runtime` is `sweep_of` the fit.
    `crew` makes who measures, of the bench's stations. Rows carry `name` as their campaign. Raises
    `BenchError` if no station has the board, or the stations failed (which is the cause), and
    `ConfigError` if the fit's configuration cannot be measured.
    """
    caches = {name: getattr(fingerprint, name) for name in ("icache", "dcache", "art")}
    known = {name: value for name, value in caches.items() if value is not None}
    config = CampaignConfig.of(
        name,
        station=station,
        boards=[fingerprint.board],
        models=[item for item in networks if isinstance(item, Path)],
        architectures=[item for item in networks if isinstance(item, Architecture)],
        runtime=runtime or sweep_of(fingerprint),
        measure=MeasureOptions(repeats=repeats, **known),
        seed=seed,
        where="the fit's configuration",
    )
    jobs = plan(config, bench)
    summary = run(jobs, crew(bench), store, campaign=name, listener=listener)
    rows = {row.key: row for row in store.best((job.key for job in jobs), with_layers=True)}
    if missing := [job for job in jobs if job.key not in rows]:
        # A failed network has an invalid row; one without a row lost its stations.
        cause = summary.bench_failure
        raise BenchError(
            f"{len(missing)} of {len(jobs)} networks were not measured"
            + (f": {cause.what}" if cause else ""),
            where=", ".join(station.name for station in missing[0].needs.find(bench)),
            fix=(cause and cause.fix) or "`harness bench check` says what is wrong",
        ) from cause
    return [rows[job.key] for job in jobs]
