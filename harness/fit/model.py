"""Define the fit: coefficients, what they were tested on, and what they are valid for.

Loading and predicting need neither NumPy nor scikit-learn, so a search or a notebook can use a
fit file by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.errors import FitError
from harness.fit.features import count_features
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.backbones import LayerSpec

SCHEMA_VERSION = 3  # 2: one_firmware in the fingerprint; 3: layers
READABLE_VERSIONS = (2, SCHEMA_VERSION)  # what version 2 lacks has a default

Predictor = Literal["ops", "layers"]
"""What latency is predicted from: ops alone, or what each layer is as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Say what a fit is valid for. `backbone` is None for a pooled fit, valid for no backbone.

    An image of its own and a runtime that many models share differ in flash and static RAM, so
    `one_firmware` is part of it.
    """

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
        values["source"] = row.source.value
        return cls(**values)

    def differences(self, other: Fingerprint) -> dict[str, tuple[object, object]]:
        """Return the fields that differ, as name: (mine, the other's)."""
        return {
            spec.name: (getattr(self, spec.name), getattr(other, spec.name))
            for spec in fields(self)
            if getattr(self, spec.name) != getattr(other, spec.name)
        }

    def command(self) -> str:
        """Return the command that makes a fit for this."""
        words = ["harness fit", f"--board {self.board}"]
        for name in ("backbone", "runtime", "kernels"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name} {value}")
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Hold how well predictions met measurements; None where too few rows make it undefined.

    Attributes:
        n: Rows.
        architectures: Distinct architectures among them.
        r2: Coefficient of determination, around these rows' own mean; needs three rows.
        mape_pct: Mean absolute error in percent of the measured value.
        max_error_pct: The largest of them.
        share_within_5_pct: Share of rows predicted within ±5 %, from 0 to 1.
        share_within_10_pct: The same for ±10 %.
        coverage: Share of rows inside their prediction interval, from 0 to 1.
    """

    n: int
    architectures: int
    r2: float | None
    mape_pct: float | None
    max_error_pct: float | None
    share_within_5_pct: float | None
    share_within_10_pct: float | None
    coverage: float | None


class Prediction(NamedTuple):
    """Hold a prediction with its interval, in the unit of the model's target."""

    value: float
    low: float
    high: float
    extrapolated: bool  # outside the range that was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Hold target = intercept + slope · feature, with what a prediction interval needs.

    Attributes:
        target: Field that is predicted, unit in its name (``latency_us``).
        feature: Field it is predicted from (``ops``).
        intercept: In the unit of `target`.
        slope: In units of `target` per unit of `feature`.
        residual_std: Standard deviation of the residuals, n-2 degrees of freedom.
        n: Rows that the coefficients were fitted on.
        feature_min: Smallest feature among them.
        feature_max: Largest.
        feature_mean: Their mean.
        feature_sxx: Their sum of squared deviations from the mean.
        level: Coverage that the prediction interval aims at.
        t_quantile: Student's t for `level` at n-2 degrees of freedom.
        train: Metrics on the rows of the fit.
        holdout: Metrics on the held-out architectures, never fitted on. None without any.
        cross_validation: Metrics of out-of-fold predictions, folds grouped by architecture.
    """

    target: str
    feature: str
    intercept: float
    slope: float
    residual_std: float
    n: int
    feature_min: float
    feature_max: float
    feature_mean: float
    feature_sxx: float
    level: float
    t_quantile: float
    train: Metrics
    holdout: Metrics | None
    cross_validation: Metrics | None

    def predict(self, feature: float) -> Prediction:
        """Return the prediction at `feature` with its interval (ordinary least squares).

        The interval is for one new network, so it holds the residuals' spread as well as the
        coefficients' uncertainty. Its lower end is cut at zero.

        Raises:
            ValueError: `feature` is negative or not a number.
        """
        if not math.isfinite(feature) or feature < 0:
            raise ValueError(f"{self.feature} = {feature} is not a count")
        value = self.intercept + self.slope * feature
        half = self.half_width(feature)
        outside = not self.feature_min <= feature <= self.feature_max
        return Prediction(value, max(0.0, value - half), value + half, outside)

    def half_width(self, feature: float) -> float:
        """Return half the prediction interval at `feature`; it is widest where least is known."""
        distance = (feature - self.feature_mean) ** 2 / self.feature_sxx
        return self.t_quantile * self.residual_std * math.sqrt(1 + 1 / self.n + distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerModel:
    """Hold target = intercept + Σ coefficient · feature, all of them from zero up.

    Attributes:
        target: Field that is predicted, unit in its name (``latency_us``).
        features: Names, see `harness.fit.features.FEATURES`.
        coefficients: As many; in units of `target` per unit of the feature.
        feature_max: Largest value of each feature among the rows.
        intercept: In the unit of `target`.
        n: Rows that the coefficients were fitted on.
        level: Coverage that the prediction interval aims at.
        relative_half_width: Half the prediction interval, as a share of the prediction: the
            quantile `level` of the relative errors out of fold.
        train: Metrics on the rows of the fit.
        holdout: Metrics on the held-out architectures, never fitted on. None without any.
        cross_validation: Metrics of out-of-fold predictions, folds grouped by architecture.
    """

    target: str
    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    feature_max: tuple[float, ...]
    intercept: float
    n: int
    level: float
    relative_half_width: float
    train: Metrics
    holdout: Metrics | None
    cross_validation: Metrics

    def predict(self, features: Mapping[str, float]) -> Prediction:
        """Return the prediction for a network with these features, with its interval.

        Raises:
            ValueError: A feature is missing, negative or not a number.
        """
        value = self.intercept
        outside = False
        for name, coefficient, largest in zip(
            self.features, self.coefficients, self.feature_max, strict=True
        ):
            count = features.get(name, math.nan)
            if not math.isfinite(count) or count < 0:
                raise ValueError(f"{name} = {count} is not a count")
            value += coefficient * count
            outside = outside or count > largest
        half = self.relative_half_width * value
        return Prediction(value, max(0.0, value - half), value + half, outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Hold the fits of one configuration and the keys of the rows behind them.

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
        layers: latency_us from what the layers are, where it was asked for.
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

    @property
    def pooled(self) -> bool:
        """Return whether several backbones were thrown together (for comparison only)."""
        return self.fingerprint.backbone is None

    @property
    def predictor(self) -> Predictor:
        """Return the best that latency can be predicted from with this fit."""
        return "ops" if self.layers is None else "layers"

    @property
    def throughput_ops_per_s(self) -> float:
        """Return the backbone's op throughput in ops per second."""
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
        return self._model("arena").predict(working_memory_bytes)

    def predict_flash(self, parameters: float) -> Prediction:
        """Return flash in bytes, firmware included.

        Raises:
            FitError: The rows had no flash figures.
        """
        return self._model("flash").predict(parameters)

    def require(self, wanted: Fingerprint | Mapping[str, object]) -> None:
        """Check that the fit is valid for `wanted`.

        Args:
            wanted: A whole fingerprint, or the fields of one that matter.

        Raises:
            FitError: It is not; lists every difference and the command that makes such a fit.
            ValueError: `wanted` names a field that no fingerprint has.
        """
        mine = {spec.name: getattr(self.fingerprint, spec.name) for spec in fields(Fingerprint)}
        if isinstance(wanted, Fingerprint):
            asked: dict[str, Any] = {name: getattr(wanted, name) for name in mine}
        else:
            asked = dict(wanted)
            if "flags" in asked:
                asked["flags"] = tuple(asked["flags"])
        unknown = sorted(set(asked) - set(mine))
        if unknown:
            raise ValueError(f"a fingerprint has no field {', '.join(unknown)}")
        differing = {name: (mine[name], asked[name]) for name in asked if mine[name] != asked[name]}
        if not differing:
            return
        lines = [
            f"{name}: the fit has {_show(has)}, asked for {_show(wants)}"
            for name, (has, wants) in differing.items()
        ]
        target = Fingerprint(**{**mine, **asked})
        raise FitError(
            "the fit is not valid for this:\n  " + "\n  ".join(lines),
            expected="a fit of rows measured in the same configuration",
            fix=f"measure it with `harness run`, then `{target.command()}`",
            differences=differing,
        )

    def _model(self, name: str) -> LinearModel:
        model: LinearModel | None = getattr(self, name)
        if model is None:
            raise FitError(
                f"the fit has no {name} model: {'; '.join(self.notes) or 'not made'}",
                fix="measure rows that have these figures and fit again",
            )
        return model


def _show(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value) or "none"
    return str(value)
