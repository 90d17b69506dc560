from __future__ import annotations

import pytest

from harness.bench.failure import UntilFailure
from harness.errors import BenchError, DeviceError, FlashError


def test_a_failure_ends_the_use_and_stays_its_cause() -> None:
    session = UntilFailure("the session on station 'desk'")
    with pytest.raises(DeviceError), session.use(DeviceError):
        raise DeviceError("the firmware says no")  # harmless: the session goes on
    with pytest.raises(FlashError), session.use(DeviceError):
        raise FlashError("erasing failed", fix="power-cycle the board")
    with pytest.raises(BenchError, match="desk' already failed") as refused, session.use():
        pytest.fail("used after a failure")
    assert refused.value.__cause__ is session.cause
    assert refused.value.where == "erasing failed"
