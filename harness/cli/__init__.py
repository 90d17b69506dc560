"""The `harness` command: one file per command, each importing what it needs when it runs."""

from __future__ import annotations

from harness.cli.app import main

__all__ = ["main"]
