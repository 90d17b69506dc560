"""What is searched for each task, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

METHODS = ("search", "random", "evolution", "uniform", "published")


@dataclass(frozen=True, slots=True)
class Study:
    """Options of `harness search` that all runs of a task share, and those of its baselines."""

    published: str | None  # network from a paper; the latency budget is its own, rounded up
    candidates: int  # networks that random and evolution try
    shared: Mapping[str, str]

    def runs(self, seeds: int) -> Iterator[tuple[str, int]]:
        """Return method and seed of every run, the searches first: others take as long."""
        methods = METHODS if self.published else METHODS[:-1]
        return ((method, seed) for method in methods for seed in range(seeds))

    def options(self, method: str, seed: int, search: str) -> list[str]:
        """Return the options of one run; `search` is the folder of the search of this seed."""
        words = [word for pair in self.shared.items() for word in pair]
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


STUDIES: Mapping[str, Study] = {
    "kws": Study(
        published="micronet-kws-s",
        candidates=8,
        shared={
            "--latency-ms": "74", "--sram-kib": "64", "--flash-kib": "128",
            "--train-samples": "12000", "--epochs": "8", "--trial-epochs": "3",
            "--retrain-epochs": "8",
        },
    ),
    "vww": Study(
        published=None,  # MicroNet-VWW-2 lacks its padded additions, so it would not be its own
        candidates=8,
        shared={
            "--latency-ms": "80", "--sram-kib": "128", "--flash-kib": "256", "--size": "50",
            "--epochs": "12", "--trial-epochs": "8", "--retrain-epochs": "25",
        },
    ),
    "ad": Study(
        published=None,  # at 48 times the ops per input that two cores can train
        candidates=8,
        shared={
            "--latency-ms": "60", "--sram-kib": "128", "--flash-kib": "256",
            "--epochs": "12", "--trial-epochs": "5", "--retrain-epochs": "15",
        },
    ),
    "ic": Study(
        published=None,  # MicroNets have none for CIFAR-10
        candidates=8,
        shared={
            "--latency-ms": "80", "--sram-kib": "128", "--flash-kib": "256",
            "--train-samples": "10000",
            "--epochs": "12", "--trial-epochs": "5", "--retrain-epochs": "15",
        },
    ),
}  # fmt: skip
