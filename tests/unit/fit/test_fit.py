"""A fit recovers what it should, refuses what does not belong together, and keeps its holdout."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import FitError
from harness.fit import Fingerprint
from harness.fit.regress import fit_all, fit_rows
from harness.fit.select import architecture_id, group_rows, held_out
from harness.results.record import Measurement, Status
from harness.testing import fake_measurement
from harness.testing.rows import key_of


def rows_on_a_line(
    n: int = 40,
    *,
    intercept: float = 36_100.0,
    slope: float = 4.511e-3,
    noise: float = 0.02,
    seed: int = 0,
    first: int = 0,
    **changes: Any,
) -> list[Measurement]:
    chance = random.Random(seed)
    rows = []
    for index in range(first, first + n):
        plain = fake_measurement(index, **changes)
        assert plain.ops is not None
        latency = (intercept + slope * plain.ops) * (1 + chance.gauss(0, noise))
        rows.append(replace(plain, latency_us=latency))
    return rows


def test_an_exact_line_is_recovered() -> None:
    fit = fit_rows(rows_on_a_line(noise=0))
    assert fit.latency.intercept == pytest.approx(36_100)
    assert fit.latency.slope == pytest.approx(4.511e-3)
    assert fit.throughput_ops_per_s == pytest.approx(1e6 / 4.511e-3)
    assert fit.latency.train.r2 == pytest.approx(1)
    holdout = fit.latency.holdout
    assert holdout is not None and holdout.r2 == pytest.approx(1)
    assert holdout.share_within_5_pct == 1 and holdout.coverage == 1


def test_a_noisy_line_is_recovered_within_its_interval() -> None:
    rows = rows_on_a_line(200, noise=0.02)
    fit = fit_rows(rows)
    assert fit.latency.slope == pytest.approx(4.511e-3, rel=0.02)
    holdout = fit.latency.holdout
    assert holdout is not None
    assert holdout.r2 is not None and holdout.r2 > 0.99
    assert holdout.mape_pct is not None and 1 < holdout.mape_pct < 3
    assert holdout.coverage is not None and holdout.coverage > 0.85
    assert fit.latency.cross_validation is not None
    assert len(fit.keys) + len(fit.holdout_keys) == len(rows)
    assert fit.latency.n == len(fit.keys)


def test_the_interval_is_the_textbook_one() -> None:
    # Against scipy's own regression: s·t·sqrt(1 + 1/n + (x-mean)²/Sxx).
    import numpy as np
    from scipy import stats

    rows = rows_on_a_line(30)
    fit = fit_rows(rows, holdout_share=0)
    x = np.array([row.ops for row in rows], dtype=float)
    y = np.array([row.latency_us for row in rows])
    line = stats.linregress(x, y)
    assert fit.latency.slope == pytest.approx(line.slope)
    assert fit.latency.intercept == pytest.approx(line.intercept)
    assert fit.latency.train.r2 == pytest.approx(line.rvalue**2)
    at = 5e7
    s = np.sqrt(((y - line.intercept - line.slope * x) ** 2).sum() / 28)
    half = (
        stats.t.ppf(0.975, 28)
        * s
        * np.sqrt(1 + 1 / 30 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    )
    predicted = fit.predict(at)
    assert predicted.high - predicted.value == pytest.approx(half)
    assert predicted.extrapolated
    assert not fit.predict(float(x.mean())).extrapolated
    assert fit.latency.holdout is None and fit.holdout_keys == ()


def test_a_prediction_is_never_below_zero_and_refuses_nonsense() -> None:
    fit = fit_rows(rows_on_a_line(intercept=0.0, noise=0.2))
    assert fit.predict(0).low == 0.0
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a count"):
            fit.predict(bad)


def test_the_order_of_rows_changes_no_bit() -> None:
    rows = rows_on_a_line()
    shuffled = list(rows)
    random.Random(3).shuffle(shuffled)
    assert fit_rows(shuffled) == fit_rows(rows)


@settings(max_examples=25, deadline=None)
@given(extra=st.integers(1, 200), seed=st.integers(0, 10))
def test_added_rows_never_move_an_architecture_into_or_out_of_the_holdout(
    extra: int, seed: int
) -> None:
    before = fit_rows(rows_on_a_line(30), min_rows=3)
    more = rows_on_a_line(30) + rows_on_a_line(extra, seed=seed, first=1000)
    after = fit_rows(more, min_rows=3)
    assert set(before.holdout_keys) <= set(after.holdout_keys)
    assert set(before.keys) <= set(after.keys)


def test_about_a_fifth_of_architectures_is_held_out() -> None:
    share = sum(held_out(key_of(index)) for index in range(5000)) / 5000
    assert 0.18 < share < 0.22


def test_two_models_of_one_architecture_are_held_out_together() -> None:
    first = fake_measurement(1)
    retrained = fake_measurement(1, key=key_of("r"), model_sha256=key_of("other weights"), seed=9)
    assert architecture_id(first) == architecture_id(retrained)
    assert architecture_id(first) != architecture_id(fake_measurement(2))
    own = fake_measurement(1, architecture=None)
    assert architecture_id(own) == own.model_sha256
    with pytest.raises(FitError, match="neither an architecture nor a model"):
        architecture_id(fake_measurement(1, architecture=None, model_sha256=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"board": "nucleo_f446re"},
        {"source": "hardware", "timing_model": None},
        {"clock_hz": 180_000_000},
        {"timing_model": "fake/2"},
        {"kernels": "portable"},
        {"runtime_version": "0.2.0"},
        {"optimization": "-Os"},
        {"flags": ("-mcpu=cortex-m4",)},
        {"toolchain": "arm-none-eabi-gcc 13.1.0"},
        {"dcache": False},
        {"backbone": "ds_cnn_ad"},
    ],
)
def test_rows_of_two_configurations_are_refused_by_name(changes: dict[str, Any]) -> None:
    odd = fake_measurement(77, **changes)
    with pytest.raises(FitError, match="different configurations") as failure:
        fit_rows([*rows_on_a_line(), odd])
    for name, value in changes.items():
        assert name in failure.value.data["differing"]
        assert name in str(failure.value)
        assert str(value if value is not None else "unknown") in str(failure.value)


def test_a_pooled_fit_mixes_backbones_and_nothing_else() -> None:
    kws = rows_on_a_line()
    vww = rows_on_a_line(first=100, slope=9e-3, backbone="mobilenet_v2_vww")
    pooled = fit_rows([*kws, *vww], pooled=True)
    assert pooled.pooled
    assert pooled.backbones == ("ds_cnn_kws", "mobilenet_v2_vww")
    alone = fit_rows(kws)
    assert not alone.pooled
    assert pooled.latency.train.mape_pct is not None and alone.latency.train.mape_pct is not None
    assert pooled.latency.train.mape_pct > 2 * alone.latency.train.mape_pct
    with pytest.raises(FitError, match="not valid"):
        pooled.require({"backbone": "ds_cnn_kws"})
    with pytest.raises(FitError, match="board"):
        fit_rows([*kws, fake_measurement(99, board="nucleo_f446re")], pooled=True)


def test_only_valid_rows_count_unless_degraded_ones_are_asked_for() -> None:
    rows = rows_on_a_line(40)
    worse = [replace(row, status=Status.DEGRADED, issues=("outputs-differ",)) for row in rows]
    with pytest.raises(FitError, match="no rows to fit") as failure:
        fit_rows(worse)
    assert "--degraded" in str(failure.value)
    fit = fit_rows(worse, degraded=True)
    assert fit.statuses == ("valid", "degraded")
    assert fit_rows([*rows, *worse], degraded=True).keys == fit_rows(rows).keys


def test_too_few_architectures_are_refused_with_the_figures() -> None:
    same = [replace(fake_measurement(1), key=key_of(("again", n))) for n in range(50)]
    with pytest.raises(FitError, match="too few rows to fit") as caught:
        fit_rows(same)
    assert "10 to fit on are needed" in str(caught.value)
    assert "at least 10 architectures to fit on: about 13 in all, as 20%" in str(caught.value)
    with pytest.raises(FitError, match="too few rows"):
        fit_rows(rows_on_a_line(2), min_rows=1)


def test_networks_of_one_size_give_no_line() -> None:
    rows = [replace(row, ops=1_000_000) for row in rows_on_a_line()]
    with pytest.raises(FitError, match="give no line"):
        fit_rows(rows)


def test_latency_that_falls_with_ops_is_refused() -> None:
    with pytest.raises(FitError, match="does not grow with ops"):
        fit_rows(rows_on_a_line(intercept=1e6, slope=-1e-3, noise=0))


def test_a_row_without_ops_is_named() -> None:
    rows = [*rows_on_a_line(), fake_measurement(99, ops=None)]
    with pytest.raises(FitError, match="1 of 41 rows lack ops") as failure:
        fit_rows(rows)
    assert key_of(99)[:12] in str(failure.value)


def test_rows_that_do_not_say_how_they_were_made_are_refused() -> None:
    with pytest.raises(FitError, match="do not say their kernels"):
        fit_rows(rows_on_a_line(kernels=None))


def test_arena_and_flash_are_fitted_from_one_kind_of_figure() -> None:
    rows = rows_on_a_line()
    fit = fit_rows(rows)
    assert fit.arena is not None and fit.flash is not None
    assert fit.arena.target == "arena_used_bytes"
    assert fit.predict_arena(20_000).value == pytest.approx(20_384)
    assert fit.predict_flash(30_000).value == pytest.approx(70_000)
    verified = [replace(row, arena_min_bytes=row.arena_used_bytes) for row in rows]
    assert fit_rows(verified).arena.target == "arena_min_bytes"  # type: ignore[union-attr]
    some = [replace(rows[0], arena_used_bytes=None), *rows[1:]]
    assert fit_rows(some).arena.target == "arena_planned_bytes"  # type: ignore[union-attr]


def test_a_missing_figure_leaves_that_model_out_and_says_so() -> None:
    rows = rows_on_a_line(arena_planned_bytes=None, arena_used_bytes=None, flash_total_bytes=None)
    fit = fit_rows(rows)
    assert fit.arena is None and fit.flash is None
    assert len(fit.notes) == 2 and "no arena model" in fit.notes[0]
    with pytest.raises(FitError, match="no arena model"):
        fit.predict_arena(1)
    with pytest.raises(FitError, match="lack parameters or flash_total_bytes"):
        fit.predict_flash(1)


def test_a_fit_knows_the_ram_besides_the_arena() -> None:
    rows = rows_on_a_line(stack_bytes=900, ram_other_bytes=5_904)
    assert fit_rows(rows).sram_overhead_bytes == 6_804
    assert fit_rows([replace(rows[0], stack_bytes=1_000), *rows[1:]]).sram_overhead_bytes == 6_904
    assert fit_rows(rows_on_a_line(stack_bytes=None)).sram_overhead_bytes is None


def test_every_configuration_is_fitted_by_itself() -> None:
    kws = rows_on_a_line()
    vww = rows_on_a_line(first=100, backbone="mobilenet_v2_vww")
    few = rows_on_a_line(4, first=200, backbone="ds_cnn_ad")
    assert len(group_rows([*kws, *vww, *few])) == 3
    fits, failures = fit_all([*kws, *vww, *few])
    assert [fit.fingerprint.backbone for fit in fits] == ["ds_cnn_kws", "mobilenet_v2_vww"]
    assert [failure.fingerprint.backbone for failure in failures] == ["ds_cnn_ad"]
    assert failures[0].rows == 4 and "too few rows" in failures[0].error.what


def test_a_fit_accepts_its_own_configuration_and_refuses_others() -> None:
    rows = rows_on_a_line()
    fit = fit_rows(rows)
    fit.require(Fingerprint.of(rows[0]))
    fit.require({"board": "nucleo_f746zg", "flags": ["-mcpu=cortex-m7"]})
    other = Fingerprint.of(fake_measurement(0, board="nucleo_f446re", runtime="tflm", art=None))
    with pytest.raises(FitError) as failure:
        fit.require(other)
    text = str(failure.value)
    assert "board: the fit has nucleo_f746zg, this needs nucleo_f446re" in text
    assert "art: the fit has True, this needs unknown" in text
    assert "harness fit --board nucleo_f446re --backbone ds_cnn_kws --runtime tflm" in text
    assert set(failure.value.data["differences"]) == {"board", "runtime", "art"}
    with pytest.raises(TypeError, match="colour"):
        fit.require({"colour": "red"})


def test_using_a_fit_loads_nothing_heavy() -> None:
    script = (
        "import sys, harness.fit; heavy = ('numpy', 'scipy', 'sklearn', 'pandas', 'sqlalchemy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_a_row_s_configuration_is_the_fingerprint_of_its_fit() -> None:
    from harness.results.identity import CONFIGURATION

    assert sorted(CONFIGURATION) == sorted(spec.name for spec in fields(Fingerprint))


def test_shared_images_are_fitted_by_themselves() -> None:
    own, shared = rows_on_a_line(20), rows_on_a_line(20, first=20, one_firmware=True)
    fits, failures = fit_all([*own, *shared])
    assert not failures
    assert {fit.fingerprint.one_firmware for fit in fits} == {False, True}
    with pytest.raises(FitError, match="one_firmware: the fit has False, this needs True"):
        next(f for f in fits if not f.fingerprint.one_firmware).require({"one_firmware": True})


@pytest.mark.parametrize("predictor", ["ops", "layers"])
def test_a_fit_and_its_plot_need_only_their_columns(tmp_path: Path, predictor: str) -> None:
    from harness.campaign.outcome import write_fits
    from harness.fit.select import COLUMNS, LAYER_COLUMNS
    from harness.results.store import EVERYTHING, Store

    with Store.open("sqlite://") as store:
        for row in rows_on_a_line():
            store.add(row)
        whole, read = (
            store.query(),
            store.table(EVERYTHING, COLUMNS if predictor == "ops" else LAYER_COLUMNS),
        )
    fits = [
        write_fits(rows, tmp_path / name, predictor=predictor).fits
        for name, rows in (("whole", whole), ("read", read))
    ]
    assert fits[0] == fits[1] != []
