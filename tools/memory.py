"""Run a campaign of tiny networks and print this process's memory as it goes on.

Each network is another file, so that each is built, flashed and measured; the store and the cache
are temporary.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

from harness.campaign.entry import SilentListener
from harness.runtimes import RuntimeName

_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Sampler(SilentListener):
    def __init__(self, every: int) -> None:
        self.every = every
        self.done = 0
        self.rss_mb: dict[int, float] = {}

    def finished(self, *_: object, **__: object) -> None:
        """Note the memory after some jobs."""
        self.done += 1
        if self.done % self.every == 0 or self.done == 1:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.rss_mb[self.done] = pages * _PAGE / 1e6
            sys.stderr.write(f"{self.done:6} {self.rss_mb[self.done]:7.0f} MB\n")


def main() -> None:
    """Measure the networks, then print memory over jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--board", default="nucleo_f746zg")
    parser.add_argument("--runtime", default="aot", choices=list(RuntimeName))
    parser.add_argument("--kernels", default="portable")
    parser.add_argument("--library", action="append", metavar="[KERNELS=]SPEC")
    parser.add_argument("--one-firmware", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-memory-") as folder:
        os.environ["HARNESS_CACHE"] = f"{folder}/cache"
        sampler = _campaign(options, Path(folder))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    for done, rss_mb in sampler.rss_mb.items():
        sys.stdout.write(f"{done:6} jobs {rss_mb:7.0f} MB\n")
    sys.stdout.write(f"  peak of all      {peak_mb:7.0f} MB\n")


def _campaign(options: argparse.Namespace, folder: Path) -> _Sampler:
    from harness.bench import load_bench
    from harness.campaign.config import CampaignConfig
    from harness.campaign.entry import plan_now, run_config
    from harness.campaign.sweep import RuntimeSweep
    from harness.results import open_store
    from harness.testing import tiny_network

    models = []
    for seed in range(options.networks):
        models.append(folder / f"tiny-{seed}.tflite")
        models[-1].write_bytes(tiny_network(seed))
    config = CampaignConfig.of(
        "memory",
        boards=[options.board],
        models=models,
        runtime=RuntimeSweep.of(
            options.runtime,
            options.kernels,
            specs=options.library,
            one_firmware=options.one_firmware,
        ),
    )
    sampler = _Sampler(options.every)
    with open_store(folder / "rows.sqlite") as store:
        bench = load_bench(None)
        jobs = plan_now(config, bench)
        result = run_config(config, jobs, bench, store, out=folder / "out", listener=sampler)
    sys.stderr.write(f"{dict(result.summary.statuses)}, {result.summary.per_hour:.0f} an hour\n")
    return sampler


if __name__ == "__main__":
    main()
