"""The results store, in SQLite or PostgreSQL; a row is on disk before `add` returns."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from harness.errors import ResultsError
from harness.results import migrations
from harness.results.connect import make_engine, parse_url, shown, translated
from harness.results.record import APART, LayerCycles, Measurement, Source, Status, best_per_key
from harness.results.schema import layer, measurement, raw_log

USABLE = (Status.VALID, Status.DEGRADED)

_COLUMNS = tuple(spec.name for spec in fields(Measurement) if spec.name not in APART)
_One = str | Collection[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on rows: a row matches each field that is not None, or one of a collection."""

    key: _One = None
    campaign: _One = None
    status: _One = None
    source: _One = None
    board: _One = None
    station: _One = None
    backbone: _One = None
    model_name: _One = None
    model_sha256: _One = None
    runtime: _One = None
    kernels: _One = None
    optimization: _One = None
    since: datetime | None = None
    until: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions; raise `ResultsError` for an unknown status or source."""
        _check_words("status", self.status, [item.value for item in Status])
        _check_words("source", self.source, [item.value for item in Source])
        found: list[ColumnElement[bool]] = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value is None:
                continue
            if spec.name == "since":
                found.append(measurement.c.created_at >= value)
            elif spec.name == "until":
                found.append(measurement.c.created_at < value)
            elif isinstance(value, str):
                found.append(measurement.c[spec.name] == str(value))
            else:
                found.append(measurement.c[spec.name].in_([str(item) for item in value]))
        return found


EVERYTHING = Filter()


def _check_words(name: str, value: _One, known: list[str]) -> None:
    # A misspelt word would match nothing, as in an empty store.
    for word in (value,) if isinstance(value, str) else value or ():
        if word not in known:
            raise ResultsError(f"no row has the {name} {word!r}", expected=", ".join(known))


class Store:
    """Add and query measurements. Safe between threads, processes and after a fork."""

    def __init__(self, url: URL, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self._pid = os.getpid()

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True, busy_timeout_s: float = 30.0) -> Store:
        """Open the store at `url`, a SQLite file or a URL, and bring its schema up to date.

        `create` makes the file and the tables where there are none; `busy_timeout_s` is how long
        to wait for another process that writes a SQLite file. Raises `ResultsError` if the URL is
        wrong, the driver is missing, or the database is locked, not reachable, not ours, or
        written by a newer harness.
        """
        parsed = parse_url(url)
        store = cls(parsed, make_engine(parsed, busy_timeout_s=busy_timeout_s))
        try:
            store._prepare(create)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def url(self) -> str:
        """Return the store's address without its password."""
        return shown(self._url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- writing ---------------------------------------------------------------------------

    def add(self, row: Measurement) -> Measurement:
        """Store `row`, commit, and return the row that the store now holds for it.

        Adding the same attempt again, or another measurement of a job that is done, changes
        nothing and returns the stored row. A failed attempt does not prevent a later one, and a
        valid row is kept beside an earlier degraded one. Raises `ResultsError` if it could not be
        committed; then nothing of it was stored.
        """
        with translated(self._url, "write to"):
            for _ in range(2):
                try:
                    return self._add(row)
                except IntegrityError:
                    # Another process stored the same job between the query and the insert.
                    continue
                except DBAPIError as failure:
                    # The server went away; adding is idempotent, so once more on a new connection.
                    if not failure.connection_invalidated:
                        raise
            return self._add(row)

    def _add(self, row: Measurement) -> Measurement:
        with self._begin(write=True) as connection:
            existing = self._existing(connection, row)
            if existing is not None:
                return existing
            values = {name: getattr(row, name) for name in _COLUMNS}
            values |= {"status": row.status.value, "source": row.source.value}
            query = insert(measurement).values(values).returning(measurement.c.id)
            number = connection.scalars(query).one()
            if row.layers:
                connection.execute(
                    insert(layer),
                    [
                        {"measurement_id": number, "position": position, **asdict(item)}
                        for position, item in enumerate(row.layers)
                    ],
                )
            if row.raw_log is not None:
                packed = zlib.compress(row.raw_log.encode("utf-8", "surrogatepass"), 6)
                connection.execute(insert(raw_log).values(measurement_id=number, text_zlib=packed))
        return row

    def _existing(self, connection: Connection, row: Measurement) -> Measurement | None:
        same_attempt = measurement.c.created_at == row.created_at
        condition: ColumnElement[bool] = same_attempt
        if row.status is Status.VALID:
            condition = or_(same_attempt, measurement.c.status == Status.VALID.value)
        elif row.status is Status.DEGRADED:
            condition = or_(same_attempt, measurement.c.status != Status.INVALID.value)
        query = select(measurement).where(measurement.c.key == row.key, condition)
        found = self._load(connection, query, with_layers=True, with_log=True)
        return best_per_key(found)[0] if found else None

    # --- reading ---------------------------------------------------------------------------

    def keys(self, campaign: str | None = None, *, status: Collection[str] = USABLE) -> set[str]:
        """Return the keys of the jobs with a row in `status`, of one campaign or of all."""
        query = select(measurement.c.key).where(*Filter(campaign=campaign, status=status).clauses())
        with self._read() as connection:
            return set(connection.scalars(query))

    def get(self, key: str) -> Measurement | None:
        """Return the best row of job `key`, its raw log included, or None."""
        rows = self.query(Filter(key=key), with_log=True)
        return best_per_key(rows)[0] if rows else None

    def query(
        self,
        where: Filter = EVERYTHING,
        *,
        limit: int | None = None,
        newest_first: bool = False,
        with_layers: bool = True,
        with_log: bool = False,
    ) -> list[Measurement]:
        """Return the rows that match, in the order they were stored.

        Without a condition on the status, failed attempts are returned too. `newest_first` reverses
        the order before `limit` applies. Layers and log are empty where they are not loaded.
        """
        order = measurement.c.id.desc() if newest_first else measurement.c.id.asc()
        query = select(measurement).where(*where.clauses()).order_by(order).limit(limit)
        with self._read() as connection:
            return self._load(connection, query, with_layers=with_layers, with_log=with_log)

    def count(self, where: Filter = EVERYTHING) -> int:
        """Return how many rows match."""
        with self._read() as connection:
            query = select(func.count()).select_from(measurement).where(*where.clauses())
            return int(connection.scalar(query) or 0)

    def export(
        self, path: str | Path, where: Filter = EVERYTHING, *, table: str = "measurements"
    ) -> int:
        """Write the matching rows to a .parquet or .csv file; return how many lines it has.

        The file appears whole or not at all. `table` is ``measurements``, or ``layers`` for one
        line per layer. Raises `ResultsError` if it is another, or the file cannot be written.
        """
        from harness.results.export import export_rows

        rows = self.query(where, with_layers=table == "layers")
        return export_rows(rows, Path(path), table)

    # --- inside ----------------------------------------------------------------------------

    def _prepare(self, create: bool) -> None:
        file = self._url.database if self._url.drivername == "sqlite" else None
        # SQLite URI (``file:…?mode=ro&uri=true``) is opened as it is.
        on_disk = file not in (None, "", ":memory:") and not str(file).startswith("file:")
        if on_disk and file is not None and not Path(file).is_file():
            if not create:
                raise self._nothing_there()
            try:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            except OSError as failure:
                raise ResultsError(
                    f"the results store's folder cannot be made: {failure.strerror}",
                    where=file,
                    fix="name a file in a folder that can be written",
                ) from None
        with translated(self._url, "open"):
            with self._begin(write=False) as connection:
                version = migrations.schema_version(connection)
            if not migrations.check_version(version, self.url):
                return
            if version is None and not create:
                raise self._nothing_there()
            with self._begin(write=True) as connection:
                migrations.upgrade(connection, self.url)

    def _nothing_there(self) -> ResultsError:
        return ResultsError(
            "there is no results store yet",
            where=self.url,
            fix="run a campaign first (`harness run`), or name the store with --db",
        )

    @contextmanager
    def _begin(self, *, write: bool) -> Iterator[Connection]:
        if os.getpid() != self._pid:
            # A child process must neither use nor close its parent's connections.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        engine = self._engine.execution_options(harness_write=write)
        with engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(self._url, "read"), self._begin(write=False) as connection:
            yield connection

    def _load(
        self, connection: Connection, query: Select[Any], *, with_layers: bool, with_log: bool
    ) -> list[Measurement]:
        found: Sequence[Row[Any]] = connection.execute(query).all()
        numbers = query.with_only_columns(measurement.c.id).subquery()
        layers: dict[int, list[LayerCycles]] = defaultdict(list)
        if with_layers and found:
            within = layer.c.measurement_id.in_(select(numbers.c.id))
            listed = select(layer).where(within).order_by(layer.c.measurement_id, layer.c.position)
            for number, _, *values in connection.execute(listed):
                layers[number].append(LayerCycles(*values))
        logs: dict[int, str] = {}
        if with_log and found:
            chosen = raw_log.c.measurement_id.in_(select(numbers.c.id))
            for number, packed in connection.execute(select(raw_log).where(chosen)):
                logs[number] = zlib.decompress(packed).decode("utf-8", "surrogatepass")
        return [
            Measurement(
                **{name: row._mapping[name] for name in _COLUMNS},
                layers=tuple(layers.get(row._mapping["id"], ())),
                raw_log=logs.get(row._mapping["id"]),
            )
            for row in found
        ]
