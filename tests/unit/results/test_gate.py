"""What a gate says of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.results.gate import Finding, Judgement, judge
from harness.results.policy import Policy, Rule, read_policy
from harness.results.record import Measurement, Run
from harness.results.store import Store
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import START


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "a.sqlite") as opened:
        yield opened


def night(
    store: Store,
    number: int,
    rows: list[Measurement],
    *,
    accepted: bool = False,
    repeat: str = "all",
) -> str:
    begin = START + timedelta(days=number)
    run = Run(
        id=f"night-{number:02}", campaign="demo", campaign_sha256="0" * 64, started_at=begin,
        ended_at=begin + timedelta(hours=1), outcome="complete", host="lab", user="nobody",
        harness_version="1", repeat=repeat, accepted_at=begin if accepted else None,
    )  # fmt: skip
    store.note_run(run)
    for row in rows:
        at = begin + timedelta(minutes=1)
        store.add(replace(row, campaign="demo", run=run.id, repetition=run.id, created_at=at))
    return run.id


def slower(row: Measurement, factor: float, *, layer: int | None = None) -> Measurement:
    layers = tuple(
        replace(one, cycles=round((one.cycles or 0) * (factor if one.index == layer else 1)))
        for one in row.layers
    )
    total = factor if layer is None else 1.0
    return replace(row, cycles=tuple(round(count * total) for count in row.cycles), layers=layers)


def of(judged: Judgement, figure: str) -> list[Finding]:
    return [one for one in judged.findings if one.figure == figure]


def test_the_same_night_twice_passes(store: Store) -> None:
    rows = [fake_measurement(index) for index in range(3)]
    night(store, 0, rows, accepted=True)
    judged = judge(store, night(store, 1, rows))
    assert judged.baseline is not None and judged.baseline.id == "night-00"
    assert not judged.regressed
    assert judged.counts == {"same": 3}


def test_a_slower_network_fails_and_is_named(store: Store) -> None:
    rows = [fake_measurement(index) for index in range(3)]
    night(store, 0, rows, accepted=True)
    judged = judge(store, night(store, 1, [rows[0], slower(rows[1], 1.05), rows[2]]))
    assert judged.regressed
    worst = judged.findings[0]
    assert (worst.figure, worst.verdict, worst.fails) == ("latency", "worse", True)
    assert worst.model == rows[1].model_name
    assert worst.ratio == pytest.approx(1.05, rel=1e-3)
    faster = judge(store, night(store, 2, [slower(row, 0.9) for row in rows]))
    assert not faster.regressed
    assert faster.counts["better"] == 3


def test_a_layer_is_judged_by_itself(store: Store) -> None:
    row = fake_measurement()
    night(store, 0, [row], accepted=True)
    judged = judge(store, night(store, 1, [slower(row, 1.1, layer=row.layers[0].index)]))
    (found,) = of(judged, "layer")
    assert found.verdict == "worse" and found.fails
    assert found.layer == f"{row.layers[0].index} {row.layers[0].name}"
    lenient = Policy(rules=(Rule(figures=("layer",), allow="anything"),))
    assert not judge(store, "night-01", lenient).regressed


def test_memory_outputs_and_failures_are_judged(store: Store) -> None:
    row, other, broken = (fake_measurement(index) for index in range(3))
    night(store, 0, [row, other, broken], accepted=True)
    larger = replace(row, flash_total_bytes=(row.flash_total_bytes or 0) * 2)
    wrong = replace(other, status="degraded", issues=("output-differs",), bit_exact=False)
    failed = replace(fake_failure(2), key=broken.key, model_name=broken.model_name,
                     runtime=broken.runtime, kernels=broken.kernels, flags=broken.flags,
                     optimization=broken.optimization, one_firmware=broken.one_firmware,
                     message="the core took a HardFault")  # fmt: skip
    judged = judge(store, night(store, 1, [larger, wrong, failed]))
    assert {(one.figure, one.verdict) for one in judged.findings if one.fails} == {
        ("flash", "worse"), ("outputs", "worse"), ("status", "failed"),
    }  # fmt: skip
    assert "HardFault" in of(judged, "status")[0].why
    mended = judge(store, night(store, 2, [row, other, broken]))
    assert not mended.regressed


def test_what_is_missing_or_new_is_said(store: Store) -> None:
    rows = [fake_measurement(index) for index in range(3)]
    night(store, 0, rows[:2], accepted=True)
    judged = judge(store, night(store, 1, rows[1:]))
    assert {(one.model, one.verdict) for one in of(judged, "status")} == {
        (rows[0].model_name, "missing"), (rows[2].model_name, "new"),
    }  # fmt: skip
    assert judged.regressed
    # Where the bench had no station for it, that is no regression.
    lacking = replace(store.run("night-01"), notes=("no station has board 'x'",))
    store.note_run(lacking)
    assert not judge(store, "night-01").regressed
    store.note_run(replace(lacking, notes=(), outcome=None))  # it goes on
    assert "missing" not in judge(store, "night-01").counts
    # A night that measures a share has the others from earlier nights.
    assert not judge(store, night(store, 2, rows[1:], repeat="some")).regressed


def test_another_clock_or_timing_model_cannot_be_compared(store: Store) -> None:
    row = fake_measurement()
    night(store, 0, [row], accepted=True)
    changed = replace(slower(row, 2), timing_model="pipeline/99", source="emulated")
    before = replace(row, timing_model="pipeline/98", source="emulated")
    night(store, 1, [before], accepted=True)
    judged = judge(store, night(store, 2, [changed]))
    (found,) = of(judged, "latency")
    assert found.verdict == "changed" and not found.fails
    assert "pipeline/98 → pipeline/99" in found.why


def test_without_a_baseline_the_night_before_counts(store: Store) -> None:
    row = fake_measurement()
    assert judge(store, night(store, 0, [row])).counts == {"new": 1}
    judged = judge(store, night(store, 1, [slower(row, 1.2)]))
    assert judged.baseline is None and judged.regressed


def test_worse_than_the_last_nights_counts_though_the_baseline_was_slower(store: Store) -> None:
    row = fake_measurement()
    night(store, 0, [slower(row, 1.2)], accepted=True)
    for number in range(1, 5):
        assert not judge(store, night(store, number, [row])).regressed
    found = judge(store, night(store, 5, [slower(row, 1.1)])).findings[0]
    assert found.verdict == "worse" and "nights before" in found.why
    assert len(found.earlier) == 4


def test_specimens_are_judged_apart(store: Store) -> None:
    first = fake_measurement(0)
    second = replace(first, key=fake_measurement(1).key, station="other")
    rows = [replace(first, station="one"), slower(second, 1.5)]
    night(store, 0, rows, accepted=True)
    assert not judge(store, night(store, 1, rows)).regressed
    swapped = [slower(rows[0], 1.5), rows[1]]
    found = judge(store, night(store, 2, swapped)).findings[0]
    assert found.fails and found.station == "one"


def test_a_policy_is_read_and_the_last_rule_counts(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[rules]]\nfigures = ["latency"]\nmargin = 0.2\n'
        '[[rules]]\nfigures = ["latency"]\nmodels = ["ds*"]\nallow = "nothing"\n'
    )
    policy, row = read_policy(file), replace(fake_measurement(), model_name="ds-cnn")
    assert policy.limit("latency", row) == (0.2, "nothing")
    assert policy.limit("latency", replace(row, model_name="x")) == (0.2, "better")
    file.write_text('[[rules]]\nfigures = ["latensy"]\n')
    with pytest.raises(ConfigError, match="latensy"):
        read_policy(file)


def test_no_such_run(store: Store) -> None:
    with pytest.raises(ConfigError, match="no run has an id"):
        judge(store, "x")


def test_what_cannot_be_judged_exits_otherwise_than_a_regression(
    harness: Callable[..., Any], tmp_path: Path
) -> None:
    with Store.open(tmp_path / "rows.sqlite") as opened:
        for store, run in (("none.sqlite", ()), ("rows.sqlite", ()), ("rows.sqlite", ("x",))):
            assert harness("gate", *run, "--db", store).code == 2
        row = fake_measurement()
        night(opened, 0, [row], accepted=True)
        night(opened, 1, [slower(row, 1.5)])
    assert harness("gate", "--db", "rows.sqlite").code == 1
