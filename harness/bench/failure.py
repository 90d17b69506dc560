"""Refuse to go on with a device after a failure, and keep the failure as the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import BenchError


class UntilFailure:
    """Lets a device be used until a failure leaves it in an unknown state.

    After labgrid's `strategy/common.py`. Messages call the device `what`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.cause: BaseException | None = None

    @contextmanager
    def use(self, *harmless: type[BaseException]) -> Iterator[None]:
        """Run the block; keep its failure, unless it is one of the harmless ones.

        Raises `BenchError` if an earlier block failed, with that failure as its cause.
        """
        if self.cause is not None:
            raise BenchError(
                f"{self._what} already failed and is in an unknown state",
                where=str(self.cause).partition("\n")[0],
                fix="close it and open a new one",
            ) from self.cause
        try:
            yield
        except BaseException as failure:
            if not isinstance(failure, harmless):
                self.cause = failure
            raise
