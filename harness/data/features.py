"""Turn sound into the images that networks see: MFCC and log-mel, by `tf.signal`.

The parameters travel with the data set and with the model, as a device has to compute the same.
MFCC of 40 ms windows every 20 ms, 10 coefficients: 49×10 for one second, the input of DS-CNN
(Zhang et al. 2017, "Hello Edge", section 4) and of MLPerf Tiny's keyword spotting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 256
_HIGHEST = 0.45


@dataclass(frozen=True, slots=True)
class SoundFeatures:
    """How a recording becomes an input."""

    # "mfcc", or "log_mel" (the logarithm of the mel bands themselves)
    kind: Literal["mfcc", "log_mel"] = "mfcc"
    # Of the sound; recordings of another rate are refused or resampled
    sample_rate_hz: int = 16_000
    frames: int = 49  # windows of an input: its height
    bins: int = 10  # coefficients (mfcc) or bands (log_mel): its width
    window_ms: float = 40.0  # length of a window
    stride_ms: float = 20.0  # from one window to the next
    mel_bands: int = 40  # bands that the spectrum is summed in
    lower_hz: float = 125.0  # lower edge of the lowest band
    # Upper edge of the highest band, at most 0.45 of the sample rate: above, what is recorded is
    # the recorder's own filter
    upper_hz: float = 4_000.0
    log_floor: float = 1e-2  # added to a band's magnitude before the logarithm
    # What the bands sum: the spectrum's magnitude (MLPerf Tiny's keyword spotting) or its power
    spectrum: Literal["magnitude", "power"] = "magnitude"
    # "peak": the clip is scaled to a peak of 1, as microphones differ in gain
    level: Literal["peak", "none"] = "peak"
    # Whether each coefficient's mean over the clip is taken off it (cepstral mean normalisation),
    # which removes what a microphone's frequency response adds
    centred: bool = True
    # For clips longer than an input: frames from one input to the next
    images_stride: int | None = None

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.sample_rate_hz * self.window_ms / 1000)

    @property
    def stride(self) -> int:
        """Samples from one window to the next."""
        return round(self.sample_rate_hz * self.stride_ms / 1000)

    @property
    def samples(self) -> int:
        """Samples of an input: 1 s for 49 windows of 40 ms every 20 ms."""
        return self.window + (self.frames - 1) * self.stride

    @property
    def fft(self) -> int:
        """Points of the Fourier transform: the next power of two."""
        return 1 << (self.window - 1).bit_length()

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest band at this sample rate."""
        return min(self.upper_hz, _HIGHEST * self.sample_rate_hz)

    def as_json(self) -> dict[str, Any]:
        """Return what a device must know, derived sizes included."""
        derived = {"window": self.window, "stride": self.stride, "samples": self.samples}
        return {**asdict(self), **derived, "fft": self.fft, "top_hz": self.top_hz}

    def check(self) -> None:
        """Refuse parameters that no features come from.

        Raises:
            DataError: Names the parameter.
        """
        if self.kind == "mfcc" and self.bins > self.mel_bands:
            raise DataError(
                f"{self.bins} coefficients of {self.mel_bands} mel bands",
                expected="at most as many coefficients as bands",
            )
        if self.window < 1 or self.stride < 1 or not 0 <= self.lower_hz < self.top_hz:
            raise DataError(
                f"window {self.window_ms} ms, stride {self.stride_ms} ms, bands from "
                f"{self.lower_hz} to {self.top_hz} Hz at {self.sample_rate_hz} Hz",
                expected="a window and a stride of a sample or more, bands that rise",
            )


def compute(clips: Sequence[NDArray[np.float32]], parameters: SoundFeatures) -> NDArray[np.float32]:
    """Return the features of clips, each of `parameters.samples` samples from -1 to 1.

    Returns:
        float32 of shape (n, frames, bins, 1), not normalised over the data set.
    """
    import numpy as np

    from harness.models.convert import load_tensorflow

    parameters.check()
    tensorflow = load_tensorflow()
    matrix = tensorflow.signal.linear_to_mel_weight_matrix(
        parameters.mel_bands if parameters.kind == "mfcc" else parameters.bins,
        parameters.fft // 2 + 1,
        parameters.sample_rate_hz,
        parameters.lower_hz,
        parameters.top_hz,
    )
    parts = [
        _batch(tensorflow, np.stack(clips[start : start + _BATCH]), matrix, parameters)
        for start in range(0, len(clips), _BATCH)
    ]
    if not parts:
        return np.zeros((0, parameters.frames, parameters.bins, 1), np.float32)
    return np.concatenate(parts)


def _batch(
    tensorflow: Any, sound: NDArray[np.float32], matrix: Any, parameters: SoundFeatures
) -> NDArray[np.float32]:
    signal, math = tensorflow.signal, tensorflow.math
    if parameters.level == "peak":
        peak = abs(sound).max(axis=1, keepdims=True)
        sound = sound / peak.clip(1e-4)  # silence stays silence
    spectrum = abs(
        signal.stft(sound, parameters.window, parameters.stride, fft_length=parameters.fft)
    )
    if parameters.spectrum == "power":
        spectrum = math.square(spectrum)
    found = math.log(tensorflow.tensordot(spectrum, matrix, 1) + parameters.log_floor)
    if parameters.kind == "mfcc":
        found = signal.mfccs_from_log_mel_spectrograms(found)[..., : parameters.bins]
    if parameters.centred:
        found -= math.reduce_mean(found, axis=1, keepdims=True)
    values: NDArray[np.float32] = found.numpy()[..., None]
    return values
