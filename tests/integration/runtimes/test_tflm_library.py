"""How a PlatformIO library spec becomes a folder with an identity."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.runtimes.tflm.layout import find_library


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


def test_a_missing_folder_is_refused_with_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_library(f"symlink://{tmp_path / 'nothing'}")
    text = str(caught.value)
    assert "cannot get the TFLM library" in text
    assert "not a directory" in text
    assert "create_tflm_tree.py" in text


def test_what_platformio_cannot_get_is_refused_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_library(f"file://{tmp_path / 'nothing'}")
    assert "cannot get the TFLM library" in str(caught.value)
    assert "****" not in str(caught.value)


def test_a_folder_needs_no_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "a.cpp").write_text("int a;\n")
    library = find_library(f"symlink://{folder}")
    assert (library.name, library.version, library.commit) == ("bare", "0.0.0", None)


def test_a_repository_is_fetched_at_its_commit(tree: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tree), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    (tree / "src" / "a.cpp").write_text("int a = 2;\n")
    git("commit", "-q", "-a", "-m", "two")
    library = find_library(f"git+file://{tree}#{commit}")
    assert library.commit == commit
    assert (library.root / "src" / "a.cpp").read_text() == "int a;\n"
