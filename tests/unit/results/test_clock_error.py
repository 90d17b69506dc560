"""The expected error of a modelled latency, from checks against published ones."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest

from harness.backbones import get_backbone
from harness.boards import all_boards
from harness.errors import ResultsError
from harness.results.clock_error import (
    PRIOR,
    PRIOR_WEIGHT,
    Check,
    error_of_kind,
    error_of_row,
    expected_error,
    load_checks,
    work_of_layers,
)
from harness.results.record import LayerCycles
from harness.testing import fake_measurement

M4, M7 = "cortex-m4-pipeline/1", "cortex-m7-pipeline/1"


def check(off: float, timing_model: str = M7, kernels: str = "cmsis_nn", **shares: float) -> Check:
    """Return a check that is off by this much, of this work."""
    return Check(
        name="a network",
        board="a board",
        timing_model=timing_model,
        kernels=kernels,
        optimization="-Os",
        published_us=1000.0,
        predicted_us=1000.0 * exp(-off),
        held=False,
        shares=shares or {"pointwise": 1.0},
        source="a paper",
    )


def test_work_without_checks_has_a_wider_error_than_work_with_them() -> None:
    checks = [check(0.05) for _ in range(10)]
    known = expected_error(M7, "cmsis_nn", [("pointwise", 3.0)], checks)
    mixed = expected_error(M7, "cmsis_nn", [("pointwise", 1.0), ("fully_connected", 1.0)], checks)
    other = expected_error(M7, "cmsis_nn", [("fully_connected", 3.0)], checks)
    of_all = (PRIOR_WEIGHT * PRIOR**2 + 10 * 0.05**2) / (PRIOR_WEIGHT + 10)
    assert known == pytest.approx(of_all**0.5)
    assert known and mixed and known < mixed < PRIOR
    assert other == pytest.approx(PRIOR) and expected_error(M7, "cmsis_nn", [], checks) == PRIOR


def test_checks_of_the_same_core_and_kernels_count_most() -> None:
    far = check(0.4)
    same, other_core, other_kernels, both = (
        error_of_kind("pointwise", M7, "cmsis_nn", [far, near])
        for near in (
            check(0.02),
            check(0.02, M4),
            check(0.02, kernels="reference"),
            check(0.02, M4, "reference"),
        )
    )
    assert same < other_core < both and other_core == pytest.approx(other_kernels)


def test_a_model_without_checks_of_its_own_method_is_given_the_prior() -> None:
    checks = [check(0.05)]
    assert error_of_kind("pointwise", "cortex-m7-issue/2", "cmsis_nn", checks) == PRIOR
    assert expected_error(None, "cmsis_nn", [("pointwise", 1.0)], checks) is None


def test_a_row_says_it_by_its_layers_and_hardware_says_nothing() -> None:
    backbone = get_backbone("ds_cnn_kws")
    architecture = backbone.sample(0, 0)
    specs = backbone.layers(architecture)
    checks = [check(0.02), check(0.3, conv=1.0)]
    layers = tuple(
        LayerCycles(place, spec.name, spec.operator, spec.macs, 1000 if spec.macs else 0)
        for place, spec in enumerate(specs)
    )
    facts = {"timing_model": M7, "layers": layers}
    row = fake_measurement(architecture=architecture.to_json(), **facts)
    counted = [(kind, 1.0) for kind, macs in work_of_layers(specs) if macs]
    assert error_of_row(row, checks) == pytest.approx(
        expected_error(M7, "cmsis_nn", counted, checks)
    )
    by_macs = fake_measurement(architecture=architecture.to_json(), timing_model=M7, layers=())
    assert error_of_row(by_macs, checks) == pytest.approx(
        expected_error(M7, "cmsis_nn", work_of_layers(specs), checks)
    )
    # Without an architecture the larger error of the two kinds of CONV_2D holds.
    unknown, known = (error_of_row(one, checks) for one in (fake_measurement(**facts), row))
    assert unknown and known and unknown > known
    hardware = fake_measurement(source="hardware", timing_model=None)
    assert error_of_row(hardware, checks) is None


def test_what_ships_gives_each_virtual_board_a_figure() -> None:
    from harness.virtual.time import timing_model

    assert load_checks()
    for board in all_boards():
        model = timing_model(board, "pipeline").identity
        error = expected_error(model, "cmsis_nn", [("pointwise", 0.8), ("depthwise", 0.2)])
        assert error is not None and 0 < error < 1


def test_a_damaged_file_is_a_message(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    with pytest.raises(ResultsError, match="cannot be read"):
        load_checks(file)
    file.write_text('{"schema_version": 9, "checks": []}')
    with pytest.raises(ResultsError, match="schema version 9"):
        load_checks(file)
