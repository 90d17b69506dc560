"""Entry point that shows every pyOCD program the virtual boards and the targets it lacks."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

from harness import __version__


def __getattr__(name: str) -> Any:
    if name == "VirtualProbePlugin":
        return _plugin()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register_targets() -> None:
    """Add the boards' targets; nothing where the harness was installed without what they need."""
    with suppress(ModuleNotFoundError):
        from harness.flash.targets import register

        register()


@cache
def _plugin() -> type:
    """Return the plugin class.

    Importing any part of pyOCD loads all its plugins, this one too. So pyOCD is imported when the
    class is asked for, not while this module is half loaded.
    """
    from pyocd.core.plugin import Plugin

    class VirtualProbePlugin(Plugin):
        """Adds the probe type ``virtual``."""

        def should_load(self) -> bool:
            """Load only where the emulator is installed (extra ``virtual``).

            The targets are of use without it too: with real probes, and with remote ones.
            """
            # Where the probe's own module is what imports pyOCD, it registers itself when loaded.
            probe = sys.modules.get("harness.virtual.ports.probe")
            half_loaded = probe is not None and not hasattr(probe, "VirtualProbe")
            installed = all(find_spec(name) is not None for name in ("unicorn", "numba"))
            if half_loaded or not installed:
                _register_targets()
            return installed and not half_loaded

        def load(self) -> type:
            """Register the harness's targets and return the probe class."""
            from harness.virtual.ports.probe import VirtualProbe

            _register_targets()
            return VirtualProbe

        @property
        def name(self) -> str:
            """Probe type: the part of a probe id before the colon."""
            return "virtual"

        @property
        def description(self) -> str:
            """Say what the plugin does."""
            return "Emulated boards of TinyML Harness"

        @property
        def version(self) -> str:
            """Version of the harness."""
            return __version__

    return VirtualProbePlugin
