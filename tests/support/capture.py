"""A plan and an image for captures from `FakeDevice`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.capture import CapturePlan

PLAN = CapturePlan(
    warmup=1, repeats=3, layers=True, inputs=(bytes(490),), output_bytes=(12,), macs=1000
)


@dataclass
class Image:
    """What a session reads of a firmware image."""

    elf: Path = Path("firmware.elf")
    map: Path = Path("firmware.map")
    build_id: str = "0123456789abcdef"
    model_sha256: str = "fedcba9876543210" + "0" * 48
