from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.backbones import backbone_names, get_backbone
from harness.errors import BudgetsInfeasible
from harness.search.choice.derive import derive
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import Constraint, CostModel
from harness.search.space.feasible import search_grid, smallest_feasible
from harness.search.space.grid import Grid, full_grid
from support.fits import SHAPES, cost_model_for, with_layers

BUDGETS = {
    "ds_cnn_kws": Budgets(60_000, 64 * 1024, 128 * 1024),
    "ds_cnn_ad": Budgets(90_000, 96 * 1024, 256 * 1024),
    "ds_cnn_ad_3x3": Budgets(90_000, 96 * 1024, 256 * 1024),
    "ds_cnn_ic": Budgets(60_000, 96 * 1024, 256 * 1024),
    "mobilenet_v2_vww": Budgets(50_000, 64 * 1024, 400 * 1024),
}

Models = Callable[..., CostModel]


def grid_of(name: str, model: CostModel, budgets: Budgets) -> Grid:
    return search_grid(Constraint(model, budgets), SHAPES[name])


def logits_of(grid: Grid, seed: int, shift: float = 0.0) -> dict[str, list[float]]:
    """Return random logits; a positive shift prefers wide and deep."""
    rng = np.random.default_rng(seed)
    logits = {
        f"{key[0]}_{key[1]}": list(rng.normal(size=len(choices)) + shift * np.arange(len(choices)))
        for key, choices in grid.widths.items()
    }
    gates = {block.gate: [0.0, float(rng.normal() + shift)] for block in grid.optional}
    return {**logits, **gates}


@pytest.mark.parametrize("name", backbone_names())
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_derived_network_meets_the_budgets_and_uses_them(name: str, shift: float) -> None:
    model, budgets = cost_model_for(name), BUDGETS[name]
    grid = grid_of(name, model, budgets)
    for seed in range(2 if name.startswith("mobilenet") else 4):
        logits = logits_of(grid, seed, shift)
        derived = derive(grid, Constraint(model, budgets), logits)
        assert derived.predicted.meets(budgets)
        assert derived.predicted == model.predict(derived.architecture)
        grid.backbone.validate(derived.architecture)
        bare = derive(grid, Constraint(model, budgets), logits, grow=False)
        assert bare.predicted.meets(budgets)
        assert bare.grown == 0
        if shift:  # the likeliest network is the largest: it has to shrink
            assert derived.shrunk > 0
            bounds = derived.predicted.bounds()
            used = [(bounds[item] or 0) / limit for item, limit in budgets.items()]
            assert max(used) > 0.95


def test_coefficients_of_layers_leave_more_of_the_budget_to_the_network() -> None:
    lines = cost_model_for("ds_cnn_kws")
    layers = replace(lines, fit=with_layers(lines.fit))
    budgets = BUDGETS["ds_cnn_kws"]
    grid = grid_of("ds_cnn_kws", layers, budgets)
    derived = derive(grid, Constraint(layers, budgets), logits_of(grid, 0, 3.0))
    assert derived.predicted == layers.predict(derived.architecture)
    assert derived.predicted.meets(budgets)
    assert not lines.predict(derived.architecture).meets(budgets)


def test_what_meets_the_budgets_is_left_as_it_is() -> None:
    model = cost_model_for("ds_cnn_kws")
    grid = grid_of("ds_cnn_kws", model, BUDGETS["ds_cnn_kws"])
    wanted = grid.point(grid.architecture(grid.smallest()) or pytest.fail("no network"))
    logits = {f"{key[0]}_{key[1]}": [float(choice == wanted.widths[key]) for choice in choices]
              for key, choices in grid.widths.items()}  # fmt: skip
    gates = {block.gate: [0.0, 1.0] for block in grid.optional}
    derived = derive(
        grid, Constraint(model, BUDGETS["ds_cnn_kws"]), {**logits, **gates}, grow=False
    )
    assert derived.architecture == derived.argmax == grid.architecture(wanted)
    assert derived.shrunk == 0


def test_too_few_blocks_are_completed_with_the_likeliest() -> None:
    model = cost_model_for("ds_cnn_kws")
    grid = grid_of("ds_cnn_kws", model, BUDGETS["ds_cnn_kws"])
    logits = logits_of(grid, 0)
    for place, block in enumerate(grid.optional):
        logits[block.gate] = [2.0 + place, 0.0]
    derived = derive(grid, Constraint(model, BUDGETS["ds_cnn_kws"]), logits)
    assert sum(width > 0 for width in derived.argmax["blocks"]) == 4
    assert derived.predicted.meets(BUDGETS["ds_cnn_kws"])


