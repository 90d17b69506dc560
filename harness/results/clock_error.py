"""The expected error of a modelled latency, from latencies that others published.

The timing models were held against published latencies: `results/reference/clock.json`, which
`python -m studies.fidelity` writes. A row of a virtual board carries what that says of a network
like its own:

* A check is off by e = ``|ln(predicted / published)|``, and its cycles divide into kinds of work.
* Of a kind k, e_k is the root of the weighted mean of the squares, over the checks i and a prior:
  ``e_k² = (n0 p² + Σ w_i s_ik e_i²) / (n0 + Σ w_i s_ik)`` with the share s_ik of k in the cycles of
  check i. w_i is 1, halved for a check of another timing model of the same method (another core or
  version), and halved again for one of another set of kernels.
* A network's error is ``Σ s_k e_k`` over its own shares: errors of kinds are taken to go together.

The prior p (`PRIOR`) and its weight n0 (`PRIOR_WEIGHT`) are choices, not measurements, and so are
the halves. Work of a kind without checks is given the prior, as is a timing model without any.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backbones import get_backbone
from harness.errors import BackboneError, ResultsError
from harness.paths import data_dir

if TYPE_CHECKING:
    from harness.backbones.layers import LayerSpec
    from harness.results.record import Measurement

SCHEMA_VERSION = 1
PRIOR = 0.35
PRIOR_WEIGHT = 0.5  # in checks
_HALF = 0.5

CONVOLUTION = "convolution"
"""A CONV_2D of which the kernel's size is not known: the larger error of ``conv`` and ``pointwise``
holds."""
_KINDS = {
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "fully_connected",
    "SOFTMAX": "softmax",
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN"), "pooling"),
    **dict.fromkeys(
        (
            "ADD", "CONCATENATION", "DEQUANTIZE", "EXPAND_DIMS", "LOGISTIC", "MUL", "PAD", "PADV2",
            "QUANTIZE", "RELU", "RELU6", "RESHAPE", "SQUEEZE", "SUB",
        ),
        "elementwise",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A published latency, and what a timing model predicts for it."""

    name: str
    board: str
    timing_model: str  # name and version
    kernels: str  # "cmsis_nn", "reference" or "other"
    optimization: str
    published_us: float
    predicted_us: float
    held: bool  # judged only: nothing was changed with this figure in view
    shares: Mapping[str, float]  # of the predicted cycles, by kind of work
    source: str

    @property
    def error(self) -> float:
        """Return the absolute logarithm of predicted over published."""
        return abs(math.log(self.predicted_us / self.published_us))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What `clock.json` holds."""

    schema_version: int
    checks: tuple[Check, ...]


def checks_file() -> Path:
    """Return the file of checks that ships."""
    return data_dir("results/reference") / "clock.json"


@lru_cache(maxsize=4)
def load_checks(file: Path | None = None) -> tuple[Check, ...]:
    """Return the checks of a file, by default of the one that ships.

    Raises:
        ResultsError: It cannot be read, or is of another version.
    """
    from harness.strict import from_json

    path = file or checks_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise ResultsError(
            f"the checks of the timing models cannot be read: {failure}",
            where=str(path),
            fix="install the harness again, or run `python -m studies.fidelity`",
        ) from None
    found = from_json(Checks, data, where=str(path), error=ResultsError)
    if found.schema_version != SCHEMA_VERSION:
        raise ResultsError(
            f"the checks have schema version {found.schema_version}",
            where=str(path),
            expected=str(SCHEMA_VERSION),
        )
    return found.checks


def kind_of(operator: str, kernel: Sequence[int] | None = None) -> str:
    """Return the kind of work of a layer; an operator that is not known is a kind of its own.

    Args:
        operator: TFLite builtin name.
        kernel: Height and width of a convolution's kernel, None where they are not known.
    """
    if operator == "CONV_2D":
        return CONVOLUTION if kernel is None else "pointwise" if max(kernel) == 1 else "conv"
    return _KINDS.get(operator, operator.lower())


def error_of_kind(
    kind: str, timing_model: str, kernels: str | None, checks: Sequence[Check] | None = None
) -> float:
    """Return the expected error of one kind of work, see the head of this module."""
    if checks is None:
        return _error_by_what_ships(kind, timing_model, kernels)
    if kind == CONVOLUTION:
        return max(
            error_of_kind(each, timing_model, kernels, checks) for each in ("conv", "pointwise")
        )
    total, weight = PRIOR_WEIGHT * PRIOR**2, PRIOR_WEIGHT
    for check in checks:
        if _method(check.timing_model) != _method(timing_model):
            continue
        share = check.shares.get(kind, 0.0)
        share *= 1.0 if check.timing_model == timing_model else _HALF
        share *= 1.0 if check.kernels == kernels else _HALF
        total += share * check.error**2
        weight += share
    return math.sqrt(total / weight)


@lru_cache(maxsize=256)
def _error_by_what_ships(kind: str, timing_model: str, kernels: str | None) -> float:
    return error_of_kind(kind, timing_model, kernels, load_checks())


def expected_error(
    timing_model: str | None,
    kernels: str | None,
    work: Iterable[tuple[str, float]],
    checks: Sequence[Check] | None = None,
) -> float | None:
    """Return the expected error of a network's latency, as a share; None without timing model.

    Args:
        timing_model: Name and version of what modelled the cycles; None for hardware.
        kernels: Kernel set, ``cmsis_nn``, ``reference`` or ``portable``.
        work: Kinds of work, each with its cycles, or MACs, or a share; if nothing is known, the
            prior holds.
        checks: What the timing models were held against; by default what ships.
    """
    if timing_model is None:
        return None
    amounts: dict[str, float] = {}
    for kind, amount in work:
        amounts[kind] = amounts.get(kind, 0.0) + amount
    whole = sum(amounts.values())
    if not whole:
        return PRIOR
    return sum(
        amount / whole * error_of_kind(kind, timing_model, kernels, checks)
        for kind, amount in amounts.items()
        if amount
    )


def work_of_layers(layers: Iterable[LayerSpec]) -> list[tuple[str, float]]:
    """Return the kinds of work of an architecture, each with its MACs."""
    return [(kind_of(layer.operator, layer.kernel), layer.macs) for layer in layers]


def error_of_row(row: Measurement, checks: Sequence[Check] | None = None) -> float | None:
    """Return the expected error of a row's latency, as a share.

    None for a row of hardware, and for one without a latency. The shares are those of the cycles of
    its layers, or else of the MACs of its network.
    """
    if row.timing_model is None or row.latency_us is None:
        return None
    return expected_error(row.timing_model, row.kernels, _work_of_row(row), checks)


def _work_of_row(row: Measurement) -> list[tuple[str, float]]:
    known = _architecture(row)
    if any(layer.cycles for layer in row.layers):
        same = [layer.operator for layer in row.layers] == [layer.operator for layer in known]
        kernels = [layer.kernel for layer in known] if same else [None] * len(row.layers)
        return [
            (kind_of(layer.operator, kernel), layer.cycles or 0)
            for layer, kernel in zip(row.layers, kernels, strict=True)
        ]
    if known:
        return work_of_layers(known)
    return [(kind_of(name), macs) for name, macs in (row.macs_by_operator or {}).items()]


def _architecture(row: Measurement) -> Sequence[LayerSpec]:
    """Return the layers of a row's architecture; none where the row or this harness has none."""
    if row.backbone is None or row.architecture is None:
        return ()
    try:
        backbone = get_backbone(row.backbone)
        return backbone.layers(backbone.from_json(row.architecture))
    except BackboneError:  # of another harness, or the user's own backbone
        return ()


def _method(timing_model: str) -> str:
    """Return ``pipeline`` of ``cortex-m7-pipeline/1``."""
    return timing_model.rpartition("/")[0].rpartition("-")[2]
