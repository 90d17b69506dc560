"""What CI servers read of a gate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree

from harness.report.gate import FORMATS, gate_table, github, headline
from harness.results.gate import Finding, Judgement
from harness.results.record import Run

_RUN = Run(
    id="20261127-000000-aaaa", campaign="demo", campaign_sha256="0" * 64, host="lab", user="me",
    started_at=datetime(2026, 11, 27, tzinfo=UTC), harness_version="1", repeat="all",
)  # fmt: skip


def finding(verdict: str, **more: object) -> Finding:
    values = {
        "model": "<b>|net\x01", "board": "nucleo_f746zg", "source": "emulated", "station": "one",
        "configuration": "aot/cmsis_nn -O2", "key": "0" * 64, "figure": "latency",
        "verdict": verdict, "before": 1000.0, "after": 1100.0, "ratio": 1.1, "low": 1.1,
        "high": 1.1, **more,
    }  # fmt: skip
    return Finding(**values)  # type: ignore[arg-type]  # of one call


JUDGED = Judgement(
    _RUN, None, (finding("worse", fails=True), finding("new", ratio=None), finding("same")),
    {"worse": 1, "new": 1, "same": 1},
)  # fmt: skip


def test_junit_has_a_case_for_each_finding_and_a_failure_for_each_that_fails() -> None:
    root = ElementTree.fromstring(FORMATS["junit"](JUDGED))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "worse" and "+10.00 %" in (failure.text or "")
    assert "1.000 → 1.100 ms" in (failure.text or "")
    assert {case.get("classname") for case in suite.iter("testcase")} == {"<b>|net?"}


def test_sarif_names_what_failed() -> None:
    (run,) = json.loads(FORMATS["sarif"](JUDGED))["runs"]
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [
        ("latency-worse", "error"), ("latency-new", "note"),
    ]  # fmt: skip
    assert {one["id"] for one in run["tool"]["driver"]["rules"]} == {"latency-new", "latency-worse"}


def test_the_summary_for_github_is_markdown_that_names_cannot_break() -> None:
    text = github(JUDGED)
    assert "1 finding fails the gate" in text
    assert "<b>" not in text
    assert headline(JUDGED).startswith("1 finding fails the gate: run 20261127-000000-aaaa")


def test_json_says_whether_it_regressed_and_the_table_leaves_out_what_is_the_same() -> None:
    assert json.loads(FORMATS["json"](JUDGED))["regressed"] is True
    assert len(gate_table(JUDGED).rows) == 2
