"""PlatformIO platform of the bench: asks for a toolchain package only when PATH has no compiler."""

import shutil

from platformio.public import PlatformBase


class Cortexm_benchPlatform(PlatformBase):  # noqa: N801 - PlatformIO derives the name
    """Bare-metal Cortex-M."""

    def configure_default_packages(self, options, targets):
        """Ask for the toolchain package when there is no compiler on PATH."""
        if shutil.which("arm-none-eabi-gcc") is None:
            self.packages["toolchain-gccarmnoneeabi"]["optional"] = False
        return super().configure_default_packages(options, targets)
