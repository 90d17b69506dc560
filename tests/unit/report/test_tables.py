"""Tables say what was not measured, keep foreign names on one line, and escape them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.errors import ResultsError
from harness.fit.regress import fit_all, fit_rows
from harness.report import text as words
from harness.report.summary import write_summary
from harness.report.table import Table
from harness.report.tables import fit_table, measurement_table
from harness.results.record import Run
from harness.testing import fake_failure, fake_measurement


def test_what_all_rows_share_is_in_the_title() -> None:
    table = measurement_table([fake_measurement(index) for index in range(3)])
    assert "emulated, nucleo_f746zg, fake, aot, cmsis_nn, -O2, 216 MHz" in table.title
    assert "board" not in table.columns and "issues" not in table.columns
    line = dict(zip(table.columns, table.rows[0], strict=True))
    assert line["model"] == "kws-0"
    assert line["Mop"] == "2.00"
    assert line["latency ms"] == "41.667"
    assert line["cycles/MAC"] == "9.00"
    assert line["arena B"] == "16,384"
    assert line["outputs"] == "exact"


def test_what_differs_gets_a_column_and_unknowns_a_dash() -> None:
    other = fake_measurement(
        5,
        board="nucleo_f446re",
        status="degraded",
        issues=("output-differs",),
        bit_exact=False,
        output_bytes_differing=3,
        output_max_abs_diff=1,
    )
    table = measurement_table([fake_measurement(0), other, fake_failure(2)])
    assert "board" in table.columns
    lines = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert lines[1]["outputs"] == "3 of 12 differ, by ≤ 1"
    assert lines[1]["issues"] == "output-differs"
    assert lines[2]["latency ms"] == "–" and lines[2]["model"] == "–"
    assert lines[2]["issues"] == "timeout"


def test_an_empty_table_is_a_table() -> None:
    assert not measurement_table([]).rows and not fit_table([]).rows
    assert measurement_table([]).markdown().count("\n") == 2


def test_a_fit_table_shows_the_held_out_figures() -> None:
    rows = [fake_measurement(index) for index in range(40)]
    table = fit_table([fit_rows(rows)])
    line = dict(zip(table.columns, table.rows[0], strict=True))
    assert line["backbone"] == "ds_cnn_kws"
    assert line["r² held out"] == "1.0000"
    assert line["in ±5 %"] == "100 %"
    assert "emulated" in table.title and "fake/1" in table.title
    without = fit_table([fit_rows(rows, holdout_share=0)])
    assert dict(zip(without.columns, without.rows[0], strict=True))["MAPE"] == "–"


def test_a_hostile_name_is_one_escaped_line() -> None:
    name = "a|b\n<script>\x1b[31m_x_ \ud800 ![i](http://e)"
    row = fake_measurement(model_name=name)
    markdown = measurement_table([row]).markdown()
    assert markdown.count("\n") == 3
    assert "<script>" not in markdown and "\\|" in markdown and "\x1b" not in markdown
    assert "![i]" not in markdown
    markdown.encode("utf-8")

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=200).print(measurement_table([row]).rich())
    assert "\x1b" not in out.getvalue()
    assert "[i](http://e)" in out.getvalue()  # no Rich markup is read from it


def test_rich_and_markdown_hold_the_same_cells() -> None:
    table = Table("t", ("name", "n"), (("a", "1"),))
    assert table.markdown() == "| name | n |\n| :--- | ---: |\n| a | 1 |\n"
    assert table.rich().row_count == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.8674, "0.867"),
        (1.234, "1.23"),
        (237.4, "237"),
        (12345.6, "12,346"),
    ],
)
def test_significant_figures(value: float | None, shown: str) -> None:
    assert words.significant(value) == shown


def test_small_words() -> None:
    assert words.r_squared(None) == "–" and words.r_squared(1.0) == "1.0000"
    assert words.r_squared(0.99999) == "0.9999" and words.r_squared(-1.5) == "-1.5000"
    assert words.share(0.5) == "50 %" and words.percent(None) == "–"
    assert words.clock(None) == "–" and words.clock(84_500_000) == "84.5 MHz"
    assert words.name("x" * 80) == "x" * 59 + "…"
    assert words.verb("hardware") == "measured" and words.verb("emulated") == "modelled"


def test_a_summary_holds_verdict_fits_networks_and_times(tmp_path: Path) -> None:
    rows = [fake_measurement(index) for index in range(40)]
    failed = [fake_failure(90), fake_failure(91)]
    rerun = [fake_failure(3, attempt=7)]  # a network that was measured in the end
    fits, _ = fit_all(rows)
    file = write_summary(
        tmp_path / "out" / "summary.md",
        [*rows, *failed, *rerun],
        fits,
        plot=tmp_path / "plots" / "latency.png",
        title="demo",
        notes=["ds_cnn_ad: too few rows to fit"],
    )
    content = file.read_text(encoding="utf-8")
    assert content.startswith("# demo\n")
    assert "42 networks: 40 valid, 0 degraded, 2 invalid." in content
    assert "bit for bit in 40 of 40" in content
    assert "**Emulated:** cycles are modelled by fake/1" in content
    assert "timeout × 2" in content
    assert "too few rows to fit" in content
    assert "![Latency against operations](<../plots/latency.png>)" in content
    assert "384 + 1.000 × working_memory_bytes" in content
    assert "| build | 40 | 1.50 |" in content
    assert [item.name for item in file.parent.iterdir()] == ["summary.md"]


def test_a_summary_names_run_host_failed_stations_reasons_and_jobs_not_run(
    tmp_path: Path,
) -> None:
    at = datetime(2026, 11, 27, 3, 15, tzinfo=UTC)
    run = Run(
        id="20261127-031500-3fa2", campaign="demo", campaign_sha256="0" * 64, started_at=at,
        ended_at=at + timedelta(minutes=42), host="lab-b", user="ann", harness_version="0.1.0",
        repeat="all", outcome="bench", not_run=30,
        stations={
            "desk": {"rows": 2},
            "shelf": {"rows": 0, "code": "counter", "what": "the counter stands still", "left": 30},
        },
        notes=("board nucleo_l4r5zi: no station has it",),
    )  # fmt: skip
    reason = "waited 5.0 s for the boot line | after reset"
    rows = [fake_measurement(0), fake_failure(9, model_name="net-9", message=reason)]
    missing = [f"net-{index} on nucleo_f446re" for index in range(30)]
    file = write_summary(tmp_path / "s.md", rows, run=run, not_run=missing)
    content = file.read_text(encoding="utf-8")
    for part in (
        "Run 20261127-031500-3fa2 on host lab-b by ann, 2026-11-27 03:15 to 2026-11-27 03:57 UTC",
        "Station shelf failed: error\\[counter\\]: the counter stands still. 30 jobs were not run",
        "board nucleo_l4r5zi: no station has it",
        "30 jobs were not run: net-0 on nucleo_f446re",
        "and 10 more.",
        "| net-9 | timeout | waited 5.0 s for the boot line \\| after reset |",
    ):
        assert part in content, part
    assert "Station desk" not in content


def test_a_summary_of_nothing_says_so(tmp_path: Path) -> None:
    content = write_summary(tmp_path / "s.md", []).read_text(encoding="utf-8")
    assert "0 networks" in content and "Emulated" not in content and "## Fits" not in content


def test_a_summary_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="summary cannot be written"):
        write_summary(tmp_path / "file" / "s.md", [])
