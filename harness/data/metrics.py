"""What a task is judged by: top-1 accuracy, or how well anomalies are separated.

MLPerf Tiny (Banbury et al. 2021) has top-1 for keyword spotting, visual wake words and image
classification, and AUC for anomaly detection; DCASE 2020 task 2 adds the partial AUC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.data.dataset import Split
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTIAL_AUC_RATE = 0.1
"""Largest false positive rate of the partial AUC: DCASE 2020 task 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How good the outputs of a network are."""

    metric: str  # name of the figure that counts: "accuracy" or "auc"
    values: Mapping[str, float]  # figures of the whole split, from 0 to 1
    # The same by group: speaker or source of an image for accuracy, machine for AUC
    by_group: Mapping[str, Mapping[str, float]]

    @property
    def value(self) -> float:
        """Return the figure that counts."""
        return self.values[self.metric]


class Metric(Protocol):
    """Judges the outputs of a network."""

    @property
    def name(self) -> str:
        """Name of the figure that counts."""

    def __call__(
        self,
        outputs: NDArray[Any],
        split: Split,
        classes: tuple[str, ...],
        quantisation: tuple[float, int] | None = None,
    ) -> Figures:
        """Return the figures of `outputs` (n, classes) for a split.

        Args:
            outputs: Logits, or the int8 bytes of a network.
            quantisation: Scale and zero point of integer outputs.

        Raises:
            DataError: Outputs and split do not fit together.
        """


@dataclass(frozen=True, slots=True)
class Top1:
    """Share of the inputs whose largest output is that of their class."""

    name: str = "accuracy"

    def __call__(
        self,
        outputs: NDArray[Any],
        split: Split,
        classes: tuple[str, ...],
        quantisation: tuple[float, int] | None = None,
    ) -> Figures:
        """Return accuracy, over all inputs and by group."""
        right = _logits(outputs, split, classes, quantisation).argmax(axis=1) == split.y
        groups = {} if split.group is None else _by_name(split.group)
        by_group = {
            name: {"accuracy": float(right[own].mean()), "samples": float(own.sum())}
            for name, own in groups.items()
        }
        accuracy = {"accuracy": float(right.mean())}
        return Figures(metric=self.name, values=accuracy, by_group=by_group)


@dataclass(frozen=True, slots=True)
class AnomalyAuc:
    """Separation of anomalies from normal recordings, by machine and in the mean."""

    name: str = "auc"

    def __call__(
        self,
        outputs: NDArray[Any],
        split: Split,
        classes: tuple[str, ...],
        quantisation: tuple[float, int] | None = None,
    ) -> Figures:
        """Return AUC and partial AUC, their means over the machines, and accuracy on normals."""
        logits = _logits(outputs, split, classes, quantisation)
        found = find_anomalies(logits, split, classes)
        if found is None or split.anomalous is None:
            raise DataError("no recording to test with is anomalous", expected="one or more")
        right = (logits.argmax(axis=1) == split.y)[~split.anomalous]
        return Figures(
            metric=self.name,
            values={"auc": found.auc, "pauc": found.partial_auc, "accuracy": float(right.mean())},
            by_group={
                name: {"auc": auc, "pauc": partial}
                for name, (auc, partial) in found.by_class.items()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """How well anomalies are separated from normal sounds, by class (machine) and in the mean."""

    auc: float  # area under the ROC curve, mean over the classes
    partial_auc: float  # the same up to a false positive rate of 0.1, standardised (McClish 1989)
    by_class: Mapping[str, tuple[float, float]]  # both by name of the class


def find_anomalies(
    logits: NDArray[np.float32], split: Split, classes: tuple[str, ...]
) -> Anomalies | None:
    """Return AUC and partial AUC of the scores that logits give; None if there are no anomalies.

    The score of a recording is the negative logarithm of the softmax of its own machine, averaged
    over the inputs cut from it (MicroNets, Banbury et al. 2021). A machine that has only normal or
    only anomalous recordings to test has no AUC and is left out of the means.

    Raises:
        DataError: That is so of every machine.
    """
    if split.anomalous is None or not split.anomalous.any():
        return None
    import numpy as np
    from sklearn.metrics import roc_auc_score

    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    scores = -log_softmax[np.arange(len(split)), split.y]
    clips = np.arange(len(split)) if split.clip is None else split.clip
    _, first, inverse = np.unique(clips, return_index=True, return_inverse=True)
    per_clip = np.bincount(inverse, weights=scores) / np.bincount(inverse)
    label, truth = split.y[first], split.anomalous[first]
    by_class = {}
    for index, name in enumerate(classes):
        own = label == index
        if len(set(truth[own].tolist())) == 2:
            by_class[name] = (
                float(roc_auc_score(truth[own], per_clip[own])),
                float(roc_auc_score(truth[own], per_clip[own], max_fpr=PARTIAL_AUC_RATE)),
            )
    if not by_class:
        raise DataError(
            f"{int(truth.sum())} of {len(truth)} recordings to test with are anomalous, and no "
            "machine has both kinds",
            expected="normal and anomalous recordings of one machine or more, or there is no AUC",
        )
    means = np.mean(list(by_class.values()), axis=0)
    return Anomalies(auc=float(means[0]), partial_auc=float(means[1]), by_class=by_class)


def _logits(
    outputs: NDArray[Any],
    split: Split,
    classes: tuple[str, ...],
    quantisation: tuple[float, int] | None,
) -> NDArray[np.float32]:
    import numpy as np

    if outputs.shape != (len(split), len(classes)):
        raise DataError(
            f"outputs of shape {outputs.shape}",
            expected=f"({len(split)}, {len(classes)}): one for each input and class",
        )
    if outputs.dtype.kind not in "iu":
        return outputs.astype(np.float32)
    if quantisation is None:
        raise DataError(
            f"outputs are {outputs.dtype}", expected="their scale and zero point as `quantisation`"
        )
    scale, zero_point = quantisation
    logits: NDArray[np.float32] = (outputs.astype(np.float32) - zero_point) * np.float32(scale)
    return logits


def _by_name(groups: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    import numpy as np

    return {str(name): groups == name for name in np.unique(groups) if name}
