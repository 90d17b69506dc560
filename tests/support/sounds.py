"""WAV files for tests."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_wav(
    path: Path,
    *,
    pitch_hz: float = 440.0,
    rate_hz: int = 8000,
    seconds: float = 0.5,
    channels: int = 1,
    width: int = 2,
) -> Path:
    """Write a decaying tone."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * pitch_hz * time) * np.exp(-3 * time)
    whole = np.repeat(np.round(tone * (1 << (8 * width - 1))).astype("<i4"), channels)
    raw = whole.view(np.uint8).reshape(-1, 4)[:, :width]
    if width == 1:
        raw = raw + np.uint8(128)  # 8 bit is unsigned
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(raw.tobytes())
    return path
