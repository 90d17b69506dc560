"""Try a PostgreSQL store with many writers at once and an outage in the middle; count what is lost.

Starts a server of its own in a temporary folder. Each writer is a process that adds its rows to one
store; neighbours share half of their jobs, so every job is measured twice, and each writer knows
which of its rows the store took. In the outage the server is killed, as by a power cut.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path


class Server:
    """A throw-away PostgreSQL server on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"postgresql://lab@/postgres?host={folder}"
        self._user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            groups = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
            self._user = ["setpriv", *groups]
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-U", "lab", "-A", "trust", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-o", options, "-l", f"{self.folder}/log", "start")

    def stop(self) -> None:
        """Kill it, as by a power cut."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        path = shutil.which(program)
        if path is None:
            path = str(max(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
        command = [*self._user, path, "-D", f"{self.folder}/data", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def main() -> None:
    """Run the trial and print what became of the rows; exit 1 if one is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--rows", type=int, default=200, help="of each writer")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds; 0 for none")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between rows")
    parser.add_argument("--writer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        url, number = options.writer
        write(url, int(number), options)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped then too
    folder = Path(tempfile.mkdtemp(prefix="harness-trial-"))
    server = Server(folder)
    try:
        sys.exit(0 if trial(server, options) else 1)
    finally:
        server.stop()
        shutil.rmtree(folder)


def trial(server: Server, options: argparse.Namespace) -> bool:
    """Let the writers write; return whether the store holds each job once."""
    from harness.results import open_store

    server.start()
    open_store(server.url).close()
    state = Path(tempfile.mkdtemp(prefix="harness-trial-state-"))
    start = time.monotonic()
    words = ("rows", "outage", "pause")
    given = [word for name in words for word in (f"--{name}", str(getattr(options, name)))]
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tools.store_trial", *given, "--writer", server.url, str(n)],
            env={**os.environ, "HARNESS_STATE": str(state)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(options.writers)
    ]
    if options.outage:
        with open_store(server.url) as store:
            while store.count() < options.writers:
                time.sleep(0.5)
        server.stop()
        sys.stderr.write(f"server killed for {options.outage:g} s\n")
        time.sleep(options.outage)
        server.start()
    taken: Counter[str] = Counter()
    added = 0
    for writer in writers:
        out, _ = writer.communicate()
        for line in out.splitlines():
            added += 1
            key, mine = line.split()
            taken[key] += mine == "mine"
    seconds = time.monotonic() - start
    with open_store(server.url) as store:
        stored = Counter(row.key for row in store.stream())
    shutil.rmtree(state)
    lost = len(taken.keys() - stored.keys())
    doubled = sum(count > 1 for count in stored.values())
    failed = sum(writer.returncode != 0 for writer in writers)
    sys.stdout.write(
        f"{options.writers} writers added {added} rows of {len(taken)} jobs in {seconds:.1f} s "
        f"({added / seconds:.0f} rows/s); stored {stored.total()}, lost {lost}, doubled {doubled}, "
        f"writers that failed {failed}\n"
    )
    return not (lost or doubled or failed)


def write(url: str, number: int, options: argparse.Namespace) -> None:
    """Add the rows of one writer; print the key of each and whether the store took it."""
    from harness.results import open_store
    from harness.testing import fake_measurement
    from harness.testing.rows import key_of

    first = number * options.rows // 2
    with open_store(url) as store:
        for index in range(first, first + options.rows):
            row = fake_measurement(index, key=key_of(index), created_at=datetime.now(UTC))
            row = replace(row, station=f"writer-{number}")
            took = store.add(row) is row
            sys.stdout.write(f"{row.key} {'mine' if took else 'theirs'}\n")
            time.sleep(options.pause)
        store.deliver()


if __name__ == "__main__":
    main()
