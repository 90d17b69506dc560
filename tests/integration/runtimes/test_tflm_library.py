"""How a PlatformIO library spec becomes a folder with an identity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.runtimes.tflm.library import find_library


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "src").mkdir(parents=True)
    (folder / "library.json").write_text(json.dumps({"name": "mine", "version": "1.2.3"}))
    (folder / "src" / "a.cpp").write_text("int a;\n")
    (folder / "src" / "a.h").write_text("extern int a;\n")
    (folder / "examples").mkdir()
    (folder / "examples" / "b.cpp").write_text("int b;\n")
    return folder


@pytest.mark.parametrize("spec", [None, "", "  "])
def test_no_library_tells_the_three_ways(spec: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        find_library(spec)
    text = str(caught.value)
    assert "symlink://" in text
    assert "git repository" in text
    assert "owner/name@version" in text
    assert "docs/tflm.md" in text


def test_a_symlinked_tree_is_used_in_place(tree: Path) -> None:
    library = find_library(f"symlink://{tree}")
    assert library.root == tree
    assert (library.name, library.version) == ("mine", "1.2.3")
    assert library.files == ("src/a.cpp", "src/a.h")
    assert library.digest[:12] in library.label


def test_a_path_is_a_symlink(tree: Path) -> None:
    assert find_library(str(tree)).root == tree


def test_identity_follows_the_contents(tree: Path) -> None:
    before = find_library(f"symlink://{tree}").digest
    (tree / "examples" / "b.cpp").write_text("int c;\n")
    assert find_library(f"symlink://{tree}").digest == before
    (tree / "src" / "a.h").write_text("extern int a, b;\n")
    assert find_library(f"symlink://{tree}").digest != before


def test_a_file_spec_is_copied_again_when_its_source_changed(tree: Path) -> None:
    first = find_library(f"file://{tree}")
    assert first.root != tree
    assert find_library(f"file://{tree}").digest == first.digest
    (tree / "src" / "a.cpp").write_text("int a = 2;\n")
    assert find_library(f"file://{tree}").digest != first.digest


def test_a_missing_folder_is_platformio_s_message_and_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_library(f"symlink://{tmp_path / 'nothing'}")
    text = str(caught.value)
    assert "cannot get the TFLM library" in text
    assert "not a directory" in text
    assert "create_tflm_tree.py" in text
    assert "****" not in text


def test_a_tree_without_a_manifest_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "a.cpp").write_text("int a;\n")
    with pytest.raises(ConfigError, match="manifest"):
        find_library(f"symlink://{folder}")
