"""Program boards with pyOCD, real and emulated ones alike.

`flash` programs one image; `open_target` keeps the debug session for several. Every failure is a
typed `HarnessError`; what pyOCD logged meanwhile is in its ``data["log"]``.
"""

from __future__ import annotations

from harness.flash.image import read_image
from harness.flash.target import FlashReport, Target, flash, open_target

__all__ = ["FlashReport", "Target", "flash", "open_target", "read_image"]
