"""Turn a campaign file into jobs, each with a key that says what its number depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

from harness.bench import Bench
from harness.boards import Board, load_board
from harness.campaign.config import CampaignConfig, MeasureOptions
from harness.campaign.needs import Needs, choose_needs
from harness.campaign.specs import ModelSpec, choose_specs
from harness.firmware import BuildOptions
from harness.paths import data_dir
from harness.runtimes import RuntimeOptions


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement to make, on any station that has what it needs; `Job.of` decides its key."""

    key: str  # sha256 of everything that decides the number
    needs: Needs
    board: Board
    spec: ModelSpec
    runtime: RuntimeOptions
    build: BuildOptions
    measure: MeasureOptions
    one_firmware: bool = False  # the runtime stays, only the model is flashed

    @classmethod
    def of(
        cls,
        needs: Needs,
        spec: ModelSpec,
        runtime: RuntimeOptions,
        build: BuildOptions,
        measure: MeasureOptions,
        *,
        one_firmware: bool = False,
    ) -> Job:
        """Return the job of these choices.

        Equal stations are the same device, so the key has no station's name, unless a job is about
        one specimen. Raises `HarnessError` if the board is unknown, or there is no compiler.
        """
        board = load_board(needs.board)
        content = {
            "board": board.id,
            "source": needs.source,
            "station": needs.specimen,
            "timing": needs.timing_model,
            "model": spec.identity(),
            "runtime": _runtime_identity(runtime),
            "toolchain": _toolchain(),
            "firmware": firmware_digest(),
            "build": asdict(build),
            "measure": measure.model_dump(mode="json"),
            "one_firmware": one_firmware,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        key = hashlib.sha256(text.encode()).hexdigest()
        return cls(key, needs, board, spec, runtime, build, measure, one_firmware)

    @property
    def label(self) -> str:
        """One line for people."""
        return (
            f"{self.spec.name} on {self.needs.specimen or self.board.id} "
            f"({self.runtime.runtime}/{self.runtime.kernels} {self.build.optimization})"
        )


def plan(
    config: CampaignConfig, bench: Bench, *, missing: list[str] | None = None
) -> tuple[Job, ...]:
    """Return the jobs of a campaign, equal ones once, in a fixed order.

    Boards and stations that the bench lacks are added to `missing`, where it is given and something
    is left to do. Raises `ConfigError` if the campaign names what is not there, and `BenchError` if
    no station of the bench has what it asks for.
    """
    pools = choose_needs(config, bench, missing)
    jobs: dict[str, Job] = {}
    _runtime_identity.cache_clear()  # a library may have changed since the last plan
    # Network first, so that boards work side by side and a network is converted once.
    for spec in choose_specs(config):
        for needs in pools:
            board, sampled = load_board(needs.board), spec.architecture is not None
            for runtime, build, shared in _configurations(config, board, sampled=sampled):
                job = Job.of(needs, spec, runtime, build, config.measure, one_firmware=shared)
                jobs.setdefault(job.key, job)
    return tuple(jobs.values())


def _configurations(
    config: CampaignConfig, board: Board, *, sampled: bool
) -> Iterator[tuple[RuntimeOptions, BuildOptions, bool]]:
    measure = config.measure
    for sweep in config.runtimes:
        for runtime in sweep.options():
            for optimization in sweep.optimization:
                build = BuildOptions(
                    optimization=optimization.value,
                    icache=measure.icache,
                    dcache=measure.dcache,
                    art=measure.art,
                    baud=measure.baud or board.facts.console.baud,
                )
                yield runtime, build, sweep.shares_firmware(board, sampled=sampled)


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
