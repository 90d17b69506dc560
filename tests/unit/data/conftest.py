from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Write = Callable[..., Path]


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


@pytest.fixture(name="write_wav")
def write_wav_fixture() -> Write:
    return write_wav


@pytest.fixture
def speakers(tmp_path: Path) -> Path:
    """Return a folder like FSDD's: two words of four speakers, three recordings each."""
    folder = tmp_path / "spoken"
    for place, speaker in enumerate(("ada", "bob", "eve", "joe")):
        for label in ("0", "1"):
            for index in range(3):
                pitch = 300 + 400 * int(label) + 20 * place + 5 * index
                write_wav(folder / f"{label}_{speaker}_{index}.wav", pitch_hz=pitch)
    return folder