def test_shrinking_takes_what_is_cheapest_to_lose() -> None:
    model, budgets = cost_model_for("ds_cnn_kws"), Budgets(latency_us=45_000)
    grid = grid_of("ds_cnn_kws", model, budgets)
    logits = logits_of(grid, 1, 3.0)
    for name in ("blocks_1", "blocks_2"):  # indifferent between widths
        logits[name] = [0.001 * place for place in range(len(logits[name]))]
    kept = derive(grid, Constraint(model, budgets), logits, grow=False).architecture
    widest = max(kept["blocks"])
    assert kept["blocks"][1] < widest
    assert kept["blocks"][2] < widest


def two_boards(slow_ms: float, flash_kib: float) -> Constraint:
    """Return a budget of latency on a slower board, and one of flash on the usual one."""
    model = cost_model_for("ds_cnn_kws")
    line = model.fit.latency
    slow_fit = replace(
        model.fit,
        fingerprint=replace(model.fit.fingerprint, board="nucleo_l4r5zi"),
        latency=replace(line, intercept=3 * line.intercept, slope=3 * line.slope),
    )
    slow = Constraint(replace(model, fit=slow_fit), Budgets(latency_us=1000 * slow_ms))
    fast = Constraint(model, Budgets(60_000, flash_bytes=int(1024 * flash_kib)))
    return Constraint.on_all([fast, slow])


@pytest.mark.parametrize(("slow_ms", "flash_kib", "worst"), [(90, 128, 1), (300, 56, 0)])
def test_of_two_boards_the_one_with_less_room_decides(
    slow_ms: float, flash_kib: float, worst: int
) -> None:
    limits = two_boards(slow_ms, flash_kib)
    grid = search_grid(limits, SHAPES["ds_cnn_kws"])
    derived = derive(grid, limits, logits_of(grid, 0, 3.0))
    costs = limits.predict(derived.architecture)
    assert derived.shrunk and limits.holds(derived.architecture)
    used = [
        max((cost.bounds()[name] or 0) / limit for name, limit in one.budgets.items())
        for one, cost in zip(limits.boards, costs, strict=True)
    ]
    assert max(used) == used[worst] > 0.9


def test_budgets_that_one_board_cannot_meet_name_it() -> None:
    with pytest.raises(BudgetsInfeasible, match="60 ms, 56 KiB flash on nucleo_f746zg; 1 ms on"):
        search_grid(two_boards(1, 56), SHAPES["ds_cnn_kws"])


@pytest.mark.parametrize("name", backbone_names())
def test_an_infeasible_budget_is_said_with_what_is_feasible(name: str) -> None:
    model = cost_model_for(name)
    with pytest.raises(BudgetsInfeasible) as caught:
        grid_of(name, model, Budgets(10_000, 1_000, 10_000))
    smallest = caught.value.data["smallest"]["nucleo_f746zg"]
    assert set(smallest) == {"latency_us", "sram_bytes", "flash_bytes"}
    # Each of these values can be reached, and nothing below it.
    grid = full_grid(get_backbone(name), SHAPES[name])
    for item, value in smallest.items():
        whole = math.ceil(value)
        smallest_feasible(grid, Constraint(model, Budgets(**{item: whole})))
        with pytest.raises(BudgetsInfeasible):
            smallest_feasible(grid, Constraint(model, Budgets(**{item: whole - 1})))


@pytest.mark.parametrize("name", backbone_names())
def test_a_barely_feasible_budget_gives_the_smallest_network(name: str) -> None:
    model = cost_model_for(name)
    grid = full_grid(get_backbone(name), SHAPES[name])
    smallest = grid.architecture(smallest_feasible(grid, Constraint(model, Budgets())))
    assert smallest is not None
    cost = model.predict(smallest)
    budgets = Budgets(cost.latency_bound_us, cost.sram_bound_bytes, cost.flash_bound_bytes)
    narrow = grid_of(name, model, budgets)
    derived = derive(narrow, Constraint(model, budgets), logits_of(narrow, 0, 2.0))
    assert derived.predicted.meets(budgets)


def test_no_choice_is_left_that_no_feasible_network_has() -> None:
    model, budgets = cost_model_for("ds_cnn_kws"), Budgets(sram_bytes=40 * 1024)
    grid = grid_of("ds_cnn_kws", model, budgets)
    point = grid.smallest()
    for key, choices in grid.widths.items():
        architecture = grid.architecture(point.with_width(key, choices[-1]))
        assert architecture is not None
        assert model.predict(architecture).meets(budgets), key
    assert grid.widths["stem", 0][-1] < 80  # 615 bytes for each channel of the stem
