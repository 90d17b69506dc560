from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from harness.backbones import Architecture, backbone_names
from harness.errors import BudgetsInfeasible
from harness.search.choice.baselines import (
    evolved_architecture,
    random_architectures,
    uniform_architecture,
)
from harness.search.choice.derive import derive
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import Constraint, CostModel
from harness.search.space.feasible import prior, search_grid
from support.fits import SHAPES, cost_model_for

BUDGETS = {
    "ds_cnn_kws": Budgets(40_000, 64 * 1024, 128 * 1024),
    "ds_cnn_ad": Budgets(60_000, 96 * 1024, 256 * 1024),
    "ds_cnn_ad_3x3": Budgets(60_000, 96 * 1024, 256 * 1024),
    "ds_cnn_ic": Budgets(40_000, 64 * 1024, 256 * 1024),
    "mobilenet_v2_vww": Budgets(60_000, 64 * 1024, 500 * 1024),
}

Models = Callable[..., CostModel]


@pytest.mark.parametrize("name", backbone_names())
def test_random_networks_meet_the_budgets_and_depend_on_the_seed_alone(name: str) -> None:
    model, budgets = cost_model_for(name), BUDGETS[name]
    limits = Constraint(model, budgets)
    count = 2 if name.startswith("mobilenet") else 8
    drawn = random_architectures(limits, 3, count, SHAPES[name])
    assert all(model.predict(architecture).meets(budgets) for architecture in drawn)
    assert len(set(drawn)) == count
    again = random_architectures(limits, 3, 1, SHAPES[name])
    assert again == drawn[:1]
    other = random_architectures(limits, 4, 1, SHAPES[name])
    assert other != again


def test_evolution_finds_what_random_networks_do_not() -> None:
    limits = Constraint(cost_model_for("ds_cnn_kws"), BUDGETS["ds_cnn_kws"])

    def good(architecture: Architecture) -> float:  # as if narrow stems were accurate
        return float(-architecture["stem"][0])

    drawn = random_architectures(limits, 1, 4)
    tried = [(architecture, good(architecture)) for architecture in drawn]
    while len(tried) < 40:
        child = evolved_architecture(limits, 1, tried, 4)
        assert limits.holds(child)
        changed = [(_values(known) - _values(child)).total() for known, _ in tried[-4:]]
        assert min(changed) <= 1  # one decision of one of the youngest
        tried.append((child, good(child)))
    assert len({architecture for architecture, _ in tried}) == len(tried)
    assert evolved_architecture(limits, 1, tried[:9], 4) == tried[9][0]
    random_best = max(map(good, random_architectures(limits, 2, 8)))
    assert max(value for _, value in tried) >= random_best


def _values(architecture: Architecture) -> Counter[int]:
    return Counter(value for _, values in architecture.decisions for value in values)


@pytest.mark.parametrize("name", backbone_names())
def test_the_uniform_network_is_as_wide_as_the_budgets_let_it_be(name: str) -> None:
    model, budgets = cost_model_for(name), BUDGETS[name]
    limits = Constraint(model, budgets)
    found = uniform_architecture(limits, SHAPES[name])
    predicted = model.predict(found)
    assert predicted.meets(budgets)
    if "stem" in dict(found.decisions) and name != "mobilenet_v2_vww":
        width = found["stem"][0]
        assert {value for value in found["blocks"] if value} == {width}
        assert sum(value > 0 for value in found["blocks"]) in (4, 5)
        wider = [value and width + 4 for value in found["blocks"]]
        larger = model.backbone.architecture(stem=[width + 4], blocks=wider)
        assert not model.predict(larger).meets(budgets)


@pytest.mark.parametrize("name", backbone_names())
def test_a_search_starts_near_the_uniform_network(name: str) -> None:
    model, budgets = cost_model_for(name), BUDGETS[name]
    limits = Constraint(model, budgets)
    grid = search_grid(limits, SHAPES[name])
    logits = prior(grid, limits, 1.0)
    start = derive(grid, limits, logits, grow=False).argmax
    reference = uniform_architecture(limits, SHAPES[name])
    assert model.predict(start).ops == pytest.approx(model.predict(reference).ops, rel=0.25)
    assert prior(grid, limits, 0.0) == {}


def test_infeasible_budgets_are_said() -> None:
    limits = Constraint(cost_model_for("ds_cnn_kws"), Budgets(latency_us=1_000))
    with pytest.raises(BudgetsInfeasible):
        uniform_architecture(limits)
    with pytest.raises(BudgetsInfeasible):
        random_architectures(limits, 0, 1)
