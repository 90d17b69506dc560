from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BuildError
from harness.firmware.linkmap import read_shares


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot read"):
        read_shares(tmp_path / "firmware.map")
    (tmp_path / "firmware.map").write_text("nothing")
    with pytest.raises(BuildError, match="no linker map"):
        read_shares(tmp_path / "firmware.map")
