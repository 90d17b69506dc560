"""What a unit test may not use; a test that uses it fails and names the folder where it belongs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePath
from types import FrameType, ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent
HOMES = {
    "tensorflow": "tests/training",
    "keras": "tests/training",
    "unicorn": "tests/contract",
    "numba": "tests/contract",
}
PROGRAMS = frozenset({"gcc", "g++", "cc", "as", "ld", "objcopy", "pio", "platformio"})
# Looking whether a package or a shared library is there is not using it.
EXEMPT = frozenset({"ctypes.util", "importlib.util"})


class Guard:
    """Refuses heavy packages and compilers while a unit test is collected or runs."""

    def __init__(self) -> None:
        self.test: str | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse a package at its first import, as an entry of `sys.meta_path`."""
        if self.test is not None and name in HOMES:
            self._refuse(f"imports {name}", HOMES[name])
        return None

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse to start a compiler or PlatformIO."""
        if self.test is None or event != "subprocess.Popen":
            return
        command = arguments[1]
        words = [command] if isinstance(command, (str, bytes)) else list(command)
        for word in map(str, words[:3]):
            name = PurePath(word).name.removeprefix("arm-none-eabi-")
            # A test may make a program of that name for itself.
            if name in PROGRAMS and not word.startswith(tempfile.gettempdir()):
                self._refuse(f"runs {word}", "tests/integration")

    def _refuse(self, what: str, home: str) -> None:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__") in EXEMPT:
                return
            frame = frame.f_back
        pytest.fail(f"{self.test} {what}, so it belongs in {home}: tests/unit stays fast")


GUARD = Guard()
sys.meta_path.insert(0, GUARD)
sys.addaudithook(GUARD.audit)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Guard the import of a test module."""
    GUARD.test = collector.nodeid if FOLDER in collector.path.parents else None
    try:
        return (yield)
    finally:
        GUARD.test = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Guard a test and its fixtures."""
    GUARD.test = item.nodeid if FOLDER in item.path.parents else None
    try:
        return (yield)
    finally:
        GUARD.test = None
