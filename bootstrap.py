#!/usr/bin/env python3
"""Set a fresh machine up and run something on it: ``python3 bootstrap.py demo``.

    demo      the main job on the virtual board; installs no TensorFlow
    setup     everything that development needs, and stop
    SESSION   the same, then `nox -s SESSION`: tests, fast, docs, ...

Needs only Python 3.11 or newer. Creates ``.venv`` beside this file, installs the package there (by
uv where that is installed, else by pip) and meanwhile looks for the cross compiler: on PATH, then
Debian's packages when root, then PlatformIO's package. A second run finds everything there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".harness-installed"
LOG = VENV / "apt.log"
COMPILER = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
BROWSER = ("chromium", "chromium-driver")  # tests of the site; they are skipped without it
CPP_LIBRARY = ("libstdc++-arm-none-eabi-newlib",)  # for TensorFlow Lite for Microcontrollers
DEMO = ("virtual",)
DEVELOPMENT = ("dev",)


def say(text: str) -> None:
    print(f"[bootstrap] {text}", file=sys.stderr, flush=True)


def run(*command: str) -> None:
    say("$ " + " ".join(command))
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        say(f"that command failed with exit code {done.returncode}; its output is above")
        sys.exit(done.returncode)


def can_apt_install() -> bool:
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def apt_install(*packages: str) -> bool:
    """Install Debian packages; return whether that went well. The log has the output."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        for command in (
            ("apt-get", "update", "-qq"),
            ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages),
        ):
            done = subprocess.run(command, env=env, stdout=log, stderr=log, check=False)
    return done.returncode == 0


def make_environment() -> Path:
    """Create the virtual environment; return its Python."""
    python = VENV / "bin" / "python"
    if sys.version_info < (3, 11):  # noqa: UP036 (for users of an older Python)
        say(f"Python {platform.python_version()} is too old: 3.11 or newer is needed")
        sys.exit(2)
    if python.exists():
        return python
    say(f"creating {VENV.name}")
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        say("this Python has no ensurepip; Debian keeps it in python3-venv")
        if not can_apt_install() or not apt_install("python3-venv"):
            say("install it, then run this again: sudo apt-get install python3-venv")
            sys.exit(3)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    venv.create(VENV, with_pip=True, symlinks=True)
    return python


def install_packages(python: Path, extras: tuple[str, ...]) -> None:
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    have = STAMP.read_text().split() if STAMP.exists() else []
    if have[:1] == [wanted] and (set(extras) <= set(have[1:]) or "dev" in have):
        say("Python packages are installed")
        return
    size = "about 2.7 GB, TensorFlow among them" if "dev" in extras else "about 0.7 GB"
    say(f"installing Python packages ({size} on disk)")
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python"] if uv else []
    # Compiling what is never imported costs time and disk; the rest is compiled when it is used.
    pip = [str(python), "-m", "pip", "install", "--no-compile"]
    command = [*installer, str(python)] if uv else pip
    run(*command, "--editable", f".[{','.join(extras)}]")
    STAMP.write_text(" ".join((wanted, *extras)))


class Compiler(threading.Thread):
    """Installs the cross compiler while Python packages are installed, if Debian has it.

    And what is nice to have, whether that goes well or not.
    """

    def __init__(self, packages: tuple[str, ...], extras: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.packages = packages
        self.extras = extras
        self.installed = False

    def run(self) -> None:
        self.installed = not self.packages or apt_install(*self.packages)
        if self.extras:
            apt_install(*self.extras)


def missing_compiler(cpp: bool) -> tuple[str, ...]:
    """Return Debian's packages of what is missing."""
    found = shutil.which("arm-none-eabi-gcc")
    if found is None:
        return (*COMPILER, *CPP_LIBRARY) if cpp else COMPILER
    say(f"cross compiler: {found}")
    question = (found, "-print-file-name=libstdc++.a")
    answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip()
    return () if not cpp or Path(answer).is_absolute() else CPP_LIBRARY


def finish_compiler(python: Path, compiler: Compiler | None, packages: tuple[str, ...]) -> None:
    if compiler is not None:
        if compiler.is_alive():
            say("waiting for Debian's packages")
        compiler.join()
    if not packages or (compiler is not None and compiler.installed):
        return
    if compiler is not None:
        say(f"Debian's packages were not installed; see {LOG.relative_to(ROOT)}")
    say("asking PlatformIO for its compiler; without network this takes up to a minute")
    probe = "from harness.firmware.toolchain import ensure_toolchain as f; print(f().gcc)"
    if subprocess.run([str(python), "-c", probe], cwd=ROOT, check=False).returncode:
        say("no cross compiler; as root: apt-get install " + " ".join(packages))
        say("or put an arm-none-eabi-gcc (12 or newer) with newlib on PATH; then run this again")
        sys.exit(3)


def main() -> None:
    """Set up, then run what the command line names."""
    session, *extra = sys.argv[1:] or ["demo"]
    # Packages are compiled when they are used: without this each process would do it again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if session in ("-h", "--help"):
        print(__doc__)
        return
    demo = session == "demo"
    python = make_environment()
    packages = missing_compiler(cpp=not demo)
    tested = session in ("setup", "tests", "coverage")
    extras = BROWSER if tested and shutil.which("chromedriver") is None else ()
    wanted = (*packages, *extras)
    compiler = Compiler(packages, extras) if wanted and can_apt_install() else None
    if compiler is not None:
        say(f"installing {' '.join(wanted)} in the background")
        compiler.start()
    install_packages(python, DEMO if demo else DEVELOPMENT)
    finish_compiler(python, compiler, packages)
    if session == "setup":
        say(f"ready: source {VENV.name}/bin/activate && harness doctor")
        return
    if demo:
        run(str(python), "-m", "harness", "doctor")
        run(str(python), "-m", "harness", "run", "campaigns/kws_demo.toml", *extra)
        return
    say(f"nox -s {session}")
    command = [str(python), "-m", "nox", "--no-error-on-missing-interpreters", "-s", session]
    if extra:
        command += ["--", *extra]
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    os.execve(command[0], command, {**os.environ, "PATH": path})


if __name__ == "__main__":
    main()
