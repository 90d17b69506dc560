"""Try a farm on this machine: how it scales with boards that wait, and what kills leave behind.

    python -m tools.farm scale --workers 1 2 4 8
    python -m tools.farm chaos --jobs 2000 --kills 100

Hosts are processes of `harness farm worker`; their boards are virtual. `scale` gives them boards
that take as long as real ones (`?pace=real`), so that they wait more than they compute. `chaos`
kills workers, hosts, scheduler, client and (where PostgreSQL is installed) the database at random
moments, starts again what was killed, and counts what is lost or doubled in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from harness.errors import EXIT_FAILED, ResultsError
from harness.results import open_store
from harness.results.store import Filter
from harness.testing import tiny_network
from tools.store_trial import Server

BOARD = "nucleo_f446re"
_START_S = 120.0
_AWAY_S = (0.2, 3.0)  # how long what was killed stays away
_PIXELS = 32  # side of the networks of `scale`
_VICTIMS = {"worker": 4, "host": 2, "scheduler": 2, "client": 2, "database": 2}  # by weight


class Hosts:
    """Scheduler and bench hosts on loopback."""

    def __init__(self, folder: Path, counts: Sequence[int], *, wait: bool) -> None:
        self.folder = folder
        self._pace = "?pace=real" if wait else ""
        self._counts = counts
        self._log: IO[str] = (folder / "log.txt").open("a")
        self.running: dict[str, subprocess.Popen[str]] = {}
        port = self._start("scheduler", "farm", "scheduler", "--port", "0", "--json")["address"]
        self.address = str(port)
        for number in range(len(counts)):
            self.start_host(number)

    def harness(self, *words: str, output: Any = None) -> subprocess.Popen[str]:
        """Start the command line."""
        command = [sys.executable, "-m", "harness", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            text=True,
            stdout=output or self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def start_scheduler(self) -> None:
        """Start the scheduler again where it was."""
        port = self.address.rpartition(":")[2]
        self._start("scheduler", "farm", "scheduler", "--port", port, "--json")

    def start_host(self, number: int, *, wait: bool = True) -> None:
        """Start a host's workers; the first host also builds."""
        bench = self.folder / f"host{number}.toml"
        lines = []
        for index in range(self._counts[number]):
            board = f"{BOARD}#{1 + index + sum(self._counts[:number])}"
            url = f"virtual://{BOARD}{self._pace}#{board.partition('#')[2]}"
            lines.append(f'[[station]]\nname = "s{index}"\nboard = "{BOARD}"\n')
            lines.append(f'probe = "virtual:{board}"\nserial = "{url}"\n')
        bench.write_text("".join(lines))
        builders = str(os.cpu_count() or 1) if number == 0 else "0"
        words = ("farm", "worker", self.address, "--bench", str(bench), "--builders", builders)
        self._start(f"host{number}", *words, "--name", f"host{number}", "--json", wait=wait)

    def _start(self, name: str, *words: str, wait: bool = True) -> dict[str, Any]:
        process = self.harness(*words, output=subprocess.PIPE)
        self.running[name] = process
        if not wait:
            return {}
        text, begun = "", time.monotonic()
        while not text.endswith("}\n"):
            line = process.stdout.readline() if process.stdout else ""
            if not line or time.monotonic() - begun > _START_S:
                raise RuntimeError(f"{name} did not start: see {self.folder / 'log.txt'}")
            text += line
        found: dict[str, Any] = json.loads(text)
        return found

    def campaign(self, models: int, repeats: int, pixels: int = 4) -> Path:
        """Write a campaign of small networks, all beside one firmware."""
        names = []
        for number in range(models):
            path = self.folder / f"net{number}.tflite"
            path.write_bytes(tiny_network(number, pixels))
            names.append(path.name)
        file = self.folder / "campaign.toml"
        file.write_text(
            f'name = "farm"\nboards = ["{BOARD}"]\nmodels = {json.dumps(names)}\n'
            f"[measure]\nrepeats = {repeats}\nlayers = false\n"
            "[[runtimes]]\none_firmware = true\n"
        )
        return file

    def close(self) -> None:
        """End everything that runs."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self._log.close()


@contextmanager
def hosts(counts: Sequence[int], *, wait: bool = False) -> Iterator[Hosts]:
    """Yield a farm in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="harness-farm-") as folder:
        found = Hosts(Path(folder), counts, wait=wait)
        try:
            yield found
        finally:
            found.close()


def scale(options: argparse.Namespace) -> bool:
    """Measure networks an hour with boards that wait."""
    base = 0.0
    for count in options.workers:
        spread = [
            count // options.hosts + (n < count % options.hosts) for n in range(options.hosts)
        ]
        with hosts([n for n in spread if n], wait=True) as farm:
            rates = []
            for number in range(options.rounds + 1):
                file = farm.campaign(options.each * count, options.repeats + number, _PIXELS)
                out = farm.folder / "answer.json"
                words = ("run", str(file), "--farm", farm.address, "--json")
                with out.open("w") as answer:
                    run = farm.harness(*words, "--db", str(farm.folder / "r.db"), output=answer)
                    if run.wait():
                        raise RuntimeError((farm.folder / "log.txt").read_text()[-3000:])
                if number:  # the first round builds the firmware and flashes the boards
                    rates.append(json.loads(out.read_text())["networks_per_hour"])
        rate = statistics.median(rates)
        base = base or rate / count
        sys.stdout.write(f"{count:3} stations: {rate:6.0f} networks an hour, {rate / base:.2f} x\n")
        sys.stdout.flush()
    return True


