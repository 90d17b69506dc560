from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.virtual.machine import VirtualMachine
from support.board import power_on


@pytest.fixture
def erased() -> Iterator[VirtualMachine]:
    machine = power_on("nucleo_f746zg", block_cycles=lambda code, address: len(code) // 2)
    yield machine
    machine.close()
