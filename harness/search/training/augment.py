"""Vary training inputs in ways that do not change their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MEL = 1127.0  # of a natural logarithm: HTK's scale, which `tf.signal` has
_FACTORS = 33


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How an input is varied, anew in each epoch."""

    shift_rows: int = 0  # largest shift up or down (for sound: in time), in rows
    shift_columns: int = 0  # largest shift to the side, in columns
    # Longest run of rows that is blanked (SpecAugment: Park et al. 2019).
    mask_rows: int = 0
    mask_columns: int = 0  # the same for columns (for sound: coefficients or bands)
    flip: bool = False  # whether half of the inputs are mirrored left to right
    column_offset: float = 0.0  # standard deviation of an offset of each column
    # Standard deviation of a factor around 1 on each column. Both stand for other voices and
    # microphones, which shift and stretch each coefficient.
    column_gain: float = 0.0
    stretch: float = 0.0  # up to 1 + this faster, or as much slower (rows are interpolated)
    # Vocal tracts as short as 1 / (1 + this), or as long as its inverse: the frequency axis is
    # stretched by as much (Jaitly and Hinton 2013), which for MFCC is a matrix on the coefficients
    # (Pitz and Ney 2005). For MFCC only.
    warp: float = 0.0


NO_AUGMENTATION = Augmentation()


def for_features(features: Mapping[str, Any], input_shape: tuple[int, int, int]) -> Augmentation:
    """Return the variations that suit inputs made with these `features`."""
    height, width, _ = input_shape
    match features.get("kind"):
        case "mfcc" | "log_mel" as kind:
            speech = kind == "mfcc"
            return Augmentation(
                shift_rows=round(0.16 * height),
                mask_rows=round(0.16 * height),
                mask_columns=max(1, round(0.2 * width)),
                column_offset=0.15,
                column_gain=0.15,
                stretch=0.2 if speech else 0.0,
                warp=0.2 if speech else 0.0,
            )
        case "image":
            return Augmentation(
                shift_rows=round(0.1 * height), shift_columns=round(0.1 * width), flip=True
            )
        case "digits":
            return Augmentation(shift_rows=round(0.06 * height), shift_columns=round(0.06 * width))
    return NO_AUGMENTATION  # of a bare array nothing is known


def warps(
    features: Mapping[str, Any], most: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the effect of other vocal tracts on normalised MFCC: matrices and offsets, x · m + v.

    `most` is the largest stretch of the frequency axis, above 1; `features` are the data set's.

    Returns:
        float32 of shapes (factors, bins, bins) and (factors, bins); the middle one changes nothing.
    """
    import numpy as np

    bands, bins = int(features["mel_bands"]), int(features["bins"])
    low, high = (_MEL * np.log1p(features[name] / 700) for name in ("lower_hz", "top_hz"))
    step = (high - low) / (bands + 1)
    centres = 700 * np.expm1((low + step * np.arange(1, bands + 1)) / _MEL)
    # The inverse of the scaled DCT-II that `tf.signal` computes, of the smoothed spectrum.
    cosines = np.cos(np.pi / bands * np.outer(np.arange(bins), np.arange(bands) + 0.5))
    forward = np.sqrt(2 / bands) * cosines
    back = forward.T * np.where(np.arange(bins) == 0, 0.5, 1.0)
    mean, deviation = (np.asarray(features[name], np.float64) for name in ("mean", "deviation"))
    matrices, offsets = [], []
    for share in np.linspace(-1, 1, _FACTORS):
        place = (_MEL * np.log1p(centres * (1 + most) ** share / 700) - low) / step - 1
        place = place.clip(0, bands - 1)
        lower = np.minimum(place.astype(np.int64), bands - 2)
        warped = (lower + 1 - place)[:, None] * back[lower] + (place - lower)[:, None] * back[
            lower + 1
        ]
        matrix = forward @ warped
        matrices.append((matrix * deviation / deviation[:, None]).T)
        offsets.append((matrix @ mean - mean) / deviation)
    return np.stack(matrices).astype(np.float32), np.stack(offsets).astype(np.float32)


def augmenter(
    tensorflow: Any,
    options: Augmentation,
    input_shape: tuple[int, int, int],
    features: Mapping[str, Any] | None = None,
) -> Callable[[Any, Any], Any]:
    """Return a function of a batch and a seed (a pair of integers) that varies the batch.

    `warp` needs the `features` that the inputs were made with.
    """
    height, width, _ = input_shape
    known = features or {}
    voices = None
    if options.warp and known.get("kind") == "mfcc" and known["bins"] == width:
        voices = warps(known, options.warp)
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

    def stretched(x: Any, seed: Any, place: int, count: Any) -> Any:
        share = random.stateless_uniform((count, 1), fold_in(seed, place), -1.0, 1.0)
        centre = (height - 1) / 2
        rows = tensorflow.range(height, dtype=tensorflow.float32)[None]
        rows = centre + (rows - centre) * (1 + options.stretch) ** share
        rows = tensorflow.clip_by_value(rows, 0.0, height - 1.0)
        lower = tensorflow.minimum(cast(rows, tensorflow.int32), height - 2)
        part = (rows - cast(lower, tensorflow.float32))[:, :, None, None]
        before = tensorflow.gather(x, lower, axis=1, batch_dims=1)
        return before + part * (tensorflow.gather(x, lower + 1, axis=1, batch_dims=1) - before)

    def warped(x: Any, seed: Any, place: int, count: Any, known: Any) -> Any:
        voice = integers(seed, place, count, 0, _FACTORS - 1)
        matrices, offsets = (tensorflow.gather(tensorflow.constant(part), voice) for part in known)
        return (tensorflow.matmul(x[..., 0], matrices) + offsets[:, None])[..., None]

    def apply(x: Any, seed: Any) -> Any:
        count = tensorflow.shape(x)[0]
        if voices is not None:
            x = warped(x, seed, 16, count, voices)
        if options.stretch:
            x = stretched(x, seed, 18, count)
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
