"""The worker process that converts networks, and what happens when it dies.

TensorFlow's converter can crash its process on an unusual network. That is one failed job, not a
failed campaign: the network is tried once more in a new worker, alone, and blamed if that dies too.
"""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from harness.campaign.prepare import Prepared, prepare, start_worker
from harness.campaign.specs import ModelSpec
from harness.errors import ModelError


class Converter:
    """Prepares networks in a process of its own, in the order they are asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = _new_pool()

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whatever was not asked for any more is not worth waiting for.
        self._pool.shutdown(cancel_futures=True)

    def submit(self, spec: ModelSpec) -> Future[Prepared]:
        """Start preparing a network; `result` gives it."""
        with self._lock:
            try:
                return self._pool.submit(prepare, spec)
            except BrokenProcessPool:
                self._pool = _new_pool()
                return self._pool.submit(prepare, spec)

    def result(self, spec: ModelSpec, future: Future[Prepared]) -> Prepared:
        """Return what `submit` started.

        Raises:
            ModelError: The network cannot be converted, or the converter crashes on it.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            pass
        # The worker died with several networks waiting; find out whether this one did it.
        try:
            return self._alone(spec)
        except BrokenProcessPool:
            raise ModelError(
                f"the converter's process crashed on network {spec.name}",
                expected="layers that TensorFlow's int8 converter can take",
                fix="convert it by itself with `harness sample` to see its own messages",
            ) from None

    def _alone(self, spec: ModelSpec) -> Prepared:
        with _new_pool() as pool:
            return pool.submit(prepare, spec).result()


def _new_pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=start_worker)
