"""How well a supernet ranks networks: against training each of them on its own."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from harness.backbones import Architecture
from harness.errors import SearchError
from harness.files import draft_of
from harness.strict import from_json, to_json

FILE = "ranking.json"
LEAST = 3
"""Fewest networks that have a rank correlation worth stating."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One network, as the supernet sees it and as it learns on its own."""

    architecture: Architecture
    ops: int
    supernet_loss: float  # cross-entropy on the validation split, with the supernet's weights
    accuracies: tuple[float, ...]  # on the validation split after training alone, one for each seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Kendall's tau between both, with a 95 % interval.

    The interval is by Fisher's transformation (Fieller et al. 1957: variance 0.437 / (n - 4)).
    `ops_tau` is that of a ranking by operations alone, which needs no supernet.
    """

    networks: tuple[Ranked, ...]
    epochs: int  # that each network trained for
    tau: float
    interval: tuple[float, float]
    ops_tau: float
    seed_tau: float | None  # between two seeds of the same trainings: what no ranking can exceed


def ranking(networks: Sequence[Ranked], epochs: int) -> Ranking:
    """Compare the two rankings.

    Raises:
        SearchError: Fewer than three networks.
    """
    if len(networks) < LEAST:
        raise SearchError(f"{len(networks)} networks to rank", expected=f"{LEAST} or more")
    alone = [mean(network.accuracies) for network in networks]
    tau = _tau([-network.supernet_loss for network in networks], alone)
    several = all(len(network.accuracies) > 1 for network in networks)
    by_seed = list(zip(*(network.accuracies for network in networks), strict=True))
    return Ranking(
        networks=tuple(networks),
        epochs=epochs,
        tau=tau,
        interval=_interval(tau, len(networks)),
        ops_tau=_tau([network.ops for network in networks], alone),
        seed_tau=_tau(by_seed[0], by_seed[1]) if several else None,
    )


def save_ranking(found: Ranking, folder: Path) -> Path:
    """Write the ranking into the folder of its run."""
    file = folder / FILE
    with draft_of(file, what="ranking", error=SearchError) as draft:
        draft.write_text(json.dumps(to_json(found), indent=2) + "\n", encoding="utf-8")
    return file


def load_ranking(folder: Path) -> Ranking:
    """Read what `save_ranking` wrote.

    Raises:
        SearchError: There is none, or it is damaged.
    """
    file = folder / FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise SearchError(
            f"{file} cannot be read: {failure}", fix="make it with `harness search rank`"
        ) from None
    return from_json(Ranking, data, where=str(file), error=SearchError)


def _tau(left: Sequence[float], right: Sequence[float]) -> float:
    from scipy.stats import kendalltau  # type: ignore[import-untyped]  # ships no types

    found = float(kendalltau(left, right).statistic)
    return 0.0 if math.isnan(found) else found  # all alike: nothing is ranked


def _interval(tau: float, n: int) -> tuple[float, float]:
    if n <= 4 or abs(tau) >= 1:
        return (-1.0, 1.0) if n <= 4 else (tau, tau)
    centre, half = math.atanh(tau), 1.96 * math.sqrt(0.437 / (n - 4))
    return math.tanh(centre - half), math.tanh(centre + half)
