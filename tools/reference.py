"""Measure the reference corpus on virtual boards and fit what `harness predict` ships.

    python -m tools.reference measure --db FILE [--board B] [-O2] [-Os] [--kernels K]
    python -m tools.reference fit --db FILE
    python -m tools.reference code
    python -m tools.reference judge --db FILE [--board B] [-O2] [-Os] --models FILE ...

`measure` runs an ordinary campaign for each configuration; `fit` writes the rows (Parquet) and one
JSON file for each configuration into results/reference/; `code` brings what the firmware takes up
to date, where it has changed and no kernel has; `judge` measures models that no fit has
seen and prints how far their predictions are off.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear  # type: ignore[import-untyped]  # ships no types

from harness import __version__
from harness.backbones import backbone_names, get_backbone
from harness.bench import load_bench
from harness.boards import Board, all_boards, load_board
from harness.campaign.config import BackboneSamples, CampaignConfig, MeasureOptions
from harness.campaign.entry import plan_now
from harness.campaign.plan import firmware_digest
from harness.campaign.prepare import convert
from harness.campaign.runner import run
from harness.campaign.specs import ModelSpec
from harness.campaign.sweep import RuntimeSweep
from harness.cli.output import print_table
from harness.cli.progress import ProgressListener
from harness.firmware.builder import build
from harness.firmware.image import BuildOptions, FirmwareImage, FlashSplit
from harness.firmware.shared import SharedImage, build_shared, symbols_of
from harness.fit import Fingerprint, Metrics
from harness.fit.layers import half_width
from harness.fit.score import FOLDS, LEVEL, Array, score
from harness.models import TFLiteModel, read_model
from harness.paths import cache_dir, data_dir
from harness.prediction import Code, PathFit, Reference, load_reference, predict_model
from harness.prediction.memory import Memory
from harness.prediction.reference import FOLDER, SCHEMA_VERSION, file_name
from harness.prediction.work import Work, work_of
from harness.results import open_store
from harness.results.record import LayerCycles, Measurement, Status, best_per_key
from harness.results.store import Filter
from harness.runtimes import RuntimeOptions, get_runtime
from harness.runtimes.aot import lower, planner
from harness.runtimes.aot.blob import kernel_names
from harness.runtimes.aot.program import Step
from harness.runtimes.region import staging_bytes
from harness.strict import from_json, to_json
from tools.codesize import kernel_functions
from tools.corpus import network

CAMPAIGN = "reference"
NETWORKS, SAMPLES = 40, 10
_MOST_ARENA, _MOST_WEIGHTS = 80_000, 200_000
_LARGE_FIRST, _LARGE_ARENA, _LARGE_WEIGHTS = 500, 200_000, 650_000
_MEASURE = MeasureOptions(warmup=1, repeats=1, layers=True)  # the model has no noise to average

_MOST_OF_A_LINE = 60.0  # cycles: a miss that writes another line back
_SMALL_CYCLES = 300  # layers of fewer cycles count for less: they are mostly call and clock


@dataclass(frozen=True, slots=True)
class _Layer:
    network: int
    work: Work
    cycles: float


def corpus(board: Board, count: int) -> Iterator[Path]:
    """Yield the files of `count` networks for a board, every third of them with a ballast."""
    folder = cache_dir() / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    tightly = board.ram_regions[0].bytes if board.facts.caches.dcache_bytes else 0
    for seed in islice(filter(_fits, itertools.count()), count):
        ballast = tightly if seed % 3 == 2 else 0
        path = folder / f"corpus-{seed}-{ballast}.tflite"
        path.write_bytes(network(seed, ballast))
        yield path


def _samples(board: Board, count: int) -> Iterator[BackboneSamples]:
    """Yield samples of every backbone: small ones, which fit every board, and fewer large ones."""
    sizes = [(0, count, _MOST_ARENA, _MOST_WEIGHTS)]
    if board.ram_bytes >= _LARGE_ARENA + _MOST_ARENA:
        sizes.append((_LARGE_FIRST, count // 3, _LARGE_ARENA, _LARGE_WEIGHTS))
    for first, samples, memory, parameters in sizes:
        for name in backbone_names() if samples else ():
            yield BackboneSamples(
                name=name,
                samples=samples,
                first=first,
                max_working_memory_bytes=memory,
                max_parameters=parameters,
            )


def _fits(seed: int) -> bool:
    """Return whether a network fits every board, so that all have the same."""
    model = read_model(network(seed))
    arena = planner.plan(model.graph, lower.lower(model, "cmsis_nn")).arena_bytes
    return arena <= _MOST_ARENA and model.graph.weights_bytes <= _MOST_WEIGHTS


def measure(board: Board, kernels: str, level: str, db: Path, networks: int, samples: int) -> None:
    """Measure the corpus and samples of every backbone in one configuration."""
    config = CampaignConfig.of(
        CAMPAIGN,
        boards=[board.id],
        models=list(corpus(board, networks)),
        backbones=list(_samples(board, samples)),
        runtime=RuntimeSweep.of("aot", kernels, level, one_firmware=True),
        measure=_MEASURE,
    )
    bench = load_bench(None)
    jobs = plan_now(config, bench)
    with open_store(db) as store, ProgressListener(f"{board.id} {kernels} {level}") as listener:
        run(jobs, bench, store, campaign=CAMPAIGN, listener=listener)


def fit(db: Path, folder: Path) -> None:
    """Write the rows, and a reference fit for each configuration that they have."""
    where = Filter(campaign=CAMPAIGN, status=(Status.VALID, Status.DEGRADED))
    folder.mkdir(parents=True, exist_ok=True)
    with open_store(db, create=False) as store:
        rows = best_per_key(store.query(where))
        store.export(folder.parent / "rows.parquet", where)
        store.export(folder.parent / "layers.parquet", where, table="layers")
    groups: dict[Fingerprint, list[Measurement]] = {}
    for row in sorted(rows, key=lambda row: row.key):
        groups.setdefault(replace(Fingerprint.of(row), backbone=None), []).append(row)
    groups = {f: found for f, found in groups.items() if any(row.backbone is None for row in found)}
    for fingerprint, found in groups.items():
        reference = fit_reference(fingerprint, found)
        name = file_name(fingerprint.board, str(fingerprint.kernels), str(fingerprint.optimization))
        (folder / name).write_text(json.dumps(to_json(reference), indent=1) + "\n", "utf-8")
        print(name, _summary(reference))  # noqa: T201


def update_code(folder: Path) -> None:
    """Write into the reference fits what the firmware takes now; what they say of cycles stays."""
    for file in sorted(folder.glob("*.json")):
        kept = from_json(Reference, json.loads(file.read_text("utf-8")), where=str(file))
        of, model = kept.fingerprint, read_model(network(0), "corpus")
        board, kernels = load_board(of.board), str(of.kernels)
        shared = _shared(board, kernels, str(of.optimization))
        reference = replace(kept, **_sizes(model, board, kernels, shared))
        file.write_text(json.dumps(to_json(reference), indent=1) + "\n", "utf-8")
        print(file.name, kept.code.base_bytes, reference.code.base_bytes)  # noqa: T201


def _shared(board: Board, kernels: str, level: str) -> SharedImage:
    return build_shared(board, RuntimeOptions("aot", kernels), BuildOptions(optimization=level))


def _sizes(model: TFLiteModel, board: Board, kernels: str, shared: SharedImage) -> dict[str, Any]:
    """Return the fields of a reference that the firmware decides, whatever the model."""
    own = _own_image(model, board, shared)
    return {
        "firmware": firmware_digest(),
        "arena_address": symbols_of(shared.image)["_free_start"],
        "sram_fixed_bytes": own.ram.total - own.ram.arena - staging_bytes(model),
        "code": _code(model, own.sizes, shared.image.elf, kernels),
    }


def fit_reference(fingerprint: Fingerprint, rows: Sequence[Measurement]) -> Reference:
    """Fit one configuration."""
    board, kernels = load_board(fingerprint.board), str(fingerprint.kernels)
    level = str(fingerprint.optimization)
    shared = _shared(board, kernels, level)
    arena = symbols_of(shared.image)["_free_start"]
    models = [model_of(row) for row in rows]
    whole = next(m for m, row in zip(models, rows, strict=True) if row.backbone is None)
    layers = [
        _Layer(number, work_of(step, kernels, memory), float(layer.cycles or 0))
        for number, (row, model) in enumerate(zip(rows, models, strict=True))
        for step, memory, layer in _steps(row, model, board, arena)
    ]
    cycles = np.array([float(np.median(row.cycles)) for row in rows])
    outside, paths = np.zeros(len(rows)), {}
    for path in sorted({layer.work.path for layer in layers}):
        found = [layer for layer in layers if layer.work.path == path]
        paths[path], predicted = _fit_path(found)
        for layer, value in zip(found, predicted, strict=True):
            outside[layer.network] += value
    half = half_width(outside, cycles)
    ids = np.unique([model.sha256 for model in models], return_inverse=True)[1]
    sampled = np.array([row.backbone is not None for row in rows])

    def metrics(which: NDArray[np.bool_]) -> Metrics | None:
        if not which.any():
            return None
        return score(outside[which], half * outside[which], cycles[which], ids[which])

    return Reference(
        schema_version=SCHEMA_VERSION,
        created_by=f"tinyml-harness {__version__}",
        fingerprint=fingerprint,
        **_sizes(whole, board, kernels, shared),
        smallest_cycles=float(cycles.min()),
        paths=paths,
        level=LEVEL,
        relative_half_width=half,
        backbones=metrics(sampled),
        corpus=metrics(~sampled),
    )


def model_of(row: Measurement) -> TFLiteModel:
    """Return the model of a row, made again and compared by its hash."""
    name = str(row.model_name)
    if row.architecture is not None and row.backbone is not None:
        backbone = get_backbone(row.backbone)
        architecture = backbone.from_json(row.architecture)
        model = read_model(convert(ModelSpec(name, row.seed or 0, architecture)), name)
    else:
        _, seed, ballast = name.split("-")
        model = read_model(network(int(seed), int(ballast)), name)
    if model.sha256 != row.model_sha256:
        raise ValueError(f"{name} is not the model that was measured")
    return model


def _steps(
    row: Measurement, model: TFLiteModel, board: Board, arena: int
) -> Iterator[tuple[Step, Memory, LayerCycles]]:
    program = lower.lower(model, str(row.kernels))
    memory = Memory.of(board, model.graph, planner.plan(model.graph, program), arena)
    for step, layer in zip(program.steps, row.layers, strict=True):
        yield step, memory, layer


def _fit_path(layers: Sequence[_Layer]) -> tuple[PathFit, Array]:
    """Fit one path; return the fit, and predictions of each layer by fits without its network."""
    names = sorted({name for layer in layers for name in layer.work.counts})
    x = np.array([[layer.work.counts.get(name, 0.0) for name in names] for layer in layers])
    y = np.array([layer.cycles for layer in layers])
    folds = np.array([layer.network % FOLDS for layer in layers])
    outside = np.zeros(len(y))
    for fold in range(FOLDS):
        left, rest = folds == fold, folds != fold
        if rest.any():
            outside[left] = x[left] @ _coefficients(names, x[rest], y[rest])
    coefficients = dict(zip(names, _coefficients(names, x, y), strict=True))
    largest = dict(zip(names, x.max(axis=0), strict=True))
    found = PathFit(
        coefficients={name: round(float(v), 4) for name, v in coefficients.items() if v > 0},
        largest={name: round(float(v), 1) for name, v in largest.items() if v > 0},
        layers=len(y),
        mape_pct=round(float(100 * np.mean(np.abs(outside - y) / y)), 2),
    )
    return found, outside


def _coefficients(names: Sequence[str], x: Array, y: Array) -> Array:
    """Return a coefficient for each column by least squares of relative errors.

    None is negative, and no line of memory costs more than a miss can: counts of lines rise
    together, so that a fit could give one of them the cycles of all.
    """
    weights = 1 / (y + _SMALL_CYCLES)
    scale = x.max(axis=0)
    scale[scale == 0] = 1
    most = [_MOST_OF_A_LINE if "lines" in n or "again" in n else np.inf for n in names]
    columns = x / scale * weights[:, None]
    found = lsq_linear(columns, y * weights, bounds=(0, np.array(most) * scale), method="bvls")
    return np.asarray(found.x / scale)


def _own_image(model: TFLiteModel, board: Board, shared: SharedImage) -> FirmwareImage:
    sources = get_runtime("aot").generate(model, shared.options, board)
    return build(board, model, sources, shared.image.options)


def _code(model: TFLiteModel, sizes: FlashSplit, elf: Path, kernels: str) -> Code:
    """Return the code of an image: what `model`'s has, and functions by kernel."""
    functions, needed = kernel_functions(elf, [n.removeprefix("aot_") for n in kernel_names()])
    code = Code(base_bytes=0, functions=functions, kernels=needed)
    used = {step.kernel for step in lower.lower(model, kernels).steps}
    own = sizes.kernels + sizes.runtime + sizes.port
    return replace(code, base_bytes=own - code.bytes(used))


