"""Firmware: model sources in, one flashable image out, through PlatformIO."""

from __future__ import annotations

from harness.firmware.builder import build, export_project
from harness.firmware.image import BuildOptions, FirmwareImage

__all__ = ["BuildOptions", "FirmwareImage", "build", "export_project"]
