"""The results store, in SQLite or PostgreSQL; a row is on disk before `add` returns."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from harness.errors import ConfigError, ResultsError
from harness.results import migrations
from harness.results.connect import make_engine, parse_url, shown, translated
from harness.results.identity import derived
from harness.results.read import CHUNK, load_rows
from harness.results.record import (
    APART,
    Measurement,
    Run,
    Source,
    StationHealth,
    StationState,
    Status,
    best_per_key,
)
from harness.results.schema import health, layer, measurement, raw_log, station
from harness.results.schema import run as run_table
from harness.results.spool import Spool, spool_file

if TYPE_CHECKING:
    import pandas as pd

    from harness.results.table import Table

USABLE = (Status.VALID, Status.DEGRADED)

COLUMNS = tuple(spec.name for spec in fields(Measurement) if spec.name not in APART)
_One = str | Collection[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on rows: a row matches each field that is not None, or one of a collection."""

    key: _One = None
    campaign: _One = None
    run: _One = None
    repetition: _One = None
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
        self._spool: Spool | None = None

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        create: bool = True,
        busy_timeout_s: float = 30.0,
        spool: Path | None = None,
        wait_s: float = 0.0,
    ) -> Store:
        """Open the store at `url`, a SQLite file or a URL, and bring its schema up to date.

        Args:
            url: A file or a URL.
            create: Make the file and the tables where there are none.
            busy_timeout_s: How long to wait for another process that writes a SQLite file.
            spool: Folder to keep rows in while a server is away; what is kept there is delivered
                now. None makes `add` fail instead. A SQLite file needs none.
            wait_s: Longest outage to ride out so.

        Raises:
            ResultsError: The URL is wrong, the driver is missing, or the database is locked, not
                reachable, not ours, or written by a newer harness.
        """
        parsed = parse_url(url)
        store = cls(parsed, make_engine(parsed, busy_timeout_s=busy_timeout_s))
        try:
            store._prepare(create)
            if spool is not None and parsed.drivername != "sqlite":
                file = spool_file(spool, store.url)
                store._spool = Spool(file, store._add_now, where=store.url, wait_s=wait_s)
                store._spool.deliver()
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
        if self._spool is not None:
            self._spool.close()
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- writing ---------------------------------------------------------------------------

    def add(self, row: Measurement) -> Measurement:
        """Store `row`, commit, and return the row that the store now holds for its job.

        That is `row` itself (``store.add(row) is row``) where this attempt is stored, now or by an
        earlier call. Where the job was done already, by another process perhaps, nothing changes
        and the row of that attempt is returned: its `station` and `created_at` say who was first.
        A failed attempt does not prevent a later one, and a valid row is kept beside an earlier
        degraded one. Raises `ResultsError` if it could not be committed; then nothing of it was
        stored. With a spool, a row is kept there while the server is away, see `deliver`.
        """
        return self._add_now(row) if self._spool is None else self._spool.add(row)

    def deliver(self) -> None:
        """Deliver the rows that were kept while the server was away, and wait for it.

        Raises `ResultsError` if it stays away for too long; the rows are kept.
        """
        if self._spool is not None:
            self._spool.deliver()

    def remove(self, rows: Iterable[Measurement]) -> None:
        """Remove these attempts, with their layers and logs."""
        with translated(self._url, "write to"), self._begin(write=True) as connection:
            for row in rows:
                c = measurement.c
                these = (c.key == row.key, c.created_at == row.created_at)
                connection.execute(delete(measurement).where(*these))

    def _add_now(self, row: Measurement) -> Measurement:
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
                return row if existing == row else existing
            values = {name: getattr(row, name) for name in COLUMNS}
            values |= {"status": row.status.value, "source": row.source.value, **derived(row)}
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
        c = measurement.c
        done: ColumnElement[bool] = false()
        if row.status is Status.VALID:
            done = c.status == Status.VALID.value
        elif row.status is Status.DEGRADED:
            done = c.status != Status.INVALID.value
        same_attempt = c.created_at == row.created_at
        condition = or_(same_attempt, and_(c.repetition == row.repetition, done))
        query = select(measurement).where(c.key == row.key, condition)
        found = best_per_key(load_rows(connection, query, COLUMNS, with_layers=True, with_log=True))
        return found[0] if found else None

    # --- reading ---------------------------------------------------------------------------

    def keys(self, campaign: str | None = None, *, status: Collection[str] = USABLE) -> set[str]:
        """Return the keys of the jobs with a row in `status`, of one campaign or of all."""
        query = select(measurement.c.key).where(*Filter(campaign=campaign, status=status).clauses())
        with self._read() as connection:
            return set(connection.scalars(query))

    def done(self, keys: Iterable[str], *, repetition: str | None = None) -> set[str]:
        """Return which of these jobs have a usable row, in one repetition or in any.

        Others of the store are not looked at.
        """
        wanted = iter(keys)
        found: set[str] = set()
        with self._read() as connection:
            while batch := list(islice(wanted, CHUNK)):
                clauses = Filter(key=batch, status=USABLE, repetition=repetition).clauses()
                found |= set(connection.scalars(select(measurement.c.key).where(*clauses)))
        return found

    def keys_from(self, start: str) -> list[str]:
        """Return the keys of all jobs that begin with `start`, in order."""
        key = measurement.c.key
        # "g" sorts after every hexadecimal digit, and a comparison can use the index.
        query = select(key).where(key >= start, key < f"{start}g").distinct().order_by(key)
        with self._read() as connection:
            return list(connection.scalars(query))

    def find(self, key: str, *, repetition: str | None = None) -> Measurement | None:
        """Return the best usable row of job `key`, without layers and log, or None.

        In one repetition, or in any.

        One look by index: a process that shares the store asks this just before a job starts.
        While the server is away, a store with a spool knows what is kept there.
        """
        where = Filter(key=key, status=USABLE, repetition=repetition)
        return self._find(where) if self._spool is None else self._spool.find(where, self._find)

    def _find(self, where: Filter) -> Measurement | None:
        rows = best_per_key(self.stream(where))
        return rows[0] if rows else None

    def get(self, key: str) -> Measurement | None:
        """Return the best row of job `key`, layers and raw log included, or None."""
        rows = best_per_key(self.stream(Filter(key=key), with_layers=True, with_log=True))
        return rows[0] if rows else None

    def best(
        self, keys: Iterable[str], *, with_layers: bool = False, run: str | None = None
    ) -> list[Measurement]:
        """Return the best row of each of these jobs, in their order; of some there may be none.

        A row of the run `run` is taken before any other.
        """
        wanted = iter(dict.fromkeys(keys))
        found: dict[str, Measurement] = {}
        while batch := list(islice(wanted, CHUNK)):
            rows = list(self.stream(Filter(key=batch), with_layers=with_layers))
            by_key = {row.key: row for row in best_per_key(rows)}
            if run is not None:
                by_key |= {row.key: row for row in best_per_key(r for r in rows if r.run == run)}
            found |= {key: by_key[key] for key in batch if key in by_key}
        return list(found.values())

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
        return list(
            self.stream(
                where,
                limit=limit,
                newest_first=newest_first,
                with_layers=with_layers,
                with_log=with_log,
            )
        )

    def stream(
        self,
        where: Filter = EVERYTHING,
        *,
        columns: Collection[str] = COLUMNS,
        limit: int | None = None,
        newest_first: bool = False,
        with_layers: bool = False,
        with_log: bool = False,
    ) -> Iterator[Measurement]:
        """Yield what `query` returns, without holding more than some hundred rows.

        A read transaction stays open until the iterator is exhausted or closed.

        Args:
            where: As for `query`.
            columns: Fields to read. The rows have no others: using one raises `AttributeError`.
            limit: As for `query`.
            newest_first: As for `query`.
            with_layers: As for `query`.
            with_log: As for `query`.
        """
        order = measurement.c.id.desc() if newest_first else measurement.c.id.asc()
        query = select(measurement).where(*where.clauses()).order_by(order).limit(limit)
        with self._read() as connection:
            yield from load_rows(
                connection, query, columns, with_layers=with_layers, with_log=with_log
            )

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
        from harness.results.export import write_lines

        return write_lines(self.lines(where, table=table), Path(path), table)

    def frame(
        self,
        where: Filter = EVERYTHING,
        *,
        table: str = "measurements",
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return the matching rows as a data frame with nullable columns; see `lines`."""
        from harness.results.export import frame_of

        return frame_of(self.lines(where, table=table, columns=columns), table, columns)

    def table(self, where: Filter, columns: Collection[str]) -> Table:
        """Return columns of the matching rows, and ``configuration``, in the order of storing."""
        from harness.results.read import load_table

        with self._read() as connection:
            return load_table(connection, where.clauses(), columns)

    def lines(
        self,
        where: Filter = EVERYTHING,
        *,
        table: str = "measurements",
        columns: Sequence[str] | None = None,
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the matching rows in chunks, each row a tuple that any file format can hold.

        Lists and mappings are JSON text; there are neither layers nor logs in `measurements`.

        Args:
            where: Which rows.
            table: ``measurements``, or ``layers`` for one line per layer.
            columns: Names of the columns; None takes all of the table.

        Raises:
            ResultsError: Unknown table or column.
        """
        from harness.results.export import LINES, query_lines

        query = query_lines(table, columns).where(*where.clauses())
        chunked = {"yield_per": LINES}
        with (
            self._read() as connection,
            connection.execute(query, execution_options=chunked) as found,
        ):
            yield from found.partitions()

    # --- stations --------------------------------------------------------------------------

    def stations(self) -> list[StationState]:
        """Return what is known of the stations, by name."""
        with self._read() as connection:
            found = connection.execute(select(station).order_by(station.c.name, station.c.key))
            return [StationState(**row) for row in found.mappings()]

    def note_station(self, state: StationState) -> None:
        """Keep what a host says of a station, unless something newer is known."""
        values = asdict(state)
        same = station.c.key == state.key
        with translated(self._url, "write to"):
            for _ in range(2):
                try:
                    with self._begin(write=True) as connection:
                        since = connection.scalar(select(station.c.since).where(same))
                        if since is None:
                            connection.execute(insert(station).values(values))
                        elif since <= state.since:
                            connection.execute(update(station).where(same).values(values))
                    return
                except IntegrityError:
                    continue  # another host noted it between the query and the insert

    # --- runs ------------------------------------------------------------------------------

    def runs(self, campaign: str | None = None, *, limit: int | None = None) -> list[Run]:
        """Return the runs of a campaign, or all, the newest first."""
        query = select(run_table).order_by(run_table.c.started_at.desc(), run_table.c.id.desc())
        if campaign is not None:
            query = query.where(run_table.c.campaign == campaign)
        with self._read() as connection:
            found = connection.execute(query.limit(limit)).mappings()
            return [Run(**row) for row in found]

    def run(self, start: str) -> Run:
        """Return the run whose id begins so; raise `ConfigError` unless there is exactly one."""
        listed = self.runs()
        found = [one for one in listed if one.id == start] or [
            one for one in listed if one.id.startswith(start)
        ]
        if len(found) != 1:
            several = f"{len(found)} runs have an id that begins"
            raise ConfigError(
                f"{several if found else 'no run has an id that begins'} with '{start}'",
                where=self.url,
                expected=", ".join(one.id for one in (found or listed)[:5]) or "a run",
                fix="`harness runs` lists them",
            )
        return found[0]

    def note_run(self, item: Run) -> None:
        """Store a run, or what is known of it now."""
        values = {spec.name: getattr(item, spec.name) for spec in fields(Run)}
        self._put(run_table, ("id",), values)

    def health(self, run: str | None = None) -> list[StationHealth]:
        """Return what a run, or all runs, found when they checked the stations; oldest first."""
        query = select(health).order_by(health.c.checked_at, health.c.station)
        if run is not None:
            query = query.where(health.c.run == run)
        with self._read() as connection:
            return [StationHealth(**row) for row in connection.execute(query).mappings()]

    def note_health(self, item: StationHealth) -> None:
        """Store what a run found of a station."""
        values = {spec.name: getattr(item, spec.name) for spec in fields(StationHealth)}
        self._put(health, ("run", "station"), {**values, "source": item.source.value})

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

    def _put(self, table: Any, keys: Sequence[str], values: dict[str, Any]) -> None:
        """Insert a line, or replace the one with the same keys."""
        same = [table.c[name] == values[name] for name in keys]
        with translated(self._url, "write to"), self._begin(write=True) as connection:
            changed = connection.execute(update(table).where(*same).values(values))
            if not changed.rowcount:
                connection.execute(insert(table).values(values))

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
