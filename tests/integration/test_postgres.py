"""Run the store's contract suite on a PostgreSQL server that the test starts for itself."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest

from harness.errors import ResultsError
from harness.results.schema import VERSION_TABLE, metadata
from harness.results.store import Store
from harness.testing import fake_measurement

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
        data = str(folder / "data")
        server.run(
            "initdb", "-D", data, "-U", "lab", "-A", "scram-sha-256", f"--pwfile={secret}",
            "-E", "UTF8", "--no-sync",
        )  # fmt: skip
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        server.run("pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
        started = True
        yield server
    finally:
        if started:
            server.run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)


@pytest.fixture
def url(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    import psycopg

    name = f"t{zlib.crc32(request.node.name.encode())}"
    with psycopg.connect(
        host=str(cluster.folder), user="lab", password=_PASSWORD, dbname="postgres", autocommit=True
    ) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield cluster.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
    import psycopg

    store.add(fake_measurement(0))
    with psycopg.connect(
        host=str(cluster.folder), user="lab", password=_PASSWORD, dbname="postgres", autocommit=True
    ) as admin:
        admin.execute(
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
