"""Nights of a small lab on virtual boards: sick stations, a missing board, a regression."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a URL that takes one POST after the other."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()


def test_nights_of_a_lab(
    harness: Harness,
    pointwise: Callable[..., bytes],
    tmp_path: Path,
    webhook: tuple[str, list[dict[str, Any]]],
) -> None:
    url, posted = webhook
    models = []
    for index in range(2):
        models.append(f"net{index}.tflite")
        (tmp_path / models[-1]).write_bytes(pointwise((8, 8 + 4 * index, 4), seed=index))
    (tmp_path / "c.toml").write_text(
        f'name = "lab"\nmodels = {models}\n'
        'boards = ["nucleo_f746zg", "nucleo_f446re", "nucleo_l4r5zi"]\n[measure]\nlayers = false\n'
    )

    def bench(fault: str) -> None:
        stations = [
            f'[[station]]\nname = "{name}"\nboard = "{board}"\nprobe = "virtual:{board}#{number}"\n'
            f'serial = "virtual://{board}{query}#{number}"\n'
            for name, board, number, query in (
                ("desk1", "nucleo_f746zg", 31, ""),
                ("desk2", "nucleo_f746zg", 32, fault),
                ("desk3", "nucleo_f446re", 33, ""),
            )
        ]
        (tmp_path / "bench.toml").write_text("\n".join(stations))

    def nightly(*more: object) -> Any:
        return harness(
            "nightly", "c.toml", "--bench", "bench.toml", "--db", "a.sqlite", "--json",
            "--webhook", url, *more,
        )  # fmt: skip

    # The board that the bench lacks and the station that is sick stop nothing.
    bench("?faults=counter:stuck")
    first = nightly("--site", "site")
    assert first.code == 3, first.err
    night = first.json()
    assert night["counts"]["valid"] == 4
    assert "nucleo_l4r5zi" in night["missing"][0]
    checks = {one["station"]: one for one in night["stations"]}
    assert [checks[name]["verdict"] for name in sorted(checks)] == ["ok", "error", "ok"]
    assert "the cycle counter stands still" in checks["desk2"]["what"]
    assert posted == [night]
    page = (tmp_path / "site" / "index.html").read_text()
    assert "the cycle counter stands still" in page and "nucleo_l4r5zi" in page
    listed = harness("bench", "list", "--bench", "bench.toml", "--db", "a.sqlite", "--json").json()
    assert "disabled" in str(listed)

    # The next night measures the same again, and is compared with the one that was accepted.
    assert harness("baseline", "accept", night["run"], "--db", "a.sqlite").code == 0
    bench("")
    (tmp_path / "c.toml").write_text(
        (tmp_path / "c.toml").read_text().replace(', "nucleo_l4r5zi"', "")
    )
    second = nightly()
    assert second.code == 0, second.err
    assert second.json()["counts"]["valid"] == 4
    assert second.json()["gate"]["counts"] == {"same": 4}
    assert second.json()["gate"]["baseline"] == night["run"]
    ratios = harness("runs", second.json()["run"], "--db", "a.sqlite", "--json").json()["health"]
    assert {one["facts"].get("ratio") for one in ratios if one["station"] != "desk2"} == {1.0}

    # A network that grew fails the gate, by name.
    (tmp_path / models[1]).write_bytes(pointwise((8, 64, 64), seed=1))
    third = nightly()
    assert third.code == 1
    worse = [one for one in third.json()["gate"]["findings"] if one["fails"]]
    assert {one["model"] for one in worse} == {"net1"}
    assert {one["figure"] for one in worse} >= {"flash"}
    gate = harness("gate", "--db", "a.sqlite", "--format", "junit", "--out", "gate.xml")
    assert gate.code == 1
    assert len(list(ElementTree.parse(tmp_path / "gate.xml").iter("failure"))) == len(worse)
    runs = harness("runs", "--db", "a.sqlite", "--json").json()
    assert [one["outcome"] for one in runs] == ["complete", "complete", "bench"]


def test_again_measures_again_and_rows_say_of_which_run(
    harness: Harness, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(
        f'name = "c"\nmodels = ["{tiny}"]\nboards = ["nucleo_f746zg"]\n[measure]\nlayers = false\n'
    )
    found = [
        harness("run", "c.toml", "--db", "a.sqlite", "--json", *again).json()
        for again in ((), (), ("--again",), ("--again",))
    ]
    assert [one["valid"] for one in found] == [1, 0, 1, 1]
    rows = harness("results", "--db", "a.sqlite", "--json").json()
    assert {row["run"] for row in rows} == {found[place]["run"] for place in (0, 2, 3)}
    last = harness("results", "--db", "a.sqlite", "--json", "--run", found[3]["run"]).json()
    assert [row["repetition"] for row in last] == [found[3]["run"]]
    measured = harness("measure", tiny, "--again", "--no-layers", "--db", "a.sqlite")
    assert measured.code == 0
    assert len(harness("results", "--db", "a.sqlite", "--json").json()) == 4
