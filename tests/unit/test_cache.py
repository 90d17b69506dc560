"""The cache keeps its bound, and never removes what a running process needs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import cache
from harness.errors import ConfigError

_HOUR = 3600.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one entry of each kind, 1000 bytes each, the later ones used later."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    for hours, name in enumerate(
        (
            "images/0a/firmware.elf", "build/board-0a-3/.pio/a.o", "platformio/objects/0A/0a0a",
            "models/0a/0a.tflite", "references/0a/0a.json", "shared/0a.elf", "data/0a.npy",
        )
    ):  # fmt: skip
        _make(tmp_path / name, age_s=(20 - hours) * _HOUR)
    for kept in ("libraries/0a/packages/x.c", "virtual/board.flash", "locks/0a", "build/x-0.lock"):
        _make(tmp_path / kept, age_s=99 * _HOUR)
    return tmp_path


def _make(path: Path, *, age_s: float, size: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    used = time.time() - age_s
    for place in (path, path.parent, path.parents[1]):
        os.utime(place, (used, used))


def _bytes(root: Path) -> int:
    return sum(size.bytes for size in cache.sizes(root).values())


def test_each_kind_is_counted(root: Path) -> None:
    assert cache.sizes() == dict.fromkeys(cache.KINDS, cache.Size(1, 1000))


def test_what_was_used_longest_ago_goes_first(root: Path) -> None:
    pruned = cache.prune(5000)
    assert pruned == (cache.Size(2, 2000), cache.Size(0, 0))
    assert not (root / "images" / "0a").exists() and not (root / "build" / "board-0a-3").exists()
    assert (root / "models" / "0a" / "0a.tflite").exists()
    cache.touch(root / "models" / "0a" / "0a.tflite")
    assert cache.read(root / "references" / "0a" / "0a.json") == bytes(1000)
    assert cache.prune(3000).removed.entries == 2
    assert {kind for kind, size in cache.sizes().items() if size.entries} == {
        "models", "reference outputs", "training data",
    }  # fmt: skip


def test_all_that_can_be_made_again_goes_and_nothing_else(root: Path) -> None:
    assert cache.prune(0).removed == (7, 7000)
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert left == {
        "libraries/0a/packages/x.c", "virtual/board.flash", "locks/0a", "build/x-0.lock",
        "in-use.lock",
    }  # fmt: skip


def test_a_cache_within_its_bound_stays(root: Path) -> None:
    assert cache.prune(7000).removed.entries == 0
    assert _bytes(root) == 7000


def test_the_folder_of_a_running_build_stays(root: Path) -> None:
    lock = root / "build" / "board-0a-3.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.utime(lock, (0, 0))
        assert cache.prune(0).in_use == (1, 1000)
    assert (root / "build" / "board-0a-3" / ".pio" / "a.o").exists()
    assert cache.prune(0).removed == (1, 1000)


_USER = """
import sys
from pathlib import Path
from harness import cache
cache.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_while_another_process_uses_the_cache_an_hours_work_stays(root: Path) -> None:
    cache.touch(root / "images" / "0a")
    command = [sys.executable, "-c", _USER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None and user.stdout.readline() == b"held\n"
        assert cache.prune(0) == (cache.Size(6, 6000), cache.Size(1, 1000))
        assert (root / "images" / "0a" / "firmware.elf").exists()
    assert cache.prune(0).removed == (1, 1000)


def test_the_bound_is_kept_now_and_then(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_GB", "0.000003")
    cache.keep_bounded(root)
    assert _bytes(root) == 3000
    _make(root / "models" / "0b" / "0b.tflite", age_s=2 * _HOUR)
    cache.keep_bounded(root)
    assert _bytes(root) == 4000  # a moment ago it was done
    os.utime(root / "pruned", (0, 0))
    cache.keep_bounded(root)
    assert _bytes(root) == 3000


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_bound_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_GB", text)
    with pytest.raises(ConfigError, match="HARNESS_CACHE_GB"):
        cache.bound_bytes()
    monkeypatch.setenv("HARNESS_CACHE_GB", "0.5")
    assert cache.bound_bytes() == 500_000_000
    monkeypatch.delenv("HARNESS_CACHE_GB")
    assert cache.bound_bytes() == 5_000_000_000


def test_the_commands_show_and_clear_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.app import main

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(["cache", *words])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    code, text = run()
    assert code == 0 and "training data" in text and "0.00 of 5.00 GB" in text
    code, text = run("prune", "--max-gb", "0.000005")
    assert code == 0 and "removed 2 entries" in text
    code, text = run("prune", "--all", "--json")
    assert code == 0 and '"bytes": 5000' in text
    assert run("prune", "--all", "--max-gb", "1")[0] == 2
    assert run("prune")[1].startswith("removed 0 entries")


def test_doctor_tells_its_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cli.doctor import _cache

    assert _cache().ok and "0.0 of 5.0 GB" in _cache().found and not _cache().fix
    monkeypatch.setenv("HARNESS_CACHE_GB", "0")
    assert "harness cache prune" in _cache().fix
