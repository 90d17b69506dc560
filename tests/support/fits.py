"""Fits like those of a virtual NUCLEO-F746ZG."""

from __future__ import annotations

from dataclasses import replace

from harness.backbones import get_backbone
from harness.fit import Fingerprint, Fit, LayerModel, LinearModel, Margin, Metrics
from harness.fit.features import FEATURES
from harness.fit.model import SCHEMA_VERSION
from harness.search.cost.cost_model import CostModel

SHAPES = {
    "ds_cnn_kws": (49, 10, 1),
    "ds_cnn_ad": (32, 32, 1),
    "ds_cnn_ad_3x3": (32, 32, 1),
    "ds_cnn_ic": (32, 32, 3),
    "mobilenet_v2_vww": (50, 50, 1),
}
"""Input of each backbone in the tests."""

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
        sram_overhead_bytes=2_000,
    )


def with_layers(fit: Fit) -> Fit:
    """Return `fit` with coefficients of layers like those of the virtual NUCLEO-F746ZG."""
    coefficients = dict.fromkeys(FEATURES, 0.0) | {
        "conv_macs": 0.012,
        "pointwise_macs": 0.005,
        "depthwise_macs": 0.02,
        "conv_outputs": 0.05,
        "added_elements": 0.03,
        "layers": 20.0,
    }
    model = LayerModel(
        target="latency_us",
        features=FEATURES,
        coefficients=tuple(coefficients.values()),
        feature_max=(1e8,) * len(FEATURES),
        intercept=100.0,
        n=40,
        level=0.95,
        relative_half_width=0.03,
        train=_METRICS,
        holdout=None,
        cross_validation=_METRICS,
    )
    return replace(fit, layers=model)


def cost_model_for(
    name: str, classes: int | None = None, margin: Margin = Margin.INTERVAL
) -> CostModel:
    backbone = get_backbone(name)
    if classes is not None:
        backbone = backbone.with_classes(classes)
    return CostModel.of(fit_for(name), backbone, margin=margin)
