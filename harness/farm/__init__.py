"""Many hosts: Dask's `distributed` runs the steps of jobs on the hosts that have boards.

A *scheduler* knows the workers; each bench host runs a *worker process for each station*, and one
that builds firmware; the *client* plans a campaign, hands its jobs out, and alone writes the store.
Dask brings the connections, the processes and their supervision, TLS and a dashboard.
"""

from __future__ import annotations

from harness.errors import FarmError

try:
    import dask
except ImportError:
    raise FarmError(
        "Dask is not installed", fix="pip install 'tinyml-harness[farm]' on every host of the farm"
    ) from None

# Dask tells of each connection and task; what users need to know of them the harness says itself.
# Read when `distributed` is imported.
dask.config.set({"logging.distributed": "error"})
