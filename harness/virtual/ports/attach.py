"""Run a program that looks for boards on USB, such as MLPerf Tiny's runner, on a served console."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError

# The ST-LINK/V2-1 of the Nucleo boards, as its virtual COM port shows itself.
VENDOR, PRODUCT, DESCRIPTION = 0x0483, 0x374B, "STM32 STLink"


def run_attached(console: str, script: str, arguments: Sequence[str]) -> None:
    """Run a Python script that finds the console where it looks for serial ports on USB.

    Args:
        console: Path of the terminal, as `harness virtual serve` shows it.
        script: Path of the script; its folder is where it finds its own modules.
        arguments: Of its command line.

    Raises:
        ConfigError: There is no such console or script.
    """
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    if not Path(console).exists():
        raise ConfigError(
            f"there is no console {console}",
            expected="the path that `harness virtual serve` shows",
            fix="serve a board first, in another shell",
        )
    if not Path(script).is_file():
        raise ConfigError(f"there is no script {script}", expected="a Python file")
    port = ListPortInfo(console)
    port.vid, port.pid, port.description, port.serial_number = VENDOR, PRODUCT, DESCRIPTION, ""
    list_ports.comports = lambda *_args, **_options: [port]
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")
