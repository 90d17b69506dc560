"""What a task is, and what its loader is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.data.features import SoundFeatures
from harness.data.metrics import Metric
from harness.data.recordings import Recordings
from harness.data.sounds import SoundOptions, load_recordings
from harness.errors import DataError

Progress = Callable[[int, int], None]
"""Called with what is done, and what there is to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which data set a loader is to make."""

    folder: Path
    name: str  # of the data set
    input_shape: tuple[int, int, int]  # height, width, channels
    train_samples: int | None  # balanced subset to train on; None: all
    on_progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task: what is told apart, from what, and how it is judged."""

    name: str
    title: str
    backbone: str  # default backbone
    input_shape: tuple[int, int, int]  # height, width, channels
    metric: Metric
    layouts: str  # what the folder may hold, for messages
    load: Callable[[Request], Dataset | None]  # None: the folder has none of the layouts
    has_images: bool = False  # whether inputs may have another size, or be grey

    def check_shape(self, shape: tuple[int, int, int]) -> None:
        """Check that inputs can have this height, width and number of channels.

        Raises:
            DataError: They cannot.
        """
        if self.has_images and shape[2] in (1, 3) and min(shape) > 0:
            return
        if shape != self.input_shape:
            height, width, channels = self.input_shape
            raise DataError(
                f"the task '{self.name}' with inputs of {'×'.join(map(str, shape))}",
                expected="1 channel (grey) or 3 (colour)"
                if self.has_images
                else f"{height}×{width}×{channels}: its features have one size",
            )


def load_sounds(
    request: Request, found: Recordings, features: SoundFeatures, task: str, layout: str
) -> Dataset:
    """Load recordings with the features of a task."""
    options = SoundOptions(
        sample_rate_hz=features.sample_rate_hz,
        features=features,
        train_samples=request.train_samples,
        about={"task": task, "layout": layout},
    )
    return load_recordings(
        found,
        request.folder,
        request.input_shape,
        options,
        request.on_progress,
        name=request.name,
    )


def division(task: str, layout: str, by: str, **more: Any) -> Mapping[str, Any]:
    """Return how a data set was divided, for the record."""
    return {"task": task, "layout": layout, "by": by, **more}
