#!/usr/bin/env python3
"""Set a fresh machine up and run a nox session on it: ``python3 bootstrap.py demo``.

Needs only Python 3.11 or newer. Creates ``.venv`` beside this file, installs the package with its
extras, looks for the cross compiler (PATH, then PlatformIO's package, then Debian's package when
root) and runs nox. It announces each step; a second run finds everything in place.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".harness-installed"
DEBIAN_COMPILER = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "libstdc++-arm-none-eabi-newlib")


def say(text: str) -> None:
    print(f"[bootstrap] {text}", file=sys.stderr, flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> None:
    say("$ " + " ".join(command))
    done = subprocess.run(command, env=env, cwd=ROOT, check=False)
    if done.returncode:
        say(f"that command failed with exit code {done.returncode}; its output is above")
        sys.exit(done.returncode)


def apt_install(*packages: str) -> bool:
    """Install Debian packages with apt as root; otherwise say what to run."""
    if shutil.which("apt-get") is None:
        return False
    if os.geteuid() != 0:
        say("not root, so nothing is installed; run: sudo apt-get install " + " ".join(packages))
        return False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=env)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=env)
    return True


def make_environment() -> Path:
    """Create the virtual environment and install the package; return its Python."""
    python = VENV / "bin" / "python"
    if sys.version_info < (3, 11):  # noqa: UP036 (for users of an older Python)
        say(f"Python {platform.python_version()} is too old: 3.11 or newer is needed")
        sys.exit(2)
    if not python.exists():
        say(f"creating {VENV.name}")
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            say("this Python has no ensurepip; Debian keeps it in python3-venv")
            if not apt_install("python3-venv"):
                sys.exit(3)
            os.execv(sys.executable, [sys.executable, *sys.argv])
        venv.create(VENV, with_pip=True, symlinks=True)
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        say("Python packages are installed")
    else:
        say("installing Python packages (TensorFlow among them: about 2.6 GB on disk)")
        run(str(python), "-m", "pip", "install", "--quiet", "--editable", ".[dev]")
        STAMP.write_text(wanted)
    return python


def find_compiler(python: Path) -> None:
    """Find arm-none-eabi-gcc on PATH, in PlatformIO or in Debian's packages."""
    found = shutil.which("arm-none-eabi-gcc")
    if found:
        say(f"cross compiler: {found}")
        return
    say("arm-none-eabi-gcc is not on PATH; asking PlatformIO for its package (up to a minute)")
    probe = "from harness.firmware.toolchain import ensure_toolchain as f; print(f().gcc)"
    asked = subprocess.run(
        [str(python), "-c", probe], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if asked.returncode == 0:
        say(f"cross compiler from PlatformIO: {asked.stdout.strip()}")
        return
    say("PlatformIO has no compiler and its registry did not give one; trying Debian's packages")
    if not apt_install(*DEBIAN_COMPILER):
        say(
            "install an arm-none-eabi-gcc (12 or newer) with newlib, put it on PATH, run this again"
        )
        sys.exit(3)


def main() -> None:
    """Set up, then run the nox session named on the command line."""
    session, *extra = sys.argv[1:] or ["demo"]
    if session in ("-h", "--help"):
        print(__doc__)
        return
    python = make_environment()
    find_compiler(python)
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    if session == "setup":
        say(f"ready: source {VENV.name}/bin/activate && harness doctor")
        return
    say(f"nox -s {session}")
    command = [str(python), "-m", "nox", "--no-error-on-missing-interpreters", "-s", session]
    if extra:
        command += ["--", *extra]
    os.execve(command[0], command, {**os.environ, "PATH": path})


if __name__ == "__main__":
    main()
