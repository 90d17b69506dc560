"""Open a debug probe by its id, with errors that say what is wrong with the bench."""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from harness.bench.discovery import REMOTE_PROBE, SeenProbe
from harness.errors import BenchError, HarnessError, ProbeBusy, ProbeNotFound

# First word of a virtual chip's unique id; an STM32's holds wafer coordinates.
EMULATED_UID = int.from_bytes(b"VIRT", "little")
_UDEV_FIX = (
    "give your user access to the probe: install pyOCD's udev rules "
    "(https://github.com/pyocd/pyOCD/tree/main/udev) and plug it in again"
)
_HOST_FIX = (
    "check host and port, and that the server runs there (`harness bench serve`, `pyocd server`)"
)
_BUSY = ("busy", "already open", "in use")


def match_probe(wanted: str, seen: Sequence[SeenProbe]) -> SeenProbe:
    """Return the one probe that `wanted` names: its whole id, or a part of one id only.

    Raises `ProbeNotFound` if none matches (lists what is seen) or several do (names them).
    """
    key = wanted.lower()
    matching = [probe for probe in seen if key in probe.unique_id.lower()]
    for probe in matching:
        if len(matching) == 1 or probe.unique_id.lower() == key:
            return probe
    listed = ", ".join(_label(probe) for probe in (matching or seen)) or "none at all"
    ids = tuple(probe.unique_id for probe in (matching or seen))
    if matching:
        raise ProbeNotFound(
            f"probe id '{wanted}' matches {len(matching)} probes: {listed}",
            expected="the id of one probe",
            fix="write the full unique id in bench.toml",
            probe=wanted,
            seen=ids,
        )
    raise ProbeNotFound(
        f"no debug probe '{wanted}'",
        where=f"probes seen: {listed}",
        fix="check the cable and the id (`harness bench discover`); a probe that `lsusb` shows but "
        f"pyOCD does not lacks permission: {_UDEV_FIX}",
        probe=wanted,
        seen=ids,
    )


def _label(probe: SeenProbe) -> str:
    return f"{probe.unique_id} ({probe.description})" if probe.description else probe.unique_id


class _Keep(logging.Handler):
    """Keep the last lines of a log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=50)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def quiet_pyocd() -> Iterator[deque[str]]:
    """Keep pyOCD's log off the console, for good; yield its last lines, for error messages."""
    logger, keep = logging.getLogger("pyocd"), _Keep()
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(keep)
    try:
        yield keep.lines
    finally:
        logger.removeHandler(keep)


def open_session(probe_id: str, options: Mapping[str, Any]) -> Any:
    """Return an open `pyocd.core.session.Session` on one probe; the caller closes it.

    Raises `ProbeNotFound` if there is none or it vanished, `ProbeBusy` if another program has it,
    `BenchError` without permission or if the chip does not answer.
    """
    from pyocd.core.session import Session

    probe = find_probe(probe_id)
    with typed_errors(probe_id):
        session = Session(
            probe,
            options={
                # The working directory must not change what the harness does.
                "no_config": True,
                "project_dir": os.getcwd(),  # noqa: PTH109 - pyOCD changes to it
                "hide_programming_progress": True,
                # The default 0.1 s is for slow resets; pyOCD waits for the core by itself.
                "reset.post_delay": 0.01,
                "warning.cortex_m_default": False,
                **options,
            },
        )
        try:
            session.open()
        except BaseException:
            with suppress(Exception):  # a consequence of the failure to open
                session.close()
            raise
    return session


@contextmanager
def typed_errors(probe_id: str) -> Iterator[None]:
    """Turn pyOCD's and USB's exceptions into `connect_error`; bugs keep their traceback."""
    try:
        yield
    except BaseException as failure:
        if isinstance(failure, HarnessError) or not is_bench_trouble(failure):
            raise
        raise connect_error(failure, probe_id) from failure


