from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BuildError, ImageTooLarge, ToolchainMissing
from harness.firmware.diagnose import diagnose

LOG = Path("build.log")
REGIONS = {"FLASH": 1000, "RAM": 500}
PARTS = {"FLASH": {"weights": 900, "kernels": 300}, "RAM": {"arena": 400, "stack": 128}}


def _diagnose(*lines: str) -> BuildError:
    return diagnose(lines, LOG, regions=REGIONS, parts=PARTS)


def test_an_overflow_names_region_excess_and_biggest_part() -> None:
    error = _diagnose(
        "ld: region `FLASH' overflowed by 240 bytes", "collect2: error: ld returned 1"
    )
    assert isinstance(error, ImageTooLarge)
    assert error.data["region"] == "FLASH"
    assert error.data["overflow_bytes"] == 240
    assert "1240 bytes of flash, 240 more than the board's 1000" in str(error)
    assert "weights 900" in str(error)


def test_both_regions_are_named() -> None:
    error = _diagnose("region `RAM' overflowed by 9 bytes", "region `FLASH' overflowed by 8 bytes")
    assert error.data["region"] == "RAM"
    assert "FLASH by 8 bytes" in str(error)


def test_the_first_compiler_errors_are_shown() -> None:
    error = _diagnose(
        "Compiling x", "src/model/model.c:3:1: error: unknown type name 'foo'", "make"
    )
    assert type(error) is BuildError
    assert error.data["errors"] == ("src/model/model.c:3:1: error: unknown type name 'foo'",)
    assert "unknown type name" in str(error)


@pytest.mark.parametrize(
    "line", ["sh: 1: arm-none-eabi-gcc: not found", "HTTPClientError: no connection"]
)
def test_a_missing_compiler_says_how_to_get_one(line: str) -> None:
    error = _diagnose(line)
    assert isinstance(error, ToolchainMissing)
    assert "apt-get install" in str(error)


def test_something_unknown_shows_the_last_lines() -> None:
    assert "the last words" in str(_diagnose("first", "the last words"))
