"""Images beside one firmware: how long they are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.firmware import shared


def test_an_image_that_another_process_is_about_to_flash_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(shared, "_KEPT", 2)
    image: Any = SimpleNamespace(build_id="b")

    def store(name: str) -> Path:
        model: Any = SimpleNamespace(sha256=name * 32)
        return shared._store(image, model, name.encode())

    waiting = [store(name) for name in ("1", "2", "3", "4")]
    assert all(path.exists() for path in waiting)
    long_ago = time.time() - 2 * shared._KEPT_S
    os.utime(waiting[0], (long_ago, long_ago))
    store("5")
    assert [path.exists() for path in waiting] == [False, True, True, True]
