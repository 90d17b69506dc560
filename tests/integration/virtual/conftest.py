from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.virtual.machine import VirtualMachine
from support.board import BOARDS, Bench, build_tiny, power_on


@pytest.fixture(scope="session", params=BOARDS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(load_board(request.param), tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="session")
def tiny_f746(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(load_board("nucleo_f746zg"), tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def bench(tiny: Path) -> Iterator[Bench]:
    machine = power_on(tiny.stem)
    bench = Bench(machine)
    bench.load(tiny)
    yield bench
    machine.close()


@pytest.fixture
def erased() -> Iterator[VirtualMachine]:
    machine = power_on("nucleo_f746zg", block_cycles=lambda code, address: len(code) // 2)
    yield machine
    machine.close()
