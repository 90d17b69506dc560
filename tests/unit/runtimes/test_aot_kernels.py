"""Which files of a CMSIS-NN tree the aot runtime takes, and what its revision is."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.runtimes import SHIPPED_KERNELS, RuntimeOptions, get_runtime
from harness.runtimes.aot.kernels import kernel_set

CONVOLVE = "Source/ConvolutionFunctions/arm_convolve_s8.c"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    spec = importlib.util.find_spec("bakenn")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    return shutil.copytree(package / "backend/cmsis_nn/vendor/cmsis_nn", tmp_path / "CMSIS-NN")


def revision(tree: Path) -> str:
    options = RuntimeOptions(kernels_source=f"symlink://{tree}")
    return get_runtime("aot").identity(options)["kernels_version"]


def test_the_installed_tree_is_the_default() -> None:
    assert kernel_set("cmsis_nn") == kernel_set("cmsis_nn", SHIPPED_KERNELS)
    assert "bakenn" in kernel_set("cmsis_nn").version


def test_only_what_is_called_is_compiled(tree: Path) -> None:
    (tree / "Source" / "unused.c").write_text("int32_t arm_unused(void) {\n    return 1;\n}\n")
    names = [path.name for path in kernel_set("cmsis_nn", str(tree)).sources]
    assert names == [path.name for path in kernel_set("cmsis_nn").sources]
    assert "arm_convolve_s8.c" in names and "bakenn_cmsis_memory.c" not in names


def test_revision_follows_the_files_used(tree: Path) -> None:
    before = revision(tree)
    (tree / "Source" / "unused.c").write_text("int32_t arm_unused(void) {\n    return 1;\n}\n")
    assert revision(tree) == before
    with (tree / CONVOLVE).open("a") as file:
        file.write("/* another */\n")
    changed = revision(tree)
    assert changed != before and changed.startswith("CMSIS-NN (sha256 ")
    moved = tree.parent / "elsewhere"
    assert revision(tree.rename(moved)) == changed


def test_a_tree_inside_another_repository_is_found(tree: Path) -> None:
    repository = tree.parent / "CMSIS_5"
    (repository / "CMSIS").mkdir(parents=True)
    before = revision(tree)
    tree.rename(repository / "CMSIS" / "NN")
    assert revision(repository) == before


@pytest.mark.parametrize(
    ("file", "missing"),
    [
        (CONVOLVE, "arm_convolve_s8"),
        ("Source/ConvolutionFunctions/arm_convolve_wrapper_s8.c", "arm_convolve_wrapper_s8"),
        ("Include/arm_nnfunctions.h", "no CMSIS-NN tree"),
    ],
)
def test_a_tree_that_lacks_a_file_is_refused(tree: Path, file: str, missing: str) -> None:
    (tree / file).unlink()
    with pytest.raises(ConfigError) as caught:
        kernel_set("cmsis_nn", str(tree))
    assert missing in str(caught.value)
    assert str(tree) in str(caught.value) and "--kernels-source" in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot get the CMSIS-NN tree"):
        kernel_set("cmsis_nn", str(tmp_path / "nothing"))
