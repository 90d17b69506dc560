from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaign.config import find_model, read_campaign
from harness.campaign.sweep import parse_specs, with_libraries
from harness.errors import EXIT_USAGE, CampaignError, ConfigError

CAMPAIGNS = Path(__file__).parents[3] / "campaigns"
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


@pytest.mark.parametrize("path", sorted(CAMPAIGNS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_campaigns_are_valid(path: Path) -> None:
    config = read_campaign(path)
    assert config.backbones or config.models


def test_the_campaign_of_runtimes_compares_five_models() -> None:
    config = read_campaign(CAMPAIGNS / "runtimes.toml")
    assert len(config.models) == 5 and config.measure.verify_arena
    assert {(sweep.name, kernels) for sweep in config.runtimes for kernels in sweep.kernels} == {
        ("tflm", "cmsis_nn"), ("tflm", "reference"), ("aot", "cmsis_nn"), ("aot", "portable"),
    }  # fmt: skip


def test_overrides_replace_keys(tmp_path: Path) -> None:
    config = read_campaign(write(tmp_path, GOOD), seed=9, stations=["desk"])
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


TFLM = (
    GOOD
    + """
[[runtimes]]
name = "tflm"
kernels = ["cmsis_nn", "reference"]
"""
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[runtimes]]\nname = "tfml"\n', "'aot' or 'tflm'"),
        ('[[runtimes]]\nkernels = ["reference"]\n', "'aot' has no kernels 'reference'"),
        ('[[runtimes]]\nname = "tflm"\nkernels = ["portable"]\n', "only cmsis_nn, reference"),
        ('[[runtimes]]\nlibrary = "x"\n', "takes no library"),
        ('[[runtimes]]\nname = "tflm"\nkernels_source = "x"\n', "for runtime 'aot'"),
        ('[[runtimes]]\nname = "tflm"\nlibraries = {portable = "x"}\n', "no kernels 'portable'"),
    ],
)
def test_what_a_runtime_does_not_have_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        read_campaign(write(tmp_path, GOOD + text))


def test_a_library_for_all_kernels_and_one_for_some(tmp_path: Path) -> None:
    text = TFLM + 'library = "owner/a@1"\nlibraries = {reference = "symlink://../trees/ref"}\n'
    (sweep,) = read_campaign(write(tmp_path, text)).runtimes
    assert sweep.library_for("cmsis_nn") == "owner/a@1"
    assert sweep.library_for("reference") == f"symlink://{tmp_path.parent / 'trees' / 'ref'}"


def test_kernel_trees_are_swept_for_cmsis_nn_alone(tmp_path: Path) -> None:
    text = GOOD + '[[runtimes]]\nkernels = ["portable", "cmsis_nn"]\nkernels_source = '
    (sweep,) = read_campaign(write(tmp_path, text + '["bakenn", "../tree", "g.git#1"]')).runtimes
    assert [(options.kernels, options.kernels_source) for options in sweep.options()] == [
        ("portable", None),
        ("cmsis_nn", None),
        ("cmsis_nn", f"symlink://{tmp_path.parent / 'tree'}"),
        ("cmsis_nn", "g.git#1"),
    ]
    (sweep,) = read_campaign(write(tmp_path, text + '"g.git#1"')).runtimes
    assert sweep.kernels_source == ("g.git#1",)


def test_which_library_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = read_campaign(write(tmp_path, TFLM + 'libraries = {reference = "own"}\n')).runtimes
    (over,) = with_libraries(sweeps, ["general", "cmsis_nn=special"])
    assert (over.library_for("cmsis_nn"), over.library_for("reference")) == ("special", "general")
    monkeypatch.setenv("HARNESS_TFLM", "general reference=special")
    (under,) = with_libraries(sweeps, None)
    assert (under.library_for("cmsis_nn"), under.library_for("reference")) == ("general", "own")


def test_libraries_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_specs(["reference=file://ref", "https://h/r.git?a=b#c"]) == {
        "cmsis_nn": "https://h/r.git?a=b#c",
        "reference": f"file://{tmp_path / 'ref'}",
    }
    with pytest.raises(ConfigError, match="two libraries are named for reference kernels"):
        parse_specs(["reference=a", "reference=b"])
    with pytest.raises(ConfigError, match="two libraries"):
        parse_specs(["a", "b"])


def test_models_are_found_in_any_layout(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.tflite").write_bytes(b"a")
    (tmp_path / "b.tflite").write_bytes(b"b")
    (tmp_path / "deep" / "b.tflite").write_bytes(b"other")
    assert find_model(tmp_path, "a.tflite") == tmp_path / "deep" / "er" / "a.tflite"
    assert find_model(tmp_path, "b.tflite") == tmp_path / "b.tflite"
    (tmp_path / "deep" / "a.tflite").write_bytes(b"a")  # a copy is no contradiction
    assert find_model(tmp_path, "a.tflite").read_bytes() == b"a"
    (tmp_path / "deep" / "a.tflite").write_bytes(b"different")
    with pytest.raises(CampaignError, match=r"2 different files are called 'a\.tflite'"):
        find_model(tmp_path, "a.tflite")
    with pytest.raises(CampaignError, match=r"no model 'c\.tflite'"):
        find_model(tmp_path, "c.tflite")


def test_the_page_on_campaign_files_names_every_key() -> None:
    from harness.campaign import config
    from harness.strict import Strict

    page = (CAMPAIGNS.parent / "docs" / "campaigns.md").read_text()
    sections = [kind for kind in vars(config).values() if isinstance(kind, type)]
    keys = {
        key
        for kind in sections
        if issubclass(kind, Strict) and kind is not Strict
        for key in kind.model_fields
    }
    assert {key for key in keys if f"`{key}`" not in page and f"[{key}]" not in page} == set()
