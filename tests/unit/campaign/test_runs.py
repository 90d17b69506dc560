"""Runs: which jobs a night measures again, and when one goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.campaign.config import CampaignConfig, Schedule
from harness.campaign.ledger import Summary
from harness.campaign.runs import chosen, digest, recorded
from harness.results.store import Store

CONFIG = CampaignConfig.of("c", boards=["nucleo_f746zg"], models=[Path("a.tflite")])


def jobs(count: int) -> list[Any]:
    return [
        SimpleNamespace(key=f"{n:064x}", spec=SimpleNamespace(name=f"net{n}")) for n in range(count)
    ]


def test_a_share_goes_round_and_canaries_are_always_there() -> None:
    schedule = Schedule(share=0.25, canaries=("net1",))
    nights = [chosen(jobs(8), schedule, night) for night in range(5)]
    canary = jobs(8)[1].key
    assert [len(one - {canary}) for one in nights] == [2, 1, 2, 2, 2]
    assert set.union(*map(set, nights[:4])) == {job.key for job in jobs(8)}
    assert nights[4] == nights[0]
    assert all(canary in one for one in nights)
    assert chosen(jobs(3), Schedule(share=0), 0) == set()
    assert len(chosen(jobs(3), Schedule(), 7)) == 3


def test_an_interrupted_night_goes_on_and_the_next_one_is_another(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite") as store:
        with (
            pytest.raises(KeyboardInterrupt),
            recorded(store, CONFIG, jobs(2), again="all") as book,
        ):
            raise KeyboardInterrupt
        (first,) = store.runs()
        assert (first.id, first.outcome) == (book.run.id, "interrupted")
        with recorded(store, CONFIG, jobs(2), again="all") as book:
            assert book.run.id == first.id
            book.close(Summary(planned=2))
        (ended,) = store.runs()
        assert (ended.outcome, ended.planned) == ("complete", 2)
        with recorded(store, CONFIG, jobs(2), again="all") as book:
            assert book.run.id != first.id
            # Killed: it never ended. Tomorrow's night does not go on with it.
            late = replace(book.run, started_at=book.run.started_at - timedelta(hours=20))
            store.note_run(late)
        store.note_run(replace(late, ended_at=None, outcome=None))
        with recorded(store, CONFIG, jobs(2), again="all") as book:
            assert book.run.id not in (first.id, late.id)


def test_a_run_that_repeats_nothing_is_always_a_new_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite") as store:
        for _ in range(2):
            with recorded(store, CONFIG, jobs(2), again="") as book:
                assert book.repeats.anew == frozenset()
        assert len(store.runs()) == 2


def test_the_digest_does_not_depend_on_the_folder_of_the_models() -> None:
    elsewhere = CONFIG.model_copy(update={"models": ("/elsewhere/a.tflite",)})
    assert digest(CONFIG) == digest(elsewhere)
    assert digest(CONFIG) != digest(CONFIG.model_copy(update={"seed": 1}))


def test_jobs_that_were_not_run_and_missing_boards_are_the_benchs_fault(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite") as store:
        for notes, summary, outcome in (
            ((), Summary(planned=1, not_run=1), "bench"),
            (("no board",), Summary(planned=1), "bench"),
        ):
            with recorded(store, CONFIG, jobs(1), again="all", notes=notes) as book:
                book.close(summary)
                assert book.run.outcome == outcome
