"""Measure the campaign's own speed: networks an hour on the virtual board, and time by stage.

Kernels are warm (a few networks are built first), networks are not: each is sampled, written,
generated, flashed, run and stored for the first time, in a cache and a store of its own. With
``--naive N`` a plain script does the same for N networks, in the same run (`tools.naive`). Bytecode
is cached for both, as in an installation, whatever the caller's environment says.

CPU seconds a network are those of all processes, the converter's start included; on a machine that
does other things as well they say more than the rate does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from harness.runtimes import RuntimeName

_STAGES = ("convert", "generate", "build", "flash", "run", "store")


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=160)
    parser.add_argument("--board", default="nucleo_f746zg")
    parser.add_argument("--backbone", default="ds_cnn_kws")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--runtime", default="aot", choices=list(RuntimeName))
    parser.add_argument("--kernels", default="cmsis_nn")
    parser.add_argument("--library", action="append", metavar="[KERNELS=]SPEC")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-layers", action="store_true", help="one pass less per network")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--own-images", action="store_true", help="an image for each network")
    parser.add_argument("--naive", type=int, default=0, metavar="N")
    parser.add_argument(
        "--first-command", action="store_true", help="time README's first command in a fresh clone"
    )
    parser.add_argument(
        "--objects", type=Path, help="folder to take compiled kernels from, and to leave them in"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-benchmark-") as folder:
        cache = Path(folder) / "cache"
        os.environ["HARNESS_CACHE"] = str(cache)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(Path(folder) / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
        if options.objects is not None:
            _share_objects(cache, options.objects)
        figures = measure(options, Path(folder))
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    sys.stdout.write(_text(figures))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the figures of one benchmark run."""
    firmware = _firmware_seconds(options.board, folder)
    started = time.perf_counter()
    _campaign(options, folder, "first", networks=1, seed=options.seed + 1)
    first = time.perf_counter() - started
    _campaign(options, folder, "warm-up", networks=3, seed=options.seed + 2)
    before = sum(os.times()[:4])
    summary = _campaign(options, folder, "timed", networks=options.networks, seed=options.seed)
    for process in multiprocessing.active_children():
        process.join()
    cpu_seconds = sum(os.times()[:4]) - before
    measured = summary.measured
    naive = _naive(options, folder) if options.naive else None
    command = _first_command(folder / "clone") if options.first_command else None
    return {
        "board": options.board,
        "backbone": options.backbone,
        "runtime": options.runtime,
        "kernels": options.kernels,
        "one_firmware": not options.own_images,
        "networks": measured,
        "valid": summary.statuses["valid"],
        "seconds": summary.seconds,
        "networks_per_hour": summary.per_hour,
        "firmware_seconds": firmware,
        "first_network_seconds": first,  # compiles the kernels
        "predict_seconds": _predict_seconds(options),
        "naive": naive,
        "first_command": command,
        "processors": os.cpu_count(),
        "cpu_seconds_per_network": cpu_seconds / max(1, measured),
        "stage_seconds_per_network": {
            stage: summary.stage_seconds[stage] / max(1, measured) for stage in _STAGES
        },
    }


