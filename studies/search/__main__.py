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
from concurrent.futures import Future, ThreadPoolExecutor
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
from studies.search.settings import STUDIES, Study
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
    kept.mkdir(exist_ok=True)

    def run(method: str, seed: int) -> None:
        name = f"{method}-{seed}"
        if (kept / f"{name}.json").exists():
            return
        folder, search = (options.runs / options.task / one for one in (name, f"search-{seed}"))
        words = ["--task", options.task, "--data", options.data, "--out", str(folder)]
        words += study.options(method, seed, str(search))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".log").open("w") as log:
            done = subprocess.run(
                [sys.executable, "-m", "harness", "search", *words],
                env={**os.environ, "HARNESS_TF_THREADS": "1"}, stdout=log, stderr=log, check=False,
            )  # fmt: skip
        sys.stderr.write(f"{name}: exit {done.returncode}, see {log.name}\n")
        if (folder / FILE).exists():
            _keep(read_run(folder), kept / f"{name}.json")

    with ThreadPoolExecutor(options.jobs) as pool:
        started: dict[tuple[str, int], Future[None]] = {}

        def run_after_search(method: str, seed: int) -> None:
            if method != "search":
                started["search", seed].result()  # begun before this: searches come first
            run(method, seed)

        for one in study.runs(options.seeds):
            started[one] = pool.submit(run_after_search, *one)
        for done in started.values():
            done.result()


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
