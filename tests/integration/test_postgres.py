"""Run the store's contract suite on a PostgreSQL server that the test starts for itself."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest

from harness.errors import ConfigError, ResultsError
from harness.report.site import write_site
from harness.results import open_store
from harness.results.schema import VERSION_TABLE, metadata
from harness.results.store import Store
from harness.testing import fake_measurement
from harness.testing.rows import key_of

_HOW = "install PostgreSQL's server (Debian: apt install postgresql) to run these tests"
_PASSWORD = "s3cret w@rd/%"


def _load_contract() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "results" / "test_store_contract.py"
    spec = importlib.util.spec_from_file_location("store_contract_on_postgres", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_contract = _load_contract()
globals().update(_contract.CONTRACT)


def _program(name: str) -> str | None:
    found = shutil.which(name)
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(versions[-1]) if versions else None


class Cluster:
    """A throw-away server on a Unix socket; it listens on no network at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("root cannot run PostgreSQL; make a user `postgres` to run these tests")
            setpriv = shutil.which("setpriv")
            if setpriv is None:
                pytest.skip("root needs `setpriv` (util-linux) to run PostgreSQL as its own user")
            self._prefix = [
                setpriv,
                f"--reuid={user.pw_uid}",
                f"--regid={user.pw_gid}",
                "--clear-groups",
            ]
            os.chown(folder, user.pw_uid, user.pw_gid)

    def run(self, program: str, *arguments: str) -> None:
        path = _program(program)
        if path is None:
            pytest.skip(f"`{program}` was not found: {_HOW}")
        # Output goes to a file: the server inherits it, and a pipe would never close.
        log = self.folder.with_suffix(".log")
        with log.open("ab") as sink:
            done = subprocess.run(
                [*self._prefix, path, *arguments],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, log.read_text()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        log = f"{self.folder}/log"
        self.run("pg_ctl", "-D", self.data, "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(
            host=str(self.folder),
            user="lab",
            password=_PASSWORD,
            dbname="postgres",
            autocommit=True,
        ) as admin:
            admin.execute(statement)

    def url(self, database: str = "postgres", password: str = _PASSWORD) -> str:
        return f"postgresql://lab:{quote(password, safe='')}@/{database}?host={self.folder}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if _program("initdb") is None or _program("pg_ctl") is None:
        pytest.skip(f"no PostgreSQL server on this machine: {_HOW}")
    # Not pytest's tmp_path: that is closed to other users and too long for a socket's name.
    folder = Path(tempfile.mkdtemp(prefix="harness-pg-"))
    log = folder.with_suffix(".log")
    started = False
    try:
        server = Cluster(folder)
        secret = folder / "password"
        secret.write_text(_PASSWORD)
        secret.chmod(0o644)
        server.run(
            "initdb", "-D", server.data, "-U", "lab", "-A", "scram-sha-256", f"--pwfile={secret}",
            "-E", "UTF8", "--no-sync",
        )  # fmt: skip
        server.start()
        started = True
        yield server
    finally:
        if started:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)


@pytest.fixture
def url(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t{zlib.crc32(request.node.name.encode())}"
    cluster.execute(f"CREATE DATABASE {name}")
    yield cluster.url(name)
    cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def test_a_wrong_password_is_refused_without_printing_it(cluster: Cluster) -> None:
    with pytest.raises(ResultsError) as failure:
        Store.open(cluster.url(password="not-the-password"))
    assert "not-the-password" not in str(failure.value)
    assert failure.value.data["reason"] == "denied"


def test_the_address_shows_no_password(store: Store) -> None:
    assert "s3cret" not in store.url
    assert store.url.startswith("postgresql://lab:***@")


def test_a_database_that_does_not_exist_is_named_with_the_fix(cluster: Cluster) -> None:
    with pytest.raises(ResultsError) as failure:
        Store.open(cluster.url("nowhere"))
    assert "nowhere" in str(failure.value)
    assert "createdb" in str(failure.value)


def test_a_connection_that_the_server_dropped_is_replaced(store: Store, cluster: Cluster) -> None:
    store.add(fake_measurement(0))
    cluster.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND datname <> 'postgres'"
    )
    store.add(fake_measurement(1))
    assert store.count() == 2