def chaos(options: argparse.Namespace) -> bool:
    """Kill at random until a campaign is done; return whether each job has one valid row."""
    dice, killed = random.Random(options.seed), Counter[str]()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="harness-farm-db-") as db, hosts([2, 2]) as farm:
        server = None
        url = str(farm.folder / "rows.db")
        if options.postgres:
            server = Server(Path(db))
            server.start()
            url = server.url
        os.environ["HARNESS_STATE"] = str(farm.folder / "state")
        file = farm.campaign(options.jobs, repeats=1)
        words = ("run", str(file), "--farm", farm.address, "--json", "--db", url)
        client, starts = farm.harness(*words), 1
        done = 0
        weights = {k: v for k, v in _VICTIMS.items() if server or k != "database"}
        while True:
            if client.poll() is not None:
                if client.returncode == 0 or starts > 3 * options.kills + 3:
                    break
                if client.returncode > 0:  # not killed
                    log = (farm.folder / "log.txt").read_text()
                    sys.stderr.write(f"the client ended with {client.returncode}:\n{log[-1500:]}\n")
                client, starts = farm.harness(*words), starts + 1
            time.sleep(0.3)
            done = _count(url, done)
            due = (killed.total() + 1) * options.jobs / (options.kills + 1)
            if killed.total() >= options.kills or done < due:
                continue
            victim = dice.choices(list(weights), list(weights.values()))[0]
            killed[victim] += 1
            away = dice.uniform(*_AWAY_S)
            if victim == "worker":
                hosts_now = [p for name, p in farm.running.items() if name.startswith("host")]
                _kill_child(dice.choice(hosts_now), dice)
            elif victim == "client":
                client.kill()
            elif victim == "database" and server:
                server.stop()
                time.sleep(away)
                server.start()
            else:
                name = victim if victim == "scheduler" else f"host{dice.randrange(2)}"
                farm.running[name].kill()
                farm.running[name].wait()
                time.sleep(away)
                if victim == "scheduler":
                    farm.start_scheduler()
                else:
                    farm.start_host(int(name[-1]), wait=False)
            sys.stderr.write(f"{done} rows, {killed.total()} kills: {victim}\n")
        passed = _judge(url, options.jobs, killed, starts, time.monotonic() - begun)
        if server:
            server.stop()
    return passed and client.returncode == 0


def _count(url: str, before: int) -> int:
    try:
        with open_store(url) as store:
            return store.count(Filter())
    except ResultsError:  # the store is away, or not there yet
        return before


def _kill_child(host: subprocess.Popen[str], dice: random.Random) -> None:
    try:
        children = psutil.Process(host.pid).children(recursive=True)
        workers = [one for one in children if "resource_tracker" not in " ".join(one.cmdline())]
        if workers:
            os.kill(dice.choice(workers).pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        pass  # it was gone already


def _judge(url: str, jobs: int, killed: Counter[str], starts: int, seconds: float) -> bool:
    with open_store(url) as store:
        rows = store.query(with_layers=False)
    usable = Counter(row.key for row in rows if row.usable)
    lost, doubled = jobs - len(usable), sum(n - 1 for n in usable.values())
    wrong = sum(not row.bit_exact for row in rows if row.usable)
    invalid = Counter(row.issues for row in rows if not row.usable)
    kills = ", ".join(f"{name} {count}" for name, count in killed.most_common())
    sys.stdout.write(
        f"{jobs} jobs, {killed.total()} kills ({kills}), {starts} starts of the client, "
        f"{seconds:.0f} s\nlost {lost}, doubled {doubled}, not exact {wrong}, "
        f"invalid rows {dict(invalid) or 0}\n"
        f"by station: {dict(Counter(row.station for row in rows if row.usable))}\n"
    )
    return not (lost or doubled or wrong)


def main() -> None:
    """Try a farm; exit 1 if something was lost or doubled."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("scale")
    one.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    one.add_argument("--hosts", type=int, default=1)
    one.add_argument("--each", type=int, default=4, help="networks for each station")
    one.add_argument("--rounds", type=int, default=1)
    one.add_argument("--repeats", type=int, default=50)
    one.set_defaults(command=scale)
    two = commands.add_parser("chaos")
    two.add_argument("--jobs", type=int, default=2000)
    two.add_argument("--kills", type=int, default=100)
    two.add_argument("--seed", type=int, default=1)
    two.add_argument("--no-postgres", dest="postgres", action="store_false", help="SQLite instead")
    two.set_defaults(command=chaos)
    options = parser.parse_args()
    if not options.command(options):
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
