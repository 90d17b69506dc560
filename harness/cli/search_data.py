"""Options of `harness search` that name the data, and loading it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from harness.cli.output import note
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.backbones import Backbone
    from harness.data import Dataset

_SLOWEST, _FASTEST = 0.5, 2.0
_FOR_TASKS = ("train_samples", "size")
_FOR_OTHERS = (
    "pattern", "words", "test_speakers", "validation_speakers", "sample_rate", "resample", "speeds",
)  # fmt: skip


class TaskName(StrEnum):
    """Values of --task, see `harness.data.tasks`."""

    KWS = "kws"
    VWW = "vww"
    AD = "ad"
    IC = "ic"


@dataclass(frozen=True)
class DataOptions:
    """The data and how it is read."""

    data: str = typer.Option(..., help="Folder of WAV files or images, a .npz file, or 'digits'.")
    task: TaskName | None = typer.Option(
        None,
        help="Read --data as the data of this task: features, classes, splits and backbone as in "
        "MicroNets and MLPerf Tiny.",
    )
    train_samples: int | None = typer.Option(
        None, min=1, help="With --task: train on a balanced subset of so many inputs."
    )
    size: int | None = typer.Option(
        None, min=8, help="With --task vww or ic: side of the images (default: 96, 32)."
    )
    pattern: str | None = typer.Option(
        None, help="How names carry label and speaker: {label}_{speaker}_{index}.wav"
    )
    words: str | None = typer.Option(
        None, help="Words of Speech Commands, separated by commas (default: its ten)."
    )
    test_speakers: str | None = typer.Option(
        None, help="Speakers to test on, separated by commas (default: by hash)."
    )
    validation_speakers: str | None = typer.Option(
        None, help="Speakers to validate on, separated by commas (default: by hash)."
    )
    sample_rate: int | None = typer.Option(
        None, min=1000, help="Sample rate in Hz (default: the files')."
    )
    resample: bool = typer.Option(False, "--resample", help="Convert recordings of another rate.")
    speeds: str | None = typer.Option(
        None,
        help="Also train on recordings played at these speeds, separated by commas: 0.87,1.15 "
        "makes three voices of one, and an epoch three times as long.",
    )

    def backbone(self, named: str | None) -> str:
        """Return the backbone that is named, else that of the task; raise `ConfigError`."""
        from harness.data.tasks import get_task

        own = None if self.task is None else get_task(self.task).backbone
        if (found := named or own) is not None:
            return found
        raise ConfigError(
            "no backbone is named",
            expected="a backbone, or --task kws, vww, ad or ic",
            fix="name one, see `harness sample`",
        )

    def load(self, space: Backbone) -> Dataset:
        """Load the data set, with a progress bar.

        Raises:
            DataError: Training cannot use it.
            ConfigError: Options do not belong together.
            BackboneError: The backbone does not take inputs of this size.
        """
        from harness.cli.progress import make_progress
        from harness.data import Division, SoundOptions, load
        from harness.data.tasks import load_task

        input_shape = self._shape(space)
        options = SoundOptions(
            pattern=self.pattern,
            words=_split(self.words),
            sample_rate_hz=self.sample_rate,
            resample=self.resample,
            speeds=_speeds(self.speeds),
            division=Division(
                test_speakers=_split(self.test_speakers),
                validation_speakers=_split(self.validation_speakers),
            ),
        )
        with make_progress() as progress:
            task = progress.add_task("features", total=None, rate="", visible=False)

            def show(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total, visible=True)

            if self.task is None:
                return load(self.data, input_shape=input_shape, options=options, on_progress=show)
            found = load_task(
                self.task,
                self.data,
                input_shape=input_shape,
                train_samples=self.train_samples,
                on_progress=show,
            )
        note(f"task {self.task}: {_counted(found)}")
        return found

    def _shape(self, space: Backbone) -> tuple[int, int, int]:
        """Return the shape of an input: the task's, in as many channels as the backbone takes."""
        from harness.data.tasks import get_task

        for name in _FOR_TASKS if self.task is None else _FOR_OTHERS:
            if not getattr(self, name):
                continue
            option = f"--{name.replace('_', '-')}"
            if self.task is None:
                raise ConfigError(f"{option} without --task", expected="--task, or no such option")
            raise ConfigError(
                f"{option} cannot be combined with --task",
                expected="one of them: the task decides how its data is read",
            )
        if self.task is None:
            return space.input_shape
        task = get_task(self.task)
        side = self.size
        height, width = task.input_shape[:2] if side is None else (side, side)
        shape = (height, width, space.input_shape[2])
        task.check_shape(shape)
        if shape != space.input_shape:
            space.with_resolution(side or height)
        return shape


def _counted(dataset: Dataset) -> str:
    """Return how many inputs each split has, and of how many of them the training split is."""
    parts = [f"{len(split):,} to {name}" for name, split in dataset.splits.items()]
    text = ", ".join(parts).replace("to validation", "to validate")
    chosen = dataset.division.get("train_samples")
    if chosen is None:
        return text
    fewest, most = min(chosen["by_class"].values()), max(chosen["by_class"].values())
    of_each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{text} (to train {chosen['taken']:,} of {chosen['of']:,}, {of_each} of each class)"


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _speeds(text: str | None) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in _split(text))
    except ValueError:
        found = (0.0,)
    if any(not _SLOWEST <= speed <= _FASTEST for speed in found):
        raise ConfigError(
            f"--speeds is '{text}'", expected="numbers from 0.5 to 2, separated by commas"
        )
    return found
