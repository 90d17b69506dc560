"""One job: what its key and its row depend on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.bench import virtual_bench
from harness.campaign.config import MeasureOptions
from harness.campaign.measure import Built, run_job
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.prepare import Prepared
from harness.campaign.specs import ModelSpec
from harness.errors import IdentityError
from harness.firmware import BuildOptions
from harness.models import read_model
from harness.runtimes import RuntimeOptions
from harness.testing import tiny_network

STATION = virtual_bench().station("virtual-nucleo_f746zg")


def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr("harness.campaign.plan._toolchain", lambda: "gcc")
    return Job.of(
        Needs.of(STATION), ModelSpec("net", 0, sha256="0" * 64), RuntimeOptions("aot", "portable"),
        BuildOptions(), MeasureOptions(),
    )  # fmt: skip


def test_the_timing_model_is_decided_with_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_TIMING", raising=False)
    usual = job(monkeypatch)
    monkeypatch.setenv("HARNESS_TIMING", "issue")
    other = job(monkeypatch)
    assert (usual.needs.timing_model or "").startswith("cortex-m7-pipeline/")
    assert (other.needs.timing_model or "").startswith("cortex-m7-issue/")
    assert usual.key != other.key


def test_a_row_of_another_timing_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_model(tiny_network(1))
    planned = job(monkeypatch)
    prepared = Prepared(model.content, (b"",), (b"",), "reference", 0.0)
    built = Built(planned, prepared, model, cast(Any, None), cast(Any, None), {})

    class Session:
        broken = False

        def run(self, image: Any, plan: Any) -> Any:
            return SimpleNamespace(timing_model="cortex-m7-issue/1", raw_log="> id")

        def close(self) -> None: ...

    with pytest.raises(IdentityError, match="cortex-m7-issue/1") as caught:
        run_job(built, Session(), STATION, campaign=None)
    assert str(planned.needs.timing_model) in str(caught.value)
