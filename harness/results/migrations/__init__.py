"""Change the results schema, one recorded revision at a time.

A new column is a field of `harness.results.record.Measurement` and a revision in ``versions/``,
named ``vN_what.py``, with its ``down_revision``. A test compares the tables that the revisions make
with those that the code describes.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from pkgutil import iter_modules

from sqlalchemy import Connection, inspect, text

from harness.errors import ResultsError
from harness.results.schema import VERSION_TABLE

_ADVISORY_LOCK = 0x68617273  # "hars"; serialises migrations of one PostgreSQL database


@cache
def head() -> str:
    """Return the newest revision in ``versions/``, by the names of its files."""
    names = (module.name for module in iter_modules([str(Path(__file__).parent / "versions")]))
    return f"v{max(int(name[1:].partition('_')[0]) for name in names)}"


def schema_version(connection: Connection) -> str | None:
    """Return the store's revision, None in a database that has none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return version


def check_version(version: str | None, where: str) -> bool:
    """Return whether a store at `version` must be migrated.

    Raises `ResultsError` if it is from a newer harness, or from before the first release.
    """
    if version is None or version == head():
        return version is None
    released = re.fullmatch(r"v(\d+)", version)
    if released and int(released[1]) <= int(head()[1:]):
        return True
    if released:
        what = f"the results store has schema {version}, newer than this harness knows"
        fix = "upgrade with `pip install -U tinyml-harness`, or name another store"
    else:
        what = f"the results store has schema {version!r}, which no release wrote"
        fix = "keep the file, name another store with --db and measure again"
    raise ResultsError(
        what,
        where=where,
        expected=f"schema {head()} or older",
        fix=f"{fix}; nothing was changed",
        version=version,
    )


def upgrade(connection: Connection, where: str) -> None:
    """Bring the store to today's schema inside the caller's transaction.

    Raises `ResultsError` if the database has a table of ours that no revision made.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _ADVISORY_LOCK})
    version = schema_version(connection)
    if not check_version(version, where):
        return  # another process did it while we waited for the lock
    if version is None and inspect(connection).has_table("measurement"):
        raise ResultsError(
            "the database has a table `measurement` that is not the harness's",
            where=where,
            expected="an empty database, or a results store",
            fix="name another database",
        )
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)

    def steps(revision: object, context: object) -> object:  # noqa: ARG001
        return scripts._upgrade_revs("head", revision)  # type: ignore[arg-type]  # untyped hook

    with EnvironmentContext(config, scripts, fn=steps, destination_rev="head") as environment:
        environment.configure(
            connection=connection, version_table=VERSION_TABLE, transactional_ddl=True
        )
        environment.run_migrations()
