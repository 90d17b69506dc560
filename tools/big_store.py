"""Fill a store with synthetic rows, then time the commands that read it, each in its own process.

The rows are invented: station ``synthetic``, campaigns ``synthetic-…``. Each network is there
twice, measured with two versions of the kernels, so that there is something to compare.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from harness.results.record import Measurement

_BOARDS = ("nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi")
_CHUNK = 2000
_KEY = "90dfc0c333f0"  # of the first row
_SMALL = 1000  # networks of the small campaigns


class Cost(NamedTuple):
    """What one command took, its process's start included."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


def main() -> None:
    """Fill the store and print a line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument(
        "--db",
        action="append",
        help="an empty store, file or URL; may be repeated [a temporary SQLite file]",
    )
    parser.add_argument("--boards", type=int, default=1, choices=range(1, len(_BOARDS) + 1))
    parser.add_argument("--only", default="", help="only commands that contain this text")
    parser.add_argument("--runs", type=int, default=3, help="runs of a command; the median counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-big-store-") as folder:
        costs = {
            url: costs_of(url, options, Path(folder))
            for url in options.db or [f"{folder}/rows.sqlite"]
        }
    if options.json:
        plain = {url: [cost._asdict() for cost in found] for url, found in costs.items()}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
        return
    for url in costs:
        sys.stdout.write(f"{url.rpartition('@')[2]}, {options.rows} rows\n")
    sys.stdout.write(f"{'s':>7}{'CPU s':>7}{'peak MB':>9}" * len(costs) + "  command\n")
    for same in zip(*costs.values(), strict=True):
        for cost in same:
            sys.stdout.write(f"{cost.seconds:7.2f}{cost.cpu_seconds:7.2f}{cost.peak_mb:9.0f}")
        sys.stdout.write(f"  {same[0].name}\n")


def costs_of(url: str, options: argparse.Namespace, folder: Path) -> list[Cost]:
    """Fill a store unless it is filled, and return what each command costs there."""
    # In a process of its own: a child's peak memory counts what its parent had at the start.
    filler = multiprocessing.get_context("spawn").Process(
        target=fill, args=(url, options.rows, options.boards)
    )
    filler.start()
    filler.join()
    if filler.exitcode:
        sys.exit(f"{url} cannot be filled")
    found = []
    for name, command in commands(url, folder):
        if options.only in name:
            runs = [cost_of(name, command, folder) for _ in range(options.runs)]
            columns = zip(*(run[1:] for run in runs), strict=True)
            found.append(Cost(name, *map(median, columns)))
    return found


def fill(url: str, rows: int, boards: int = 1) -> None:
    """Add synthetic rows in bulk to an empty store; leave one that holds synthetic rows."""
    from sqlalchemy import insert

    from harness.errors import ResultsError
    from harness.results.connect import make_engine, parse_url
    from harness.results.schema import layer, measurement, raw_log
    from harness.results.store import Filter, Store

    with Store.open(url) as store:
        there = store.count()
        if there != store.count(Filter(station="synthetic")):
            raise ResultsError(f"{store.url} holds rows that are not synthetic")
        if there:
            return
    engine = make_engine(parse_url(url), busy_timeout_s=30)
    log = zlib.compress(b"synthetic\r\n")
    with engine.execution_options(harness_write=True).begin() as connection:
        for first in range(0, rows, _CHUNK):
            made = [synthetic(index, boards) for index in range(first, min(first + _CHUNK, rows))]
            query = insert(measurement).returning(measurement.c.id, sort_by_parameter_order=True)
            numbers = connection.scalars(query, [_values(row) for row in made]).all()
            connection.execute(insert(layer), list(_layers(numbers, made)))
            logs = [{"measurement_id": number, "text_zlib": log} for number in numbers]
            connection.execute(insert(raw_log), logs)
    engine.dispose()


def synthetic(index: int, boards: int) -> Measurement:
    """Return an invented row: every second is the same network with other kernels."""
    from harness.testing import fake_failure, fake_measurement
    from harness.testing.rows import START, key_of

    network, version = divmod(index, 2)
    size = "small" if network < _SMALL else "large"
    changes: dict[str, Any] = {
        "key": key_of(("synthetic", index)),
        "created_at": START + timedelta(seconds=index),
        "board": _BOARDS[network % boards],
        "station": "synthetic",
        "campaign": f"synthetic-{size}-{'ab'[version]}",
    }
    if network % 100 == 99:
        return fake_failure(network, **changes)
    # Latencies scatter by up to 3 %, and the second kernels are 1 % slower.
    factor = 1 + network * 37 % 61 / 2000 + version / 100
    cycles = round((3e6 + (2e6 + 450 * network) * 3) * factor)
    return fake_measurement(
        network,
        **changes,
        ops=2_000_000 + 450 * network,
        architecture={"widths": [64, 8 * network, 24, 48], "strides": [[2, 2], [1, 1]]},
        kernels_version=f"7.{version}.0",
        cycles=(cycles, cycles + 40, cycles - 30),
        latency_us=cycles * 1e6 / 216_000_000,
        flash_total_bytes=60_000 + 100 * network,
    )


def _values(row: Measurement) -> dict[str, Any]:
    from harness.results.identity import derived
    from harness.results.store import COLUMNS

    values = {name: getattr(row, name) for name in COLUMNS}
    return {**values, "status": row.status.value, "source": row.source.value, **derived(row)}


def _layers(numbers: Any, rows: list[Measurement]) -> Iterator[dict[str, Any]]:
    for number, row in zip(numbers, rows, strict=True):
        for position, item in enumerate(row.layers):
            yield {"measurement_id": number, "position": position, **asdict(item)}


def commands(url: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands to time: a name, and the words after the interpreter."""
    small, large = (f"{url}#synthetic-{size}-" for size in ("small", "large"))
    listed: dict[str, list[str]] = {
        "results": [],
        "results --campaign": ["--campaign", "synthetic-small-a"],
        "results --status invalid": ["--status", "invalid"],
        "results --backbone --board": ["--backbone", "ds_cnn_kws", "--board", _BOARDS[0]],
        "results --source emulated": ["--source", "emulated"],
        "results --source hardware (none)": ["--source", "hardware"],
        "results --model": ["--model", "kws-7"],
        "results --limit 1000": ["--limit", "1000"],
        "results --json": ["--json"],
        "results --compare": ["--compare"],
        "results --arena": ["--arena"],
        "results KEY": [_KEY],
        "results --plot": ["--plot", str(folder / "memory.png")],
        "compare, 990 pairs": [f"{small}a", f"{small}b"],
        "compare, all pairs": [f"{large}a", f"{large}b"],
        "fit": ["--out", str(folder / "fit")],
        "fit --campaign": ["--campaign", "synthetic-small-a", "--out", str(folder / "small")],
        "fit --predictor layers": [
            "--predictor",
            "layers",
            "--campaign",
            "synthetic-small-a",
            "--out",
            str(folder / "layers"),
        ],
        "export .csv": [str(folder / "rows.csv")],
        "export .parquet": [str(folder / "rows.parquet")],
        "export layers": [str(folder / "layers.csv"), "--table", "layers"],
    }
    for name, words in listed.items():
        command = name.partition(" ")[0].rstrip(",")
        database = [] if command == "compare" else ["--db", url]
        yield f"harness {name}", ["-m", "harness", command, *words, *database]
    for text in ("", ", columns=['ops', 'latency_us']", ", campaign='synthetic-small-a'"):
        code = f"import harness; print(harness.rows(db={url!r}{text}).shape)"
        yield f"harness.rows(db=…{text})", ["-c", code]


def cost_of(name: str, command: list[str], folder: Path) -> Cost:
    """Run a command and return its cost; its output is thrown away unless it fails."""
    # Bytecode is cached, as in an installation, whatever the caller's environment says.
    surroundings = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=output, stderr=output, env=surroundings
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            output.seek(0)
            raise RuntimeError(f"{name} exited {process.returncode}:\n{output.read()[-2000:]}")
    return Cost(name, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
