from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.backbones import Architecture, backbone_names, get_backbone
from harness.errors import SearchError
from harness.fit.model import Predictor
from harness.fit.regress import fit_rows
from harness.fit.select import held_out
from harness.results.identity import network_id
from harness.results.record import Measurement
from harness.search.choice.refine import choose, local_errors
from harness.search.cost.cost_model import CostModel
from harness.testing import fake_measurement
from harness.testing.rows import key_of
from support.fits import cost_model_for

KWS = get_backbone("ds_cnn_kws")


def centre_of(name: str) -> Architecture:
    return get_backbone(name).sample(4, 2)


@pytest.mark.parametrize("name", backbone_names())
def test_chosen_networks_are_near_new_and_not_of_the_holdout(name: str) -> None:
    backbone, model, centre = get_backbone(name), cost_model_for(name), centre_of(name)
    chosen = choose(model, centre, 5, seed=1)
    assert len(set(chosen)) == 5
    assert centre not in chosen
    ops = backbone.cost(centre).ops
    for architecture in chosen:
        backbone.validate(architecture)
        assert 0.7 * ops <= backbone.cost(architecture).ops <= 1.3 * ops
        assert not held_out(network_id(name, architecture.to_json()))
    assert chosen == choose(model, centre, 5, seed=1)
    assert chosen != choose(model, centre, 5, seed=2)


def test_chosen_networks_are_where_the_interval_is_widest() -> None:
    model, centre = cost_model_for("ds_cnn_kws"), centre_of("ds_cnn_kws")
    chosen = choose(model, centre, 4, seed=0)
    others = choose(model, centre, 60, seed=0)[30:]

    def relative(architecture: Architecture) -> float:
        ops = KWS.cost(architecture).ops
        return model.fit.latency.half_width(ops) / model.fit.predict(ops).value

    assert relative(chosen[0]) > sum(map(relative, others)) / len(others)


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(SearchError, match="not 999"):
        choose(cost_model_for("ds_cnn_kws"), centre_of("ds_cnn_kws"), 999, seed=0)


def measured(architectures: Sequence[Architecture], bent: float = 0.0) -> list[Measurement]:
    """Return rows on a line; those of deep networks lie above it by `bent` of their latency."""
    rows = []
    for index, architecture in enumerate(architectures):
        cost = KWS.cost(architecture)
        noise = 1 + 0.01 * (index % 3 - 1)
        latency = (13_000 + 0.0032 * cost.ops) * noise * (1 + bent)
        row = fake_measurement(index)
        rows.append(
            replace(
                row,
                key=key_of(architecture.dumps()),
                backbone="ds_cnn_kws",
                architecture=architecture.to_json(),
                ops=cost.ops,
                macs=cost.macs,
                parameters=cost.parameters,
                working_memory_bytes=cost.working_memory_bytes,
                latency_us=latency,
                latency_ci_low_us=latency,
                latency_ci_high_us=latency,
            )
        )
    return rows


@pytest.mark.parametrize("predictor", Predictor)
def test_rows_near_the_optimum_make_the_fit_better_there(predictor: Predictor) -> None:
    old = measured([KWS.sample(0, index) for index in range(24)])
    before = fit_rows(old, predictor=predictor)
    model = CostModel.of(before, KWS)
    centre = centre_of("ds_cnn_kws")
    added = measured(choose(model, centre, 8, seed=0), bent=0.2)
    first, second = local_errors(before, old, added)
    assert first.n == second.n == 8
    assert first.bias_pct < -10  # the old line lies below them
    assert second.mape_pct < first.mape_pct
    # The fixed holdout stays what it was.
    after = fit_rows([*old, *added], predictor=predictor)
    assert after.holdout_keys == before.holdout_keys


def test_an_error_on_rows_of_the_fit_itself_is_refused() -> None:
    rows = measured([KWS.sample(0, index) for index in range(24)])
    with pytest.raises(SearchError, match="made of some of these rows"):
        local_errors(fit_rows(rows), rows, rows)
    with pytest.raises(SearchError, match="no rows"):
        local_errors(fit_rows(rows), rows, [])
