"""A farm of two hosts on loopback, through the command line, behind certificates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import FarmError
from harness.results import open_store

pytest.importorskip("distributed", reason="pip install 'tinyml-harness[farm]'")
pytestmark = pytest.mark.usefixtures("virtual_board")

BOARD = "nucleo_f446re"
JOBS = 6
_START_S, _RUN_S = 90, 240


@dataclass
class Farm:
    address: str
    folder: Path
    start: Callable[..., subprocess.Popen[str]]

    def tls(self, host: str) -> list[str]:
        return ["--tls", str(self.folder / "lab" / host)]

    def run(self, *options: str, db: str = "rows.db", **more: Any) -> subprocess.Popen[str]:
        words = ["run", str(self.folder / "campaign.toml"), "--farm", self.address, "--json"]
        words += ["--db", str(self.folder / db), "--out", str(self.folder / "out"), *options]
        return self.start(*words, *self.tls("client"), **more)

    def rows(self, db: str = "rows.db") -> list[Any]:
        with open_store(str(self.folder / db)) as store:
            return store.query(limit=None)


@pytest.fixture(scope="module")
def farm(
    tmp_path_factory: pytest.TempPathFactory, own_cache: Path, virtual_board: None
) -> Iterator[Farm]:
    from conftest import pointwise

    folder = tmp_path_factory.mktemp("farm")
    running: list[subprocess.Popen[str]] = []

    def start(*words: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=folder, text=True, **pipes, **options)
        running.append(process)
        return process

    models = []
    for number in range(JOBS):
        models.append(f"net{number}.tflite")
        (folder / models[-1]).write_bytes(pointwise((8, 12, 4), seed=number))
    (folder / "campaign.toml").write_text(
        f'name = "farm"\nboards = ["{BOARD}"]\nmodels = {json.dumps(models)}\n'
        "[[runtimes]]\none_firmware = true\n"
    )
    for host in ("alpha", "beta"):
        number = {"alpha": 1, "beta": 2}[host]
        place = f"{BOARD}#{number}"
        (folder / f"{host}.toml").write_text(
            f'[[station]]\nname = "desk"\nboard = "{BOARD}"\ntags = ["{host}"]\n'
            f'probe = "virtual:{place}"\nserial = "virtual://{place}"\n'
        )
    try:
        assert start("farm", "certificates", "lab", "here", "alpha", "beta", "client").wait() == 0
        farm = Farm("", folder, start)
        scheduler = start("farm", "scheduler", "--port", "0", "--json", *farm.tls("here"))
        farm.address = first_answer(scheduler)["address"]
        hosts = [
            start(
                "farm", "worker", farm.address, "--bench", f"{host}.toml", "--name", host,
                "--builders", str(builders), "--json", *farm.tls(host),
            )
            for host, builders in (("alpha", 1), ("beta", 0))
        ]  # fmt: skip
        assert [first_answer(one)["stations"] for one in hosts] == [["alpha.desk"], ["beta.desk"]]
        yield farm
        for process in (*hosts, scheduler):
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.communicate()


def first_answer(process: subprocess.Popen[str]) -> Any:
    """Return the JSON object that a server prints when it is ready."""
    watchdog = threading.Timer(_START_S, process.kill)
    watchdog.start()
    text = ""
    assert process.stdout is not None and process.stderr is not None
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        text += line
    watchdog.cancel()
    return json.loads(text)


def finish(process: subprocess.Popen[str], code: int = 0) -> Any:
    out, err = process.communicate(timeout=_RUN_S)
    assert process.returncode == code, err
    return json.loads(out) if out else err


def test_equal_stations_of_two_hosts_share_a_campaign(farm: Farm) -> None:
    answer = finish(farm.run())
    assert (answer["planned"], answer["valid"], answer["not_run"]) == (JOBS, JOBS, 0)
    rows = farm.rows()
    stations = Counter(row.station for row in rows)
    assert set(stations) == {"alpha.desk", "beta.desk"} and stations.total() == JOBS
    assert {row.source for row in rows} == {"emulated"} and all(row.bit_exact for row in rows)
    again = finish(farm.run())
    assert (again["measured_before"], again["valid"]) == (JOBS, 0)


def test_a_tag_picks_a_host(farm: Farm) -> None:
    finish(farm.run("--tag", "beta", db="tagged.db"))
    assert {row.station for row in farm.rows("tagged.db")} == {"beta.desk"}


def test_a_worker_that_is_killed_loses_and_doubles_nothing(farm: Farm) -> None:
    run = farm.run(db="killed.db")
    while not (farm.folder / "killed.db").exists() or len(farm.rows("killed.db")) < 2:
        assert run.poll() is None
    kill_worker(farm, "beta.desk")
    answer = finish(run)
    assert (answer["valid"], answer["invalid"], answer["not_run"]) == (JOBS, 0, 0)
    assert len({row.key for row in farm.rows("killed.db")}) == len(farm.rows("killed.db")) == JOBS


def test_a_scheduler_that_is_killed_is_found_again(farm: Farm) -> None:
    from harness.farm.client import Farm as Connection

    scheduler = farm.start("farm", "scheduler", "--port", "0", "--json", *farm.tls("here"))
    address = first_answer(scheduler)["address"]
    with Connection(address, farm.folder / "lab" / "client") as connection:
        assert connection.workers() == {}
        scheduler.kill()
        scheduler.wait()
        with pytest.raises(FarmError, match="no farm answers"):
            while True:
                connection.client()
        port = address.rpartition(":")[2]
        again = farm.start("farm", "scheduler", "--port", port, "--json", *farm.tls("here"))
        first_answer(again)
        assert connection.workers() == {}
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 0


def test_a_host_that_is_told_to_end_finishes_what_it_has_in_hand(farm: Farm) -> None:
    words = ("--bench", "beta.toml", "--name", "gamma", "--builders", "0", "--json")
    gamma = farm.start("farm", "worker", farm.address, *words, *farm.tls("beta"))
    assert first_answer(gamma)["stations"] == ["gamma.desk"]
    run = farm.run(db="drained.db")
    while not (farm.folder / "drained.db").exists() or not farm.rows("drained.db"):
        assert run.poll() is None
    gamma.send_signal(signal.SIGTERM)
    assert gamma.wait(60) == 0
    answer = finish(run)
    assert (answer["valid"], answer["invalid"], answer["not_run"]) == (JOBS, 0, 0)


def kill_worker(farm: Farm, name: str) -> None:
    from harness.farm.client import Farm as Connection

    with Connection(farm.address, farm.folder / "lab" / "client") as connection:
        address = connection.workers()[name]["address"]
        number = connection.client().run(os.getpid, workers=[address])[address]
    os.kill(number, signal.SIGKILL)


def test_a_farm_on_which_nobody_builds_says_so(farm: Farm) -> None:
    scheduler = farm.start("farm", "scheduler", "--port", "0", "--json", *farm.tls("here"))
    address = first_answer(scheduler)["address"]
    words = ("--bench", "beta.toml", "--name", "beta", "--builders", "0", "--json")
    host = farm.start("farm", "worker", address, *words, *farm.tls("beta"))
    first_answer(host)
    run = ["run", str(farm.folder / "campaign.toml"), "--farm", address, "--db", "away.db"]
    assert "builds firmware" in finish(farm.start(*run, *farm.tls("client")), code=3)
    for process in (host, scheduler):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_who_has_no_certificate_of_the_farm_is_not_let_in(farm: Farm) -> None:
    assert farm.start("farm", "certificates", "other", "stranger").wait() == 0
    words = ("farm", "status", farm.address, "--tls", str(farm.folder / "other" / "stranger"))
    assert "no farm answers" in finish(farm.start(*words), code=3)


def test_without_a_farm_the_message_says_how_to_start_one(harness: Callable[..., Any]) -> None:
    answer = harness("farm", "status", "tcp://127.0.0.1:9")
    assert answer.code == 3 and "harness farm scheduler" in answer.err


def test_a_scheduler_does_not_listen_beyond_loopback(harness: Callable[..., Any]) -> None:
    answer = harness("farm", "scheduler", "--host", "0.0.0.0")
    assert answer.code == 2 and "harness farm certificates" in answer.err
