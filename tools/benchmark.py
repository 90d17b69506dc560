"""Measure the campaign's own speed: networks an hour on the virtual board, and time by stage.

Kernels are warm (a few networks are built first), networks are not: each is sampled, written,
generated, flashed, run and stored for the first time, in a cache and a store of its own. With
``--naive N`` a plain script does the same for N networks, in the same run (`tools.naive`).

CPU seconds a network are those of all processes, the converter's start included; on a machine that
does other things as well they say more than the rate does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from harness.runtimes import RuntimeName

_STAGES = ("convert", "generate", "build", "flash", "run", "store")


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=40)
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
        "--objects", type=Path, help="folder to take compiled kernels from, and to leave them in"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-benchmark-") as folder:
        cache = Path(folder) / "cache"
        os.environ["HARNESS_CACHE"] = str(cache)
        if options.objects is not None:
            _share_objects(cache, options.objects)
        figures = measure(options, Path(folder))
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    sys.stdout.write(_text(figures))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the figures of one benchmark run."""
    _campaign(options, folder, "warm-up", networks=3, seed=options.seed + 1)
    before = sum(os.times()[:4])
    summary = _campaign(options, folder, "timed", networks=options.networks, seed=options.seed)
    cpu_seconds = sum(os.times()[:4]) - before
    measured = summary.measured
    naive: list[float] = []
    if options.naive:
        from tools.naive import seconds_per_network

        naive = seconds_per_network(
            options.board,
            options.backbone,
            networks=options.naive + 1,
            seed=options.seed,
            folder=folder / "naive",
        )[1:]
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
        "naive_seconds_per_network": naive,
        "processors": os.cpu_count(),
        "cpu_seconds_per_network": cpu_seconds / max(1, measured),
        "stage_seconds_per_network": {
            stage: summary.stage_seconds[stage] / max(1, measured) for stage in _STAGES
        },
    }


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
    jobs = plan(config, load_bench(None))
    with open_store(folder / "rows.sqlite") as store, ProgressListener(name) as listener:
        return run(jobs, store, campaign=name, listener=listener)


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
    naive = figures["naive_seconds_per_network"]
    if naive:
        rate = 3600 / median(naive)
        lines.append(
            f"a script that calls pio, pyocd and pyserial in a loop: {rate:.0f} networks an hour, "
            f"so the campaign is {figures['networks_per_hour'] / rate:.1f} times as fast"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
