"""`harness search` without a board: fits, data, baselines, folders, refusals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backbones import get_backbone
from harness.fit import Margin, load_fit, save_fit
from harness.fit.regress import fit_rows
from harness.results import open_store
from harness.search.choice.baselines import uniform_architecture
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import Constraint, CostModel
from harness.testing import fake_measurement
from support import layouts

Harness = Callable[..., Any]


@pytest.fixture
def ready(harness: Harness, tmp_path: Path) -> Harness:
    """Return the command line in a folder with rows, their fit and a few digits."""
    from harness import data

    rows = [fake_measurement(index) for index in range(30)]
    with open_store("results/measurements.sqlite") as store:
        for row in rows:
            store.add(row)
    save_fit(fit_rows(rows), Path("results/demo/fit-demo.json"))
    digits = data.digits((49, 10, 1))
    keep = slice(0, 64)
    np.savez(
        "few.npz",
        x_train=digits.train.x[keep],
        y_train=digits.train.y[keep],
        x_validation=digits.validation.x[keep],
        y_validation=digits.validation.y[keep],
        x_test=digits.test.x[keep],
        y_test=digits.test.y[keep],
    )
    return harness


def arguments(*more: object) -> list[object]:
    kernels = fake_measurement(0)
    return [
        "search", "ds_cnn_kws", "--data", "few.npz", "--no-verify", "--latency-ms", 30,
        "--runtime", kernels.runtime, "--kernels", kernels.kernels, "--batch", 32,
        "--retrain-epochs", 1, "--margin", "none", *more,
    ]  # fmt: skip


def uniform_of(run: dict[str, Any]) -> str:
    """Return the hand-designed network that a run has to beat."""
    fit = load_fit(Path("results/demo/fit-demo.json"))
    backbone = get_backbone("ds_cnn_kws").with_classes(len(run["dataset"]["classes"]))
    model = CostModel.of(fit, backbone, margin=Margin(run["fit"]["margin"]))
    return json.dumps(uniform_architecture(Constraint(model, Budgets(30_000))).to_json())


def test_baselines_leave_all_in_one_folder_and_random_has_the_time_of_another(
    ready: Harness,
) -> None:
    # A copied fit is enough for a budget of SRAM: the store of its rows is elsewhere.
    other = ("--sram-kib", 200, "--db", "other.sqlite")
    found = ready(*arguments("--baseline", "uniform", "--out", "one", *other, "--json"))
    assert found.code == 0, found.err
    data = found.json()
    assert data["method"] == "uniform" and data["measured"] is None
    assert data["predicted"]["latency_us"] <= 30_000
    assert {"validation", "test"} <= set(data["evaluation"])
    folder = Path("one")
    for name in ("search.json", "search.md", "model.tflite", "features.json", "architecture.png"):
        assert (folder / name).is_file()
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert load_fit(folder / "fit.json") == load_fit(Path("results/demo/fit-demo.json"))
    assert (folder / "checkpoints" / "network").is_dir()
    assert "fit: results/demo/fit-demo.json" in found.err
    compared = ready("search", "compare", "one", "--out", "compared")
    assert compared.code == 0, compared.err
    assert "uniform" in compared.out and Path("compared/compare.png").is_file()

    # A run that took three seconds to choose: the others will take as long.
    record = folder / "search.json"
    run = json.loads(record.read_text())
    run["training_seconds"] = 3.0 + run["training"]["seconds"]
    record.write_text(json.dumps(run))
    for baseline, count in (("random", 2), ("evolution", 3)):
        words = ("--baseline", baseline, "--candidates", count, "--like", "one")
        other = ready(*arguments(*words, "--out", baseline, "--json"))
        assert other.code == 0, other.err
        tried = other.json()
        assert tried["method"] == baseline and len(tried["candidates"]) == count
        best = max(item["validation_accuracy"] for item in tried["candidates"])
        taken = [one for one in tried["candidates"] if one["architecture"] == tried["architecture"]]
        assert taken[0]["validation_accuracy"] == best
        assert tried["training"]["epochs"] == run["training"]["epochs"]  # the best, once more
    published = ready(*arguments("--published", "ds-cnn-s", "--out", "published", "--json"))
    assert published.code == 0, published.err
    assert published.json()["method"] == "published"
    assert published.json()["architecture"]["decisions"]["stem"] == [64]


def test_a_search_leaves_its_trajectory_and_goes_on_where_it_was(ready: Harness) -> None:
    words = ("--epochs", 2, "--trial-epochs", 1, "--out", "searched", "--margin", "clock", "--json")
    command = arguments(*words)
    found = ready(*command)
    assert found.code == 0, found.err
    data = found.json()
    assert data["predicted"]["latency_bound_us"] <= 30_000
    assert data["predicted"]["latency_us"] * (1 + data["expected_error"]) <= 30_000
    assert len(data["search"]["trajectory"]) == 2
    assert list(Path("searched/logs").rglob("events*"))
    # Its finalists are tried against the hand-designed network, which stays unless one is better.
    by_hand = uniform_of(data)
    tried = {json.dumps(item["architecture"]): item for item in data["candidates"]}
    finalists = [json.dumps(item) for item in data["search"]["finalists"]]
    assert set(tried) == {*finalists, by_hand}
    taken = json.dumps(data["architecture"])
    accuracy = {network: item["validation_accuracy"] for network, item in tried.items()}
    assert taken == by_hand or accuracy[taken] > accuracy[by_hand]
    assert data["training_seconds"] > sum(item["seconds"] for item in tried.values())
    again = ready(*command).json()
    assert again["architecture"] == data["architecture"]
    assert again["evaluation"] == data["evaluation"]


def test_refusals_say_what_to_do(ready: Harness) -> None:
    for more, code, message in (
        (("--baseline", "best"), 2, "'best' is not one of"),
        (("--margin", "some"), 2, "'some' is not one of"),
        (("--refine", 2), 2, "--no-verify"),
        (("--refine", 2, "--baseline", "uniform"), 2, "--refine cannot be combined with"),
        (("--like", "one"), 2, "--like is for --baseline random"),
        (("--published", "micronet-kws-x"), 2, "micronet-kws-s"),
        (("--published", "micronet-ad-s"), 2, "a network of ds_cnn_ad_3x3"),
        (("--board", "nucleo_f446re"), 1, "harness fit --backbone ds_cnn_kws"),
    ):
        found = ready(*arguments(*more))
        assert found.code == code and message in found.err, found.err
    found = ready("search", "ds_cnn_kws", "--data", "few.npz", "--no-proof")
    assert found.code == 2 and "no budget is given" in found.err
    found = ready("search", "compare", "few.npz")
    assert found.code == 2


def another_board() -> None:
    """Leave a fit of a slower board below results/."""
    fit = load_fit(Path("results/demo/fit-demo.json"))
    line = fit.latency
    slow = replace(
        fit,
        fingerprint=replace(fit.fingerprint, board="nucleo_l4r5zi"),
        latency=replace(line, intercept=2 * line.intercept, slope=2 * line.slope),
    )
    save_fit(slow, Path("results/demo/fit-slow.json"))


BOTH = "nucleo_f746zg,nucleo_l4r5zi"


def test_one_network_keeps_the_budgets_of_two_boards(ready: Harness) -> None:
    another_board()
    words = arguments("--board", BOTH, "--baseline", "uniform", "--out", "both", "--json")
    words[words.index("--latency-ms") + 1] = "nucleo_f746zg=30,nucleo_l4r5zi=40"
    found = ready(*words)
    assert found.code == 0, found.err
    run = found.json()
    (other,) = run["others"]
    assert (run["board"], other["board"]) == ("nucleo_f746zg", "nucleo_l4r5zi")
    assert (run["budgets"]["latency_us"], other["budgets"]["latency_us"]) == (30_000, 40_000)
    assert 0.8 * 40_000 < other["predicted"]["latency_us"] <= 40_000  # the slower board decides
    assert load_fit(Path("both/fit-nucleo_l4r5zi.json")).fingerprint.board == "nucleo_l4r5zi"
    assert "fit-nucleo_l4r5zi.json" in Path("both/SHA256SUMS").read_text()


def test_one_supernet_gives_each_board_its_best_network(ready: Harness) -> None:
    another_board()
    options = ("--epochs", 2, "--trial-epochs", 0, "--out", "each", "--per-board", "--json")
    options = ("--board", "nucleo_l4r5zi,nucleo_f746zg", "--latency-ms", 40, *options)
    found = ready(*arguments(*options))
    assert found.code == 0, found.err
    fast, slow = found.json()["runs"]  # the one with more room is learned under first
    assert (fast["folder"], slow["folder"]) == ("each/nucleo_f746zg", "each/nucleo_l4r5zi")
    assert slow["predicted"]["ops"] < fast["predicted"]["ops"]
    assert max(fast["predicted"]["latency_us"], slow["predicted"]["latency_us"]) <= 40_000
    assert slow["search"]["trajectory"] == fast["search"]["trajectory"]  # learned once


def test_refusals_of_several_boards_name_the_board(ready: Harness) -> None:
    refused = ready(*arguments("--board", f"{BOTH},nucleo_f446re"))
    assert "harness fit --backbone ds_cnn_kws" in refused.err
    said = " ".join(refused.err.split())
    assert "no fit of ds_cnn_kws on nucleo_l4r5zi and nucleo_f446re" in said
    another_board()
    for option, text, message in (
        ("--latency-ms", "nucleo_f746zg=30", "no budget is given for nucleo_l4r5zi"),
        ("--latency-ms", "nucleo_f446re=30", "once for each of nucleo_f746zg, nucleo_l4r5zi"),
        ("--latency-ms", "nucleo_f746zg=30,60", "--latency-ms is 'nucleo_f746zg=30,60'"),
        ("--sram-kib", "64,32", "--sram-kib has several values"),
        ("--latency-ms", "nucleo_f746zg=30,nucleo_l4r5zi=0.1", "0.1 ms on nucleo_l4r5zi"),
    ):
        refused = ready(*arguments("--board", BOTH, option, text))
        assert refused.code == 2 and message in " ".join(refused.err.split()), refused.err


def test_an_interrupt_says_what_is_kept(ready: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.search.run.run_search", stop)
    found = ready(*arguments("--out", "kept"))
    assert found.code == 130
    assert "finished epochs and rows are kept in kept" in found.err


def test_the_former_name_of_no_verify_still_works(
    ready: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = []

    def stop(plan: object, measure: object, watcher: object) -> None:
        measures.append(measure)
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.search.run.run_search", stop)
    ready(*[item if item != "--no-verify" else "--no-proof" for item in arguments()])
    assert measures == [None]


def test_a_task_brings_its_backbone_features_and_splits(ready: Harness, tmp_path: Path) -> None:
    folder = layouts.log_mel_pictures(tmp_path / "kws")
    kernels = fake_measurement(0)
    found = ready(
        "search", "--task", "kws", "--data", folder, "--train-samples", 24, "--no-verify",
        "--latency-ms", 30, "--runtime", kernels.runtime, "--kernels", kernels.kernels,
        "--batch", 8, "--retrain-epochs", 1, "--margin", "none", "--baseline", "uniform",
        "--out", "run", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    run = found.json()
    assert run["backbone"] == "ds_cnn_kws"
    assert run["dataset"]["samples"] == {"train": 24, "validation": 12, "test": 13}
    assert run["dataset"]["division"]["task"] == "kws"
    assert "to train 24 of 35, 2 of each class" in " ".join(found.err.split())


def test_options_that_do_not_belong_to_a_task_are_refused(ready: Harness, tmp_path: Path) -> None:
    people = layouts.people_index(tmp_path / "people")
    for options, message in (
        (["--data", people], "no backbone is named"),
        (["ds_cnn_kws", "--data", people, "--train-samples", 5], "--train-samples without --task"),
        (["--task", "kws", "--data", people, "--words", "yes"], "--words cannot be combined"),
        (["--task", "kws", "--data", people, "--size", 64], "its features have one size"),
        (["ds_cnn_kws", "--task", "vww", "--data", people], "resolution 96"),
        (["--task", "kws", "--data", people], "no data for the task 'kws' here"),
        (["--task", "kws", "--data", "nowhere"], "no such folder: nowhere"),
    ):
        kernels = fake_measurement(0)
        refused = ready(
            "search", *options, "--no-verify", "--latency-ms", 30, "--runtime", kernels.runtime,
            "--kernels", kernels.kernels,
        )  # fmt: skip
        assert refused.code == 2, refused.err
        assert message in " ".join(refused.err.split())


def test_a_ranking_reuses_the_supernet_of_the_search(ready: Harness) -> None:
    options = ("--epochs", 2, "--trial-epochs", 1, "--out", "ranked")
    words = [word for word in arguments(*options) if word != "--no-verify"]
    found = ready("search", "rank", *words[1:], "--networks", 3, "--seeds", 2, "--json")
    assert found.code == 0, found.err
    data = found.json()
    assert len(data["networks"]) == 3 and -1 <= data["tau"] <= 1
    assert all(len(network["accuracies"]) == 2 for network in data["networks"])
    assert Path("ranked/ranking.json").is_file() and Path("ranked/ranking.png").is_file()
    assert (Path("ranked") / "checkpoints" / "search-state.npz").is_file()
    few = ready("search", "rank", *words[1:], "--trial-epochs", 0)
    assert few.code == 2 and "trained for 0 epochs" in few.err


def test_one_supernet_gives_a_network_for_each_latency(ready: Harness) -> None:
    words = arguments("--epochs", 2, "--trial-epochs", 0, "--out", "front", "--json")
    words[words.index("--latency-ms") + 1] = "18,30"
    found = ready(*words)
    assert found.code == 0, found.err
    large, small = found.json()["runs"]
    assert (large["folder"], small["folder"]) == ("front/30ms", "front/18ms")
    assert small["predicted"]["latency_us"] <= 18_000 < large["predicted"]["latency_us"] <= 30_000
    assert small["search"]["trajectory"] == large["search"]["trajectory"]  # learned once
    assert not Path("front/18ms/checkpoints/search-state.npz").exists()
    compared = ready("search", "compare", "front", "--out", "compared")
    assert compared.code == 0, compared.err
    words[words.index("--latency-ms") + 1] = "0.1,30"
    refused = ready(*words)
    assert refused.code == 2 and "smallest feasible" in refused.err  # before anything is trained
    for text in ("15,x", "0", "-3,5"):
        words[words.index("--latency-ms") + 1] = text
        refused = ready(*words)
        assert refused.code == 2 and f"--latency-ms is '{text}'" in refused.err