def _naive(options: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Compare with a plain script: as many inferences as the campaign, and one each."""
    from harness.paths import cache_dir
    from tools.naive import seconds_per_network

    found = []
    for repeats, warmup in ((options.repeats, options.warmup), (1, 0)):
        for known in ("models", "references"):  # the script writes each network anew, too
            shutil.rmtree(cache_dir() / known, ignore_errors=True)
        alike = argparse.Namespace(**{**vars(options), "repeats": repeats, "warmup": warmup})
        alike.no_layers = True  # the script does not ask for them
        campaign = _campaign(
            alike, folder, f"{repeats}-each", networks=options.networks, seed=options.seed
        )
        seconds = seconds_per_network(
            options.board,
            options.backbone,
            networks=options.naive + 1,
            seed=options.seed,
            repeats=repeats,
            warmup=warmup,
            folder=folder / "naive",
        )
        rate = 3600 / median(seconds[1:])
        found.append({
            "repeats": repeats,
            "networks_per_hour": campaign.per_hour,
            "script_networks_per_hour": rate,
            "times": campaign.per_hour / rate,
        })  # fmt: skip
    return found


def _firmware_seconds(board_id: str, folder: Path) -> dict[str, float]:
    """Time the build of aot's firmware for many models: compiled, and from compiled objects."""
    from harness.boards import load_board
    from harness.firmware import build
    from harness.runtimes import RuntimeOptions, SharedFirmware, get_runtime

    board, runtime, chosen = load_board(board_id), get_runtime("aot"), RuntimeOptions()
    assert isinstance(runtime, SharedFirmware)
    sources = runtime.generate_shared(runtime.shared_operators(chosen), chosen, board)
    found = {}
    for name in ("no_objects", "all_objects"):
        _share_objects(folder / name, folder / "objects")
        started = time.perf_counter()
        build(board, None, sources, cache_dir=folder / name)
        found[name] = time.perf_counter() - started
    return found


def _predict_seconds(options: argparse.Namespace) -> float:
    """Return the median time of `harness predict` for a network of the backbone."""
    from harness.backbones import get_backbone

    decisions = json.dumps(get_backbone(options.backbone).sample(options.seed, 0).to_json())
    words = ("predict", "--backbone", options.backbone, "--decisions", decisions)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        command = [sys.executable, "-m", "harness", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _first_command(clone: Path) -> dict[str, float]:
    """Time README's first command in a clone with an empty home: cold, then again."""
    subprocess.run(["git", "clone", "-q", str(Path.cwd()), str(clone)], check=True)
    home = clone.with_name("home")
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
    environment = {**kept, "HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    found = {}
    for name in ("cold_seconds", "warm_seconds"):
        started = time.perf_counter()
        python = sys.base_prefix + "/bin/python3"
        command = [python, "bootstrap.py", "demo"]
        subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
        found[name] = time.perf_counter() - started
    files = (path for path in (clone / ".venv").rglob("*") if not path.is_symlink())
    found["environment_mb"] = sum(path.stat().st_size for path in files) / 1e6
    return found


def _share_objects(cache: Path, objects: Path) -> None:
    """Let the benchmark's own cache have its compiled objects in a folder that stays."""
    from harness.firmware.toolchain import platformio_core_dir

    objects.mkdir(parents=True, exist_ok=True)
    place = platformio_core_dir(cache) / "objects"
    place.parent.mkdir(parents=True)
    place.symlink_to(objects.resolve(), target_is_directory=True)


def _campaign(
    options: argparse.Namespace, folder: Path, name: str, *, networks: int, seed: int
) -> Any:
    from harness.bench import load_bench
    from harness.campaign.config import BackboneSamples, CampaignConfig, MeasureOptions
    from harness.campaign.plan import plan
    from harness.campaign.runner import run
    from harness.campaign.sweep import RuntimeSweep
    from harness.cli.progress import ProgressListener
    from harness.results import open_store

    config = CampaignConfig.of(
        name,
        boards=[options.board],
        backbones=[BackboneSamples(name=options.backbone, samples=networks)],
        runtime=RuntimeSweep.of(
            options.runtime,
            options.kernels,
            specs=options.library,
            one_firmware=not options.own_images,
        ),
        measure=MeasureOptions(
            warmup=options.warmup, repeats=options.repeats, layers=not options.no_layers
        ),
        seed=seed,
    )
    bench = load_bench(None)
    jobs = plan(config, bench)
    with open_store(folder / "rows.sqlite") as store, ProgressListener(name) as listener:
        return run(jobs, bench, store, campaign=name, listener=listener)


def _text(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['networks']} networks of {figures['backbone']} on a virtual {figures['board']}, "
        f"{figures['runtime']}/{figures['kernels']}"
        f"{', one firmware' if figures['one_firmware'] else ''}, "
        f"{figures['processors']} processors: {figures['seconds']:.1f} s, "
        f"{figures['networks_per_hour']:.0f} networks an hour, {figures['valid']} valid, "
        f"{figures['cpu_seconds_per_network']:.2f} CPU seconds a network",
        "seconds a network by stage (stages overlap):",
    ]
    for stage, seconds in figures["stage_seconds_per_network"].items():
        lines.append(f"  {stage:<9}{seconds:7.3f}")
    lines += [
        f"one firmware: {figures['firmware_seconds']['no_objects']:.1f} s, "
        f"{figures['firmware_seconds']['all_objects']:.1f} s from compiled objects",
        f"first network, kernels compiled: {figures['first_network_seconds']:.1f} s",
        f"harness predict: {figures['predict_seconds']:.2f} s",
    ]
    lines += [
        f"{pair['repeats']:.0f} timed inferences each, no layers: "
        f"{pair['networks_per_hour']:.0f} networks an hour; a script that calls pio, pyocd and "
        f"pyserial in a loop: {pair['script_networks_per_hour']:.0f}, so {pair['times']:.1f} times"
        for pair in figures["naive"] or ()
    ]
    if command := figures["first_command"]:
        lines.append(
            f"README's first command: {command['cold_seconds']:.0f} s in a fresh clone, "
            f"{command['warm_seconds']:.0f} s again, .venv {command['environment_mb']:.0f} MB"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
