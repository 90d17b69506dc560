"""What is searched for each task, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

METHODS = ("search", "uniform", "published", "random", "evolution")


@dataclass(frozen=True, slots=True)
class Study:
    """Options of `harness search` that all runs of a task share, and those of its baselines."""

    published: str  # network from a paper, which needs about as much as the budgets allow
    candidates: int  # networks that random and evolution try
    shared: Mapping[str, str]

    def runs(self, seeds: int) -> Iterator[tuple[str, int]]:
        """Return method and seed of every run, the searches first, as others need their times."""
        return ((method, seed) for method in METHODS for seed in range(seeds))

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
                return [*words, "--published", self.published]
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
}  # fmt: skip
