"""Vary training inputs by what does not change their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is varied, each time an input is seen.

    Attributes:
        shift_rows: Largest shift up or down (for sound: in time), in rows.
        shift_columns: Largest shift to the side, in columns.
        mask_rows: Longest run of rows that is blanked (SpecAugment: Park et al. 2019).
        mask_columns: The same for columns (for sound: coefficients or bands).
        flip: Whether half of the inputs are mirrored left to right.
        column_offset: Standard deviation of what is added to each column as a whole.
        column_gain: Standard deviation of the factor, around 1, on each column as a whole. Both
            stand for other voices and microphones, which shift and stretch each coefficient.
    """

    shift_rows: int = 0
    shift_columns: int = 0
    mask_rows: int = 0
    mask_columns: int = 0
    flip: bool = False
    column_offset: float = 0.0
    column_gain: float = 0.0


NO_AUGMENTATION = Augmentation()


def for_features(features: Mapping[str, Any], input_shape: tuple[int, int, int]) -> Augmentation:
    """Return what suits inputs made as `features` says."""
    height, width, _ = input_shape
    match features.get("kind"):
        case "mfcc" | "log_mel":
            return Augmentation(
                shift_rows=round(0.16 * height),
                mask_rows=round(0.16 * height),
                mask_columns=max(1, round(0.2 * width)),
                column_offset=0.15,
                column_gain=0.15,
            )
        case "image":
            return Augmentation(
                shift_rows=round(0.1 * height), shift_columns=round(0.1 * width), flip=True
            )
        case "digits":
            return Augmentation(shift_rows=round(0.06 * height), shift_columns=round(0.06 * width))
    return NO_AUGMENTATION  # of a bare array nothing is known


def augmenter(
    tensorflow: Any, options: Augmentation, input_shape: tuple[int, int, int]
) -> Callable[[Any, Any], Any]:
    """Return a function of a batch and a pair of integers that decide what is drawn."""
    height, width, _ = input_shape
    random, cast = tensorflow.random, tensorflow.cast
    fold_in = random.experimental.stateless_fold_in

    def integers(seed: Any, place: int, count: Any, low: int, high: int) -> Any:
        return random.stateless_uniform(
            (count,), fold_in(seed, place), low, high + 1, dtype=tensorflow.int32
        )

    def shifted(x: Any, shift: Any, axis: int, size: int) -> Any:
        # What comes in at the edge repeats the edge.
        index = tensorflow.clip_by_value(tensorflow.range(size)[None] - shift[:, None], 0, size - 1)
        return tensorflow.gather(x, index, axis=axis, batch_dims=1)

    def kept(seed: Any, place: int, count: Any, size: int, longest: int) -> Any:
        length = integers(seed, place, count, 0, min(longest, size))
        share = random.stateless_uniform((count,), fold_in(seed, place + 1))
        start = cast(share * cast(size + 1 - length, tensorflow.float32), tensorflow.int32)
        position = tensorflow.range(size)[None]
        inside = (position >= start[:, None]) & (position < (start + length)[:, None])
        return cast(~inside, tensorflow.float32)

    def normal(seed: Any, place: int, count: Any, deviation: float) -> Any:
        drawn = random.stateless_normal((count, width), fold_in(seed, place))
        return (deviation * drawn)[:, None, :, None]

    def apply(x: Any, seed: Any) -> Any:
        count = tensorflow.shape(x)[0]
        if options.shift_rows:
            rows = integers(seed, 2, count, -options.shift_rows, options.shift_rows)
            x = shifted(x, rows, 1, height)
        if options.shift_columns:
            columns = integers(seed, 4, count, -options.shift_columns, options.shift_columns)
            x = shifted(x, columns, 2, width)
        if options.flip:
            mirrored = integers(seed, 6, count, 0, 1)[:, None, None, None] == 1
            x = tensorflow.where(mirrored, tensorflow.reverse(x, [2]), x)
        if options.column_gain:
            x *= 1 + normal(seed, 12, count, options.column_gain)
        if options.column_offset:
            x += normal(seed, 14, count, options.column_offset)
        if options.mask_rows:
            x *= kept(seed, 8, count, height, options.mask_rows)[:, :, None, None]
        if options.mask_columns:
            x *= kept(seed, 10, count, width, options.mask_columns)[:, None, :, None]
        return x

    return apply
