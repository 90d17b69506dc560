"""Have all hosts agree which stations are disabled: notes of this host and of the store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.bench import Station
from harness.bench.disabled import Note, fingerprint, note_of, write_note
from harness.errors import ResultsError, StationDisabled
from harness.results.record import StationState

if TYPE_CHECKING:
    from harness.results.store import Store

_LOG = logging.getLogger(__name__)


def agree(stations: Iterable[Station], store: Store | None) -> Mapping[str, Note]:
    """Bring this host's notes and the store's to the newer of both; return them by station name.

    A station that another host disabled is disabled here too then, and one that another host
    checked since is not. Without a store, or where it cannot be used, which is logged, the notes
    are this host's.
    """
    listed = list(stations)
    try:
        return _agree(listed, store)
    except ResultsError as failure:
        _LOG.warning("which stations other hosts disabled is not known: %s", failure.what)
        return _agree(listed, None)


def tell(station: Station, failure: StationDisabled, store: Store) -> None:
    """Tell the store what the host of a station, this one or a farm's, says of it."""
    note, key = failure.data.get("note"), failure.data.get("key")
    if not isinstance(note, dict) or not isinstance(key, str):
        return
    try:
        store.note_station(_state(station, Note(**note), key))
    except ResultsError as failed:
        _LOG.warning("that %s is disabled is not in the store yet: %s", station.name, failed.what)


def _agree(stations: Iterable[Station], store: Store | None) -> Mapping[str, Note]:
    known = {} if store is None else {state.key: state for state in store.stations()}
    found = {}
    for station in stations:
        state = known.get(fingerprint(station))
        here, there = note_of(station), None if state is None else _note(state)
        if there is not None and (here is None or here.since < there.since):
            write_note(station, there)
            here = there
        elif here is not None and store is not None and here != there:
            store.note_station(_state(station, here, fingerprint(station)))
        if here is not None:
            found[station.name] = here
    return found


def _note(state: StationState) -> Note:
    since = state.since.isoformat(timespec="microseconds")
    disabled = state.state == "disabled"
    return Note(state.name, disabled, state.code, state.reason, since, state.host)


def _state(station: Station, note: Note, key: str) -> StationState:
    try:
        since = datetime.fromisoformat(note.since)
    except ValueError:  # of a note that cannot be read
        since = datetime.now(UTC)
    return StationState(
        key=key,
        name=station.name,
        board=station.board,
        probe=station.probe,
        host=note.host,
        state="disabled" if note.disabled else "ready",
        code=note.code,
        reason=note.reason,
        since=since,
    )
