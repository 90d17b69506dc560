"""Stations of the hardware tests: HARNESS_BENCH=bench.toml pytest -m hardware tests/hardware.

All stations of the bench file are tested, virtual ones too. Without a bench file the tests run on
one virtual station, as a rehearsal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station, load_bench

_FILE = os.environ.get("HARNESS_BENCH")
_REHEARSAL = "virtual-nucleo_f446re"


def _stations() -> tuple[Station, ...]:
    return load_bench().stations if _FILE else (load_bench().station(_REHEARSAL),)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and _FILE:
            item.add_marker(pytest.mark.hardware)


@pytest.fixture(scope="session", params=_stations(), ids=lambda station: station.name)
def station(request: pytest.FixtureRequest, virtual_board: None) -> Iterator[Station]:
    found: Station = request.param
    yield found
    if found.source == "emulated":
        from harness.virtual.registry import discard_machine

        discard_machine(found.board, found.number or 1)


@pytest.fixture
def on_station(harness: Callable[..., Any], station: Station, tmp_path: Path) -> Callable[..., Any]:
    """Run a command on the station, with the bench file if there is one."""
    bench = ("--bench", Path(_FILE).resolve()) if _FILE else ()
    return lambda *arguments: harness(*arguments, *bench)
