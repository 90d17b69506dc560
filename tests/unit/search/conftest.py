"""Fits like those of a virtual NUCLEO-F746ZG, and data small enough to learn in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.backbones import get_backbone
from harness.fit import Fingerprint, Fit, LinearModel, Metrics
from harness.fit.model import SCHEMA_VERSION
from harness.search import CostModel

_METRICS = Metrics(
    n=40,
    architectures=40,
    r2=0.99,
    mape_pct=5.0,
    max_error_pct=9.0,
    share_within_5_pct=0.5,
    share_within_10_pct=1.0,
    coverage=1.0,
)


def line(target: str, feature: str, intercept: float, slope: float, std: float) -> LinearModel:
    return LinearModel(
        target=target,
        feature=feature,
        intercept=intercept,
        slope=slope,
        residual_std=std,
        n=40,
        feature_min=1e4,
        feature_max=5e7,
        feature_mean=1.5e7 if feature == "ops" else 5e4,
        feature_sxx=6e15 if feature == "ops" else 6e10,
        level=0.95,
        t_quantile=2.02,
        train=_METRICS,
        holdout=None,
        cross_validation=None,
    )


def fit_for(backbone: str, **fingerprint: object) -> Fit:
    known: dict[str, object] = {
        "board": "nucleo_f746zg",
        "source": "emulated",
        "timing_model": "cortex-m7-issue/1",
        "backbone": backbone,
        "runtime": "aot",
        "runtime_version": "1",
        "kernels": "cmsis_nn",
        "kernels_version": "4",
        "optimization": "-O2",
        "flags": (),
        "toolchain": "arm-none-eabi-gcc 12.2.1",
        "clock_hz": 216_000_000,
        "icache": True,
        "dcache": True,
        "art": True,
        "one_firmware": False,
    }
    return Fit(
        schema_version=SCHEMA_VERSION,
        created_by="test",
        fingerprint=Fingerprint(**{**known, **fingerprint}),  # type: ignore[arg-type]
        backbones=(backbone,),
        statuses=("valid",),
        latency=line("latency_us", "ops", 13_000.0, 0.0032, 2_000.0),
        arena=line("arena_used_bytes", "working_memory_bytes", 600.0, 1.02, 700.0),
        flash=line("flash_total_bytes", "parameters", 32_000.0, 1.11, 1_500.0),
        notes=(),
        keys=(),
        holdout_keys=(),
    )


def cost_model_for(name: str, classes: int | None = None, margin: str = "interval") -> CostModel:
    backbone = get_backbone(name)
    if classes is not None:
        backbone = backbone.with_classes(classes)
    return CostModel.from_fits(fit_for(name), backbone, sram_overhead_bytes=2_000, margin=margin)


@dataclass(frozen=True)
class Samples:
    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    classes: tuple[str, ...]
    train: Samples
    validation: Samples
    fingerprint: str = "0123456789abcdef"


def blobs(count: int, seed: int, shape: tuple[int, int, int] = (49, 10, 1)) -> Samples:
    """Return noise with a bright patch whose place is the class, of which there are two."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = rng.normal(0, 0.3, (count, *shape)).astype(np.float32)
    for index, label in enumerate(y):
        x[index, 10 + 20 * label : 20 + 20 * label] += 1
    return Samples(x, y.astype(np.int64))


@pytest.fixture(scope="session")
def two_patches() -> Data:
    """Return data of two classes that a few steps can learn."""
    return Data(("upper", "lower"), blobs(96, 1), blobs(48, 2))


@pytest.fixture(scope="session", name="fit_for")
def fit_for_fixture() -> Callable[..., Fit]:
    """Return the function that makes a fit."""
    return fit_for


@pytest.fixture(scope="session", name="cost_model_for")
def cost_model_for_fixture() -> Callable[..., CostModel]:
    """Return the function that makes a cost model."""
    return cost_model_for