def test_the_schema_is_the_one_the_code_describes(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with store._begin(write=False) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of rows that are kept while the server is away."""
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path))
    return tmp_path / "spool"


def _waiting(kept: Path) -> int:
    (file,) = kept.glob("*.sqlite")
    with Store.open(file) as spool:
        return spool.count()


def test_an_outage_is_ridden_out(
    url: str, cluster: Cluster, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(url) as store:
        store.add(fake_measurement(0))
        assert not kept.exists()
        cluster.stop()
        for index in (1, 2, 3):
            row = fake_measurement(index)
            assert store.add(row) is row
            assert store.find(row.key) is not None  # so that it is not measured again
        assert store.find(key_of(9)) is None
        assert [record.message for record in caplog.records if "is away since" in record.message]
        assert len(caplog.records) == 1 and _waiting(kept) == 3
        cluster.start()
        store.deliver()
        assert store.count() == 4 and _waiting(kept) == 0
        assert "3 rows that were kept are delivered" in caplog.text
        assert store.query(with_log=True) == [fake_measurement(index) for index in range(4)]
        store.add(fake_measurement(4))
        assert store.count() == 5 and _waiting(kept) == 0


def test_a_longer_outage_ends_the_run_and_the_next_one_delivers(
    url: str, cluster: Cluster, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_STORE_WAIT", "0")
    with open_store(url) as store:
        cluster.stop()
        with pytest.raises(ResultsError, match="1 rows are kept in") as failure:
            store.add(fake_measurement(0))  # raises itself where keeping the row takes long
            store.deliver()
    assert "HARNESS_STORE_WAIT" in str(failure.value) and "s3cret" not in str(failure.value)
    assert _waiting(kept) == 1
    with pytest.raises(ResultsError):
        open_store(url)
    cluster.start()
    with open_store(url, create=False) as store:
        assert store.count() == 0  # a reader delivers nothing
    with open_store(url) as store:
        assert store.count() == 1 and _waiting(kept) == 0


def test_a_row_that_is_kept_is_not_counted_twice(url: str, cluster: Cluster, kept: Path) -> None:
    with open_store(url) as store, open_store(url) as other:
        cluster.stop()
        store.add(fake_measurement(0, station="mine"))
        cluster.start()
        other.add(fake_measurement(0, station="theirs", created_at=datetime.now(UTC)))
        store.deliver()
        assert [row.station for row in store.query()] == ["theirs"]
        assert _waiting(kept) == 0


def test_one_process_delivers_for_all(url: str, cluster: Cluster, kept: Path) -> None:
    with open_store(url) as store:
        cluster.stop()
        store.add(fake_measurement(0))
        cluster.start()
        (file,) = kept.glob("*.sqlite")
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as another process that delivers
            store.add(fake_measurement(1))
            assert _waiting(kept) == 2 and store.count() == 0
        store.deliver()
        assert _waiting(kept) == 0 and store.count() == 2


_ENDLESS = """
import itertools, sys
from harness.report.site import write_site
from harness.results import open_store
from harness.testing import fake_measurement
from harness.testing.rows import key_of

with open_store(sys.argv[1]) as store:
    for index in itertools.count():
        row = store.add(fake_measurement(index))
        print(row.key, flush=True)
"""


def test_a_client_killed_in_an_outage_loses_no_acknowledged_row(
    url: str, cluster: Cluster, kept: Path
) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, url], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    acknowledged = [client.stdout.readline().strip() for _ in range(10)]
    cluster.stop()
    while not list(kept.glob("*.sqlite")):
        acknowledged.append(client.stdout.readline().strip())
    acknowledged += [client.stdout.readline().strip() for _ in range(10)]
    client.kill()
    rest, _ = client.communicate()
    acknowledged += rest[: rest.rfind("\n") + 1].split()
    cluster.start()
    with open_store(url) as store:
        rows = [row.key for row in store.query()]
    assert set(acknowledged) <= set(rows) and len(set(rows)) == len(rows)
    assert _waiting(kept) == 0


def test_other_failures_are_not_ridden_out(url: str, cluster: Cluster, kept: Path) -> None:
    with open_store(url) as store:
        with store._begin(write=True) as connection:
            connection.exec_driver_sql("ALTER TABLE measurement DROP COLUMN macs")
        with pytest.raises(ResultsError, match="macs"):
            store.add(fake_measurement(0))
    assert not kept.exists()


def test_a_wrong_time_to_wait_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("HARNESS_STORE_WAIT", text)
        with pytest.raises(ConfigError, match="HARNESS_STORE_WAIT"):
            open_store(url)


def test_the_site_is_that_of_a_file_with_the_same_rows(store: Store, tmp_path: Path) -> None:
    """A page is written twice from each, as times and digests are read in another way."""
    pages = []
    with Store.open(tmp_path / "rows.sqlite") as file:
        for number, one in enumerate((store, file)):
            for index in range(14):
                one.add(fake_measurement(index, campaign="c"))
            folder = tmp_path / str(number)
            write_site(one, folder)
            assert not write_site(one, folder).written
            written = sorted(folder.rglob("*.html"))
            footer = re.compile("<footer>.*</footer>")
            pages.append(
                {
                    path.relative_to(folder): footer.sub("", path.read_text(encoding="utf-8"))
                    for path in written
                }
            )
    assert len(pages[0]) > 14
    assert pages[0] == pages[1]
