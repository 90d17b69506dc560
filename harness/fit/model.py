"""The fit: coefficients, how they were tested, and what they are valid for.

Loading a fit and predicting from it need neither NumPy nor scikit-learn.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import FitError
from harness.fit.features import count_features
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.backbones import LayerSpec

SCHEMA_VERSION = 4


class Predictor(StrEnum):
    """What latency is predicted from."""

    OPS = "ops"
    LAYERS = "layers"  # as well as from ops alone: kind, size and alignment of each layer


class Margin(StrEnum):
    """The predicted value that is compared with a budget."""

    INTERVAL = "interval"  # upper end of the fit's prediction interval: holds when measured
    # The same, and a latency with its expected error on top where a timing model counts cycles
    CLOCK = "clock"
    NONE = "none"  # the prediction itself: about half of the networks measure above it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The configuration that a fit is valid for; `backbone` is None for a pooled fit."""

    board: str
    source: str
    timing_model: str | None
    backbone: str | None
    runtime: str | None
    runtime_version: str | None
    kernels: str | None
    kernels_version: str | None
    one_firmware: bool | None
    optimization: str | None
    flags: tuple[str, ...]
    toolchain: str | None
    clock_hz: int | None
    icache: bool | None
    dcache: bool | None
    art: bool | None

    @classmethod
    def of(cls, row: Measurement) -> Fingerprint:
        """Return the fingerprint of a measured row."""
        values = {spec.name: getattr(row, spec.name) for spec in fields(cls)}
        return cls(**{**values, "source": row.source.value})

    def differences(self, other: Fingerprint) -> dict[str, tuple[object, object]]:
        """Return the fields that differ, as name: (mine, the other's)."""
        return {
            spec.name: (getattr(self, spec.name), getattr(other, spec.name))
            for spec in fields(self)
            if getattr(self, spec.name) != getattr(other, spec.name)
        }

    def command(self) -> str:
        """Return the `harness fit` command for this configuration."""
        words = ["harness fit", f"--board {self.board}"]
        for name in ("backbone", "runtime", "kernels"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name} {value}")
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Errors of predictions against measurements; None where too few rows define one.

    Attributes:
        n: Rows.
        architectures: Distinct architectures among them.
        r2: Coefficient of determination, around these rows' own mean; needs three rows.
        mape_pct: Mean absolute error in percent of the measured value.
        max_error_pct: The largest of them.
        share_within_5_pct: Share of rows predicted within ±5 %, from 0 to 1.
        share_within_10_pct: The same for ±10 %.
        coverage: Share of rows within their prediction interval, from 0 to 1.
    """

    n: int
    architectures: int
    r2: float | None = None
    mape_pct: float | None = None
    max_error_pct: float | None = None
    share_within_5_pct: float | None = None
    share_within_10_pct: float | None = None
    coverage: float | None = None


class Prediction(NamedTuple):
    """A prediction and its interval, in the unit of the model's target."""

    value: float
    low: float
    high: float
    extrapolated: bool  # outside the range that was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What both kinds of model hold.

    Attributes:
        target: Predicted field, unit in its name (``latency_us``).
        intercept: In the unit of `target`.
        n: Rows that the coefficients were fitted on.
        level: Coverage that the prediction interval aims at.
        train: Metrics on the rows of the fit.
        holdout: Metrics on the held-out architectures, never fitted on. None without any.
        cross_validation: Metrics of out-of-fold predictions, folds grouped by architecture.
    """

    target: str
    intercept: float
    n: int
    level: float
    train: Metrics
    holdout: Metrics | None = None
    cross_validation: Metrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel(_Model):
    """target = intercept + slope · feature, with the figures of its prediction interval.

    Attributes:
        feature: Field that `target` is predicted from (``ops``).
        slope: In units of `target` per unit of `feature`.
        residual_std: Standard deviation of the residuals, n-2 degrees of freedom.
        feature_min: Smallest feature among the fitted rows.
        feature_max: Largest.
        feature_mean: Their mean.
        feature_sxx: Their sum of squared deviations from the mean.
        t_quantile: Student's t for `level` at n-2 degrees of freedom.
    """

    feature: str
    slope: float
    residual_std: float
    feature_min: float
    feature_max: float
    feature_mean: float
    feature_sxx: float
    t_quantile: float

    def predict(self, feature: float) -> Prediction:
        """Return the prediction at `feature` with its interval (ordinary least squares).

        The interval is for one new network, so it covers the spread of the residuals and the
        uncertainty of the coefficients. Its lower end is at least zero.

        Raises:
            ValueError: `feature` is negative or not a number.
        """
        _check_count(self.feature, feature)
        outside = not self.feature_min <= feature <= self.feature_max
        return _prediction(self.intercept + self.slope * feature, self.half_width(feature), outside)

    def half_width(self, feature: Any) -> Any:
        """Return half the prediction interval at `feature`: a number, an array or a tensor."""
        distance = (feature - self.feature_mean) ** 2 / self.feature_sxx
        return self.t_quantile * self.residual_std * (1 + 1 / self.n + distance) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerModel(_Model):
    """target = intercept + Σ coefficient · feature, none of them negative.

    Attributes:
        features: Names, see `harness.fit.features.FEATURES`.
        coefficients: One for each feature, in units of `target` per unit of the feature.
        feature_max: Largest value of each feature among the fitted rows.
        relative_half_width: Half the prediction interval, as a share of the prediction: the
            quantile `level` of the relative errors out of fold.
    """

    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    feature_max: tuple[float, ...]
    relative_half_width: float

    def predict(self, features: Mapping[str, float]) -> Prediction:
        """Return the prediction for a network with these features, with its interval.

        Raises:
            ValueError: A feature is missing, negative or not a number.
        """
        counts = [features.get(name, math.nan) for name in self.features]
        for name, count in zip(self.features, counts, strict=True):
            _check_count(name, count)
        value = self.intercept
        for coefficient, count in zip(self.coefficients, counts, strict=True):
            value += coefficient * count
        outside = any(map(operator.gt, counts, self.feature_max))
        return _prediction(value, self.relative_half_width * value, outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The fits of one configuration and the keys of the rows behind them.

    Attributes:
        schema_version: Of the fit file.
        created_by: Version of the harness that made it.
        fingerprint: What it is valid for.
        backbones: The backbones of its rows; several in a pooled fit.
        statuses: Status of the rows that were admitted.
        latency: latency_us from ops; always there.
        arena: Arena peak from working memory, None where rows lack the figures.
        flash: Total flash from parameters, None where rows lack the figures.
        notes: Why a model is missing.
        keys: Jobs that the coefficients were fitted on.
        holdout_keys: Jobs of the held-out architectures.
        layers: latency_us from the layers, None unless fitted with `Predictor.LAYERS`.
        sram_overhead_bytes: Most static RAM besides the arena, plus stack, of any of its rows;
            None where no row has both figures.
    """

    schema_version: int
    created_by: str
    fingerprint: Fingerprint
    backbones: tuple[str, ...]
    statuses: tuple[str, ...]
    latency: LinearModel
    arena: LinearModel | None
    flash: LinearModel | None
    notes: tuple[str, ...]
    keys: tuple[str, ...]
    holdout_keys: tuple[str, ...]
    layers: LayerModel | None = None
    sram_overhead_bytes: int | None = None

    @property
    def pooled(self) -> bool:
        """Whether it mixes backbones, which is good for comparison only."""
        return self.fingerprint.backbone is None

    @property
    def predictor(self) -> Predictor:
        """The best predictor of latency that it has."""
        return Predictor.OPS if self.layers is None else Predictor.LAYERS

    @property
    def throughput_ops_per_s(self) -> float:
        """Op throughput of the backbone, in ops per second."""
        return 1e6 / self.latency.slope

    def predict(self, ops: float) -> Prediction:
        """Return latency in microseconds for a network of `ops` operations."""
        return self.latency.predict(ops)

    def predict_network(self, layers: Iterable[LayerSpec]) -> Prediction:
        """Return latency in microseconds from the layers of a network (`Backbone.layers`).

        Raises:
            FitError: The fit was made with ops alone.
        """
        if self.layers is None:
            raise FitError(
                "the fit predicts from ops alone",
                fix=f"`{self.fingerprint.command()} --predictor layers`",
            )
        return self.layers.predict(count_features(layers))

    def predict_arena(self, working_memory_bytes: float) -> Prediction:
        """Return arena peak in bytes.

        Raises:
            FitError: The rows had no arena figures.
        """
        return self._require_model("arena", self.arena).predict(working_memory_bytes)

    def predict_flash(self, parameters: float) -> Prediction:
        """Return flash in bytes, firmware included.

        Raises:
            FitError: The rows had no flash figures.
        """
        return self._require_model("flash", self.flash).predict(parameters)

    def require(self, wanted: Fingerprint | Mapping[str, Any]) -> None:
        """Check that the fit is valid for `wanted`.

        Args:
            wanted: A whole fingerprint, or the fields of one that matter.

        Raises:
            FitError: It is not; lists every difference and the command that makes such a fit.
            TypeError: `wanted` names a field that no fingerprint has.
        """
        if not isinstance(wanted, Fingerprint):
            values = dict(wanted)
            if "flags" in values:
                values["flags"] = tuple(values["flags"])
            wanted = replace(self.fingerprint, **values)
        differing = self.fingerprint.differences(wanted)
        if not differing:
            return
        lines = [
            f"{name}: the fit has {_show(has)}, this needs {_show(wants)}"
            for name, (has, wants) in differing.items()
        ]
        raise FitError(
            "the fit is not valid for this:\n  " + "\n  ".join(lines),
            expected="a fit of rows measured in the same configuration",
            fix=f"measure it with `harness run`, then `{wanted.command()}`",
            differences=differing,
        )

    def _require_model(self, name: str, model: LinearModel | None) -> LinearModel:
        if model is None:
            raise FitError(
                f"the fit has no {name} model: {'; '.join(self.notes) or 'not made'}",
                fix="measure rows that have these figures and fit again",
            )
        return model


def _check_count(name: str, count: float) -> None:
    if not math.isfinite(count) or count < 0:
        raise ValueError(f"{name} = {count} is not a count")


def _prediction(value: float, half: float, extrapolated: bool) -> Prediction:
    return Prediction(value, max(0.0, value - half), value + half, extrapolated)


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value) or "none"
    return "unknown" if value is None else str(value)
