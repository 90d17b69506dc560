"""Reference fits against networks that they have not seen, measured now."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.boards import load_board
from harness.prediction import load_reference, predict_model
from harness.results import open_store
from tools.corpus import network
from tools.reference import model_of

BOARD = "nucleo_f746zg"
TOLERANCE = 0.10


@pytest.mark.usefixtures("virtual_board")
def test_the_reference_fit_is_within_ten_percent_of_five_networks(tmp_path: Path) -> None:
    campaign = tmp_path / "campaign.toml"
    (tmp_path / "corpus-1000-0.tflite").write_bytes(network(1000))
    (tmp_path / "corpus-1001-65536.tflite").write_bytes(network(1001, 65536))
    names = ("ds_cnn_kws", "ds_cnn_ad", "mobilenet_v2_vww")
    sampled = "".join(
        f'[[backbones]]\nname = "{name}"\nsamples = 1\nfirst = 1000\n'
        "max_working_memory_bytes = 60_000\nmax_parameters = 150_000\n"
        for name in names
    )
    campaign.write_text(
        f'name = "prediction"\nboards = ["{BOARD}"]\n'
        'models = ["corpus-1000-0.tflite", "corpus-1001-65536.tflite"]\n'
        f"{sampled}[[runtimes]]\none_firmware = true\n[measure]\nrepeats = 1\n"
    )
    database = tmp_path / "rows.sqlite"
    harness.run_campaign(campaign, db=database, out=tmp_path / "out")
    with open_store(database, create=False) as store:
        rows = store.query(with_layers=False)
    board, reference = load_board(BOARD), load_reference(BOARD, "cmsis_nn", "-O2")
    assert [row.status.value for row in rows] == ["valid"] * 5
    for row in rows:
        found = predict_model(model_of(row), board, reference)
        assert found.latency_us == pytest.approx(row.latency_us, rel=TOLERANCE)
        assert found.arena_bytes == row.arena_planned_bytes
        assert found.flash_bytes == pytest.approx(row.flash_total_bytes, rel=0.03)
