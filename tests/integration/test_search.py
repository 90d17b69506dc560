"""A whole search on the virtual board: fit, search, refine, train, quantise, prove."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import digits
from harness.fit import save_fit
from support.fits import fit_for

pytestmark = pytest.mark.usefixtures("virtual_board")
Harness = Callable[..., Any]

CAMPAIGN = """
name = "small"
seed = 2021
boards = ["nucleo_f746zg"]
[[backbones]]
name = "ds_cnn_kws"
samples = 12
max_working_memory_bytes = 16000
[measure]
repeats = 1
layers = false
[fit]
predictor = "layers"
"""
LATENCY_MS, SRAM_KIB, FLASH_KIB = 30, 24, 64


def test_a_search_on_digits_keeps_its_budgets_as_measured(harness: Harness) -> None:
    Path("campaign.toml").write_text(CAMPAIGN)
    measured = harness("run", "campaign.toml")
    assert measured.code == 0, measured.err
    everything = digits((49, 10, 1))
    third = {"x_train": everything.train.x[:400], "y_train": everything.train.y[:400]}
    others = {
        f"{part}_{name}": values
        for name, split in (("validation", everything.validation), ("test", everything.test))
        for part, values in (("x", split.x), ("y", split.y))
    }
    np.savez("digits.npz", **third, **others)
    budgets = (
        "--latency-ms", LATENCY_MS, "--sram-kib", SRAM_KIB, "--flash-kib", FLASH_KIB,
    )  # fmt: skip
    epochs = ("--epochs", 4, "--trial-epochs", 1, "--retrain-epochs", 8)
    found = harness(
        "search", "ds_cnn_kws", "--data", "digits.npz", *budgets, *epochs, "--refine", 2, "--json"
    )
    assert found.code == 0, found.err
    run = found.json()

    proof = run["measured"]
    assert proof["latency_us"] <= 1000 * LATENCY_MS
    assert proof["sram_bytes"] <= 1024 * SRAM_KIB
    assert proof["flash_bytes"] <= 1024 * FLASH_KIB
    assert proof["latency_us"] == pytest.approx(run["predicted"]["latency_us"], rel=0.1)
    assert proof["bit_exact"] and proof["source"] == "emulated"
    assert run["refinement"]["added"] == 2
    assert run["evaluation"]["test"]["accuracy"] > 0.3  # a tenth is chance

    # The folder is all that another needs: here a copy elsewhere, without store, fit or data.
    shutil.move(run["folder"], "sent")
    shutil.rmtree("results")
    again = harness("search", "verify", "sent", "--json")
    assert again.code == 0, again.err
    assert again.json()["measured"]["latency_us"] == proof["latency_us"]
    assert again.json()["holds"] == {"latency_us": True, "sram_bytes": True, "flash_bytes": True}
    slower = harness("search", "verify", "sent", "--station", "virtual-nucleo_l4r5zi")
    holds = harness("search", "verify", "sent", "--board", "nucleo_l4r5zi", "--json").json()
    assert holds["board"] == "nucleo_l4r5zi" and holds["measured"]["latency_us"] > 1000 * LATENCY_MS
    assert slower.code == 1 and "BROKEN" in slower.out and "holds" in slower.out
    assert "nucleo_l4r5zi is emulated" in slower.err and "expected error of the" in slower.err
    model = Path("sent/model.tflite")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    refused = harness("search", "verify", "sent")
    assert refused.code == 2 and "not what the run left: model.tflite" in refused.err


def test_a_network_for_two_boards_is_measured_on_both(harness: Harness) -> None:
    boards = {"nucleo_f746zg": {}, "nucleo_l4r5zi": {"icache": None, "dcache": None, "art": None}}
    for board, caches in boards.items():
        save_fit(fit_for("ds_cnn_kws", board=board, **caches), Path(f"results/fit-{board}.json"))
    found = harness(
        "search", "ds_cnn_kws", "--data", "digits", "--board", ",".join(boards),
        "--latency-ms", "nucleo_f746zg=100,nucleo_l4r5zi=30", "--baseline", "uniform",
        "--retrain-epochs", 1, "--margin", "none", "--out", "both", "--json",
    )  # fmt: skip
    assert found.code == 1, found.err  # these fits know nothing of the slower board
    run = found.json()
    (other,) = run["others"]
    assert (run["measured"]["station"], other["measured"]["station"]) == (
        "virtual-nucleo_f746zg", "virtual-nucleo_l4r5zi",
    )  # fmt: skip
    assert (run["holds"], other["holds"]) == ({"latency_us": True}, {"latency_us": False})
    again = harness("search", "verify", "both", "--json")
    assert again.code == 1, again.err
    one, two = again.json()["boards"]
    assert (one["board"], two["board"]) == ("nucleo_f746zg", "nucleo_l4r5zi")
    assert two["measured"]["latency_us"] == other["measured"]["latency_us"] > 30_000
