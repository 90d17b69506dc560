from __future__ import annotations

from pathlib import Path

import pytest

from support.sounds import write_wav


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
