"""What a user sees of each fault; docs/faults.md has a line for every case below."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")
ROOT = Path(__file__).parents[2]
BOARD = "nucleo_f746zg"
SENT_AGAIN = "> hil-run"


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        fault: What happens, in words.
        faults: The same for a serial URL.
        sees: Part of what the row's message or log says.
        status: Of the row.
        codes: Its issue codes.
        exit: Exit code of `harness run`.
        networks: Jobs of the campaign.
        rows: Rows that it leaves.
    """

    fault: str
    faults: str
    sees: str
    status: str = "valid"
    codes: tuple[str, ...] = ()
    exit: int = 0
    networks: int = 1
    rows: int = 1


CASES = (
    Case("bytes on the wire get lost", "drop@hil-run:1", SENT_AGAIN),
    Case("bytes are garbled", "garble@hil-run:1", SENT_AGAIN),
    Case("bytes arrive twice", "duplicate@hil-run:1", SENT_AGAIN),
    Case("bytes come late", "delay@hil-run:1", ""),
    Case(
        "the port vanishes and comes back",
        "vanish@hil-run:1",
        "(attempt 1, error[capture]: the serial port failed: read failed",
    ),
    Case(
        "the probe is disconnected and comes back",
        "probe@program:1",
        "(attempt 1, error[probe-missing]: ",
    ),
    Case(
        "the supply dips",
        "reset@hil-run:1",
        "(attempt 1, error[reset]: the device was reset in the middle (cause: brown-out)",
    ),
    Case(
        "the watchdog bites",
        "watchdog@hil-run:1",
        "(attempt 1, error[reset]: the device was reset in the middle (cause: watchdog)",
    ),
    Case(
        "the core takes a fault once",
        "hardfault@hil-run:1",
        "(attempt 1, error[fault]: the core took a HardFault: undefined instruction, in ",
    ),
    Case(
        "the core takes a fault every time",
        "hardfault:1",
        "the core took a HardFault: undefined instruction, in ",
        "invalid", ("fault",), 1,
    ),
    Case(
        "the device hangs once",
        "hang@hil-run:1",
        "(attempt 1, error[hang]: waited ",
    ),
    Case(
        "the device hangs every time",
        "hang:1",
        "and the device does not answer any more",
        "invalid", ("hang",), 1,
    ),
    Case(
        "a bit in flash flips while it is written",
        "flip@program:1",
        "(attempt 1, error[verify]: flash at 0x",
    ),
    Case(
        "a bit in flash flips after it was verified",
        "rot@hil-run:1",
        "(attempt 1, error[image-corrupt]: ",
    ),
    Case("a sector of the flash is worn", "worn:0", "flash at 0x", "invalid", ("verify",), 1),
    Case(
        "the crystal is 2 % fast", "clock:1.02", "its clock is", "invalid", ("clock",), 1
    ),
    Case(
        "the crystal has half its frequency",
        "clock:0.5",
        "waited 5.0 s for the boot line after reset",
        "invalid", ("timeout",), 1,
    ),
    Case(
        "the external clock does not start", "hse:off", "src=hsi", "degraded", ("clock-fallback",)
    ),
    Case(
        "the supply does not get ready for full speed",
        "overdrive:off",
        "src=hsi",
        "degraded", ("clock-fallback", "clock-differs", "caches-differ"),
    ),
    Case("the caches stay off", "caches:off", "icache=0", "degraded", ("caches-differ",)),
    Case(
        "the cycle counter stands still",
        "counter:stuck",
        "the cycle counter stands still at 0",
        "invalid", ("counter",), 1,
    ),
    Case(
        "there is no cycle counter",
        "counter:absent",
        "the chip has no cycle counter",
        "invalid", ("counter",), 1,
    ),
    Case("the cycle counter wraps during the run", "counter:wrap", ""),
    Case("something else takes a few of the cycles", "jitter:0.0005", ""),
    Case(
        "a station fails one network after the other",
        "counter:stuck",
        "the cycle counter stands still at 0",
        "invalid", ("counter",), 3, networks=5, rows=3,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from harness.testing import tiny_network

    folder = tmp_path_factory.mktemp("networks")
    paths = []
    for seed in range(5):
        paths.append(folder / f"net{seed}.tflite")
        paths[-1].write_bytes(tiny_network(seed))
    paths.append(folder / "wide.tflite")
    paths[-1].write_bytes(tiny_network(5, pixels=58))  # 27 KB of input, 13 KB of output
    return paths


@pytest.fixture(scope="module")
def prepared(networks: list[Path]) -> dict[str, Any]:
    """Return inputs and expected outputs, made once: starting TensorFlow takes seconds."""
    from harness.bench import virtual_bench
    from harness.campaign.config import CampaignConfig
    from harness.campaign.plan import plan
    from harness.campaign.prepare import prepare

    jobs = plan(CampaignConfig.of("x", boards=[BOARD], models=networks), virtual_bench())
    return {str(job.spec.sha256): prepare(job.spec) for job in jobs}


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepared: dict[str, Any]
) -> Iterator[Callable[..., list[object]]]:
    """Return a function that writes campaign and bench files and gives the command line."""
    from harness.campaign import crew
    from harness.campaign.prepare import prepare
    from harness.virtual.registry import discard_machine

    class Converter:
        def __enter__(self) -> Converter:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, spec: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(prepared.get(str(spec.sha256)) or prepare(spec))
            return future

        def result(self, spec: Any, future: Future[Any]) -> Any:
            return future.result()

    monkeypatch.setattr(crew, "Converter", Converter)

    def write(models: list[Path], faults: str = "", power: str = "") -> list[object]:
        listed = ", ".join(f'"{path}"' for path in models)
        (tmp_path / "c.toml").write_text(
            f'name = "faults"\nstations = ["desk"]\nmodels = [{listed}]\n'
        )
        (tmp_path / "bench.toml").write_text(
            f'[[station]]\nname = "desk"\nboard = "{BOARD}"\nprobe = "virtual:{BOARD}"\n'
            f'serial = "virtual://{BOARD}?faults={faults}"\n'
            + (f'power = "{power}"\n' if power else "")
        )
        return [
            "run",
            "c.toml",
            "--bench",
            "bench.toml",
            "--db",
            tmp_path / "rows.sqlite",
            "--json",
        ]

    yield write
    discard_machine(BOARD)


@pytest.fixture(scope="module")
def sound(networks: list[Path], prepared: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    """Return the figures of each network on a sound board."""
    return {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.faults}-{case.networks}")
def test_a_fault_leaves_a_row_that_says_so(
    case: Case,
    harness: Harness,
    bench: Callable[..., list[object]],
    networks: list[Path],
    tmp_path: Path,
    sound: dict[str, tuple[object, ...]],
) -> None:
    from harness.results import open_store
    from harness.virtual.registry import discard_machine, get_machine

    if not sound:
        assert harness(*bench(networks)).code == 0
        with open_store(tmp_path / "rows.sqlite") as store:
            sound.update({str(row.model_sha256): _figures(row) for row in store.query()})
        (tmp_path / "rows.sqlite").unlink()
        discard_machine(BOARD)
    answer = harness(*bench(networks[: case.networks], case.faults))
    assert answer.code == case.exit, answer.err
    assert "Traceback" not in answer.err
    with open_store(tmp_path / "rows.sqlite") as store:
        rows = store.query()
        assert len(rows) == case.rows
        for row in (store.get(row.key) for row in rows):
            assert row is not None
            assert (row.status.value, row.issues) == (case.status, case.codes), row.message
            assert case.sees in f"{row.message}\n{row.raw_log}"
            if case.sees == SENT_AGAIN:
                assert str(row.raw_log).count(SENT_AGAIN) > 1
            if "jitter" in case.faults:
                few, usual = min(row.cycles), min(sound[str(row.model_sha256)][0])  # type: ignore[call-overload]  # cycles
                assert len(set(row.cycles)) > 1 and usual <= few < 1.02 * usual
            elif row.status.value == "valid":
                assert _figures(row) == sound[str(row.model_sha256)]
            elif row.status.value == "invalid":
                assert row.cycles == () and row.latency_us is None
    kind = re.split("[:@]", case.faults)[0]
    if kind not in (
        "clock",
        "hse",
        "overdrive",
        "counter",
        "jitter",
        "caches",
    ):  # these last and are not counted
        injector = get_machine(BOARD).faults.injector
        assert injector is not None and injector.counts[kind] >= 1
    if case.networks == 1:
        return
    assert "is disabled" in answer.err
    again = harness(*bench(networks[: case.networks], case.faults))
    assert again.code == 3 and "is disabled since" in again.err
    # Probe, chip and console are as they should be: only a measurement shows what is wrong.
    checked = harness("bench", "check", "desk", "--bench", "bench.toml", "--json")
    assert checked.code == 3
    wrong = [finding["what"] for finding in checked.json() if finding["level"] == "error"]
    assert len(wrong) == 2 and "error[counter]: the cycle counter stands still" in wrong[0]
    assert "stays disabled since" in wrong[1]
    assert harness(*bench(networks[: case.networks], case.faults)).code == 3


def test_a_bad_wire_takes_long_inputs_and_outputs(
    harness: Harness, bench: Callable[..., list[object]], networks: list[Path], tmp_path: Path
) -> None:
    from harness.results import open_store

    answer = harness(*bench(networks[5:], "drop:0.0005"))
    assert answer.code == 0, answer.err
    with open_store(tmp_path / "rows.sqlite") as store:
        (found,) = store.query()
        row = store.get(found.key)
    assert row is not None and row.status.value == "valid" and row.bit_exact
    assert "(attempt 1" not in str(row.raw_log)  # nothing was measured again
    assert str(row.raw_log).count("code=crc") > 5  # lines that were refused, and sent again


def _figures(row: Any) -> tuple[object, ...]:
    return (row.cycles, row.layers, row.stack_bytes, row.arena_used_bytes, row.bit_exact)


def test_a_station_that_another_campaign_holds(
    harness: Harness, bench: Callable[..., list[object]], networks: list[Path], tmp_path: Path
) -> None:
    from harness.bench import station_lock, virtual_bench
    from harness.results import open_store

    with station_lock(virtual_bench().station(f"virtual-{BOARD}")):
        answer = harness(*bench(networks[:1]))
    assert answer.code == 3
    assert "is used by another thread of this process" in answer.err
    with open_store(tmp_path / "rows.sqlite") as store:
        assert store.query() == []


POWER = f"{sys.executable} -m harness virtual power desk {{action}} --bench bench.toml"


def test_only_a_power_cycle_revives_a_board_and_the_campaign_does_it(
    harness: Harness,
    bench: Callable[..., list[object]],
    networks: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harness.results import open_store

    monkeypatch.setattr("harness.bench.power.OFF_S", 0.0)
    answer = harness(*bench(networks[:2], "latchup@hil-run:1", POWER))
    assert answer.code == 0, answer.err
    with open_store(tmp_path / "rows.sqlite") as store:
        rows = [store.get(row.key) for row in store.query()]
    assert [row.status.value for row in rows if row] == ["valid", "valid"]
    logs = [str(row.raw_log) for row in rows if row]
    assert sum("; its power was switched off and on)" in log for log in logs) == 1
    assert sum("(attempt 1, error[hang]" in log for log in logs) == 1


def test_a_dead_board_without_a_power_command_is_given_up_until_it_is_switched(
    harness: Harness,
    bench: Callable[..., list[object]],
    networks: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harness.bench import load_bench
    from harness.bench.disabled import disable, why_disabled
    from harness.errors import CaptureTimeout

    monkeypatch.setattr("harness.bench.power.OFF_S", 0.0)
    command = bench(networks[:1], "latchup@hil-run:1")
    answer = harness(*command)
    assert answer.code == 3 and "was disconnected" in answer.err
    desk = load_bench(Path("bench.toml")).station("desk")
    disable(desk, CaptureTimeout("it is silent"))
    check = ("bench", "check", "desk", "--bench", "bench.toml", "--json")
    assert harness(*check).code == 3
    assert harness("virtual", "power", "desk", "on", "--bench", "bench.toml").code == 0
    assert harness(*check).code == 3  # it was not off
    assert why_disabled(desk) is not None
    bench(networks[:1], "latchup@hil-run:1", POWER)
    checked = harness(*check)  # which switches the power, measures, and only then lifts
    assert checked.code == 0, checked.out
    found = [finding["what"] for finding in checked.json()]
    assert "measures a network, bit-exact" in found and why_disabled(desk) is None
    assert any("re-enabled; it was disabled since" in what for what in found)
    assert harness(*command).code == 0


def test_a_short_soak(tmp_path: Path) -> None:
    from tools.soak import soak

    heavy = "drop:2e-5,garble:2e-5,probe:3e-4,reset:3e-5,vanish:2e-5,hardfault:5e-3,flip:0.1"
    report = soak(60, tmp_path, faults=heavy, boards=(BOARD,))
    assert report.passed, report
    assert sum(report.faults.values()) > 10
    assert report.rows["valid"] == 60


def test_the_page_has_a_line_for_every_case() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    lines = {line for line in page.splitlines() if line.startswith("|")}
    for case in CASES:
        codes = "".join(f" `{code}`" for code in case.codes)
        start = f"| {case.fault} | `{case.faults}` |"
        (line,) = [line for line in lines if line.startswith(start)]
        assert f"| {case.status}{codes} | {case.exit} |" in line, case
        assert case.sees in (SENT_AGAIN, "") or f"`{case.sees}" in line, case
    tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(tests) > 8
    for file, name in tests:
        (found,) = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in found.read_text(encoding="utf-8"), (file, name)
