"""A campaign with one firmware for many models, on the virtual board with the fake library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results import open_store
from harness.testing import ModelWriter

pytestmark = pytest.mark.usefixtures("virtual_board")
FAKE = Path(__file__).parents[1] / "fake_tflm"


def pools(*sizes: int) -> bytes:
    """Return a model that halves an image of sizes[0] pixels a side, through the given sizes."""
    writer = ModelWriter()
    first, *rest = (writer.tensor((1, size, size, 4), scale=0.5) for size in sizes)
    source = first
    for sink in rest:
        writer.operator(
            "MAX_POOL_2D", [source], [sink],
            padding="SAME", stride_w=2, stride_h=2, filter_width=2, filter_height=2,
        )  # fmt: skip
        source = sink
    return writer.finish([first], [source])


def relu() -> bytes:
    writer = ModelWriter()
    source, sink = (writer.tensor((1, 4), scale=0.5) for _ in range(2))
    writer.operator("RELU", [source], [sink])
    return writer.finish([source], [sink])


def test_one_firmware_measures_what_images_of_their_own_do(
    harness: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without caches, in which addresses matter (test_tflm_device has both).
    monkeypatch.setenv("HARNESS_TIMING", "issue")
    # The third needs more memory than there is, the fourth an operator that the library lacks.
    models = {
        "small": pools(8, 4),
        "large": pools(16, 8, 4),
        "huge": pools(64, 400, 4),
        "other": relu(),
        "last": pools(12, 6),
    }
    for name, content in models.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
    names = ", ".join(f'"{name}.tflite"' for name in models)
    sweep = f'[[runtimes]]\nname = "tflm"\nkernels = ["reference"]\nlibrary = "symlink://{FAKE}"\n'
    (tmp_path / "campaign.toml").write_text(
        f'name = "shared"\nboards = ["nucleo_f746zg"]\nmodels = [{names}]\n'
        f"{sweep}one_firmware = true\n{sweep}[measure]\nrepeats = 1\n"
    )
    answer = harness("run", tmp_path / "campaign.toml", "--db", tmp_path / "a.sqlite", "--json")
    assert answer.code == 1
    with open_store(tmp_path / "a.sqlite") as store:
        rows = {(row.model_name, row.one_firmware): row for row in store.query()}
    assert len(rows) == 2 * len(models)
    for name in ("small", "large", "last"):
        shared, own = rows[name, True], rows[name, False]
        assert (shared.status.value, own.status.value) == ("valid", "valid")
        assert (shared.cycles, shared.layers) == (own.cycles, own.layers)
        assert shared.arena_used_bytes == own.arena_used_bytes
        assert shared.build_id == rows["small", True].build_id != own.build_id
        assert own.ram_static_bytes == own.ram_other_bytes + own.stack_capacity_bytes
    assert rows["other", True].issues == rows["other", False].issues == ("unsupported",)
    for one_firmware in (True, False):
        assert rows["huge", one_firmware].issues == ("arena-too-small",)
        assert "Failed to allocate memory" in (rows["huge", one_firmware].message or "")
