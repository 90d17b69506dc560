"""What is searched for each task, and with what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Run = tuple[str, int]
"""Method and seed."""
METHODS = ("search", "uniform", "published", "random", "evolution")


@dataclass(frozen=True, slots=True)
class Study:
    """Options of `harness search` that all runs of a task share, and those of its baselines."""

    published: str | None  # network from a paper, which needs about as much as the budgets allow
    candidates: int  # networks that random and evolution try
    shared: Mapping[str, str]
    backbone: str | None = None  # None: the task's own

    def runs(self, seeds: int) -> list[Run]:
        """Return every run: all methods of a seed before the next, so that pairs come early."""
        methods = [method for method in METHODS if self.published or method != "published"]
        return [(method, seed) for seed in range(seeds) for method in methods]

    def options(self, method: str, seed: int, search: str) -> list[str]:
        """Return the options of one run; `search` is the record of the search of this seed."""
        words = [self.backbone] if self.backbone else []
        words += [word for pair in self.shared.items() for word in pair]
        words += ["--seed", str(seed)]
        match method:
            case "random" | "evolution":
                tries = ["--candidates", str(self.candidates), "--like", search]
                return [*words, "--baseline", method, *tries]
            case "uniform":
                return [*words, "--baseline", method]
            case "published":
                return [*words, "--published", str(self.published)]
        return words


def next_run(waiting: Sequence[Run], finished: Collection[Run]) -> Run | None:
    """Return the first run that can start; random and evolution need the time of their search."""
    for method, seed in waiting:
        if method not in ("random", "evolution") or ("search", seed) in finished:
            return method, seed
    return None


STUDIES: Mapping[str, Study] = {
    "kws": Study(
        published="micronet-kws-s",
        candidates=8,
        shared={
            "--latency-ms": "74", "--sram-kib": "64", "--flash-kib": "128",
            "--train-samples": "8000", "--epochs": "6", "--trial-epochs": "3",
            "--retrain-epochs": "10",
        },
    ),
    "vww": Study(
        published="micronet-vww-2",
        candidates=8,
        shared={
            "--latency-ms": "42", "--sram-kib": "64", "--flash-kib": "256", "--size": "50",
            "--train-samples": "2800", "--epochs": "12", "--trial-epochs": "6",
            "--retrain-epochs": "24",
        },
    ),
    "ad": Study(
        published="micronet-ad-s",
        candidates=8,
        backbone="ds_cnn_ad_3x3",
        shared={
            "--latency-ms": "145", "--sram-kib": "128", "--flash-kib": "288",
            "--epochs": "10", "--trial-epochs": "4", "--retrain-epochs": "12",
        },
    ),
    "ic": Study(
        published=None,
        candidates=8,
        shared={
            "--latency-ms": "40", "--sram-kib": "80", "--flash-kib": "128",
            "--train-samples": "6000", "--epochs": "8", "--trial-epochs": "3",
            "--retrain-epochs": "12",
        },
    ),
}  # fmt: skip
