"""Sessions of the project.

They run in the environment that nox itself runs in (`bootstrap.py` makes one), because TensorFlow
takes a minute to install and half a gigabyte to keep. Only `lowest` and `compat` make their own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
# A file's tests stay together, as they share what is costly to set up; in the order of the folders,
# as the long ones would come last by their number of tests.
PARALLEL = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder")
_COVERED = ("--cov", "--cov-report=term:skip-covered", "-q")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job: sample, build, flash, measure and fit 48 keyword-spotting networks."""
    session.run("harness", "doctor")
    session.run("harness", "run", "campaigns/kws_demo.toml", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run lint, types and every test that needs no hardware.

    With coverage of those that are quick, as Python takes half as long again with it: `coverage`
    has all.
    """
    if session.posargs:
        _test(session, *session.posargs)
        return
    lint(session)
    types(session)
    _test(session, "tests/unit", "tests/contract", *_COVERED, "--cov-fail-under=75", *PARALLEL)
    _test(session, "tests/integration", "tests/training", "tests/hardware", "-q", *PARALLEL)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run every test that needs no hardware, with coverage of all of them."""
    _test(session, *_COVERED, *PARALLEL)


def _test(session: nox.Session, *arguments: str) -> None:
    session.env["COVERAGE_FILE"] = str(ROOT / ".coverage")
    slowest = "--durations=20"
    session.run("python", "-m", "pytest", "-m", "not hardware and not tflm", slowest, *arguments)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no compiler, emulator or TensorFlow; under 90 seconds."""
    session.run("python", "-m", "pytest", "tests/unit", *(session.posargs or ("-q", *PARALLEL)))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and the direction of imports."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly."""
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the command line reference, then build the site into site/; a broken link fails."""
    generate = ("utils", "docs", "--name", "harness", "--title", "Command line")
    session.run("python", "-m", "typer", "harness.cli.app", *generate, "--output", "docs/cli.md")
    session.run("python", "-m", "mkdocs", "build", "--strict", *session.posargs)


@nox.session
def benchmark(session: nox.Session) -> None:
    """Measure networks per hour on the virtual board, by stage and beside a plain script.

    And how long the first command, the first network and a prediction take.

    With a TFLM library in HARNESS_TFLM, with one firmware for many models as well.
    """
    session.run(
        "python", "-m", "tools.benchmark", *(session.posargs or ("--naive", "3", "--first-command"))
    )
    if "HARNESS_TFLM" in os.environ and not session.posargs:
        tflm = ("--runtime", "tflm")
        session.run("python", "-m", "tools.benchmark", *tflm)


@nox.session
def soak(session: nox.Session) -> None:
    """Run 5,000 measurements under random faults on virtual boards; minutes."""
    session.run("python", "-m", "tools.soak", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """Kill 200 campaigns at random moments and let each finish; minutes."""
    session.run("python", "-m", "tools.kills", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed mutated models, device lines and files to what reads them; minutes.

    With atheris (the extra `fuzz`) also inputs that it derives from the branches they reach.
    """
    session.run("python", "-m", "tools.fuzz", *session.posargs)


@nox.session
def fidelity(session: nox.Session) -> None:
    """Compare the timing models with published latencies: nox -s fidelity -- --kernels CMSIS-NN."""
    flags = ("--write", "--optimization=-O2", "--optimization=-Os")
    session.run("python", "-m", "studies.fidelity", *flags, *session.posargs)


@nox.session
def linearity(session: nox.Session) -> None:
    """Measure 328 networks and write docs/linearity.md; half an hour on two cores."""
    for campaign in ("linearity", "linearity_inputs"):
        session.run("harness", "run", f"campaigns/{campaign}.toml")
    page = ("--write", "--plots", "results/linearity")
    session.run("python", "-m", "studies.linearity", *page, *session.posargs)


@nox.session
def price(session: nox.Session) -> None:
    """Compare the speed of the timing models: nox -s price -- --kernels CMSIS-NN."""
    session.run("python", "-m", "tools.price", *session.posargs)


@nox.session
def crosscheck(session: nox.Session) -> None:
    """Run our firmware on QEMU and compare with the virtual boards: -- --models DIR for more."""
    if shutil.which("qemu-system-arm") is None:
        command = ("apt-get", "install", "-y", "--no-install-recommends", "qemu-system-arm")
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            session.error(f"needs qemu-system-arm; on Debian, as root: {' '.join(command)}")
        session.run("apt-get", "update")
        session.run(*command)
    session.run("python", "-m", "tools.crosscheck", *session.posargs)


@nox.session
def hardware(session: nox.Session) -> None:
    """Run the tests of the whole chain on each station: HARNESS_BENCH=bench.toml nox -s hardware.

    Without the variable the other sessions run them on a virtual station.
    """
    if "HARNESS_BENCH" not in os.environ:
        session.error("name the bench file: HARNESS_BENCH=bench.toml nox -s hardware")
    session.run("harness", "bench", "check")
    session.run("python", "-m", "pytest", "-m", "hardware", "tests/hardware", *session.posargs)


@nox.session
def nightly(session: nox.Session) -> None:
    """Check every station of the bench, measure every backbone, judge, fit and report."""
    session.run("harness", "nightly", *session.posargs)


@nox.session(venv_backend="virtualenv", python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the fast lane on the lowest versions that pyproject.toml allows."""
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution=lowest-direct", "-e", ".[dev]")
    session.run("python", "-m", "pytest", "tests/unit", *(session.posargs or ("-q", *PARALLEL)))


@nox.session(venv_backend="virtualenv", python=["3.12", "3.13"])
def compat(session: nox.Session) -> None:
    """Run the fast lane on newer Pythons; one that is not installed is skipped."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "tests/unit", *(session.posargs or ("-q", *PARALLEL)))
