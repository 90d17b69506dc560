from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaign.config import read_campaign
from harness.errors import EXIT_USAGE, CampaignError

GOOD = """
name = "t"
boards = ["nucleo_f746zg"]
[[backbones]]
name = "ds_cnn_kws"
samples = 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["kws_demo", "nightly", "backbones"])
def test_shipped_campaigns_are_valid(name: str) -> None:
    root = Path(__file__).parents[3]
    assert read_campaign(root / "campaigns" / f"{name}.toml").backbones


def test_overrides_replace_keys(tmp_path: Path) -> None:
    config = read_campaign(write(tmp_path, GOOD), seed=9, stations=["desk"], boards=[])
    assert (config.seed, config.stations, config.boards) == (9, ("desk",), ())


def test_model_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = 'name = "t"\nboards = ["nucleo_f746zg"]\nmodels = ["nets/a.tflite"]\n'
    assert read_campaign(write(tmp_path, text)).models == (str(tmp_path / "nets" / "a.tflite"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples", "sampels", "did you mean 'samples'"),
        ("samples = 2", "samples = 0", "samples"),
        ("samples = 2", 'samples = "two"', "samples"),
        ('name = "t"', 'name = "../t"', "name"),
        ('name = "t"\n', "", "'name' is missing"),
        ('boards = ["nucleo_f746zg"]', "", "nowhere to measure"),
        ('boards = ["nucleo_f746zg"]', 'boards = ["nucleo_f746zg"', "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_key_and_file(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(CampaignError, match=message) as caught:
        read_campaign(write(tmp_path, GOOD.replace(old, new)))
    assert "campaign.toml" in str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE


def test_missing_file() -> None:
    with pytest.raises(CampaignError, match="no such file"):
        read_campaign(Path("nowhere.toml"))
