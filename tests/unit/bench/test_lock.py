from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.bench import Station, station_lock, virtual_bench
from harness.bench.lock import lock_folder
from harness.errors import BenchError, StationLocked

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
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / "locks"))


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


def test_the_folder_is_for_every_user_of_the_host_and_no_home() -> None:
    with station_lock(STATION):
        folder = lock_folder()
        (file,) = folder.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
        assert stat.S_IMODE(file.stat().st_mode) == 0o666
        assert json.loads(file.read_text())["user"]


def test_without_a_variable_the_folder_is_the_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_LOCKS")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    assert str(lock_folder()) in ("/run/lock/tinyml-harness", "/tmp/tinyml-harness")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    folder = lock_folder()
    (folder / "066EFF.lock").symlink_to(victim)
    with pytest.raises(BenchError, match="cannot be opened"), station_lock(STATION):
        pass
    (folder / "066EFE.lock").hardlink_to(victim)
    with pytest.raises(BenchError, match="not an ordinary file"), station_lock(OTHER):
        pass
    assert victim.read_text() == "kept"


def test_a_folder_that_is_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / "link"))
    with pytest.raises(BenchError, match="is a link"), station_lock(STATION):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="run as root: only root can be two users")
def test_users_see_each_other_s_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:  # in a folder that every user may enter
        Path(folder).chmod(0o755)
        monkeypatch.setenv("HARNESS_LOCKS", str(Path(folder) / "locks"))
        with station_lock(STATION):
            assert _as_another_user(STATION) == "locked"
        assert _as_another_user(STATION) == "free"
        assert _as_another_user(OTHER) == "free"  # that user makes the file
        with station_lock(OTHER):
            pass


def _as_another_user(station: Station) -> str:
    child = os.fork()
    if not child:
        try:
            os.setuid(65534)
            with station_lock(station):
                os._exit(1)
        except StationLocked:
            os._exit(2)
        finally:
            os._exit(3)
    return {1: "free", 2: "locked"}.get(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "error")


def test_a_virtual_station_is_every_process_s_own() -> None:
    with held_by_another_process(VIRTUAL), station_lock(VIRTUAL):
        pass
