from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench import station_lock, virtual_bench
from harness.errors import StationLocked

STATION = virtual_bench().station("virtual-nucleo_f746zg")
OTHER = virtual_bench().station("virtual-nucleo_f767zi")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))


def test_second_holder_is_told_who_the_first_is() -> None:
    with station_lock(STATION), pytest.raises(StationLocked) as caught, station_lock(STATION):
        pass
    error = caught.value
    assert "another thread of this process" in error.what
    assert error.data["pid"] == os.getpid()
    assert error.exit_code == 3


def test_lock_is_free_again_after_the_block_even_if_it_failed() -> None:
    with pytest.raises(RuntimeError), station_lock(STATION):
        raise RuntimeError
    with station_lock(STATION):
        pass


def test_stations_do_not_hinder_each_other() -> None:
    with station_lock(STATION), station_lock(OTHER):
        pass


def test_across_processes_and_after_kill() -> None:
    code = (
        "import time\n"
        "from harness.bench import station_lock, virtual_bench\n"
        "with station_lock(virtual_bench().station('virtual-nucleo_f746zg')):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StationLocked) as caught, station_lock(STATION):
            pass
        assert caught.value.data["pid"] == holder.pid
        assert f"process {holder.pid}" in caught.value.what
        holder.kill()
        holder.wait()
    with station_lock(STATION):
        pass
