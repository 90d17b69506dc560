from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.errors import ToolchainMissing
from harness.firmware import toolchain as chain


def test_scons_from_pypi_stands_in_for_tool_scons(tmp_path: Path) -> None:
    core = chain.prepare_core(tmp_path)
    package = core / "packages" / "tool-scons"
    assert json.loads((package / ".piopm").read_text())["spec"]["owner"] == "platformio"
    assert (package / "scons.py").is_file()
    before = package.stat().st_mtime_ns
    chain.prepare_core(tmp_path)
    assert package.stat().st_mtime_ns == before


def test_an_old_tool_scons_is_replaced(tmp_path: Path) -> None:
    package = chain.platformio_core_dir(tmp_path) / "packages" / "tool-scons"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "4.0.0"}')
    chain.prepare_core(tmp_path)
    assert json.loads((package / "package.json").read_text())["version"] != "4.0.0"
    assert [path.name for path in package.parent.iterdir()] == ["tool-scons"]


def test_several_may_prepare_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(chain.prepare_core, [tmp_path] * 16))) == 1


def test_another_scons_than_platformio_wants_is_refused() -> None:
    with pytest.raises(ToolchainMissing, match="pip install 'scons=="):
        chain._scons_package_version("3.1.0")


def test_no_compiler_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ToolchainMissing, match="apt-get install gcc-arm-none-eabi") as caught:
        chain.find_toolchain(tmp_path)
    assert caught.value.exit_code == 3


def _compiler(folder: Path, answer: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    gcc = folder / chain.COMPILER
    gcc.write_text(f"#!/bin/sh\n{answer}\n")
    gcc.chmod(gcc.stat().st_mode | stat.S_IXUSR)
    return gcc


def test_a_package_of_platformio_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = chain.platformio_core_dir(tmp_path) / "packages"
    specs = tmp_path / "nano.specs"
    specs.touch()
    case = f'case $1 in -dumpfull*) echo 13.2.1;; *) echo "{specs}";; esac'
    gcc = _compiler(packages / "toolchain-gccarmnoneeabi" / "bin", case)
    monkeypatch.setattr(chain.shutil, "which", lambda _: None)
    found = chain.find_toolchain(tmp_path)
    assert (found.gcc, found.name, found.origin) == (
        gcc, "arm-none-eabi-gcc 13.2.1", "PlatformIO",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "message"), [("echo nano.specs", "libnewlib"), ("exit 1", "does not run")]
)
def test_a_compiler_without_c_library_or_that_does_not_run_is_refused(
    answer: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcc = _compiler(tmp_path / "bin", answer)
    monkeypatch.setattr(chain.shutil, "which", lambda _: str(gcc))
    with pytest.raises(ToolchainMissing, match=message):
        chain.find_toolchain(tmp_path)


def test_platformio_gets_an_environment_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DFOO")
    monkeypatch.setenv("CPATH", "/somewhere")
    environment = chain.platformio_environment(tmp_path, None)
    assert "PLATFORMIO_BUILD_FLAGS" not in environment
    assert "CPATH" not in environment
    assert environment["PLATFORMIO_CORE_DIR"] == str(tmp_path)
    assert environment["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] == "no"


@pytest.mark.parametrize("works", [True, False])
def test_platformio_is_asked_for_its_package(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = tmp_path / "nano.specs"
    specs.touch()
    packages = chain.platformio_core_dir(tmp_path) / "packages"
    real = chain.subprocess.run

    def run(command, **options):
        if "platformio" not in command:
            return real(command, **options)
        if works:
            case = f'case $1 in -dumpfull*) echo 13.2.1;; *) echo "{specs}";; esac'
            _compiler(packages / "toolchain-gccarmnoneeabi" / "bin", case)
        return chain.subprocess.CompletedProcess(command, 0 if works else 1, "", "a\nno network")

    monkeypatch.setattr(chain.subprocess, "run", run)
    monkeypatch.setattr(chain.shutil, "which", lambda _: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    if works:
        assert chain.ensure_toolchain(tmp_path).version == "13.2.1"
    else:
        with pytest.raises(ToolchainMissing, match="no network"):
            chain.ensure_toolchain(tmp_path)
