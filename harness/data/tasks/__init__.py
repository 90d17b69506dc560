"""The tasks that MicroNets and MLPerf Tiny share: data, features, classes, backbone, metric.

Banbury et al., "MicroNets" (MLSys 2021), section 5, and "MLPerf Tiny Benchmark" (2021), section 4.
Each is read from any of the layouts that its data comes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from harness.data.dataset import Dataset
from harness.data.metrics import AnomalyAuc, Top1
from harness.data.tasks import ad, ic, kws, vww
from harness.data.tasks.task import Progress, Request, Task
from harness.errors import DataError

__all__ = ["TASKS", "Task", "get_task", "load_task"]

_ALL = (
    Task(
        name="kws",
        title="keyword spotting: ten words, unknown words and silence",
        backbone="ds_cnn_kws",
        input_shape=(49, 10, 1),
        metric=Top1(),
        layouts=kws.LAYOUTS,
        load=kws.load,
    ),
    Task(
        name="vww",
        title="visual wake words: is there a person?",
        backbone="mobilenet_v2_vww",
        input_shape=(96, 96, 1),
        metric=Top1(),
        layouts=vww.LAYOUTS,
        load=vww.load,
        has_images=True,
    ),
    Task(
        name="ad",
        title="anomaly detection: which machine is it, and how surely?",
        backbone="ds_cnn_ad",
        input_shape=(32, 32, 1),
        metric=AnomalyAuc(),
        layouts=ad.LAYOUTS,
        load=ad.load,
    ),
    Task(
        name="ic",
        title="image classification: the ten classes of CIFAR-10",
        backbone="ds_cnn_ic",
        input_shape=(32, 32, 3),
        metric=Top1(),
        layouts=ic.LAYOUTS,
        load=ic.load,
        has_images=True,
    ),
)
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})
"""Every task by name."""


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        DataError: There is none.
    """
    if name not in TASKS:
        raise DataError(f"unknown task '{name}'", expected=", ".join(TASKS))
    return TASKS[name]


def load_task(
    name: str,
    source: str | Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    train_samples: int | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """Load the data of a task.

    Args:
        source: Folder in one of the task's layouts.
        input_shape: Height, width, channels for images of another size or colour; None: the task's.
        train_samples: Train on a balanced subset of so many inputs; None: on all.

    Raises:
        DataError: There is no such task or folder, its layout is none of the task's, or files are
            missing or bad; all are named.
    """
    task, folder = get_task(name), Path(source)
    shape = input_shape or task.input_shape
    task.check_shape(shape)
    if train_samples is not None and train_samples < 1:
        raise DataError(f"{train_samples} training samples", expected="1 or more")
    if not folder.is_dir():
        raise DataError(f"no such folder: {source}", expected=task.layouts, fix="check the path")
    called = task.name if train_samples is None else f"{task.name}-{train_samples}"
    request = Request(folder, called, shape, train_samples, on_progress)
    found = task.load(request)
    if found is None:
        raise DataError(
            f"no data for the task '{task.name}' here", where=str(folder), expected=task.layouts
        )
    return found
