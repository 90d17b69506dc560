"""What a task is judged by, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.data.dataset import Split
from harness.data.metrics import AnomalyAuc, Top1, find_anomalies
from harness.errors import DataError

MACHINES = ("id_00", "id_02")
LOGITS = np.array(
    [[4, 0], [3, 0], [1, 0], [0, 0], [0, 2], [0, 2], [0, 2], [0, 2]], dtype=np.float32
)


@pytest.fixture
def split() -> Split:
    return Split(
        x=np.zeros((8, 1, 1, 1), np.float32),
        y=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
        anomalous=np.array([False, False, True, True] * 2),
        clip=np.arange(8),
        group=np.array(["ada", "ada", "bob", "bob", "", "", "", ""]),
    )


def test_anomalies_are_told_by_the_right_machines_softmax(split: Split) -> None:
    """AUC is 1 where anomalies are less surely the right machine, 0.5 where it is chance."""
    found = find_anomalies(LOGITS, split, MACHINES)
    assert found is not None
    assert found.by_class["id_00"] == (1.0, 1.0)
    assert found.by_class["id_02"][0] == 0.5
    assert found.auc == 0.75
    assert find_anomalies(LOGITS, replace(split, anomalous=None), MACHINES) is None
    # A split to validate on is of normal recordings.
    normal = replace(split, anomalous=np.zeros(8, np.bool_))
    assert find_anomalies(LOGITS, normal, MACHINES) is None


def test_the_inputs_of_a_recording_count_as_one_with_their_mean(split: Split) -> None:
    # Alone, inputs 1 (normal) and 2 (anomalous) are ranked wrongly; with their neighbours not.
    logits = LOGITS.copy()
    logits[1], logits[2] = (1, 0), (3, 0)
    assert find_anomalies(logits, split, MACHINES).by_class["id_00"][0] < 1  # type: ignore[union-attr]
    paired = replace(split, clip=np.array([0, 0, 1, 1, 2, 2, 3, 3]))
    assert find_anomalies(logits, paired, MACHINES).by_class["id_00"][0] == 1  # type: ignore[union-attr]


def test_a_machine_without_anomalies_has_no_auc(split: Split) -> None:
    anomalous = np.array([False, False, True, True, False, False, False, False])
    figures = AnomalyAuc()(LOGITS, replace(split, anomalous=anomalous), MACHINES)
    assert list(figures.by_group) == ["id_00"]
    assert figures.value == figures.values["pauc"] == 1.0
    assert figures.values["accuracy"] == 1.0
    with pytest.raises(DataError, match="no machine has both kinds"):
        find_anomalies(LOGITS, replace(split, anomalous=split.y == 0), MACHINES)


def test_top_1_is_of_all_inputs_and_of_each_speaker(split: Split) -> None:
    logits = LOGITS.copy()
    logits[0] = (0, 1)
    figures = Top1()(logits, split, MACHINES)
    assert figures.value == 7 / 8
    assert figures.by_group == {
        "ada": {"accuracy": 0.5, "samples": 2.0},
        "bob": {"accuracy": 1.0, "samples": 2.0},
    }


def test_bytes_of_a_network_need_their_scale(split: Split) -> None:
    quantised = (LOGITS / 0.05 - 100).astype(np.int8)
    with pytest.raises(DataError, match="outputs are int8"):
        AnomalyAuc()(quantised, split, MACHINES)
    figures = AnomalyAuc()(quantised, split, MACHINES, (0.05, -100))
    assert figures.values == AnomalyAuc()(LOGITS, split, MACHINES).values
    with pytest.raises(DataError, match=r"outputs of shape \(7, 2\)"):
        Top1()(LOGITS[:7], split, MACHINES)
