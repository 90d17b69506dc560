"""Turn a campaign file into jobs, each with a key that says what its number depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.backbones import Architecture, Limits, get_backbone
from harness.bench import Bench, Station
from harness.boards import Board, load_board
from harness.campaign.config import CampaignConfig, MeasureOptions
from harness.errors import CampaignError
from harness.firmware import BuildOptions
from harness.paths import data_dir
from harness.runtimes import RuntimeOptions

KEY_VERSION = 2  # 2: layers are timed in a pass with warm caches


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network to measure: sampled from a backbone, or a file.

    Attributes:
        name: Name for people and rows.
        seed: Seed of weights and inputs.
        architecture: The sampled architecture, else None.
        sample_index: Its index in the backbone's sequence.
        path: The user's .tflite, else None.
        sha256: Hash of that file's content.
    """

    name: str
    seed: int
    architecture: Architecture | None = None
    sample_index: int | None = None
    path: Path | None = None
    sha256: str | None = None

    @property
    def backbone(self) -> str | None:
        """Backbone the network was sampled from."""
        return self.architecture.backbone if self.architecture else None

    def identity(self) -> dict[str, Any]:
        """Return what decides the network's bits."""
        if self.architecture is not None:
            return {"architecture": self.architecture.to_json(), "seed": self.seed}
        return {"sha256": self.sha256, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement to make.

    Attributes:
        key: sha256 of everything that decides the number.
        station: Where.
        board: The station's board type.
        spec: Which network.
        runtime: Runtime and kernels.
        build: Flags and caches.
        measure: Warm-up, repeats, layers.
        one_firmware: The model goes to the model region beside a runtime that stays.
    """

    key: str
    station: Station
    board: Board
    spec: ModelSpec
    runtime: RuntimeOptions
    build: BuildOptions
    measure: MeasureOptions
    one_firmware: bool = False

    @property
    def label(self) -> str:
        """One line for people."""
        return (
            f"{self.spec.name} on {self.station.name} "
            f"({self.runtime.runtime}/{self.runtime.kernels} {self.build.optimization})"
        )


def choose_stations(config: CampaignConfig, bench: Bench) -> tuple[Station, ...]:
    """Return the stations a campaign runs on: those it names, and one for each board it names.

    Raises:
        CampaignError: No station of the bench has the board.
        ConfigError: A station is unknown.
    """
    named = [choose_station(bench, name, None) for name in config.stations]
    found = [choose_station(bench, None, board) for board in config.boards]
    return tuple({station.name: station for station in (*named, *found)}.values())


def choose_station(bench: Bench, name: str | None, board: str | None) -> Station:
    """Return the station called `name`, else the first one that carries `board`.

    Raises:
        CampaignError: No station of the bench has the board.
        ConfigError: A station or a board is unknown.
    """
    if name is not None:
        return bench.station(name)
    board_id = load_board(board or "").id
    having = bench.with_board(board_id)
    if having:
        return having[0]
    have = ", ".join(f"{item.name} ({item.board})" for item in bench.stations) or "none"
    raise CampaignError(
        f"no station has board '{board_id}'",
        where=bench.path,
        expected=f"a station with that board; the bench has: {have}",
        fix="plug one in and run `harness bench discover`, or name its virtual station "
        f"virtual-{board_id}",
    )


def choose_specs(config: CampaignConfig) -> tuple[ModelSpec, ...]:
    """Return the networks of a campaign in a fixed order: sampled, named, files."""
    return (*_sampled(config), *_named(config), *_files(config))


def plan(config: CampaignConfig, bench: Bench) -> tuple[Job, ...]:
    """Return the jobs of a campaign, equal ones once, in a fixed order.

    Raises:
        CampaignError, BackboneError, BoardError, ConfigError: The file asks for what is not there.
    """
    stations = choose_stations(config, bench)
    specs = choose_specs(config)
    jobs: dict[str, Job] = {}
    _runtime_identity.cache_clear()  # a library may have changed since the last plan
    # Network first, so that stations work side by side and a network is converted once.
    for spec in specs:
        for station in stations:
            board = load_board(station.board)
            for runtime, build, shared in _configurations(config, board):
                key = job_key(station, board, spec, runtime, build, config.measure, shared)
                job = Job(key, station, board, spec, runtime, build, config.measure, shared)
                jobs.setdefault(key, job)
    return tuple(jobs.values())


def file_spec(path: Path, seed: int) -> ModelSpec:
    """Return the spec of a user's .tflite.

    Raises:
        CampaignError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise CampaignError(
            f"cannot read model {path}: {failure.strerror}",
            fix="check the path; `harness run --models DIR` looks a campaign's models up in DIR",
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    return ModelSpec(name=path.stem, seed=seed, path=path, sha256=digest)


def job_key(
    station: Station,
    board: Board,
    spec: ModelSpec,
    runtime: RuntimeOptions,
    build: BuildOptions,
    measure: MeasureOptions,
    one_firmware: bool = False,
) -> str:
    """Return the sha256 of everything that decides a job's number.

    Emulated stations of one board are the same device, so the station's name counts for hardware
    only; the timing model counts for emulated ones.
    """
    content = {
        "version": KEY_VERSION,
        "board": board.id,
        "source": station.source,
        "station": station.name if station.source == "hardware" else None,
        "timing": _timing(board, station) if station.source == "emulated" else None,
        "model": spec.identity(),
        "runtime": _runtime_identity(runtime),
        "toolchain": _toolchain(),
        "firmware": firmware_digest(),
        "build": asdict(build),
        # Rows of before there were several boots keep their keys.
        "measure": measure.model_dump(
            mode="json", exclude={"boots"} if measure.boots == 1 else None
        ),
        "one_firmware": one_firmware,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _configurations(
    config: CampaignConfig, board: Board
) -> Iterator[tuple[RuntimeOptions, BuildOptions, bool]]:
    measure = config.measure
    for sweep in config.runtimes:
        for runtime in sweep.options():
            for optimization in sweep.optimization:
                build = BuildOptions(
                    optimization=optimization,
                    icache=measure.icache,
                    dcache=measure.dcache,
                    art=measure.art,
                    baud=measure.baud or board.facts.console.baud,
                )
                yield runtime, build, sweep.one_firmware


def _sampled(config: CampaignConfig) -> Iterator[ModelSpec]:
    for entry in config.backbones:
        backbone = get_backbone(entry.name)
        if entry.resolution is not None:
            backbone = backbone.with_resolution(entry.resolution)
        limits = Limits(
            max_working_memory_bytes=entry.max_working_memory_bytes,
            max_parameters=entry.max_parameters,
        )
        for index in range(entry.first, entry.first + entry.samples):
            architecture = backbone.sample(
                config.seed, index, limits=limits, width_step=entry.width_step
            )
            yield _spec(config, architecture, index)


def _named(config: CampaignConfig) -> Iterator[ModelSpec]:
    for entry in config.architectures:
        architecture = get_backbone(entry.backbone).from_json(entry.model_dump())
        yield _spec(config, architecture, None)


def _spec(config: CampaignConfig, architecture: Architecture, index: int | None) -> ModelSpec:
    return ModelSpec(
        name=f"{architecture.backbone}-{architecture.id}",
        seed=config.seed,
        architecture=architecture,
        sample_index=index,
    )


def _files(config: CampaignConfig) -> Iterator[ModelSpec]:
    for name in config.models:
        yield file_spec(Path(name), config.seed)


def _timing(board: Board, station: Station) -> str:
    from harness.virtual.time import timing_model

    return timing_model(board, station.timing).identity


@lru_cache(maxsize=64)
def _runtime_identity(options: RuntimeOptions) -> dict[str, str]:
    from harness.runtimes import get_runtime

    return dict(get_runtime(options.runtime).identity(options))


@lru_cache(maxsize=1)
def firmware_digest() -> str:
    """Return the sha256 of the firmware template: what every image is built from."""
    root = data_dir("firmware_template")
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _toolchain() -> str:
    from harness.firmware.toolchain import find_toolchain

    return find_toolchain().name
