"""Virtual stations in processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.bench import Bench, Station, virtual_bench
from harness.boards import load_board
from harness.campaign.needs import Needs
from harness.campaign.places import count_places
from harness.campaign.plan import Job
from harness.campaign.process import ProcessSession
from harness.capture import CapturePlan
from harness.errors import CaptureError, IdentityError
from harness.firmware import build
from harness.models import TFLiteModel, read_model
from harness.runtimes import RuntimeOptions, get_runtime

pytestmark = pytest.mark.usefixtures("virtual_board")
BOARD = load_board("nucleo_f746zg")


def station(**changes: str) -> Station:
    return virtual_bench().station(f"virtual-{BOARD.id}").model_copy(update=changes)


def places(count: int, *stations: Station) -> dict[str, int]:
    """Return the places of stations for so many jobs of each board and source among them."""
    jobs = [
        cast(Job, SimpleNamespace(needs=needs))
        for needs in dict.fromkeys(Needs.of(one) for one in stations)
        for _ in range(count)
    ]
    found = count_places(jobs, Bench(stations=stations))
    return {one.name: each for group in found.values() for one, each in group.items()}


def test_a_virtual_board_that_is_alone_and_not_numbered_shares_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    plain, second = station(), station(name="second", **numbered(2))
    faulty = station(name="faulty", serial=f"virtual://{BOARD.id}?faults=drop&seed=1")
    real = station(name="real", probe="0123", serial="/dev/ttyACM0")
    assert places(9, plain) == {plain.name: 8}
    assert places(3, plain) == {plain.name: 3}
    assert places(9, plain, real) == {plain.name: 4, "real": 1}
    assert places(9, plain, second) == {plain.name: 1, "second": 1}
    assert places(9, second) == {"second": 1}
    assert places(9, faulty) == {"faulty": 1}


def numbered(number: int) -> dict[str, str]:
    return {
        "probe": f"virtual:{BOARD.id}#{number}",
        "serial": f"virtual://{BOARD.id}#{number}",
    }


@pytest.fixture
def model(pointwise: Callable[..., bytes]) -> TFLiteModel:
    return read_model(pointwise((8, 12, 4)), name="tiny")


@pytest.fixture
def session() -> Iterator[ProcessSession]:
    found = ProcessSession(station())
    yield found
    found.close()


def plan(model: TFLiteModel) -> CapturePlan:
    size, out = (
        tensors[0].bytes for tensors in (model.graph.input_tensors(), model.graph.output_tensors())
    )
    return CapturePlan(
        warmup=1, repeats=2, layers=False, inputs=(bytes(size),), output_bytes=(out,), macs=2304
    )


def image(model: TFLiteModel) -> Any:
    sources = get_runtime("aot").generate(model, RuntimeOptions(), BOARD)
    return build(BOARD, model, sources)


def test_a_process_measures_and_keeps_its_session(
    session: ProcessSession, model: TFLiteModel
) -> None:
    first, second = (session.run(image(model), plan(model)) for _ in range(2))
    assert first.cycles == second.cycles
    assert not session.broken


def test_a_failure_comes_back_as_what_it_is(session: ProcessSession, model: TFLiteModel) -> None:
    from dataclasses import replace

    wrong = replace(image(model), build_id="0" * 16)
    with pytest.raises(IdentityError):
        session.run(wrong, plan(model))


def test_a_process_that_is_killed_is_a_failed_capture(
    session: ProcessSession, model: TFLiteModel
) -> None:
    os.kill(session._process.pid or 0, signal.SIGKILL)
    with pytest.raises(CaptureError, match="ended"):
        session.run(image(model), plan(model))
    assert session.broken
