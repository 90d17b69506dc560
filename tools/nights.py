"""Simulate a lab's nights: does the gate find what was planted, and does the page say so?

    python -m tools.nights lab        # 30 nights of six virtual stations, with planted events
    python -m tools.nights replay     # share of planted slowdowns that are found; false alarms

`lab` runs `harness nightly` once for each night, and goes on in a folder that it kept. In some
nights a counter stands still, a board is gone, kernels become slower, or a clock does not start;
each is looked for in the night's JSON and on its page. Exit code 1 if one is missed, or a night
without any fails.

`replay` measures some nights on boards whose counter jitters, draws from their rows as many nights
as are asked for, plants a slowdown in one layer of one network, and asks the gate.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.report.site.data import run_path
from harness.results.gate import Judgement, judge
from harness.results.policy import Policy, Rule
from harness.results.record import Measurement, Run
from harness.results.store import Filter, Store

_BOARDS = ("nucleo_f746zg", "nucleo_f746zg", "nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re",
           "nucleo_l4r5zi")  # fmt: skip
_JITTER = 0.0005
_SLOWDOWNS = (0.01, 0.02, 0.05, 0.10)
_SLOWER = "\n    for (volatile int32_t i = 0; i < 20000; i++) {}\n"
_KERNEL = "Source/ConvolutionFunctions/arm_depthwise_conv_wrapper_s8.c"


_REAL = Policy(
    rules=(Rule(figures=("latency",), margin=0.01), Rule(figures=("layer",), margin=0.03))
)


@dataclass(frozen=True)
class Event:
    """Something that is planted in some nights."""

    name: str
    nights: range
    stations: Mapping[str, str]  # faults by station; "gone" takes it off the bench
    kernels: bool = False  # slower ones
    code: int = 0  # exit code of `harness nightly`
    said: Sequence[str] = ()  # words that the night and its page must hold


EVENTS = (
    Event("a counter stands still", range(5, 8), {"desk-2": "counter:stuck"}, code=3,
          said=("desk-2", "the cycle counter stands still")),
    Event("a board is gone", range(10, 12), {"desk-5": "gone"}, code=3, said=("nucleo_f446re",)),
    Event("kernels become slower", range(14, 16), {}, kernels=True, code=1,
          said=("worse", "latency")),
    Event("the external clock does not start", range(18, 19), {"desk-4": "hse:off"}, code=0,
          said=("desk-4", "clock-fallback")),
    Event("wrong and slow at once", range(22, 24), {"desk-4": "counter:stuck"}, kernels=True,
          code=1, said=("desk-4", "worse")),
)  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("lab", "replay"))
    parser.add_argument("--nights", type=int, help="nights [lab 30, replay 200]")
    parser.add_argument("--samples", type=int, default=2, help="networks [%(default)s]")
    parser.add_argument("--real", type=int, default=10, help="replay: nights to measure")
    parser.add_argument("--jitter", type=float, default=_JITTER, help="replay [%(default)s]")
    parser.add_argument("--keep", type=Path, help="folder to work in, and to keep")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="nights-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        ask = _lab if options.what == "lab" else _replay
        sys.exit(ask(folder, options))
    finally:
        if options.keep is None:
            shutil.rmtree(folder)


# --- nights of a lab -------------------------------------------------------------------------


def _lab(folder: Path, options: argparse.Namespace) -> int:
    missed = 0
    sound, slow = _kernels(folder, slow=False), _kernels(folder, slow=True)
    began = time.monotonic()
    for night in range(_known(folder), options.nights or 30):
        events = [event for event in EVENTS if night in event.nights]
        over = [event for event in EVENTS if night == event.nights.stop]
        faults = {name: fault for event in events for name, fault in event.stations.items()}
        kernels = slow if any(event.kernels for event in events) else sound
        _write_bench(folder, faults)
        _write_campaign(folder, options.samples, kernels)
        if any(event.stations for event in over):
            _harness(folder, "bench", "check")  # somebody has repaired the station
        code, found = _night(folder)
        if night == 0:
            _harness(folder, "baseline", "accept", found["run"])
        page = (folder / "site" / run_path(found["run"])).read_text()
        told = json.dumps(found) + page
        wrong = [word for event in events for word in event.said if word not in told]
        wrong += [word for event in events for word in event.said if word not in page]
        expected = max((event.code for event in events if event.code == 1), default=0) or max(
            (event.code for event in events), default=0
        )
        bad = bool(wrong) or code != expected
        missed += bad
        names = ", ".join(event.name for event in events) or "nothing"
        _say(
            f"night {night:2}: {names}: exit {code}"
            + (f", expected {expected}; not said: {wrong}" if bad else "")
        )
    _say(f"{missed} nights were not as expected; {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def _known(folder: Path) -> int:
    """Return how many nights a kept folder has already."""
    listed = _harness(folder, "runs", "--limit", 10_000, "--json")
    return len(json.loads(listed.stdout)) if listed.returncode == 0 else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _night(folder: Path) -> tuple[int, dict[str, Any]]:
    done = _harness(folder, "nightly", "lab.toml", "--site", "site", "--json")
    if not done.stdout:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def _harness(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    environment = {
        **os.environ,
        "HARNESS_DB": "lab.sqlite",
        "HARNESS_BENCH": "bench.toml",
        "HARNESS_STATE": str(folder / "state"),
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _write_bench(folder: Path, faults: Mapping[str, str]) -> None:
    stations = []
    for number, board in enumerate(_BOARDS, 1):
        name = f"desk-{number}"
        fault = faults.get(name, "")
        if fault != "gone":
            query = f"?faults={fault}" if fault else ""
            stations.append(
                f'[[station]]\nname = "{name}"\nboard = "{board}"\n'
                f'probe = "virtual:{board}#{number}"\nserial = "virtual://{board}{query}#{number}"\n'
            )
    (folder / "bench.toml").write_text("\n".join(stations))


def _write_campaign(folder: Path, samples: int, kernels: Path) -> None:
    boards = list(dict.fromkeys(_BOARDS))
    (folder / "lab.toml").write_text(
        f'name = "lab"\nseed = 7\nboards = {json.dumps(boards)}\n'
        f'[[backbones]]\nname = "ds_cnn_kws"\nsamples = {samples}\n'
        "max_working_memory_bytes = 20000\nmax_parameters = 30000\n"
        f'[[runtimes]]\nname = "aot"\nkernels_source = "{kernels}"\n'
        "[measure]\nwarmup = 0\nrepeats = 1\n"
    )


def _kernels(folder: Path, *, slow: bool) -> Path:
    """Copy the kernels that are installed; slow ones have a loop before depthwise convolution."""
    from harness.runtimes.aot.kernels import kernel_set

    tree = folder / ("kernels-slow" if slow else "kernels")
    if not tree.exists():
        places = (place.parent for place in kernel_set("cmsis_nn").include_dirs)
        shutil.copytree(next(place for place in places if (place / _KERNEL).is_file()), tree)
    file = tree / _KERNEL
    text = file.read_text()
    if slow and _SLOWER not in text:
        body = text.index("{", text.index("arm_depthwise_conv_wrapper_s8(")) + 1
        file.write_text(text[:body] + _SLOWER + text[body:])
    return tree


# --- replayed history ------------------------------------------------------------------------


def _replay(folder: Path, options: argparse.Namespace) -> int:
    nights = options.nights or 200
    exact, noisy = (
        _measure(folder / f"{jitter}", options, jitter) for jitter in (0, options.jitter)
    )
    noise = f"jitter {options.jitter:.2%}"
    for label, rows, policy in (
        ("exact", exact, Policy()),
        (noise, noisy, Policy()),
        (f"{noise}, margins of real boards", noisy, _REAL),
    ):
        alarms, _ = _judged(rows, nights, None, policy)
        _say(f"{label}: false alarms in {alarms} of {nights} sound nights")
        for share in _SLOWDOWNS:
            _, found = _judged(rows, nights, share, policy)
            _say(f"{label}: {share:.0%} in one layer: found in {found} of {nights}")
    return 0


def _measure(
    folder: Path, options: argparse.Namespace, jitter: float
) -> dict[str, list[Measurement]]:
    """Return rows of each network, one for each night that was measured."""
    folder.mkdir(exist_ok=True)
    board = _BOARDS[0]
    found: defaultdict[str, list[Measurement]] = defaultdict(list)
    (folder / "lab.toml").write_text(
        f'name = "lab"\nseed = 7\nboards = ["{board}"]\n'
        f'[[backbones]]\nname = "ds_cnn_kws"\nsamples = {options.samples}\n'
        "max_working_memory_bytes = 30000\nmax_parameters = 60000\n"
        '[[runtimes]]\nname = "aot"\n[measure]\nwarmup = 1\nrepeats = 3\n'
    )
    for night in range(options.real if jitter else 1):
        query = f"?faults=jitter:{jitter}&seed={night}" if jitter else ""
        (folder / "bench.toml").write_text(
            f'[[station]]\nname = "desk"\nboard = "{board}"\nprobe = "virtual:{board}#1"\n'
            f'serial = "virtual://{board}{query}#1"\n'
        )
        done = _harness(folder, "run", "lab.toml", "--again", "--json")
        if done.returncode:
            sys.exit(done.stderr)
    with Store.open(folder / "lab.sqlite") as store:
        for row in store.query():
            found[str(row.model_name)].append(row)
    return found


def _judged(
    rows: Mapping[str, Sequence[Measurement]], nights: int, share: float | None, policy: Policy
) -> tuple[int, int]:
    """Judge nights that are drawn from the rows; return how many fail, and how many rightly.

    A slowdown of `share` is planted in each.
    """
    dice = random.Random(0)
    failed = found = 0
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "a.sqlite") as store:
        begin = datetime.now(UTC) - timedelta(days=nights + 1)
        for number, run in enumerate(_runs(begin, nights + 1)):
            drawn = [dice.choice(some) for some in rows.values()]
            planted = None
            if number and share is not None:
                drawn, planted = _planted(drawn, dice, share)
            store.note_run(run)
            for row in drawn:
                at = run.started_at + timedelta(minutes=1)
                store.add(replace(row, run=run.id, repetition=run.id, created_at=at))
            if not number:
                continue
            judged = judge(store, run.id, policy)
            failed += judged.regressed
            found += planted is not None and _names(judged, *planted)
            # The next night is compared with the baseline alone: each is a trial of its own.
            store.remove(store.query(Filter(run=run.id), with_layers=False))
    return failed, found


def _runs(begin: datetime, count: int) -> Iterator[Run]:
    for number in range(count):
        at = begin + timedelta(days=number)
        yield Run(
            id=f"{number:04}", campaign="lab", campaign_sha256="0" * 64, started_at=at,
            ended_at=at + timedelta(hours=1), outcome="complete", host="", user="",
            harness_version="", repeat="all", accepted_at=None if number else at,
        )  # fmt: skip


def _planted(
    drawn: list[Measurement], dice: random.Random, share: float
) -> tuple[list[Measurement], tuple[str, str]]:
    """Make a layer slower that takes at least a hundredth of its network's time."""
    row = dice.choice(drawn)
    total = sum(one.cycles or 0 for one in row.layers)
    layer = dice.choice([one for one in row.layers if (one.cycles or 0) >= 0.01 * total])
    more = round((layer.cycles or 0) * share)
    slower = replace(
        row,
        cycles=tuple(count + more for count in row.cycles),
        layers=tuple(
            replace(one, cycles=(one.cycles or 0) + more) if one.index == layer.index else one
            for one in row.layers
        ),
    )
    return [slower if one is row else one for one in drawn], (
        str(row.model_name),
        f"{layer.index} {layer.name}",
    )


def _names(judged: Judgement, model: str, layer: str) -> bool:
    return any(
        one.fails and one.model == model and one.layer in (None, layer) for one in judged.findings
    )


if __name__ == "__main__":
    main()
