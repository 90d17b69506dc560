"""The search study: which run is next, and what it is told."""

from __future__ import annotations

import pytest

from studies.search.settings import STUDIES, next_run


def test_all_methods_of_a_seed_come_before_the_next_seed() -> None:
    runs = STUDIES["kws"].runs(2)
    assert [seed for _, seed in runs] == [0] * 5 + [1] * 5
    assert {method for method, _ in runs} == {
        "search", "uniform", "published", "random", "evolution"
    }  # fmt: skip


def test_methods_that_need_the_time_of_a_search_wait_for_it_and_hold_up_nothing_else() -> None:
    waiting = [("random", 0), ("evolution", 0), ("search", 1), ("uniform", 1)]
    assert next_run(waiting, finished=set()) == ("search", 1)
    assert next_run(waiting, finished={("search", 0)}) == ("random", 0)
    assert next_run(waiting[:2], finished={("search", 1)}) is None


@pytest.mark.parametrize("task", sorted(STUDIES))
def test_baselines_that_try_networks_get_the_time_of_the_search(task: str) -> None:
    study = STUDIES[task]
    for method in ("random", "evolution"):
        words = study.options(method, 3, "search-3.json")
        assert words[words.index("--like") + 1] == "search-3.json"
        assert words[words.index("--seed") + 1] == "3"
    assert "--like" not in study.options("search", 3, "search-3.json")
