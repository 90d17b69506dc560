"""The worker process that converts networks.

TensorFlow's converter can crash its process on an unusual network. That fails one job, not the
campaign: the network is converted once more in a worker of its own, and fails if that crashes too.
"""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from harness.campaign.prepare import Prepared, prepare, start_worker
from harness.campaign.specs import ModelSpec
from harness.errors import ModelError


class Converter:
    """Prepares networks in a separate process, in the order of `submit`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = _new_pool()

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, spec: ModelSpec) -> Future[Prepared]:
        """Start preparing a network; pass the future to `result`."""
        with self._lock:
            try:
                return self._pool.submit(prepare, spec)
            except BrokenProcessPool:
                self._pool = _new_pool()
                return self._pool.submit(prepare, spec)

    def result(self, spec: ModelSpec, future: Future[Prepared]) -> Prepared:
        """Return what `submit` started.

        Raises `ModelError` if the network cannot be converted or the converter crashes on it.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            pass
        # Several networks were waiting when the worker crashed: find out whether this one did it.
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
