"""Change the results schema, one recorded revision at a time.

To add one: write ``versions/NNNN_what.py`` with the next number and its ``down_revision``, change
`harness.results.schema` to match and raise its ``HEAD``. A test compares the tables the
revisions make with the ones the code describes.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from harness.errors import ResultsError
from harness.results.schema import HEAD, VERSION_TABLE

_ADVISORY_LOCK = 0x68617273  # "hars"; serialises migrations of one PostgreSQL database


def schema_version(connection: Connection) -> str | None:
    """Return the store's revision, None in a database that has none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).first()
    return None if row is None else str(row[0])


def check_version(version: str | None, where: str) -> bool:
    """Return whether a store at `version` must be migrated.

    Raises:
        ResultsError: The store was written by a newer harness, or is something else.
    """
    if version is None or version == HEAD:
        return version is None
    if not version.isdigit():
        raise ResultsError(
            f"the results store has the unknown schema revision {version!r}",
            where=where,
            expected=f"a number up to {HEAD}",
            fix="check that the URL names a results store of the harness",
            version=version,
        )
    if int(version) > int(HEAD):
        raise ResultsError(
            f"the results store has schema {version}, newer than this harness knows",
            where=where,
            expected=f"schema {HEAD} or older",
            fix="upgrade with `pip install -U tinyml-harness`, or name another store; "
            "nothing was changed",
            version=version,
        )
    return True


def upgrade(connection: Connection, where: str) -> None:
    """Bring the store to today's schema inside the caller's transaction.

    Raises:
        ResultsError: The database already has a table of ours that no revision made.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

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
