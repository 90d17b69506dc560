from __future__ import annotations

from pathlib import Path

import pytest

from harness.backbones import get_backbone
from harness.errors import SearchError
from harness.report.search_plot import plot_ranking
from harness.search.choice.ranking import FILE, Ranked, load_ranking, ranking, save_ranking


def ranked(losses: list[float], accuracies: list[tuple[float, ...]]) -> list[Ranked]:
    network = get_backbone("ds_cnn_kws").sample(0, 0)
    return [
        Ranked(architecture=network, ops=place, supernet_loss=loss, accuracies=accuracy)
        for place, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True))
    ]


def test_tau_counts_the_pairs_that_both_order_alike() -> None:
    losses = [0.9, 0.8, 0.7, 0.6, 0.5]
    accuracies = [(0.70, 0.72), (0.75, 0.71), (0.78, 0.80), (0.90, 0.84), (0.86, 0.86)]
    found = ranking(ranked(losses, accuracies), epochs=5)
    assert found.tau == pytest.approx(0.8)  # of ten pairs, one is the other way round
    assert found.interval[0] < found.tau < found.interval[1]
    assert found.ops_tau == pytest.approx(0.8)
    assert found.seed_tau == pytest.approx(0.6)  # two of ten
    alike = ranking(ranked(losses, [(0.5,)] * 5), epochs=5)
    assert alike.tau == 0.0 and alike.seed_tau is None


def test_a_ranking_is_kept_and_drawn(tmp_path: Path) -> None:
    found = ranking(ranked([3.0, 2.0, 1.0], [(0.1,), (0.2,), (0.3,)]), epochs=5)
    save_ranking(found, tmp_path)
    assert load_ranking(tmp_path) == found
    assert plot_ranking(found, tmp_path / "ranking.png").is_file()
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(SearchError):
        load_ranking(tmp_path)


def test_two_networks_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="2 networks to rank"):
        ranking(ranked([1.0, 2.0], [(0.1,), (0.2,)]), epochs=1)
    with pytest.raises(SearchError, match="cannot be read"):
        load_ranking(tmp_path)
