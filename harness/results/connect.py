"""Make an engine for a URL, and turn database errors into messages with advice."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from harness.errors import ResultsError

_EXAMPLES = "a file such as results/measurements.sqlite, sqlite:///FILE, or postgresql://HOST/NAME"
_JSON = json.JSONDecoder()
# A server that vanished is noticed in half a minute; the system's own keep-alive takes hours.
_LIVENESS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,  # ms
}
_SECRET_WORD = re.compile(r"(password|passwd|pwd|sslpassword)\s*=\s*\S+", re.IGNORECASE)


def parse_url(url: str | Path) -> URL:
    """Return the SQLAlchemy URL for a file name or a database URL.

    Raises `ResultsError` if it is neither, or is for a database that is not supported.
    """
    text = str(url)
    if "://" not in text:
        if not text.strip():
            raise ResultsError("the results store has no name", expected=_EXAMPLES)
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        # The text itself may hold a password, so it is not repeated.
        raise ResultsError(
            "the results store's URL cannot be read",
            expected=_EXAMPLES,
            fix="check its spelling; in a password, write special characters as %XX",
        ) from None
    backend = parsed.drivername.partition("+")[0]
    if parsed.drivername == "sqlite":
        return parsed
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ResultsError(
        f"results cannot be stored in {parsed.drivername!r}",
        expected=_EXAMPLES,
        fix="name a SQLite file or a PostgreSQL URL",
    )


def shown(url: URL) -> str:
    """Return `url` as text without its password."""
    hidden = {name: "***" for name in url.query if _SECRET_WORD.match(f"{name}=x")}
    clean = url.update_query_dict(hidden)
    if clean.drivername == "sqlite":
        return clean.database or ":memory:"
    return clean.set(drivername="postgresql").render_as_string(hide_password=True)


def make_engine(url: URL, *, busy_timeout_s: float) -> Engine:
    """Return an engine, not opened yet; raise `ResultsError` if the driver is not installed."""
    options: dict[str, Any] = {
        "json_serializer": partial(json.dumps, allow_nan=False, separators=(",", ":")),
        "hide_parameters": True,
    }
    if url.drivername != "sqlite":
        settings = {name: value for name, value in _LIVENESS.items() if name not in url.query}
        try:
            # A campaign runs for nights: a connection that died is replaced.
            return create_engine(url, pool_pre_ping=True, connect_args=settings, **options)
        except ImportError:
            raise ResultsError(
                "the PostgreSQL driver psycopg is not installed",
                where=shown(url),
                fix="pip install 'tinyml-harness[postgres]'",
            ) from None
    # Nothing but what the serializer wrote is there: no white space to look for.
    options["json_deserializer"] = lambda text: _JSON.raw_decode(text)[0]
    options["connect_args"] = {"timeout": busy_timeout_s}
    if url.database in (None, "", ":memory:"):
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:  # noqa: ARG001
        # The driver's own transactions would leave DDL outside of them.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        # FULL: an acknowledged row survives a power cut too, not only a killed process.
        connection.execute("PRAGMA synchronous = FULL")
        _use_wal(connection, busy_timeout_s)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its lock at once; upgrading a read lock later cannot wait its turn.
        write = connection.get_execution_options().get("harness_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to write-ahead logging; SQLite does not wait for this lock, so this does."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as failure:
            code = failure.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_READONLY:
                return  # reading an archived store is fine without it
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def translated(url: URL, doing: str) -> Iterator[None]:
    """Raise database errors inside the block as `ResultsError`, without any password."""
    try:
        yield
    except SQLAlchemyError as failure:
        cause = (isinstance(failure, DBAPIError) and failure.orig) or failure
        detail = _redact(str(cause).strip(), url)
        lost = isinstance(failure, DBAPIError) and failure.connection_invalidated
        reason, fix = _UNREACHABLE if lost else _advice(cause)
        raise ResultsError(
            f"cannot {doing} the results store: {detail}",
            where=shown(url),
            fix=fix,
            reason=reason,
            detail=detail,
        ) from None


def _redact(text: str, url: URL) -> str:
    secrets = [url.password, *(v for k, v in url.query.items() if _SECRET_WORD.match(f"{k}=x"))]
    for secret in filter(None, secrets):
        text = text.replace(str(secret), "***")
    return _SECRET_WORD.sub(r"\1=***", text)


def _advice(cause: BaseException) -> tuple[str, str]:
    if isinstance(cause, sqlite3.Error):
        return _SQLITE_ADVICE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF, _OTHER)
    state = getattr(cause, "sqlstate", None) or ""
    for prefix, advice in _POSTGRES_ADVICE:
        if state.startswith(prefix):
            return advice
    # psycopg gives no SQLSTATE when the connection itself is refused.
    text = str(cause)
    if not state and "database" in text and "does not exist" in text:
        return "missing", "create the database with `createdb NAME`"
    if "password" in text or "authentication" in text:
        return "denied", "check user and password (a ~/.pgpass file keeps it out of the URL)"
    if not state and type(cause).__name__ == "OperationalError":
        return _UNREACHABLE
    return _OTHER


_UNREACHABLE = ("unreachable", "check that the server runs and that host and port are right")
_OTHER = ("database", "run the command again; nothing that was acknowledged is lost")
_SQLITE_ADVICE = {
    sqlite3.SQLITE_BUSY: (
        "locked",
        "another program is writing to it: wait for it to finish, or end it, and run again",
    ),
    sqlite3.SQLITE_LOCKED: ("locked", "wait for the other writer to finish and run again"),
    sqlite3.SQLITE_FULL: (
        "full",
        "free some disk space and run again; the rows already stored are intact",
    ),
    sqlite3.SQLITE_IOERR: ("io", "check the disk; the rows already stored are kept"),
    sqlite3.SQLITE_READONLY: ("read-only", "make the file and its folder writable"),
    sqlite3.SQLITE_PERM: ("read-only", "make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: ("missing", "check that the folder exists and is writable"),
    sqlite3.SQLITE_NOTADB: ("not-a-store", "name another file: this one is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (
        "corrupt",
        "move the file away and restore a copy; `sqlite3 FILE .recover` saves what can be read",
    ),
}
_POSTGRES_ADVICE = (
    ("08", _UNREACHABLE),
    ("28", ("denied", "check user and password (a ~/.pgpass file keeps it out of the URL)")),
    ("3D", ("missing", "create the database with `createdb NAME`")),
    ("42501", ("denied", "grant the user the right to create and write tables")),
    ("53100", ("full", "free disk space on the server; the rows already stored are intact")),
    ("53", ("busy", "the server is out of resources or connections: wait and run again")),
    ("55P03", ("locked", "wait for the other session to finish and run again")),
    ("57P", ("unreachable", "the server is shutting down or starting: wait and run again")),
)
