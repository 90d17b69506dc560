"""Measure networks exactly as the rows of a fit were measured, through an ordinary campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones import Architecture
from harness.bench import Bench
from harness.campaign.config import CampaignConfig
from harness.campaign.plan import plan
from harness.campaign.runner import Listener, run
from harness.errors import BenchError, CampaignError
from harness.results.record import Measurement, best_per_key
from harness.strict import parse

if TYPE_CHECKING:
    from harness.fit import Fingerprint
    from harness.results.store import Store


def measure_networks(
    networks: Sequence[Path] | Sequence[Architecture],
    fingerprint: Fingerprint,
    bench: Bench,
    store: Store,
    listener: Listener,
    *,
    station: str | None = None,
    libraries: Mapping[str, str] | None = None,
    seed: int = 0,
    repeats: int = 3,
    name: str = "search",
) -> list[Measurement]:
    """Build, flash and measure networks; return a row of each, in their order.

    Args:
        networks: Full-int8 .tflite files, or architectures.
        fingerprint: Of the fit: names the board and the configuration.
        bench: What is plugged in.
        store: Where the rows go.
        listener: Follows progress.
        station: Station to use; None takes the first that carries the board.
        libraries: Library by kernel set, for runtimes that need one.
        seed: Seed of weights and inputs.
        repeats: Timed inferences.
        name: Name that the rows carry as their campaign.

    Raises:
        BenchError: No station has the board, or the station failed; the cause is named.
        CampaignError: The fit's configuration cannot be measured.
    """
    what: dict[str, Any] = {
        "models": [str(item.resolve()) for item in networks if isinstance(item, Path)],
        "architectures": [item.to_json() for item in networks if isinstance(item, Architecture)],
    }
    sweep = {
        "name": fingerprint.runtime,
        "kernels": [fingerprint.kernels],
        "optimization": [fingerprint.optimization],
        "libraries": dict(libraries or {}),
        "one_firmware": bool(fingerprint.one_firmware),
    }
    caches = {name: getattr(fingerprint, name) for name in ("icache", "dcache", "art")}
    known = {name: value for name, value in caches.items() if value is not None}
    where = {"stations": [station]} if station else {"boards": [fingerprint.board]}
    data = {
        "name": name,
        "seed": seed,
        "runtimes": [sweep],
        "measure": {"repeats": repeats, **known},
        **where,
        **{key: value for key, value in what.items() if value},
    }
    jobs = plan(parse(CampaignConfig, data, where="the search", error=CampaignError), bench)
    summary = run(jobs, store, campaign=name, listener=listener)
    wanted = {job.key for job in jobs}
    rows = {row.key: row for row in best_per_key(r for r in store.query() if r.key in wanted)}
    if missing := [job for job in jobs if job.key not in rows]:
        # A failed network has an invalid row; one without a row lost its station.
        cause = summary.bench_failure
        raise BenchError(
            f"{len(missing)} of {len(jobs)} networks were not measured"
            + (f": {cause.what}" if cause else ""),
            where=missing[0].station.name,
            fix=(cause and cause.fix) or "`harness bench check` says what is wrong",
        ) from cause
    return [rows[job.key] for job in jobs]
