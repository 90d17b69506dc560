"""The scheduler of a farm: Dask's own, on loopback or behind certificates."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import dask
from distributed import Scheduler

from harness.errors import FarmError
from harness.farm.security import check_host, security

_SETTINGS = {
    # A host that vanished without a word is given up after this.
    "distributed.scheduler.worker-ttl": "60s",
    # A job whose worker died under it this often is reported instead of tried once more.
    "distributed.scheduler.allowed-failures": 3,
}


async def serve(
    host: str, port: int, tls: Path | None, ready: Callable[[str, str | None], None]
) -> None:
    """Run a scheduler until SIGTERM or SIGINT.

    Args:
        host: Address to listen on.
        port: 0 takes a free one.
        tls: Folder with this host's certificate.
        ready: Gets the scheduler's address, and that of its dashboard (None without bokeh).

    Raises:
        ConfigError: The host is beyond loopback, and there is no certificate.
        FarmError: The port is taken.
    """
    check_host(host, tls)
    dask.config.set(_SETTINGS)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    scheduler = Scheduler(
        host=host,
        port=port,
        protocol="tls" if tls else "tcp",
        security=security(tls),
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler
    except RuntimeError as failure:
        raise FarmError(
            f"the scheduler cannot listen on {host}:{port}: {failure.__cause__ or failure}",
            fix="name another --port, or 0 for a free one",
        ) from None
    async with scheduler:
        dashboard = scheduler.services.get("dashboard")
        ready(scheduler.address, f"http://127.0.0.1:{dashboard.port}/status" if dashboard else None)
        await stop.wait()