def find_probe(probe_id: str) -> Any:
    """Return pyOCD's object for a probe, which is not open.

    Raises `ProbeNotFound` if there is none; lists those that there are.
    """
    from pyocd.core import exceptions
    from pyocd.core.helpers import ConnectHelper

    kind, colon, _ = probe_id.partition(":")
    if probe_id.startswith(REMOTE_PROBE):
        from harness.bench.remote import RemoteProbe

        return RemoteProbe(probe_id)
    try:
        # With an explicit kind ("virtual:board") pyOCD looks for that one only.
        probes = ConnectHelper.get_all_connected_probes(
            blocking=False, unique_id=probe_id if colon else None, print_wait_message=False
        )
    except exceptions.Error as failure:
        if colon and "unknown debug probe type" in str(failure):
            raise ProbeNotFound(
                f"no debug probe '{probe_id}': this pyOCD has no probes of kind '{kind}'",
                fix="install the extra: pip install 'tinyml-harness[virtual]'"
                if kind == "virtual"
                else "see `pyocd list --plugins`",
                probe=probe_id,
                seen=(),
            ) from None
        raise connect_error(failure, probe_id) from failure
    if colon and len(probes) == 1:
        return probes[0]
    if colon and not probes:
        # Not there: list all, for the message.
        probes = ConnectHelper.get_all_connected_probes(blocking=False, print_wait_message=False)
    seen = [SeenProbe(p.unique_id, f"{p.vendor_name} {p.product_name}".strip()) for p in probes]
    chosen = match_probe(probe_id, seen)
    return next(probe for probe in probes if probe.unique_id == chosen.unique_id)


def is_bench_trouble(failure: BaseException) -> bool:
    """Return whether a user can fix it (errors of pyOCD, USB and ours); anything else is a bug."""
    from pyocd.core import exceptions

    kinds = (exceptions.Error, OSError, HarnessError)
    return any(isinstance(link, kinds) for link in _chain(failure))


def connect_error(failure: BaseException, probe_id: str) -> HarnessError:
    """Return the typed error for an exception of pyOCD while connecting."""
    from pyocd.core import exceptions

    chain = list(_chain(failure))
    for link in chain:
        if isinstance(link, HarnessError):
            return link  # the virtual board's own error; pyOCD may have wrapped it
    # pyOCD may stumble over the consequences of a failure; its cause is what to report.
    told = [str(link) for link in chain if isinstance(link, exceptions.Error | OSError)]
    text = next(filter(None, told), str(failure) or type(failure).__name__)
    codes = {link.errno for link in chain if isinstance(link, OSError)}
    probe = f"debug probe '{probe_id}'"
    remote = probe_id.startswith(REMOTE_PROBE)
    if codes & {errno.EBUSY} or any(word in text.lower() for word in _BUSY):
        fix = "close the debugger, IDE or other harness that has it"
        fix += "" if remote else " (`lsof /dev/bus/usb/*/*`)"
        return ProbeBusy(f"{probe} is in use: {text}", fix=fix, probe=probe_id)
    if codes & {errno.EACCES, errno.EPERM}:
        return BenchError(f"no permission to use {probe}: {text}", fix=_UDEV_FIX, probe=probe_id)
    gone = any(isinstance(link, exceptions.ProbeDisconnected) for link in chain)
    if gone or codes & {errno.ENODEV, errno.EIO}:
        fix = _HOST_FIX if remote else "check the cable and plug the probe in again"
        return ProbeNotFound(f"{probe} was disconnected: {text}", fix=fix, probe=probe_id, seen=())
    if remote and any(isinstance(link, OSError) for link in chain):
        what = f"{probe} cannot be reached: {text}"
        return ProbeNotFound(what, fix=_HOST_FIX, probe=probe_id, seen=())
    if isinstance(failure, exceptions.TargetSupportError):
        what = f"pyOCD has no support for the board's chip: {text}"
        fix = "check 'pyocd_target' in the board's manifest"
        return BenchError(what, fix=fix, probe=probe_id)
    return BenchError(
        f"the chip behind probe '{probe_id}' does not answer: {text}",
        expected="a powered board on the probe's SWD port",
        fix="check power, jumpers and cable; press reset while connecting; update the probe's "
        "firmware",
        probe=probe_id,
        cause=type(failure).__name__,
    )


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__
