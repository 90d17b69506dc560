"""A whole campaign on the virtual board: rows, resumption, kill -9, determinism."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results import open_store
from harness.results.record import Measurement

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")
NETWORKS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture
def campaign(tmp_path: Path, pointwise: Callable[..., bytes]) -> Path:
    """Return a campaign of tiny networks that differ in width."""
    names = []
    for index in range(NETWORKS):
        path = tmp_path / f"net{index}.tflite"
        path.write_bytes(pointwise((8, 8 + 4 * index, 4), seed=index))
        names.append(f'"{path.name}"')
    file = tmp_path / "campaign.toml"
    file.write_text(
        f'name = "tiny"\nseed = 3\nboards = ["nucleo_f746zg"]\nmodels = [{", ".join(names)}]\n'
    )
    return file


def rows(database: Path) -> list[Measurement]:
    with open_store(database) as store:
        return store.query()


def figures(database: Path) -> dict[str, tuple[object, ...]]:
    return {
        row.key: (row.model_sha256, row.cycles, row.layers, row.stack_bytes, row.build_id)
        for row in rows(database)
        if row.usable
    }


def test_every_row_is_valid_exact_and_complete(
    harness: Harness, campaign: Path, tmp_path: Path
) -> None:
    answer = harness("run", campaign, "--db", tmp_path / "a.sqlite", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["valid"] == NETWORKS
    for row in rows(tmp_path / "a.sqlite"):
        assert (row.status.value, row.source.value, row.bit_exact) == ("valid", "emulated", True)
        # Ten thousand cycles feel a few lines that a cache kept or gave up, as on a real board.
        assert len(row.cycles) == 3
        assert max(row.cycles) <= 1.01 * min(row.cycles)
        assert row.timing_model and row.chip_uid and row.build_id and row.toolchain
        assert row.arena_used_bytes == row.arena_planned_bytes
        assert 0 < (row.arena_paint_bytes or 0) <= (row.arena_planned_bytes or 0)
        assert 0 < (row.stack_bytes or 0) < (row.stack_capacity_bytes or 0)
        parts = (
            row.flash_weights_bytes, row.flash_graph_bytes, row.flash_kernels_bytes,
            row.flash_runtime_bytes, row.flash_port_bytes,
        )  # fmt: skip
        assert sum(part or 0 for part in parts) == row.flash_total_bytes
        assert [layer.operator for layer in row.layers] == ["CONV_2D", "CONV_2D"]
        assert sum(layer.macs or 0 for layer in row.layers) == row.macs
        # The layers' own pass adds a counter read per layer, little more.
        layers = sum(layer.cycles or 0 for layer in row.layers)
        assert layers == pytest.approx(row.cycles[0], rel=0.02)
    assert (tmp_path / "results" / "tiny" / "summary.md").is_file()


def test_the_same_campaign_twice_measures_nothing_twice(
    harness: Harness, campaign: Path, tmp_path: Path
) -> None:
    database = tmp_path / "a.sqlite"
    assert harness("run", campaign, "--db", database).code == 0
    before = rows(database)
    again = harness("run", campaign, "--db", database, "--json")
    assert again.code == 0
    assert (again.json()["measured_before"], again.json()["valid"]) == (NETWORKS, 0)
    assert rows(database) == before


def test_dry_run_measures_nothing(harness: Harness, campaign: Path, tmp_path: Path) -> None:
    answer = harness("run", campaign, "--db", tmp_path / "a.sqlite", "--dry-run", "--json")
    assert [item["done"] for item in answer.json()] == [False] * NETWORKS
    assert rows(tmp_path / "a.sqlite") == []


def test_kills_at_random_moments_leave_what_an_undisturbed_run_does() -> None:
    """A few kills of `nox -s kills`; in a process of its own, as it forks."""
    command = [sys.executable, "-m", "tools.kills", "--kills", "4", "--json"]
    command += ["--board", "nucleo_f746zg"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads(answer.stdout)
    assert (report["kills"], report["rows"]) == (4, 8)
    assert not (report["failed"] or report["lost"] or report["differing"])


def test_an_interrupt_exits_130_and_blames_no_network(
    harness: Harness, campaign: Path, tmp_path: Path
) -> None:
    database = tmp_path / "a.sqlite"
    bench = tmp_path / "bench.toml"
    station = (
        '[[station]]\nname = "desk"\nboard = "nucleo_f746zg"\nprobe = "virtual:nucleo_f746zg"\n'
    )
    # The third network hangs, so that the campaign is waiting for it when the interrupt comes.
    bench.write_text(f'{station}serial = "virtual://nucleo_f746zg?faults=hang@hil-run:3"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", campaign, "--db", database, "--bench", bench],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not database.exists() or len(rows(database)) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert "Traceback" not in log
    assert [row.status.value for row in rows(database)] == ["valid", "valid"]
    bench.write_text(f'{station}serial = "virtual://nucleo_f746zg"\n')
    again = harness("run", campaign, "--db", database, "--bench", bench, "--json")
    assert (again.code, again.json()["measured_before"]) == (0, 2), again.err
    assert len(figures(database)) == NETWORKS


def test_a_network_that_fails_is_a_row_and_the_others_go_on(
    harness: Harness, campaign: Path, tmp_path: Path
) -> None:
    (tmp_path / "net2.tflite").write_bytes(b"not a model")
    answer = harness("run", campaign, "--db", tmp_path / "a.sqlite", "--json")
    assert answer.code == 1
    assert (answer.json()["valid"], answer.json()["invalid"]) == (NETWORKS - 1, 1)
    failed = next(row for row in rows(tmp_path / "a.sqlite") if not row.usable)
    assert (failed.issues, failed.cycles, failed.latency_us) == (("model-format",), (), None)


def test_sweep_of_kernels_and_boards(harness: Harness, tmp_path: Path, tiny: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        'name = "sweep"\nboards = ["nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", '
        '"nucleo_l4r5zi"]\n'
        f'models = ["{tiny.name}"]\n'
        '[[runtimes]]\nname = "aot"\nkernels = ["cmsis_nn", "portable"]\n'
        'optimization = ["-O2", "-Os"]\n'
    )
    answer = harness("run", file, "--db", tmp_path / "a.sqlite", "--json")
    assert answer.code == 0, answer.err
    found = rows(tmp_path / "a.sqlite")
    assert len(found) == 16 and all(row.status.value == "valid" for row in found)
    f446 = [row for row in found if row.board == "nucleo_f446re"]
    assert {row.clock_hz for row in f446} == {180_000_000}
    assert {(row.icache, row.dcache) for row in f446} == {(False, False)}
    assert {row.clock_source for row in found if row.board == "nucleo_l4r5zi"} == {"lse"}
    assert len({row.chip_uid for row in found}) == 4


def test_the_accelerator_is_read_from_the_device(
    harness: Harness, tmp_path: Path, tiny: Path
) -> None:
    file = tmp_path / "art.toml"
    boards = '["nucleo_f746zg", "nucleo_f446re", "nucleo_l4r5zi"]'
    for name, art in (("on", "true"), ("off", "false")):
        file.write_text(
            f'name = "art"\nboards = {boards}\nmodels = ["{tiny.name}"]\n[measure]\nart = {art}\n'
        )
        answer = harness("run", file, "--db", tmp_path / f"{name}.sqlite", "--json")
        assert answer.code == 0, answer.err
    on, off = rows(tmp_path / "on.sqlite"), rows(tmp_path / "off.sqlite")
    assert [(row.art, row.issues) for row in on] == [(True, ())] * 3
    assert [(row.art, row.issues) for row in off] == [(False, ())] * 3


def test_two_revisions_of_the_kernels_are_one_campaign(
    harness: Harness, tmp_path: Path, tiny: Path
) -> None:
    spec = importlib.util.find_spec("bakenn")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    tree = shutil.copytree(package / "backend/cmsis_nn/vendor/cmsis_nn", tmp_path / "CMSIS-NN")
    with (tree / "Source/ConvolutionFunctions/arm_convolve_s8.c").open("a") as source:
        source.write("/* another revision */\n")
    file = tmp_path / "revisions.toml"
    file.write_text(
        f'name = "revisions"\nboards = ["nucleo_f746zg"]\nmodels = ["{tiny.name}"]\n'
        '[[runtimes]]\nkernels_source = ["bakenn", "./CMSIS-NN"]\n'
    )
    answer = harness("run", file, "--db", tmp_path / "a.sqlite", "--json")
    assert (answer.code, answer.json()["valid"]) == (0, 2), answer.err
    shipped, named = sorted(rows(tmp_path / "a.sqlite"), key=lambda row: row.library or "")
    assert (shipped.library, named.library) == (None, f"symlink://{tree}")
    assert "bakenn" in (shipped.kernels_version or "") and "sha256" in (named.kernels_version or "")
    assert shipped.key != named.key and shipped.bit_exact and named.bit_exact
    assert shipped.cycles == named.cycles  # a comment is no other code
    again = harness("run", file, "--db", tmp_path / "a.sqlite", "--json")
    assert again.json()["measured_before"] == 2


def test_models_in_turn_on_two_kernel_sets_never_get_each_other_s_weights(
    harness: Harness, tmp_path: Path, pointwise: Callable[..., bytes]
) -> None:
    # Both kernel sets have the very same weights file, each in a project folder of its own.
    for index in range(3):
        (tmp_path / f"net{index}.tflite").write_bytes(pointwise((8, 12, 4), seed=index))
    file = tmp_path / "turns.toml"
    file.write_text(
        'name = "turns"\nboards = ["nucleo_f746zg"]\n'
        'models = ["net0.tflite", "net1.tflite", "net2.tflite"]\n'
        '[[runtimes]]\nname = "aot"\nkernels = ["cmsis_nn", "portable"]\n'
    )
    answer = harness("run", file, "--db", tmp_path / "a.sqlite", "--json")
    assert (answer.code, answer.json()["valid"]) == (0, 6), answer.err
