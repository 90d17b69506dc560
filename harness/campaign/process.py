"""A session on a virtual board in a process of its own.

Two virtual boards in one process would wait for each other, as the interpreter lock lets one
compute at a time.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from harness.bench import Station
from harness.campaign.prepare import start_worker
from harness.errors import CaptureError, HarnessError

if TYPE_CHECKING:
    from harness.capture import Capture, CapturePlan
    from harness.firmware import FirmwareImage

_END_S = 10


class ProcessSession:
    """A session on a virtual station in a process of its own; as `harness.capture.BoardSession`.

    Args:
        station: The virtual station.
    """

    def __init__(self, station: Station) -> None:
        context = multiprocessing.get_context("spawn")
        self._station = station
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, station), daemon=True)
        self._process.start()
        theirs.close()
        self._broken = False

    @property
    def broken(self) -> bool:
        """Whether a failure left the device in an unknown state."""
        return self._broken

    def run(self, image: FirmwareImage, plan: CapturePlan) -> Capture:
        """Program an image and measure it.

        Raises:
            HarnessError: As `BoardSession.run`.
            CaptureError: The process ended.
        """
        try:
            self._connection.send((image, plan))
            answer, self._broken = self._connection.recv()
        except (EOFError, OSError):
            self._broken = True
            self._process.join(_END_S)
            raise CaptureError(
                f"the process of the virtual board ended (exit code {self._process.exitcode})",
                where=self._station.name,
                fix="run the command again; what was measured is kept",
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        found: Capture = answer
        return found

    def close(self) -> None:
        """Let the process end; nobody has to wait for its interpreter to be taken down."""
        self._connection.close()


def _serve(connection: Connection[Any, Any], station: Station) -> None:
    """Run what comes over the connection until it is closed."""
    start_worker()
    from harness.capture.session import BoardSession

    session: BoardSession | None = None
    with suppress(HarnessError):  # tried again with the first image, and reported then
        session = BoardSession.open(station)
    while True:
        try:
            image, plan = connection.recv()
        except EOFError:
            break
        answer: object
        try:
            session = session or BoardSession.open(station)
            answer = session.run(image, plan)
        except HarnessError as failure:
            answer = failure
        connection.send((answer, session is None or session.broken))
    if session is not None:
        session.close()
