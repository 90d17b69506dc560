"""What a gate found, as a table and in the formats that CI servers read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from harness import __version__
from harness.report import text
from harness.report.table import Column, Table, table_of
from harness.results.gate import Finding, Judgement

_SHOWN = 40
_UNIT = {"latency": "ms", "layer": "cycles", "arena": "B", "sram": "B", "flash": "B", "stack": "B"}
_LEVEL = {"worse": "error", "failed": "error", "missing": "error", "better": "note"}


def _figure(found: Finding) -> str:
    return f"{found.figure} {found.layer}" if found.layer else found.figure


def _value(found: Finding, value: float | None) -> str:
    if value is None:
        return text.UNKNOWN
    return text.number(value / 1000, 3) if found.figure == "latency" else text.number(value)


def change(found: Finding) -> str:
    """Return by how much a figure changed, in percent."""
    return text.UNKNOWN if found.ratio is None else f"{100 * (found.ratio - 1):+.2f} %"


FINDING: tuple[Column[Finding], ...] = (
    Column("verdict", lambda one: one.verdict),
    Column("model", lambda one: text.name(one.model)),
    Column("figure", _figure),
    Column("before", lambda one: _value(one, one.before)),
    Column("after", lambda one: _value(one, one.after)),
    Column("change", change),
    Column("why", lambda one: one.why or text.UNKNOWN),
)
"""Verdict, subject, and figure before and after."""

FINDING_WHERE: tuple[Column[Finding], ...] = (
    Column("source", lambda one: one.source),
    Column("board", lambda one: text.name(one.board)),
    Column("configuration", lambda one: text.name(one.configuration)),
    Column("station", lambda one: text.name(one.station)),
)
"""Where the figure was measured, and how."""


def headline(judged: Judgement) -> str:
    """Return the verdict in a sentence."""
    failing = sum(one.fails for one in judged.findings)
    counts = ", ".join(f"{count} {word}" for word, count in judged.counts.items())
    against = f"run {judged.baseline.id}" if judged.baseline else "the nights before"
    verdict = f"{failing} findings fail the gate" if failing else "the gate passes"
    verdict = verdict.replace("1 findings fail", "1 finding fails")
    return f"{verdict}: run {judged.run.id} against {against}: {counts or 'nothing measured'}"


def gate_table(judged: Judgement, *, everything: bool = False) -> Table:
    """Return the findings that are not ``same``; the worst come first."""
    listed = [one for one in judged.findings if everything or one.verdict != "same"]
    return table_of("Changes", listed[:_SHOWN], FINDING, FINDING_WHERE)


def junit(judged: Judgement) -> str:
    """Return JUnit XML: a test case for each finding, as Jenkins, GitLab and GitHub show it."""
    failing = [one for one in judged.findings if one.fails]
    suite = ElementTree.Element(
        "testsuite",
        name=f"{judged.run.campaign} {judged.run.id}",
        tests=str(len(judged.findings)),
        failures=str(len(failing)),
        errors="0",
        timestamp=f"{judged.run.started_at:%Y-%m-%dT%H:%M:%S}",
        hostname=judged.run.host,
    )
    for one in judged.findings:
        name = f"{_figure(one)} on {one.board} ({one.configuration})"
        case = ElementTree.SubElement(
            suite, "testcase", classname=_clean(one.model), name=_clean(name)
        )
        if one.fails:
            failure = ElementTree.SubElement(
                case, "failure", type=one.verdict, message=_clean(_said(one))
            )
            failure.text = _clean(_said(one))
        elif one.verdict != "same":
            ElementTree.SubElement(case, "system-out").text = _clean(_said(one))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def sarif(judged: Judgement) -> str:
    """Return SARIF 2.1.0, as code scanning reads it; a finding's place is its model."""
    results = [
        {
            "ruleId": f"{one.figure}-{one.verdict}",
            "level": "error" if one.fails else _LEVEL.get(one.verdict, "note"),
            "message": {"text": f"{one.name}: {_said(one)}"},
            "locations": [
                {"logicalLocations": [{"fullyQualifiedName": f"{one.model}@{one.board}"}]}
            ],
        }
        for one in judged.findings
        if one.verdict != "same"
    ]
    rules = sorted({str(one["ruleId"]) for one in results})
    driver = {
        "name": "tinyml-harness",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": rule}} for rule in rules],
    }
    content = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(content, indent=2) + "\n"


def github(judged: Judgement) -> str:
    """Return Markdown for ``$GITHUB_STEP_SUMMARY``."""
    parts = [f"### Nightly {text.markdown(judged.run.campaign)}\n", f"{headline(judged)}\n"]
    table = gate_table(judged)
    if table.rows:
        parts += [f"{text.markdown(table.title)}\n", table.markdown()]
    return "\n".join(parts)


def as_json(judged: Judgement) -> str:
    """Return all findings as JSON."""
    return json.dumps({"schema": 1, **judged.as_json()}, indent=2) + "\n"


FORMATS: Mapping[str, Callable[[Judgement], str]] = {
    "junit": junit,
    "sarif": sarif,
    "github": github,
    "json": as_json,
}
"""Writers by name of the format."""


def _said(one: Finding) -> str:
    words: list[Any] = [one.verdict]
    if one.ratio is not None:
        unit = _UNIT.get(one.figure, "")
        words.append(f"{_value(one, one.before)} → {_value(one, one.after)} {unit} ({change(one)})")
    return ", ".join(str(word) for word in (*words, one.why) if word)


def _clean(value: str) -> str:
    """Drop what XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n" or " " <= c < "\ud800" or c > "\udfff" else "?" for c in value)
