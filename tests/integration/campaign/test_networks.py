"""Networks that a search hands over: a station that fails is the bench's fault, with its cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.backbones import get_backbone
from harness.bench import Bench, Station
from harness.campaign.networks import measure_networks
from harness.campaign.runner import Summary
from harness.errors import EXIT_BENCH, BenchError, ProbeNotFound
from harness.results import open_store
from harness.testing import fake_measurement
from support.fits import fit_for

BENCH = Bench(
    stations=(Station(name="desk", board="nucleo_f746zg", probe="0671FF", serial="/dev/ttyACM0"),),
    path="bench.toml",
)
NETWORK = get_backbone("ds_cnn_kws").sample(0, 0)
FINGERPRINT = fit_for("ds_cnn_kws").fingerprint


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_a_station_that_fails_exits_3_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = ProbeNotFound("no probe 0671FF", fix="plug it in")
    monkeypatch.setattr(
        "harness.campaign.networks.run",
        lambda *_, **__: Summary(planned=1, not_run=1, bench_failure=cause),
    )
    with open_store("sqlite://") as store, pytest.raises(BenchError) as caught:
        measure_networks([NETWORK], FINGERPRINT, BENCH, store, Silent())
    assert caught.value.exit_code == EXIT_BENCH
    assert caught.value.__cause__ is cause
    for part in ("1 of 1 networks were not measured: no probe 0671FF", "desk", "plug it in"):
        assert part in str(caught.value)


def test_rows_come_back_in_the_order_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [get_backbone("ds_cnn_kws").sample(0, index) for index in range(3)]
    with open_store("sqlite://") as store:

        def run(jobs: Any, *_: Any, **__: Any) -> Summary:
            for job in reversed(jobs):
                store.add(replace(fake_measurement(0), key=job.key, model_name=job.spec.name))
            return Summary(planned=len(jobs))

        monkeypatch.setattr("harness.campaign.networks.run", run)
        rows = measure_networks(networks, FINGERPRINT, BENCH, store, Silent())
    assert [row.model_name for row in rows] == [f"ds_cnn_kws-{item.id}" for item in networks]
