"""The order of the proof, and what a failed step means for those after it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from harness import __version__
from harness.bench import Station
from harness.bench.discovery import list_probes
from harness.bench.port import open_port
from harness.bench.probe import match_probe
from harness.boards import load_board
from harness.capture.session import BoardSession
from harness.errors import BuildError, HarnessError
from harness.firmware.toolchain import find_toolchain
from harness.paths import git_revision
from harness.prove import golden as networks
from harness.prove import steps
from harness.prove.device import Device
from harness.prove.power import power_cycle
from harness.prove.record import Report, Status, Step, fingerprint, private_values
from harness.results.record import Measurement

Doing = Callable[[str], AbstractContextManager[None]]
_LOG_BYTES = 2000


class _Proof:
    """Steps so far; a step that others need ends the proof where it fails."""

    def __init__(self, station: Station, doing: Doing) -> None:
        self.station, self.board = station, load_board(station.board)
        self.steps: list[Step] = []
        self.ended_by: str | None = None  # step without which the others cannot be
        self.uid: str | None = None
        self._doing = doing

    def run(self, name: str, action: Callable[[], steps.Found], *, needed: bool = False) -> bool:
        """Run a step unless the proof has ended; return whether it passed."""
        if self.ended_by is not None:
            self.skip(name, f"step '{self.ended_by}' failed")
            return False
        begun = time.monotonic()
        try:
            with self._doing(f"{name} ({self.station.name})"):
                what, facts = action()
        except HarnessError as failure:
            if isinstance(failure, BuildError):
                raise  # of this machine, and not of the bench
            self.steps.append(_failed(name, failure, time.monotonic() - begun))
            self.ended_by = name if needed else None
            return False
        advice = steps.slow_console(facts) if name == "console" else None
        status: Status = "ok" if advice is None else "note"
        seconds = round(time.monotonic() - begun, 3)
        self.steps.append(Step(name, status, what, seconds, facts, fix=advice))
        return True

    def skip(self, name: str, why: str) -> None:
        """Note that a step was not run."""
        self.steps.append(Step(name, "skipped", why, 0.0))

    # Steps that need more than an open device.

    def probe(self) -> steps.Found:
        """Look for the probe and open the console."""
        seen = match_probe(self.station.probe, list_probes(self.station.probe))
        open_port(self.station.serial, self.board.facts.console.baud).close()
        kind = seen.description or "a probe"
        facts = {"probe": kind, "board_id": seen.board_id, "id": fingerprint(seen.unique_id)}
        return f"{kind}; the console opens", facts

    def low_level(self, golden: networks.Golden) -> None:
        """Run the steps on one open device."""
        with ExitStack() as stack:
            opened: list[Device] = []

            def chip() -> steps.Found:
                device = stack.enter_context(Device(self.station, self.board))
                opened.append(device)
                return steps.chip(device)

            self.run("chip", chip, needed=True)
            first, plan = golden.networks[0], golden.plan

            def flash() -> steps.Found:
                what, facts = steps.flash(opened[0], golden.off.image, first.image)
                report = opened[0].report
                self.uid = report.chip_uid if report else None
                return what, {**facts, "chip": fingerprint(self.uid or "")}

            self.run("flash", flash, needed=True)
            self.run("boot", lambda: steps.boot(opened[0]))
            self.run("resets", lambda: steps.resets(opened[0]), needed=True)
            self.run("console", lambda: steps.console(opened[0], plan))
            self.run("clock", lambda: steps.clock(opened[0]))
            self.run("counter", lambda: steps.counter(opened[0], plan))
            self.run("edges", lambda: steps.edges(opened[0]))
            self.run("guard", lambda: steps.guard(opened[0]))

    def measurements(self, golden: networks.Golden) -> Measurement | None:
        """Measure as a campaign does; return the row of the first network."""
        rows: list[Measurement] = []

        def measure() -> steps.Found:
            with BoardSession.open(self.station) as session:
                found, row = networks.measure(golden, session, self.station)
            rows.append(row)
            return found

        def caches() -> steps.Found:
            with BoardSession.open(self.station) as session:
                return networks.compare_caches(golden, session, self.station, rows[0])

        if self.run("networks", measure):
            self.run("caches", caches)
        else:
            self.skip("caches", "step 'networks' failed")
        return rows[0] if rows else None


def prove(station: Station, doing: Doing) -> Report:
    """Prove a station, step by step.

    Args:
        station: What to prove; a virtual one is a rehearsal.
        doing: Context manager that shows what is being done.

    Raises:
        BuildError, ToolchainMissing: The images cannot be built; nothing of the bench is at fault.
    """
    proof = _Proof(station, doing)
    with doing("building"):
        golden = networks.build_golden(station)
    proof.run("probe", proof.probe, needed=True)
    proof.low_level(golden)
    row = proof.measurements(golden)
    if station.power is None:
        proof.skip("power", "the station has no 'power' command")
    else:
        proof.run("power", lambda: power_cycle(station, proof.board))
    if row is None:
        proof.skip("virtual board", "nothing to compare with")
    elif find_spec("unicorn") is None or not proof.board.facts.emulation:
        proof.skip("virtual board", "pip install 'tinyml-harness[virtual]' for it")
    else:
        proof.run("virtual board", lambda: networks.compare_virtual(golden, row))
    return Report(
        board=proof.board.id,
        source=station.source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=_software(),
        steps=tuple(proof.steps),
        private=private_values(
            station=station.name, probe=station.probe, serial=station.serial, uid=proof.uid
        ),
    )


def _failed(name: str, failure: HarnessError, seconds: float) -> Step:
    facts: dict[str, Any] = dict(failure.data.get("facts") or {})
    if failure.expected:
        facts["expected"] = failure.expected
    log = failure.data.get("raw_log")
    return Step(
        name,
        "failed",
        failure.what,
        round(seconds, 3),
        facts,
        failure.code,
        failure.fix,
        log[-_LOG_BYTES:] if isinstance(log, str) else None,
    )


def _software() -> dict[str, str | None]:
    return {
        "harness": __version__,
        "revision": git_revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "toolchain": find_toolchain().name,
        **{name: _version(name) for name in ("pyocd", "pyserial", "unicorn")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
