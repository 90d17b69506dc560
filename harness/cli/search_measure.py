"""Where `harness search` measures, and the functions that measure there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import BenchFile, Database, FarmAddress, Libraries, Tls
from harness.errors import ConfigError
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.backbones import Architecture
    from harness.bench import Bench
    from harness.campaign.crew import Crew
    from harness.cli.progress import SearchWatcher
    from harness.fit import Fingerprint
    from harness.results.record import Measurement
    from harness.results.store import Store
    from harness.search.plan import Measure
    from harness.search.record import OnBoard, SearchRun


@dataclass(frozen=True)
class VerifyOptions:
    """Where the result is measured."""

    station: str | None = typer.Option(
        None,
        "--station",
        "-s",
        help="Station of the bench; of several boards, several separated by commas (default: "
        "all that have the board share the work).",
    )
    verify: bool = typer.Option(
        True, "--verify/--no-verify", help="Measure the network on the board."
    )
    proof: bool | None = typer.Option(None, "--proof/--no-proof", hidden=True)
    library: Libraries = None
    db: Database = DEFAULT_STORE
    bench: BenchFile = None
    farm: FarmAddress = None
    tls: Tls = None

    @property
    def wanted(self) -> bool:
        """Return whether the network is to be measured; --no-proof is the old --no-verify."""
        return self.verify if self.proof is None else self.proof


def make_measure(
    fingerprints: Sequence[Fingerprint],
    options: VerifyOptions,
    store: Store,
    seed: int,
    watcher: SearchWatcher,
) -> Measure:
    """Return a function that measures networks as the rows of these fits were measured."""
    from harness.bench import load_bench
    from harness.campaign.crew import LocalCrew
    from harness.campaign.networks import measure_networks, sweep_of
    from harness.firmware.toolchain import ensure_toolchain

    ensure_toolchain()
    runtimes = {one.board: sweep_of(one, options.library) for one in fingerprints}
    crew: Callable[[Bench], Crew]
    if options.farm is None:
        bench, crew = load_bench(options.bench), LocalCrew
    else:
        from harness.farm.client import Farm, FarmCrew

        farm = Farm(options.farm, options.tls)
        bench, crew = farm.bench(), partial(FarmCrew, farm)
    names = options.station.split(",") if options.station else []
    stations = {bench.station(name).board: name for name in names}
    if unused := sorted(stations.keys() - runtimes.keys()):
        raise ConfigError(
            f"--station names a station of {', '.join(unused)}",
            expected=f"stations of {', '.join(runtimes)}",
            fix="search for that board with --board",
        )

    def measure(
        networks: Sequence[Path] | Sequence[Architecture], fingerprint: Fingerprint, title: str
    ) -> list[Measurement]:
        with watcher.bench(title) as listener:
            return measure_networks(
                networks,
                fingerprint,
                bench,
                store,
                listener,
                crew=crew,
                station=stations.get(fingerprint.board),
                runtime=runtimes[fingerprint.board],
                seed=seed,
            )

    return measure


def measure_again(
    folder: Path,
    run: SearchRun,
    board: str | None,
    station: str | None,
    library: Sequence[str] | None,
    bench_file: Path | None,
    watcher: SearchWatcher,
) -> list[tuple[OnBoard, Measurement]]:
    """Measure a run's network as its fits' rows were, on its boards or on another one.

    Returns what the run recorded, of the first board where the board is another one, and the new
    row.
    """
    from tempfile import TemporaryDirectory

    from harness.bench import load_bench
    from harness.campaign.networks import measure_networks, sweep_of
    from harness.firmware.toolchain import ensure_toolchain
    from harness.results import open_store
    from harness.search.record import MODEL

    ensure_toolchain()
    bench = load_bench(bench_file)
    if board is None and station is not None:
        board = bench.station(station).board
    recorded = {one.board: one for one in run.boards}
    found = []
    # In a store of its own, as a store has a row of this job already.
    with (
        TemporaryDirectory(prefix="harness-verify-") as temporary,
        open_store(Path(temporary) / "rows.sqlite") as store,
        watcher.bench("verify") as listener,
    ):
        for name in recorded if board is None else [board]:
            one = recorded.get(name, run)
            fingerprint = one.fit.fingerprint
            if name != one.board:  # caches are switched as is usual there
                fingerprint = replace(fingerprint, board=name, icache=None, dcache=None, art=None)
            (row,) = measure_networks(
                [folder / MODEL],
                fingerprint,
                bench,
                store,
                listener,
                station=station,
                runtime=sweep_of(fingerprint, library),
                seed=run.seed,
            )
            found.append((one, row))
    return found
