"""What is particular to SQLite files: killed writers, locks, full disks, foreign files."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import ResultsError
from harness.results import migrations, open_store
from harness.results.connect import parse_url, shown
from harness.results.schema import VERSION_TABLE, metadata
from harness.results.store import Filter, Store
from harness.testing import fake_measurement
from harness.testing.rows import key_of


def _reason(failure: pytest.ExceptionInfo[ResultsError]) -> object:
    return failure.value.data.get("reason")


_ENDLESS = """
import itertools, sys
from harness.testing import fake_measurement
from harness.results.store import Store

with Store.open(sys.argv[1]) as store:
    for index in itertools.count(int(sys.argv[2])):
        row = store.add(fake_measurement(index))
        sys.stdout.write(row.key + "\\n")
        sys.stdout.flush()
"""


def test_a_killed_writer_loses_no_acknowledged_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    chance = random.Random(5)
    acknowledged: list[str] = []
    for attempt in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS, str(file), str(attempt * 10_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        if attempt % 3:
            # Once it writes; the other times it may die while it makes the tables.
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(chance.uniform(0, 0.15))
        else:
            time.sleep(chance.uniform(0.2, 0.5))
        writer.kill()
        rest, _ = writer.communicate()
        complete = rest[: rest.rfind("\n") + 1]
        acknowledged += complete.split()
    with Store.open(file) as store:
        stored = store.query(with_log=True)
        assert set(acknowledged) <= {row.key for row in stored}
        assert len(acknowledged) >= 4
        for row in stored:
            # A row is there with its layers and its log, or not at all.
            assert row == fake_measurement(row.sample_index or 0)
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_a_locked_store_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    with Store.open(file, busy_timeout_s=0.1) as store:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResultsError) as failure:
            store.add(fake_measurement())
        assert _reason(failure) == "locked"
        assert store.count() == 0  # readers go on meanwhile
        other.execute("ROLLBACK")
        other.close()
        store.add(fake_measurement())


def test_a_new_store_waits_for_another_that_is_being_made(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ResultsError) as failure:
        Store.open(file, busy_timeout_s=0.1)
    assert _reason(failure) == "locked"
    other.execute("ROLLBACK")
    other.close()
    Store.open(file, busy_timeout_s=0.1).close()


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    with Store.open(file) as store:
        store.add(fake_measurement(0))
        with store._begin(write=False) as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        noise = random.Random(1).randbytes(200_000).hex()
        with pytest.raises(ResultsError) as failure:
            store.add(fake_measurement(1, raw_log=noise))
        assert _reason(failure) == "full"
        assert "free some disk space" in str(failure.value)
        assert [row.key for row in store.query()] == [key_of(0)]


def test_a_missing_store_is_not_made_by_a_reader(tmp_path: Path) -> None:
    file = tmp_path / "none" / "rows.sqlite"
    with pytest.raises(ResultsError, match="no results store yet"):
        open_store(file, create=False)
    assert not file.parent.exists()
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(ResultsError, match="no results store yet"):
        open_store(tmp_path / "empty.sqlite", create=False)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to have a header of some kind" * 20)
    before = file.read_bytes()
    with pytest.raises(ResultsError) as failure:
        Store.open(file)
    assert _reason(failure) == "not-a-store"
    assert file.read_bytes() == before


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError) as failure:
        Store.open(tmp_path)
    assert _reason(failure) == "missing"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="folder cannot be made"):
        Store.open(tmp_path / "file" / "rows.sqlite")


def test_someone_elses_tables_are_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE measurement (value)")
    connection.close()
    with pytest.raises(ResultsError, match="not the harness's"):
        Store.open(file)
    with sqlite3.connect(file) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("measurement",)]


@pytest.mark.parametrize(
    ("version", "message"),
    [("v99", "newer"), ("abc", "no release wrote"), ("0003", "no release wrote")],
)
def test_a_store_of_another_schema_is_refused(tmp_path: Path, version: str, message: str) -> None:
    file = tmp_path / "rows.sqlite"
    Store.open(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (version,))
    connection.close()
    with pytest.raises(ResultsError, match=message):
        Store.open(file)


def test_the_revisions_make_the_schema_the_code_describes(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with Store.open(tmp_path / "rows.sqlite") as store, store._begin(write=False) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == migrations.head()


def test_a_migration_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def explode(*args: object, **kwargs: object) -> None:
        raise OSError("power cut")

    file = tmp_path / "rows.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_index", explode)
        patch.setattr("alembic.op.create_index", explode)
        with pytest.raises(OSError, match="power cut"):
            Store.open(file)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    with Store.open(file) as store:
        assert store.count() == 0


def test_a_store_survives_a_fork(tmp_path: Path) -> None:
    script = """
