"""Search methods and baselines: how a run finds its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.backbones import Architecture
from harness.errors import BudgetsInfeasible, SearchError
from harness.search.choice.baselines import (
    evolved_architecture,
    random_architectures,
    uniform_architecture,
)
from harness.search.choice.derive import derive
from harness.search.choice.ranking import LEAST, Ranked, Ranking, ranking
from harness.search.choice.refine import choose, fit_again, local_errors
from harness.search.choice.trials import challenge, rounds
from harness.search.cost.cost_model import Constraint, CostModel
from harness.search.plan import Measure, SearchPlan, Work
from harness.search.record import Candidate, Method, Refinement
from harness.search.supernet.options import SearchResult
from harness.search.supernet.search import Learned, learn, search
from harness.search.training.evaluate import float_logits
from harness.search.training.logs import tensorboard
from harness.search.training.options import TrainOptions, TrainReport
from harness.search.training.train import Trained, train

CHECKPOINTS = "checkpoints"
LOGS = "logs"
LEAST_SECONDS = 1.0
"""Shortest training of a random network that is worth comparing with."""


@dataclass(frozen=True, slots=True)
class Found:
    """The network that a method found, trained."""

    trained: Trained
    constraint: Constraint  # predicts its cost; with the refined fits if there are any
    training_s: float  # all time spent on training
    search: SearchResult | None = None  # None for a baseline
    candidates: tuple[Candidate, ...] = ()  # networks that were trained to choose among them
    refinements: tuple[Refinement, ...] = ()  # what measuring near the optimum changed, by board


def _search(work: Work) -> Found:
    plan = work.plan
    with work.stage("search"):
        result = search(_learn(work), plan.constraint)
    constraint, contenders = plan.constraint, list(result.finalists)
    refinements: tuple[Refinement, ...] = ()
    if plan.refine and work.measure is not None:
        with work.stage("refine"):
            constraint, derived, refinements = _refine(plan, work.measure, result)
        contenders = [derived, *filter(constraint.holds, contenders)]
    architecture, tried = contenders[0], list[Trained]()
    if plan.trial_epochs:
        architecture, tried = _trials(work, contenders, _hand_designed(plan, constraint))
    trained = _train(work, architecture, plan.train, "network")
    return Found(
        trained,
        constraint,
        result.seconds + sum(one.seconds for one in (trained, *tried)),
        search=result,
        candidates=_candidates(tried, constraint.cost_model),
        refinements=refinements,
    )


def _learn(work: Work) -> Learned:
    plan = work.plan.supernet or work.plan
    return learn(
        plan.constraint,
        plan.dataset,
        plan.search,
        also=plan.also,
        on_epoch=work.watcher.searched,
        checkpoint_dir=plan.folder / CHECKPOINTS,
        log_dir=plan.folder / LOGS / "search",
    )


def _trials(
    work: Work, contenders: Sequence[Architecture], champion: Architecture | None
) -> tuple[Architecture, list[Trained]]:
    """Halve the contenders by short trainings; the hand-designed network joins the last round.

    It wins unless clearly beaten.
    """
    plan = work.plan
    # A larger network for each trial to learn from would take longer than the trial.
    plain = replace(work, plan=replace(plan, distill=False))
    left, earlier = list(dict.fromkeys(contenders)), list[Trained]()
    schedule = rounds(len(left), plan.trial_epochs)
    for number, ((_, epochs), (keep, _)) in enumerate(pairwise(schedule), start=1):
        short = replace(plan.train, epochs=epochs)
        found = _try(plain, left, short, f"round{number}-trial")
        earlier += found
        found = sorted(found, key=lambda one: one.accuracy, reverse=True)
        left = [one.architecture for one in found[:keep]]
    if champion is not None:
        left = list(dict.fromkeys([*left, champion]))
    tried = _try(plain, left, replace(plan.train, epochs=plan.trial_epochs), "trial")
    if champion is None:
        return _best(tried).architecture, [*earlier, *tried]
    validation = plan.dataset.validation
    right = {
        one.architecture: float_logits(one.model, validation.x).argmax(axis=1) == validation.y
        for one in tried
    }
    others = [architecture for architecture in right if architecture != champion]
    place = challenge(right[champion], [right[architecture] for architecture in others])
    return champion if place is None else others[place], [*earlier, *tried]


def _uniform(work: Work) -> Found:
    plan = work.plan
    architecture = uniform_architecture(plan.constraint, plan.dataset.input_shape)
    trained = _train(work, architecture, plan.train, "network")
    return Found(trained, plan.constraint, trained.seconds)


def _published(work: Work) -> Found:
    plan = work.plan
    if plan.published is None:
        raise SearchError("no published network is named", expected="`published` of the plan")
    trained = _train(work, plan.published, plan.train, "network")
    return Found(trained, plan.constraint, trained.seconds)


def _random(work: Work) -> Found:
    plan = work.plan
    architectures = random_architectures(
        plan.constraint, plan.seed, plan.candidates, plan.dataset.input_shape
    )
    return _best_of(work, _try(work, architectures, _equal_part(plan), "candidate"))


def _evolution(work: Work) -> Found:
    """Begin with random networks, a third of all, and let the best of the youngest vary."""
    plan, shape = work.plan, work.plan.dataset.input_shape
    options, population = _equal_part(plan), max(2, plan.candidates // 3)
    first = random_architectures(plan.constraint, plan.seed, population, shape)
    tried = _try(work, first[: plan.candidates], options, "candidate")
    while len(tried) < plan.candidates:
        known = [(one.architecture, one.accuracy) for one in tried]
        child = evolved_architecture(plan.constraint, plan.seed, known, population, shape)
        tried.append(_train(work, child, options, f"candidate{len(tried)}"))
    return _best_of(work, tried)


def _equal_part(plan: SearchPlan) -> TrainOptions:
    """Return the training of each network that a baseline tries."""
    if plan.training_seconds is None:
        return plan.train
    each = plan.training_seconds / plan.candidates
    if each < LEAST_SECONDS:
        raise SearchError(
            f"{plan.training_seconds:.0f} s for {plan.candidates} networks",
            expected=f"{LEAST_SECONDS:.0f} s or more for each",
            fix="fewer candidates",
        )
    return replace(plan.train, time_limit_s=each)


def _best_of(work: Work, tried: Sequence[Trained]) -> Found:
    plan, best = work.plan, _best(tried)
    seconds = sum(one.seconds for one in tried)
    if plan.training_seconds is not None:
        best = _train(work, best.architecture, plan.train, "network")
        seconds += best.seconds
    return Found(
        best,
        plan.constraint,
        seconds,
        candidates=_candidates(tried, plan.constraint.cost_model),
    )


def rank(work: Work, networks: int, seeds: int) -> Ranking:
    """Compare how the plan's supernet ranks random networks with training each on its own.

    Each trains for `plan.trial_epochs`, with `seeds` seeds from the plan's on. What was trained
    before, the supernet by `harness search run` with the same options as well, is not trained
    again.

    Raises:
        SearchError: Fewer than three networks, or trials of no epoch.
    """
    plan = work.plan
    if networks < LEAST or plan.trial_epochs < 1:
        raise SearchError(
            f"{networks} networks, trained for {plan.trial_epochs} epochs",
            expected=f"{LEAST} or more networks, 1 or more epochs",
        )
    with work.stage("search"):
        learned = _learn(work)
    drawn = random_architectures(plan.constraint, plan.seed, networks, plan.dataset.input_shape)
    plain = replace(work, plan=replace(plan, distill=False))
    found = []
    for index, architecture in enumerate(drawn):
        accuracies = []
        for seed in range(plan.seed, plan.seed + seeds):
            options = replace(plan.train, epochs=plan.trial_epochs, seed=seed)
            accuracies.append(
                _train(plain, architecture, options, f"rank{index}-seed{seed}").accuracy
            )
        found.append(
            Ranked(
                architecture=architecture,
                ops=plan.constraint.backbone.cost(architecture).ops,
                supernet_loss=learned.training.validation_loss(architecture),
                accuracies=tuple(accuracies),
            )
        )
    return ranking(found, plan.trial_epochs)


METHODS: Mapping[Method, Callable[[Work], Found]] = {
    Method.SEARCH: _search,
    Method.RANDOM: _random,
    Method.EVOLUTION: _evolution,
    Method.UNIFORM: _uniform,
    Method.PUBLISHED: _published,
}


def _try(
    work: Work, architectures: Sequence[Architecture], options: TrainOptions, name: str
) -> list[Trained]:
    return [
        _train(work, architecture, options, f"{name}{index}")
        for index, architecture in enumerate(architectures)
    ]


def _best(tried: Sequence[Trained]) -> Trained:
    """Return the best by validation, the first of equals; the test split decides nothing."""
    return max(tried, key=lambda one: one.accuracy)


def _candidates(tried: Sequence[Trained], cost_model: CostModel) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            architecture=one.architecture,
            validation_accuracy=one.accuracy,
            epochs=len(one.history),
            seconds=one.seconds,
            predicted=cost_model.predict(one.architecture),
        )
        for one in tried
    )


def _hand_designed(plan: SearchPlan, constraint: Constraint) -> Architecture | None:
    """Return the hand-designed network that meets the budgets, if one does."""
    try:
        return uniform_architecture(constraint, plan.dataset.input_shape)
    except BudgetsInfeasible:
        return None


def _train(work: Work, architecture: Architecture, options: TrainOptions, name: str) -> Trained:
    plan = work.plan
    if plan.distill:
        teacher = uniform_architecture(plan.constraint.times(2), plan.dataset.input_shape)
        options = replace(options, distill_from=teacher)
    logs = plan.folder / LOGS / f"train-{name}"
    with work.stage(f"train {name}", "train"), tensorboard(logs) as log:

        def told(report: TrainReport) -> None:
            log(
                report.epoch,
                {
                    f"{report.phase}/loss": report.loss,
                    f"{report.phase}/validation_accuracy": report.accuracy,
                    f"{report.phase}/learning_rate": report.learning_rate,
                },
            )
            work.watcher.trained(report, name)

        return train(
            plan.constraint.backbone,
            architecture,
            plan.dataset,
            options,
            on_epoch=told,
            checkpoint_dir=plan.folder / CHECKPOINTS / name,
        )


def _refine(
    plan: SearchPlan, measure: Measure, result: SearchResult
) -> tuple[Constraint, Architecture, tuple[Refinement, ...]]:
    """Measure near the optimum, fit again, and derive again from what the search has learned."""
    again = [_fit_again(plan, one, measure, result) for one in plan.constraint.boards]
    constraint = Constraint.on_all([one for one, _ in again])
    grid = result.grid(constraint.backbone, plan.dataset.input_shape)
    derived = derive(grid, constraint, result.logits, grow=plan.search.grow)
    return constraint, derived.architecture, tuple(refinement for _, refinement in again)


def _fit_again(
    plan: SearchPlan, constraint: Constraint, measure: Measure, result: SearchResult
) -> tuple[Constraint, Refinement]:
    """Measure near the optimum on one board, and fit again."""
    cost_model = constraint.cost_model
    before = cost_model.fit
    chosen = choose(cost_model, result.architecture, plan.refine, plan.seed)
    known = {*before.keys, *before.holdout_keys}
    rows = [row for row in plan.fit_rows if row.key in known]
    after, fitted, added = fit_again(before, rows, measure(chosen, before.fingerprint, "refine"))
    errors = local_errors(before, fitted, added) if added else (None, None)
    refinement = Refinement(
        asked=chosen,
        added=len(added),
        before=errors[0],
        after=errors[1],
        architecture_before=result.architecture,
        latency_fit_before=(before.latency.intercept, before.latency.slope),
        latency_fit_after=(after.latency.intercept, after.latency.slope),
    )
    return replace(constraint, cost_model=replace(cost_model, fit=after)), refinement
