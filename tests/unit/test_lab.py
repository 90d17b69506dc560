"""The files of lab/ are what systemd, cron and GitHub take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

LAB = Path(__file__).parents[2] / "lab"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: install systemd"
)
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = sorted(LAB.glob("harness-nightly.*"))
    copies = [shutil.copy(unit, tmp_path) for unit in units]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *copies],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(units) == 2
    assert (done.returncode, done.stderr) == (0, "")


def test_the_workflow_is_yaml_with_a_schedule_and_no_more_rights_than_it_needs() -> None:
    workflow = yaml.safe_load((LAB / "github-nightly.yml").read_text())
    assert workflow[True]["schedule"]  # YAML 1.1 reads the key `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["nightly"]["runs-on"] == "self-hosted"


def test_every_schedule_starts_a_command_that_there_is() -> None:
    for file in LAB.iterdir():
        if file.suffix != ".timer":
            assert "harness nightly nightly.toml --wait 600 --site site" in file.read_text()
    crontab = (LAB / "crontab").read_text().splitlines()
    assert [line for line in crontab if line.startswith("30 2 * * * ")]
