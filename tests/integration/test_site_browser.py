"""The site in a real browser, opened as files: no errors, tables sort and filter, plots zoom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.report.site import write_site
from harness.report.site.data import slug
from harness.report.site.html import Grid
from harness.report.site.serve import serve_site
from harness.report.table import Table
from harness.results import open_store
from harness.results.record import Run, Source, StationHealth
from harness.results.store import Store
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import START, key_of
from support import needs

pytestmark = needs.browser

SCRIPT = "</script><script>window.hostile = 1</script>"
HOSTILE = f"<img src=x onerror='window.hostile = 1'>{SCRIPT}"
# As a container without a graphics card or a network needs it.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
PHONE = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
DESK = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(needs.CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(str(needs.CHROMEDRIVER)))
    driver.implicitly_wait(10)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(autouse=True)
def desk(browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", DESK)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with open_store(folder / "rows.sqlite") as store:
        _fill(store)
        write_site(store, folder / "site")
    return folder / "site"


def _fill(store: Store) -> None:
    """Two nights of thirty networks, one of them named by a stranger, and a row from hardware."""
    for night in range(2):
        started = START + timedelta(days=night)
        run = Run(
            id=f"{started:%Y%m%d-%H%M%S}-00aa",
            campaign="nightly",
            campaign_sha256="0" * 64,
            started_at=started,
            ended_at=started + timedelta(hours=1),
            host=HOSTILE,
            user=HOSTILE,
            harness_version="1",
            repeat="all",
            outcome="failed",
            stations={HOSTILE: {"rows": 1, "code": "hang", "what": HOSTILE, "left": 2}},
            notes=(HOSTILE,),
        )
        store.note_run(run)
        same: dict[str, Any] = {"run": run.id, "repetition": run.id, "campaign": "nightly"}
        for index in range(30):
            row = fake_measurement(index, created_at=started, **same)
            store.add(replace(row, model_name=HOSTILE) if index == 7 else row)
        store.add(fake_failure(40, created_at=started, message=HOSTILE, **same))
        store.note_health(
            StationHealth(
                run=run.id,
                station=HOSTILE,
                board="nucleo_f746zg",
                source=Source.EMULATED,
                checked_at=started,
                verdict="error",
                what=HOSTILE,
            )
        )
    chip: dict[str, Any] = {"source": Source.HARDWARE, "timing_model": None, "station": HOSTILE}
    store.add(fake_measurement(1, key=key_of("hardware"), campaign=HOSTILE, **chip))


def _pages(site: Path) -> list[Path]:
    """Return all pages but those of most networks, which are alike."""
    alike = [
        page
        for page in sorted(site.glob("network/*.html"))
        if "window.hostile" not in page.read_text(encoding="utf-8")
    ]
    return sorted({*site.rglob("*.html")} - {*alike[2:]})


def _errors(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def _column(browser: Any, at: int) -> list[str]:
    """Return the cells of a column of the first table that are shown."""
    script = """
        const rows = Array.from(document.querySelector("table").tBodies[0].rows);
        return rows.filter((row) => !row.hidden).map((row) => row.cells[arguments[0]].innerText);
    """
    cells: list[str] = browser.execute_script(script, at)
    return cells


def test_every_page_loads_without_an_error_and_fits_a_phone(browser: Any, site: Path) -> None:
    _errors(browser)
    for size in (DESK, PHONE):
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in _pages(site):
            browser.get(page.as_uri())
            assert not _errors(browser), page
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= size["width"], page
            assert browser.find_element("tag name", "h1").text


def test_a_name_with_markup_is_shown_and_does_nothing(browser: Any, site: Path) -> None:
    shown = 0
    for page in _pages(site):
        browser.get(page.as_uri())
        assert browser.execute_script("return window.hostile") is None, page
        assert browser.execute_script("return document.images.length") == 0, page
        shown += HOSTILE[:30] in browser.find_element("tag name", "body").text
    assert shown >= 5


def test_a_column_sorts_both_ways(browser: Any, site: Path) -> None:
    browser.get((site / "networks.html").as_uri())
    browser.execute_script("document.querySelectorAll('h2')[1].scrollIntoView()")
    heads = [head.text for head in browser.find_elements("css selector", "table th")]
    at = heads.index("Mop")
    table = browser.find_elements("css selector", "table")[-1]
    head = table.find_elements("css selector", "th button")[at]
    script = "const [table, at] = arguments; return Array.from(table.tBodies[0].rows, CELL)"
    script = script.replace("CELL", "(row) => row.cells[at].innerText")
    head.click()
    rising = [float(cell) for cell in browser.execute_script(script, table, at)]
    assert rising == sorted(rising)
    assert len(rising) == 30
    head.click()
    falling = [float(cell) for cell in browser.execute_script(script, table, at)]
    assert falling == rising[::-1]
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "descending"


def test_a_filter_keeps_the_rows_that_have_all_words(browser: Any, site: Path) -> None:
    browser.get((site / "networks.html").as_uri())
    box = browser.find_element("css selector", ".filter input")
    rows = "return document.querySelectorAll('table:last-of-type tbody tr:not([hidden])').length"
    everything = browser.execute_script(rows)
    box.send_keys("<img onerror")
    assert browser.execute_script(rows) < everything
    assert browser.find_element("css selector", ".filter span").text == "1 of 30"
    box.clear()
    box.send_keys("no such network")
    assert browser.find_element("css selector", ".filter span").text == "0 of 30"


def test_of_a_long_table_some_rows_are_shown_until_all_are_asked_for(
    browser: Any, site: Path
) -> None:
    table = Table("", ("name", "number"), [(f"x{index}", str(index)) for index in range(700)])
    page = (site / "compare.html").read_text(encoding="utf-8")
    long = site / "long.html"
    long.write_text(page.replace("</main>", f"{Grid(table).html('')}</main>"), encoding="utf-8")
    browser.get(long.as_uri())
    shown = "return document.querySelectorAll('table.long tbody tr:not([hidden])').length"
    assert browser.execute_script(shown) == 300
    heads = browser.find_elements("css selector", "table.long th button")
    for _ in range(2):
        browser.execute_script("arguments[0].click()", heads[1])
    first = browser.find_element("css selector", "table.long tbody td")
    assert first.get_attribute("innerText") == "x699"
    assert browser.execute_script(shown) == 300
    more = browser.find_elements("css selector", ".filter button")[-1]
    browser.execute_script("arguments[0].click()", more)
    assert browser.execute_script(shown) == 700
    assert not more.is_displayed()
    long.unlink()


def test_a_plot_zooms_where_the_mouse_draws(browser: Any, site: Path) -> None:
    from selenium.webdriver import ActionChains

    browser.get((site / f"campaign/{slug('nightly')}.html").as_uri())
    area = browser.find_element("css selector", ".plot .nsewdrag")
    ranges = "return document.querySelector('.plot')._fullLayout.xaxis.range.map(Number)"
    low, high = browser.execute_script(ranges)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    drag = ActionChains(browser).move_to_element_with_offset(area, -150, -60)
    drag.click_and_hold().move_by_offset(250, 120).release().perform()
    closer_low, closer_high = browser.execute_script(ranges)
    assert low < closer_low < closer_high < high


def test_a_mark_leads_to_its_network(browser: Any, site: Path) -> None:
    browser.get((site / f"campaign/{slug('nightly')}.html").as_uri())
    browser.find_element("css selector", ".plot .points path")
    # Plotly's own event: where a mark is drawn depends on fonts.
    browser.execute_script(
        """
        const plot = document.querySelector(".plot");
        const marks = plot.data.find((trace) => trace.mode === "markers");
        plot.emit("plotly_click", { points: [{ customdata: marks.customdata[0] }] });
        """
    )
    browser.find_element("css selector", ".stack")
    assert "/network/" in browser.current_url


def test_a_page_follows_the_colours_of_the_system(browser: Any, site: Path) -> None:
    page = (site / f"campaign/{slug('nightly')}.html").as_uri()
    found = []
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        browser.get(page)
        browser.find_element("css selector", ".plot .nsewdrag")
        body = "return getComputedStyle(document.body).backgroundColor"
        plot = "return document.querySelector('.plot').layout.paper_bgcolor"
        found.append([browser.execute_script(script) for script in (body, plot)])
    assert found[0] == ["rgb(255, 255, 255)", "#fff"]
    assert found[1] == ["rgb(20, 24, 28)", "#14181c"]


def test_a_served_page_reloads_when_the_store_changes(browser: Any, tmp_path: Path) -> None:
    said: list[str] = []
    there, stop = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        there.set()

    with open_store(tmp_path / "rows.sqlite") as store:
        store.add(fake_measurement(1))
        folder = tmp_path / "site"
        write: Callable[[], Any] = lambda: write_site(store, folder)  # noqa: E731
        write()
        server = threading.Thread(
            target=serve_site, args=(store, folder, 0, write), kwargs={"stop": stop, "say": say}
        )
        server.start()
        try:
            assert there.wait(30)
            browser.get(said[0].split()[1])
            assert len(_column(browser, 0)) == 1
            store.add(fake_measurement(2))
            browser.find_element("css selector", "tbody tr:nth-child(2)")
            assert len(_column(browser, 0)) == 2
        finally:
            stop.set()
            server.join()
    assert not _errors(browser)
