"""Read WAV files: integer PCM of any width, mixed down to one channel."""

from __future__ import annotations

import hashlib
import io
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording."""

    samples: NDArray[np.float32]  # float32 from -1 to 1, one channel
    rate_hz: int
    digest: str  # SHA-256 of the file


class Unreadable(Exception):
    """A file is no WAV file that can be read; the text says why."""


def read_wav(path: Path) -> Sound:
    """Read a WAV file of integer PCM, 8 to 32 bits.

    Raises:
        Unreadable: It is missing, empty, cut short, compressed or no WAV file.
    """
    import numpy as np

    try:
        content = path.read_bytes()
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            announced = file.getnframes()
            raw = file.readframes(announced)
    except (OSError, EOFError, wave.Error) as failure:
        raise Unreadable(f"not a readable WAV file ({failure or 'it ends too soon'})") from None
    frames = len(raw) // max(1, width * channels)
    if not frames:
        raise Unreadable("it holds no samples")
    if frames < announced:
        raise Unreadable(f"it is cut short: {frames} of {announced} samples")
    # The sample's bytes are the upper ones of 32 bits; of 8 bits the sign is inverted.
    wide = np.zeros((frames * channels, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    wide[:, 3] ^= 0x80 if width == 1 else 0
    values = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
    mono = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return Sound(mono.astype(np.float32), rate, hashlib.sha256(content).hexdigest())


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Return the sound at another rate (polyphase filter)."""
    if from_hz == to_hz:
        return samples
    import numpy as np
    from scipy.signal import resample_poly  # type: ignore[import-untyped]

    ratio = Fraction(to_hz, from_hz)
    found: NDArray[np.float32] = resample_poly(samples, ratio.numerator, ratio.denominator)
    return found.astype(np.float32)


def at_speed(samples: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Return the sound played faster or slower, pitch and all."""
    exact = Fraction(speed).limit_denominator(50)
    return resample(samples, exact.numerator, exact.denominator)


def fit_length(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Return exactly `length` samples: the middle of a long sound, a short one amid silence."""
    import numpy as np

    if len(samples) >= length:
        start = (len(samples) - length) // 2
        return samples[start : start + length]
    missing = length - len(samples)
    return np.pad(samples, (missing // 2, missing - missing // 2))
