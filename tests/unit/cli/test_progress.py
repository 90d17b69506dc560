"""Progress bars: a stage that has no epochs ends as one step of one."""

from __future__ import annotations

from harness.cli.progress import SearchWatcher


def test_a_stage_without_epochs_is_finished_by_the_next() -> None:
    watcher = SearchWatcher()
    watcher._progress.disable = False
    watcher.stage("quantise and evaluate")
    assert watcher._progress.tasks[0].total is None
    watcher.stage("verify")
    assert watcher._progress.tasks[0].finished
    watcher.__exit__(None, None, None)
    assert watcher._progress.tasks[1].finished
