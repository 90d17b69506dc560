"""The site of a store: what its pages say, how names are escaped, what is written again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from harness.errors import ConfigError, ResultsError
from harness.report.site import write_site
from harness.report.site.build import MANIFEST
from harness.report.site.data import slug
from harness.report.site.serve import serving
from harness.results import open_store
from harness.results.policy import Policy, Rule
from harness.results.record import LayerCycles, Run, Source, StationHealth, StationState
from harness.results.store import Store
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import START, key_of
from support.searches import make_run

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>&\"'{{ 7*7 }}"
NAMES = (
    "model_name", "campaign", "station", "runtime", "runtime_version", "kernels",
    "kernels_version", "toolchain", "optimization",
)  # fmt: skip


class _Seen(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "rows.sqlite") as opened:
        yield opened


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Callable[[], Path]:
    def write() -> Path:
        write_site(store, tmp_path / "site")
        return tmp_path / "site"

    return write


def _pages(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.html"))
    }


def _network(folder: Path) -> str:
    (page,) = (folder / "network").iterdir()
    return page.read_text(encoding="utf-8")


def test_a_network_has_a_page_with_its_layers_and_its_memory(
    store: Store, site: Callable[[], Path]
) -> None:
    layers = (
        LayerCycles(index=0, name="first", operator="CONV_2D", macs=1000, cycles=3000),
        LayerCycles(index=1, name="second", operator="SOFTMAX", macs=0, cycles=1000),
    )
    store.add(fake_measurement(1, layers=layers, model_name="kws-1"))
    page = _network(site())
    assert "<h1>kws-1</h1>" in page
    assert "75.0 %" in page
    assert "CONV_2D" in page
    assert "SRAM" in page
    assert "KiB" in page


def test_the_address_of_a_network_depends_on_what_it_is_and_on_nothing_else(
    store: Store, site: Callable[[], Path], tmp_path: Path
) -> None:
    rows = [fake_measurement(index) for index in range(4)]
    for row in rows:
        store.add(row)
    first = {path for path in _pages(site()) if path.startswith("network/")}
    with open_store(tmp_path / "other.sqlite") as other:
        for row in reversed(rows):
            other.add(replace(row, campaign="another", board="nucleo_f446re"))
        write_site(other, tmp_path / "other")
    assert len(first) == 4
    assert first == {path for path in _pages(tmp_path / "other") if path.startswith("network/")}


def test_every_link_of_every_page_leads_to_a_file(store: Store, site: Callable[[], Path]) -> None:
    for index in range(15):
        store.add(fake_measurement(index, campaign=["one", "täglich/2", None][index % 3]))
    store.add(fake_failure(20))
    folder = site()
    count = 0
    for path, page in _pages(folder).items():
        for name, value in _Seen(page).attributes:
            if name in ("href", "src") and value and not value.startswith("data:"):
                assert (folder / path).parent.joinpath(value.partition("#")[0]).resolve().is_file()
                count += 1
    assert count > 100


def test_a_name_with_markup_is_a_text_like_any_other(
    store: Store, site: Callable[[], Path]
) -> None:
    layer = LayerCycles(index=0, name=HOSTILE, operator=HOSTILE, macs=10, cycles=100)
    for index in range(14):
        store.add(
            fake_measurement(
                index,
                layers=(layer,),
                **dict.fromkeys(NAMES, HOSTILE),
                flags=(HOSTILE,),
            )
        )
    store.add(fake_failure(20, message=HOSTILE, model_name=HOSTILE))
    store.note_station(
        StationState(
            key="1", name=HOSTILE, board=HOSTILE, probe="p", host=HOSTILE, state="disabled",
            code="hang", reason=HOSTILE, since=START,
        )
    )  # fmt: skip
    for path, page in _pages(site()).items():
        seen = _Seen(page)
        assert "img" not in seen.tags, path
        scripts = re.findall(r"<script[^>]*>", page)
        assert all("assets/" in tag or "application/json" in tag for tag in scripts), path
        assert not [name for name, _ in seen.attributes if name.startswith("on")], path
        assert "49" not in seen.texts
        for figure in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page):
            assert "<" not in figure
            assert json.loads(figure)["data"]


def test_a_figure_escapes_what_plotly_reads_as_markup(
    store: Store, site: Callable[[], Path]
) -> None:
    store.add(fake_measurement(1, model_name="<b>bold</b>", campaign="c"))
    page = (site() / f"campaign/{slug('c')}.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    assert json.loads(found)["data"][0]["text"] == ["&lt;b&gt;bold&lt;/b&gt;"]


def test_emulated_and_hardware_rows_share_neither_a_figure_nor_a_table(
    store: Store, site: Callable[[], Path]
) -> None:
    for index in range(14):
        row = fake_measurement(index, campaign="both")
        store.add(row)
        store.add(
            replace(
                row,
                key=key_of(("hardware", index)),
                source=Source.HARDWARE,
                timing_model=None,
                latency_us=123456.0,
            )
        )
    folder = site()
    for path in ("networks.html", "compare.html", f"campaign/{slug('both')}.html"):
        page = (folder / path).read_text(encoding="utf-8")
        _, hardware, emulated = re.split(r'<h2 class="(?:hardware|emulated)">', page)
        assert "Emulated" in emulated
        if path != "compare.html":
            assert "123.456" in hardware
            assert "123.456" not in emulated
    (page_path,) = {path for path in _pages(folder) if path.startswith("campaign/")}
    figures = re.findall(
        r'application/json" id="([^"]+)">(.*?)</script>', _pages(folder)[page_path]
    )
    by_id = {name: json.loads(text) for name, text in figures}
    assert set(by_id) == {"latency-hardware-1", "latency-emulated-1"}
    marks = {name: figure["data"][-1]["y"] for name, figure in by_id.items()}
    assert set(marks["latency-hardware-1"]) == {123.456}
    assert 123.456 not in marks["latency-emulated-1"]


def test_a_campaign_shows_its_fit_and_why_there_is_none(
    store: Store, site: Callable[[], Path]
) -> None:
    for index in range(30):
        store.add(fake_measurement(index, campaign="large"))
    store.add(fake_measurement(40, campaign="small"))
    folder = site()
    large = (folder / f"campaign/{slug('large')}.html").read_text(encoding="utf-8")
    small = (folder / f"campaign/{slug('small')}.html").read_text(encoding="utf-8")
    assert "Latency from ops" in large
    assert '"fill":"tonexty"' in large
    assert "too few rows to fit" in small


def test_kernels_are_compared_on_the_networks_that_have_both(
    store: Store, site: Callable[[], Path]
) -> None:
    for index in range(3):
        row = fake_measurement(index, kernels="cmsis_nn", cycles=(1000, 1000, 1000))
        store.add(row)
        slow = {"kernels": "portable", "cycles": (3000, 3000, 3000)}
        store.add(replace(row, key=key_of(("slow", index)), **slow))
    page = (site() / "compare.html").read_text(encoding="utf-8")
    assert re.search(r"cmsis_nn.*portable.*\+200\.0 %", page)


def test_a_row_measured_again_makes_a_history(store: Store, site: Callable[[], Path]) -> None:
    row = fake_measurement(1)
    for night in range(3):
        changes: dict[str, Any] = {"key": key_of(night), "toolchain": f"gcc {night}"}
        store.add(replace(row, created_at=row.created_at + timedelta(days=night), **changes))
    page = _network(site())
    assert "<h3>History</h3>" in page
    (found,) = re.findall(r'id="history-emulated">(.*?)</script>', page)
    (line,) = json.loads(found)["data"]
    assert len(line["x"]) == 3


def test_only_pages_whose_rows_changed_are_written_again(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    for index in range(5):
        store.add(fake_measurement(index, campaign="a"))
    store.add(fake_measurement(6, campaign="b"))
    first = write_site(store, folder)
    assert first.kept == 0
    assert not write_site(store, folder).written
    new = fake_measurement(7, campaign="b")
    store.add(new)
    again = set(write_site(store, folder).written)
    assert {path for path in again if path.startswith("campaign/")} == {
        f"campaign/{slug('b')}.html"
    }
    assert len([path for path in again if path.startswith("network/")]) == 1
    store.remove([new])
    built = write_site(store, folder)
    assert len(built.removed) == 1
    assert not (folder / built.removed[0]).exists()


def test_a_page_that_was_deleted_is_written_again(store: Store, tmp_path: Path) -> None:
    store.add(fake_measurement(1))
    folder = tmp_path / "site"
    write_site(store, folder)
    (folder / "compare.html").unlink()
    assert list(write_site(store, folder).written) == ["compare.html"]


def test_a_folder_with_other_files_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(ResultsError, match="holds other files"):
        write_site(store, tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_a_list_of_files_that_leads_elsewhere_removes_nothing(store: Store, tmp_path: Path) -> None:
    store.add(fake_measurement(1))
    folder = tmp_path / "site"
    write_site(store, folder)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../mine.txt"] = "x"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    write_site(store, folder)
    assert mine.exists()


def test_an_empty_store_has_a_site(site: Callable[[], Path]) -> None:
    assert "<h1>" in (site() / "index.html").read_text(encoding="utf-8")


def test_a_missing_package_is_named_with_the_extra(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.site.build.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Plotly") as failure:
        write_site(store, tmp_path / "site")
    assert "[report]" in str(failure.value)


def test_the_command_writes_the_site_and_says_what_it_did(
    harness: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    store.add(fake_measurement(1))
    answer = harness("report", "--db", tmp_path / "rows.sqlite", "--out", "s", "--json")
    assert answer.code == 0
    assert Path(answer.json()["index"]).is_file()
    assert harness("report", "--db", tmp_path / "none.sqlite").code == 1
    searches = ("--searches", tmp_path / "none")
    assert harness("report", "--db", tmp_path / "rows.sqlite", *searches).code == 2


def test_pages_are_served_to_this_machine_with_a_script_that_reloads(
    store: Store, site: Callable[[], Path]
) -> None:
    store.add(fake_measurement(1))
    with serving(site(), 0) as (address, notify):
        with urlopen(address) as answer:
            assert b"_reload.js" in answer.read()
        with pytest.raises(OSError, match="403"):
            urlopen(Request(address, headers={"Host": "elsewhere.example"}))
        with urlopen(f"{address}_events") as events:
            assert events.readline() == b": waiting\n"
            notify()
            assert events.readline() == b"\n"
            assert events.readline() == b"data: changed\n"


def _night(number: int, **changes: Any) -> Run:
    started = START + timedelta(days=number)
    values: dict[str, Any] = {
        "id": f"{started:%Y%m%d-%H%M%S}-00aa",
        "campaign": "nightly",
        "campaign_sha256": "0" * 64,
        "started_at": started,
        "ended_at": started + timedelta(minutes=75),
        "host": "lab",
        "user": "ci",
        "harness_version": "1",
        "repeat": "all",
        "outcome": "complete",
        "planned": 2,
        "valid": 2,
        "degraded": 0,
        "invalid": 0,
        "not_run": 0,
    }
    return Run(**{**values, **changes})


def test_the_start_page_is_the_newest_night_and_leads_to_the_others(
    store: Store, site: Callable[[], Path]
) -> None:
    for number in range(3):
        store.note_run(_night(number))
    failed = {"rows": 1, "code": "counter", "what": "it stands still", "left": 4}
    newest = _night(
        3, outcome="bench", invalid=1, not_run=4, stations={"bench-3": failed, "b": {"rows": 5}},
        notes=("no station has the board x",),
    )  # fmt: skip
    store.note_run(newest)
    store.add(
        fake_failure(1, message="it fell silent", run=newest.id, created_at=newest.started_at)
    )
    store.note_health(
        StationHealth(
            run=newest.id, station="bench-5", board="nucleo_f746zg", source=Source.EMULATED,
            checked_at=newest.started_at, verdict="warning", what="too warm",
            facts={"temperature_c": 61.5, "ratio": 1.0062},
        )
    )  # fmt: skip
    folder = site()
    index = (folder / "index.html").read_text(encoding="utf-8")
    expected = ("Failed: 1.", "Not run: 4.", "counter", "it stands still", "it fell silent",
                "no station has the board x", "too warm", "61.50", "+0.62 %")  # fmt: skip
    assert not [word for word in expected if word not in index]
    for number in range(4):
        path = f"run/{_night(number).id}.html"
        assert f'href="{path}"' in index
        assert (folder / path).is_file()
    own = (folder / f"run/{newest.id}.html").read_text(encoding="utf-8")
    assert "it stands still" in own
    assert _night(2).id in own


def test_stations_show_the_worst_first_and_the_golden_model_over_time(
    store: Store, site: Callable[[], Path]
) -> None:
    for number in range(3):
        for station, verdict in (("a", "ok"), ("b", "error")):
            store.note_health(
                StationHealth(
                    run=str(number), station=station, board="x", source=Source.EMULATED,
                    checked_at=START + timedelta(days=number), verdict=verdict, what=verdict,
                    facts={"cycles": 1000 + 10 * number} if station == "a" else {},
                )
            )  # fmt: skip
    page = (site() / "stations.html").read_text(encoding="utf-8")
    assert page.index("<tr><td>b") < page.index("<tr><td>a")
    (found,) = re.findall(r'id="golden-emulated">(.*?)</script>', page)
    (line,) = json.loads(found)["data"]
    assert line["name"] == "a"
    assert line["y"] == [-0.9901, 0.0, 0.9901]


def test_one_more_night_changes_few_pages(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    rows = [fake_measurement(index, campaign="nightly") for index in range(6)]

    def measure(number: int, some: list[Any]) -> None:
        night = _night(number)
        store.note_run(night)
        for row in some:
            same = {"run": night.id, "repetition": night.id}
            store.add(replace(row, created_at=night.started_at, **same))

    for number in range(4):
        measure(number, rows)
    write_site(store, folder)
    measure(4, rows[:2])
    built = write_site(store, folder)
    written = [path for path in built.written if "/" in path]
    assert len([path for path in written if path.startswith("network/")]) == 2
    assert [path for path in written if path.startswith("run/")] == [f"run/{_night(4).id}.html"]


def _measured(store: Store, number: int, *, slower: float = 1.0, **changes: Any) -> Run:
    """Store a night with three networks, the first of which may be slower."""
    night = _night(number, **changes)
    store.note_run(night)
    for index in range(3):
        row = fake_measurement(index, campaign="nightly", model_name=f"kws-{index}")
        factor = slower if index == 0 else 1.0
        cycles = tuple(round(count * factor) for count in row.cycles)
        store.add(
            replace(
                row,
                cycles=cycles,
                created_at=night.started_at,
                run=night.id,
                repetition=night.id,
            )
        )
    return night


def test_a_night_names_what_got_worse_and_the_list_counts_it(
    store: Store, site: Callable[[], Path]
) -> None:
    for number in range(3):
        _measured(store, number)
    worse = _measured(store, 3, slower=1.2)
    folder = site()
    page = (folder / f"run/{worse.id}.html").read_text(encoding="utf-8")
    assert "The gate fails: 1 worse." in page
    assert re.search(r"<h2>Worse <small>emulated.*kws-0.*\+20\.00 %", page, flags=re.DOTALL)
    assert "kws-1" not in page.partition("<h2>Worse")[2].partition("<h2>Measured")[0]
    before = (folder / f"run/{_night(2).id}.html").read_text(encoding="utf-8")
    assert "The gate passes." in before
    # The start page is written again from what is remembered of the earlier nights.
    _measured(store, 4)
    index = (site() / "index.html").read_text(encoding="utf-8")
    lines = re.findall(rf"<tr><td><a href=\"run/{worse.id}.*", index)
    assert re.search(r"failed|complete.*<td>1<td>0", lines[0])


def test_another_baseline_or_policy_judges_the_nights_again(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    first = _measured(store, 0)
    last = _measured(store, 1, slower=1.2)
    write_site(store, folder)
    store.note_run(replace(first, accepted_at=first.started_at, accepted_by="me"))
    built = write_site(store, folder)
    assert f"run/{last.id}.html" in built.written
    assert "the accepted run of" in (folder / f"run/{last.id}.html").read_text(encoding="utf-8")
    loose = Policy(rules=(Rule(figures=("latency",), margin=0.5),))
    write_site(store, folder, policy=loose)
    assert "The gate passes." in (folder / f"run/{last.id}.html").read_text(encoding="utf-8")


def test_a_run_that_goes_on_misses_nothing_yet(store: Store, site: Callable[[], Path]) -> None:
    _measured(store, 0)
    running = _night(1, ended_at=None, outcome=None, valid=None)
    store.note_run(running)
    page = (site() / f"run/{running.id}.html").read_text(encoding="utf-8")
    assert "The run has not ended" in page
    assert "Missing" not in page


def test_searches_are_listed_with_their_verdict_and_lead_to_what_they_found(
    harness: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    store.add(fake_measurement(1))
    for name, latency_us in (("good", 52_000.0), (f"bad/{'x' * 5}<b>", 70_000.0)):
        folder = tmp_path / "searches" / name
        folder.mkdir(parents=True)
        (folder / "search.json").write_text(json.dumps(make_run(latency_us=latency_us).to_json()))
    (tmp_path / "searches" / "broken").mkdir()
    (tmp_path / "searches" / "broken" / "search.json").write_text("{}")
    searches = ("--searches", tmp_path / "searches", "--out", tmp_path / "site")
    assert harness("report", "--db", tmp_path / "rows.sqlite", *searches).code == 0
    page = (tmp_path / "site" / "searches.html").read_text(encoding="utf-8")
    seen = _Seen(page)
    assert "b" not in seen.tags[seen.tags.index("main") : seen.tags.index("section")]
    targets = [value for name, value in seen.attributes if name == "href" and value]
    anchors = [value.partition("#")[2] for value in targets if value.startswith("searches.html#")]
    assert len(anchors) == 2
    assert set(anchors) <= {value for name, value in seen.attributes if name == "id"}
    assert "BROKEN" in page
    assert "schema version None" in page
    assert 'href="searches.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
