"""Finished searches, without searching."""

from __future__ import annotations

from harness.backbones import get_backbone
from harness.fit import Fingerprint
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.record import DataFacts, FitFacts, Measured, Method, SearchRun, TrainingFacts
from harness.search.supernet.options import EpochReport, SearchOptions, SearchResult
from harness.search.training.evaluate import Evaluation
from harness.search.training.options import TrainOptions
from harness.testing import fake_measurement

BUDGETS = Budgets(latency_us=60_000, sram_bytes=64 * 1024, flash_bytes=128 * 1024)


def make_run(
    method: str = "search", seed: int = 0, accuracy: float = 0.9, latency_us: float = 52_000.0
) -> SearchRun:
    backbone = get_backbone("ds_cnn_kws").with_classes(10)
    # Another network for each method.
    last = 80 + 8 * list(Method).index(Method(method))
    architecture = backbone.architecture(stem=[64], blocks=[64, 72, 64, last, 0, 0, 0, 0])
    cost = backbone.cost(architecture)
    predicted = PredictedCost(
        ops=cost.ops,
        parameters=cost.parameters,
        working_memory_bytes=cost.working_memory_bytes,
        latency_us=50_000.0,
        latency_bound_us=55_000.0,
        sram_bytes=40_000,
        sram_bound_bytes=41_000,
        flash_bytes=70_000,
        flash_bound_bytes=72_000,
    )
    trajectory = tuple(
        EpochReport(
            epoch=epoch,
            epochs=3,
            phase="warm-up" if epoch == 1 else "search",
            loss=2.0 / epoch,
            accuracy=0.3 * epoch,
            architecture_loss=None if epoch == 1 else 2.2 / epoch,
            architecture_accuracy=None if epoch == 1 else 0.25 * epoch,
            temperature=4.0 / epoch,
            expected=predicted,
            multipliers={"latency_us": 0.5},
            seconds=10.0,
        )
        for epoch in (1, 2, 3)
    )
    found = SearchResult(
        backbone="ds_cnn_kws",
        architecture=architecture,
        predicted=predicted,
        argmax=architecture,
        candidates=16,
        finalists=(architecture,),
        shrunk=1,
        grown=2,
        budgets=BUDGETS,
        options=SearchOptions(epochs=3, warmup_epochs=1),
        trajectory=trajectory,
        logits={"stem": (0.1, 0.9)},
        choices={"stem_0": (32, 64)},
        dataset_fingerprint="0" * 16,
        seconds=30.0,
    )
    scores = Evaluation(samples=500, accuracy=accuracy, float_accuracy=accuracy, agreement=0.99)
    return SearchRun(
        method=Method(method),
        backbone="ds_cnn_kws",
        board="nucleo_f746zg",
        seed=seed,
        budgets=BUDGETS,
        dataset=DataFacts(
            name="spoken",
            source="spoken/",
            fingerprint="0" * 16,
            classes=tuple(str(digit) for digit in range(10)),
            samples={"train": 2000, "validation": 500, "test": 500},
            division={"by": "speaker", "train": ["a"], "validation": ["b"], "test": ["c_d"]},
        ),
        fit=FitFacts(
            file="results/fit.json",
            refined=False,
            fingerprint=Fingerprint.of(fake_measurement(0)),
            sram_overhead_bytes=2_000,
            margin="interval",
            predictor="ops",
        ),
        architecture=architecture,
        predicted=predicted,
        search=found if method == "search" else None,
        candidates=(),
        training=TrainingFacts(
            options=TrainOptions(epochs=2), distilled=False, epochs=2, seconds=20.0, history=()
        ),
        evaluation={"validation": scores, "test": scores},
        measured=Measured(
            key="k",
            station="virtual-nucleo_f746zg",
            source="emulated",
            timing_model="m7/3",
            status="valid",
            issues=(),
            latency_us=latency_us,
            sram_bytes=39_000,
            flash_bytes=69_000,
            bit_exact=True,
        ),
        refinement=None,
        seconds={"search": 30.0, "train": 20.0},
        training_seconds=50.0,
        versions={"harness": "0.1.0", "git_revision": None},
        created_at="2026-11-21T08:00:00+00:00",
    )
