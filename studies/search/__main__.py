"""Run what is missing of a task's study side by side; write its tables.

    python -m studies.search kws --data DIR --seeds 5 --jobs 2

Needs a fit of the task's backbone below results/, as any search does. A finished run leaves its
record, without what was noted by epoch, in studies/search/TASK/ and is not run again; a run that
was interrupted continues where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.report.search_compare import (
    check_comparable,
    differences_table,
    means_table,
    runs_table,
)
from harness.search.record import FILE, SearchRun, read_run
from studies.search.settings import STUDIES, Run, Study, next_run
from studies.tables import replace_tables

_HERE = Path(__file__).parent
_NEW = "# {}\n" + "".join(
    f"\n<!-- table: {name} -->\n<!-- end table -->\n" for name in ("means", "differences", "runs")
)


def main() -> None:
    """Run the study, then write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=sorted(STUDIES))
    parser.add_argument("--data", help="folder of the task's data; without it nothing is run")
    parser.add_argument("--seeds", type=int, default=2, help="seeds from 0 on [%(default)s]")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side [%(default)s]")
    parser.add_argument("--runs", type=Path, default=Path("results/search-study"),
                        help="where the folders of the runs go [%(default)s]")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="replace the tables of the page")
    options = parser.parse_args()
    kept = _HERE / options.task
    if options.data:
        _run_all(options, STUDIES[options.task], kept)
    try:
        page = _page(_HERE / f"{options.task}.md", kept)
    except HarnessError as error:
        sys.exit(str(error))
    if options.write:
        (_HERE / f"{options.task}.md").write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


def _run_all(options: argparse.Namespace, study: Study, kept: Path) -> None:
    """Run what has left no record yet, as many side by side as there are jobs."""
    kept.mkdir(exist_ok=True)
    runs = study.runs(options.seeds)
    finished = {one for one in runs if _record(kept, one).exists()}
    waiting = [one for one in runs if one not in finished]
    running: dict[Future[bool], Run] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        while True:
            while len(running) < options.jobs and (one := next_run(waiting, finished)):
                waiting.remove(one)
                running[pool.submit(_run, options, study, kept, one)] = one
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                one = running.pop(done)
                if done.result():
                    finished.add(one)
    for method, seed in waiting:
        sys.stderr.write(f"{method}-{seed}: not run, as search-{seed} has not finished\n")


def _run(options: argparse.Namespace, study: Study, kept: Path, one: Run) -> bool:
    """Return whether the run has left a record."""
    method, seed = one
    folder, record = options.runs / options.task / f"{method}-{seed}", _record(kept, one)
    words = ["--task", options.task, "--data", options.data, "--out", str(folder)]
    search = _record(kept, ("search", seed))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "search", "run",
             *study.options(method, seed, str(search)), *words],
            env={**os.environ, "HARNESS_TF_THREADS": "1"}, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    sys.stderr.write(f"{record.stem}: exit {done.returncode}, see {log.name}\n")
    if (folder / FILE).exists():
        _keep(read_run(folder), record)
    return record.exists()


def _record(kept: Path, one: Run) -> Path:
    method, seed = one
    return kept / f"{method}-{seed}.json"


def _keep(run: SearchRun, file: Path) -> None:
    small = replace(
        run,
        dataset=replace(run.dataset, source=Path(run.dataset.source).name),
        fit=replace(run.fit, file=Path(run.fit.file).name),
        search=run.search and replace(run.search, trajectory=()),
        training=replace(run.training, history=()),
    )
    file.write_text(json.dumps(small.to_json(), indent=1, default=str) + "\n", encoding="utf-8")


def _page(page: Path, kept: Path) -> str:
    runs = [read_run(file) for file in sorted(kept.glob("*-*.json"))]
    check_comparable(runs)
    differences = differences_table(runs)
    tables = {
        "means": means_table(runs).markdown(),
        "differences": "" if differences is None else differences.markdown(),
        "runs": runs_table(runs).markdown(),
    }
    text = page.read_text(encoding="utf-8") if page.exists() else _NEW.format(page.stem)
    return replace_tables(text, tables)


if __name__ == "__main__":
    main()
