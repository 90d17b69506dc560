from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.bench import Station, station_lock, virtual_bench
from harness.errors import StationLocked

STATION = Station(name="desk", board="nucleo_f746zg", probe="066EFF", serial="/dev/ttyACM0")
OTHER = Station(name="shelf", board="nucleo_f746zg", probe="066EFE", serial="/dev/ttyACM1")
VIRTUAL = virtual_bench().station("virtual-nucleo_f746zg")

_HOLD = """
import sys, time
from harness.bench import Station, station_lock
with station_lock(Station.model_validate_json(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))


@pytest.mark.parametrize("station", [STATION, VIRTUAL])
def test_the_second_user_is_told_who_the_first_is(station: Station) -> None:
    with station_lock(station), pytest.raises(StationLocked) as caught, station_lock(station):
        pass
    error = caught.value
    assert "another thread of this process" in error.what
    assert error.data["pid"] == os.getpid()
    assert error.exit_code == 3


@pytest.mark.parametrize("station", [STATION, VIRTUAL])
def test_lock_is_free_again_after_the_block_even_if_it_failed(station: Station) -> None:
    with pytest.raises(RuntimeError), station_lock(station):
        raise RuntimeError
    with station_lock(station):
        pass


def test_stations_do_not_hinder_each_other() -> None:
    with station_lock(STATION), station_lock(OTHER):
        pass


@contextmanager
def held_by_another_process(station: Station) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _HOLD, station.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


def test_across_processes_and_after_kill() -> None:
    with held_by_another_process(STATION) as holder:
        with pytest.raises(StationLocked) as caught, station_lock(STATION):
            pass
        assert caught.value.data["pid"] == holder.pid
        assert f"process {holder.pid}" in caught.value.what
    with station_lock(STATION):
        pass


def test_a_virtual_station_is_every_process_s_own() -> None:
    with held_by_another_process(VIRTUAL), station_lock(VIRTUAL):
        pass
