from __future__ import annotations

from dataclasses import replace

import pytest

from harness.backbones import get_backbone
from harness.errors import FitError, SearchError
from harness.fit import Margin
from harness.results.clock_error import expected_error, work_of_layers
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.cost.cost_model import Constraint, CostModel
from harness.strict import from_json, to_json
from support.fits import cost_model_for, fit_for, with_layers

KWS = get_backbone("ds_cnn_kws")


def test_predictions_are_the_fits_and_bounds_are_their_upper_ends() -> None:
    fit = fit_for("ds_cnn_kws")
    architecture = KWS.sample(1, 4)
    cost = KWS.cost(architecture)
    predicted = CostModel.of(fit, KWS).predict(architecture)
    assert predicted.ops == cost.ops
    assert predicted.latency_us == pytest.approx(fit.predict(cost.ops).value)
    assert predicted.latency_bound_us == pytest.approx(fit.predict(cost.ops).high)
    arena = fit.predict_arena(cost.working_memory_bytes)
    assert predicted.sram_bytes == pytest.approx(arena.value + 2_000, abs=1)
    assert predicted.sram_bound_bytes == pytest.approx(arena.high + 2_000, abs=1)
    flash = fit.predict_flash(cost.parameters)
    assert predicted.flash_bound_bytes == pytest.approx(flash.high, abs=1)
    assert from_json(PredictedCost, to_json(predicted), where="here") == predicted


def test_latency_is_that_of_the_layers_where_the_fit_has_them() -> None:
    fit = with_layers(fit_for("ds_cnn_kws"))
    architecture = KWS.sample(1, 4)
    expected = fit.predict_network(KWS.layers(architecture))
    predicted = CostModel.of(fit, KWS).predict(architecture)
    assert predicted.latency_us == pytest.approx(expected.value)
    assert predicted.latency_bound_us == pytest.approx(expected.high)
    plain = CostModel.of(fit, KWS, margin=Margin.NONE).predict(architecture)
    assert plain.latency_bound_us == pytest.approx(expected.value)


def test_what_layers_were_not_measured_is_said() -> None:
    fit = with_layers(fit_for("ds_cnn_kws"))
    assert fit.layers is not None
    narrow = replace(fit.layers, feature_max=(0.0, *fit.layers.feature_max[1:]))
    model = CostModel.of(replace(fit, layers=narrow), KWS)
    assert model.predict(KWS.sample(1, 4)).extrapolated[-1] == fit.layers.features[0]


def test_without_margin_the_prediction_is_compared_with_the_budget() -> None:
    model = CostModel.of(fit_for("ds_cnn_kws"), KWS, margin=Margin.NONE)
    predicted = model.predict(KWS.sample(1, 4))
    assert predicted.latency_bound_us == predicted.latency_us


@pytest.mark.parametrize("by_layers", [False, True])
def test_the_margin_may_include_the_expected_error_of_a_modelled_clock(by_layers: bool) -> None:
    def bounds(**fingerprint: object) -> list[float]:
        fit = fit_for("ds_cnn_kws", **fingerprint)
        fit = with_layers(fit) if by_layers else fit
        models = [CostModel.of(fit, KWS, margin=one) for one in (Margin.INTERVAL, Margin.CLOCK)]
        budgets = Budgets(latency_us=1.01 * models[0].predict(architecture).latency_bound_us)
        assert Constraint(models[0], budgets).holds(architecture)
        clock_keeps = Constraint(models[1], budgets).holds(architecture)
        assert clock_keeps == (fit.fingerprint.timing_model is None)
        return [model.predict(architecture).latency_bound_us for model in models]

    architecture = KWS.sample(1, 4)
    timing = "cortex-m7-pipeline/1"
    interval, clock = bounds(source="emulated", timing_model=timing)
    error = expected_error(timing, "cmsis_nn", work_of_layers(KWS.layers(architecture)))
    assert error and clock == pytest.approx(interval * (1 + error))
    interval, clock = bounds(source="hardware", timing_model=None)
    assert clock == interval


def test_the_number_of_classes_counts() -> None:
    two = CostModel.of(fit_for("ds_cnn_kws"), KWS.with_classes(2))
    many = CostModel.of(fit_for("ds_cnn_kws"), KWS.with_classes(99))
    architecture = KWS.sample(0, 0)
    assert two.predict(architecture).parameters < many.predict(architecture).parameters


def test_a_fit_of_something_else_is_refused_with_the_command_that_makes_one() -> None:
    with pytest.raises(FitError) as caught:
        CostModel.of(fit_for("ds_cnn_ad"), KWS)
    assert "harness fit" in str(caught.value) and "--backbone ds_cnn_kws" in str(caught.value)


@pytest.mark.parametrize(
    "wanted", [{"board": "other"}, {"runtime": "tflm"}, {"kernels": "reference"}, {"flags": ["-g"]}]
)
def test_board_runtime_kernels_and_flags_are_all_checked(wanted: dict[str, object]) -> None:
    with pytest.raises(FitError, match="not valid"):
        fit_for("ds_cnn_kws").require(wanted)


def test_a_falling_line_is_refused() -> None:
    fit = fit_for("ds_cnn_kws")
    assert fit.flash is not None
    with pytest.raises(FitError, match="does not grow"):
        CostModel.of(replace(fit, flash=replace(fit.flash, slope=-1.0)), KWS)


def test_a_budget_that_cannot_be_predicted_is_refused() -> None:
    fit = fit_for("ds_cnn_kws")
    with pytest.raises(SearchError, match="static RAM and stack"):
        Constraint(
            CostModel.of(replace(fit, sram_overhead_bytes=None), KWS), Budgets(sram_bytes=65_536)
        )
    with pytest.raises(FitError, match="no flash model"):
        Constraint(CostModel.of(replace(fit, flash=None), KWS), Budgets(flash_bytes=65_536))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_a_positive_number(value: float) -> None:
    with pytest.raises(SearchError, match="latency_us"):
        Budgets(latency_us=value)


def test_budgets_break_by_name() -> None:
    predicted = cost_model_for("ds_cnn_kws").predict(KWS.sample(1, 4))
    assert predicted.meets(Budgets())
    assert predicted.sram_bound_bytes is not None
    exactly = Budgets(predicted.latency_bound_us, predicted.sram_bound_bytes)
    assert predicted.meets(exactly)
    tight = Budgets(predicted.latency_bound_us - 1, predicted.sram_bound_bytes - 1, 10**9)
    assert predicted.broken(tight) == ("latency_us", "sram_bytes")


def test_budgets_are_shown_in_the_units_they_are_given_in() -> None:
    assert Budgets(26_500, 64 * 1024, 128 * 1024).text() == "26.5 ms, 64 KiB SRAM, 128 KiB flash"
    assert Budgets().text() == "none"