def _summary(reference: Reference) -> str:
    parts = [f"±{100 * reference.relative_half_width:.1f} %"]
    for name in ("backbones", "corpus"):
        found: Metrics | None = getattr(reference, name)
        if found is not None:
            parts.append(
                f"{name}: {found.n} networks, MAPE {found.mape_pct:.2f} %, "
                f"largest {found.max_error_pct:.1f} %, "
                f"{100 * (found.share_within_10_pct or 0):.0f} % within ±10 %"
            )
    return "; ".join(parts)


def judge(board: Board, kernels: str, level: str, models: Sequence[Path], db: Path) -> None:
    """Measure models in images of their own, and print how far predictions are off."""
    config = CampaignConfig.of(
        "judge",
        boards=[board.id],
        models=models,
        runtime=RuntimeSweep.of("aot", kernels, level),
        measure=_MEASURE,
    )
    bench = load_bench(None)
    jobs = plan_now(config, bench)
    with open_store(db) as store:
        with ProgressListener(f"{board.id} {kernels} {level}") as listener:
            run(jobs, bench, store, campaign="judge", listener=listener)
        rows = {row.key: row for row in best_per_key(store.query(Filter(campaign="judge")))}
    reference = load_reference(board.id, kernels, level)
    table = []
    for job, path in zip(jobs, models, strict=True):
        row, found = rows[job.key], predict_model(read_model(path), board, reference)
        sram = (row.arena_planned_bytes or 0) + (row.ram_static_bytes or 0)
        table.append(
            (
                path.stem, row.status.value, row.latency_us and row.latency_us / 1000,
                _off(found.latency_us, row.latency_us), len(found.extrapolated),
                _off(found.arena_bytes, row.arena_planned_bytes), _off(found.sram_bytes, sram),
                _off(found.flash_bytes, row.flash_total_bytes),
            )
        )  # fmt: skip
    heads = ("model", "status", "ms", "latency %", "far", "arena %", "SRAM %", "flash %")
    print_table(f"{board.id} {kernels} {level}: predicted against measured", heads, table)


def _off(predicted: float | None, measured: float | None) -> float | None:
    return 100 * (predicted - measured) / measured if predicted and measured else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of the module's text."""
    parser = argparse.ArgumentParser(prog="reference", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("measure", "fit", "code", "judge"))
    parser.add_argument("--models", nargs="+", type=Path, default=[])
    parser.add_argument("--db", type=Path, help="store of the rows; `code` needs none")
    parser.add_argument("--board", action="append")
    parser.add_argument("--kernels", default="cmsis_nn")
    parser.add_argument("-O", dest="levels", action="append")
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args(arguments)
    if options.command == "code":
        update_code(data_dir(FOLDER))
        return
    if options.db is None:
        parser.error(f"{options.command} needs --db FILE")
    if options.command == "fit":
        fit(options.db, data_dir(FOLDER))
        return
    for level in (f"-O{level}" for level in options.levels or "2s"):
        for board in map(load_board, options.board or [board.id for board in all_boards()]):
            if options.command == "judge":
                judge(board, options.kernels, level, options.models, options.db)
            else:
                counts = options.networks, options.samples
                measure(board, options.kernels, level, options.db, *counts)


if __name__ == "__main__":
    main()