import os, sys
from harness.testing import fake_measurement
from harness.results.store import Store

store = Store.open(sys.argv[1])
store.add(fake_measurement(0))
child = os.fork()
if child == 0:
    store.add(fake_measurement(1))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.add(fake_measurement(2))
assert store.count() == 3
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "r.sqlite")], check=True)


def test_memory_is_a_store_too() -> None:
    with Store.open("sqlite://") as store:
        store.add(fake_measurement())
        assert store.count() == 1
        assert store.url == ":memory:"


def test_reading_a_read_only_store(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    with Store.open(file) as store:
        store.add(fake_measurement())
    with Store.open(f"sqlite:///file:{file}?mode=ro&uri=true") as store:
        assert store.count() == 1
        with pytest.raises(ResultsError) as failure:
            store.add(fake_measurement(1))
    assert _reason(failure) == "read-only"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:hunter2@lab/rows", "cannot be stored in 'mysql'"),
        ("postgresql://me:hunter2@lab:port/rows", "cannot be read"),
        ("", "no name"),
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message) as failure:
        Store.open(url)
    assert "hunter2" not in repr(failure.value) + str(failure.value)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="pip install 'tinyml-harness[postgres]' to run this")
    with pytest.raises(ResultsError) as failure:
        Store.open("postgresql://me:hunter2@127.0.0.1:1/rows?password=hunter2")
    assert "hunter2" not in repr(failure.value) + str(failure.value)
    assert _reason(failure) == "unreachable"
    assert "127.0.0.1" in str(failure.value)


def test_a_missing_driver_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ResultsError, match=r"tinyml-harness\[postgres\]"):
        Store.open("postgresql://me:hunter2@127.0.0.1/rows")


def test_addresses_are_shown_without_secrets() -> None:
    assert shown(parse_url("postgres://me:a@h/db")) == "postgresql://me:***@h/db"
    assert "a2" not in shown(parse_url("postgresql://me@h/db?sslpassword=a2"))
    assert shown(parse_url("results/x.sqlite")) == "results/x.sqlite"


def test_a_missing_parent_folder_is_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "rows.sqlite"
    with Store.open(file) as store:
        assert store.url == str(file)
    assert file.is_file()


def test_a_row_larger_than_the_cache_is_whole(tmp_path: Path) -> None:
    log = os.urandom(300_000).hex()
    with Store.open(tmp_path / "rows.sqlite") as store:
        store.add(fake_measurement(raw_log=log))
        row = store.query(Filter(key=key_of(0)), with_log=True)[0]
        assert row.raw_log == log


def test_opening_imports_neither_pandas_nor_alembic(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    Store.open(file).close()
    script = (
        "import sys; from harness.results import open_store; open_store(sys.argv[1]).query();"
        "print([m for m in ('pandas', 'alembic', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, str(file)], check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Filter(campaign="demo"), "ix_measurement_campaign"),
        (Filter(board="nucleo_f746zg"), "ix_measurement_board"),
        (Filter(backbone="ds_cnn_kws"), "ix_measurement_backbone"),
        (Filter(model_name="kws-1"), "ix_measurement_model_name"),
        (Filter(status="invalid"), "ix_measurement_status"),
        (Filter(key="00" * 32), "(key=?)"),
    ],
)
def test_the_newest_rows_of_a_filter_are_found_by_an_index(
    tmp_path: Path, where: Filter, index: str
) -> None:
    plan = _query_plan(tmp_path, where, "ORDER BY id DESC LIMIT 50")
    assert index in plan[0]
    assert "key" in index or len(plan) == 1  # one job has a few rows, which may be sorted


def test_the_start_of_a_key_is_found_by_an_index(tmp_path: Path) -> None:
    with Store.open(tmp_path / "rows.sqlite") as store, store._begin(write=False) as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT DISTINCT key FROM measurement "
            "WHERE key >= 'a0' AND key < 'a0g' ORDER BY key"
        ).all()
    assert len(plan) == 1 and "COVERING INDEX" in plan[0][3] and "key>? AND key<?" in plan[0][3]


def _query_plan(folder: Path, where: Filter, order: str) -> list[str]:
    with Store.open(folder / "rows.sqlite") as store, store._begin(write=False) as connection:
        (clause,) = where.clauses()
        text = str(clause.compile(store._engine, compile_kwargs={"literal_binds": True}))
        query = f"EXPLAIN QUERY PLAN SELECT * FROM measurement WHERE {text} {order}"
        return [line[3] for line in connection.exec_driver_sql(query)]
