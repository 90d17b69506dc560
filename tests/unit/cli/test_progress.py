"""Progress bars: a stage that has no epochs ends as one step of one."""

from __future__ import annotations

from harness.cli.progress import SearchWatcher
from harness.search.cost.budgets import PredictedCost
from harness.search.supernet.options import EpochReport


def test_a_stage_without_epochs_is_finished_by_the_next() -> None:
    watcher = SearchWatcher()
    watcher._progress.disable = False
    watcher.stage("quantise and evaluate")
    assert watcher._progress.tasks[0].total is None
    watcher.stage("verify")
    assert watcher._progress.tasks[0].finished
    watcher.__exit__(None, None, None)
    assert watcher._progress.tasks[1].finished


def test_an_epoch_shows_the_expected_figure_of_every_budget() -> None:
    expected = PredictedCost(
        ops=1,
        parameters=1,
        working_memory_bytes=1,
        latency_us=58_940.0,
        latency_bound_us=60_000.0,
        sram_bytes=65_536,
        sram_bound_bytes=65_536,
        flash_bytes=None,
        flash_bound_bytes=None,
    )
    report = EpochReport(
        epoch=1,
        epochs=2,
        phase="search",
        loss=0.5,
        accuracy=0.25,
        architecture_loss=None,
        architecture_accuracy=None,
        temperature=4.0,
        expected=expected,
        multipliers={},
        seconds=1.0,
    )
    watcher = SearchWatcher()
    watcher._progress.disable = False
    watcher.stage("search")
    watcher.searched(report)
    shown = watcher._progress.tasks[0].fields["rate"]
    assert shown == "loss 0.500  acc 25.0 %  58.9 ms  64.0 KiB SRAM  T 4.00"
