"""Set a station aside that keeps failing, until somebody has looked at it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.bench.station import Station
from harness.errors import HarnessError, StationQuarantined
from harness.files import draft_of
from harness.paths import cache_dir


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a station is set aside.

    Attributes:
        station: Its name.
        code: Code of the last failure.
        reason: What it said.
        since: When, in ISO 8601.
    """

    station: str
    code: str
    reason: str
    since: str


def set_aside(station: Station, failure: HarnessError) -> StationQuarantined:
    """Set a station aside for every later run; return the error that says so."""
    entry = Quarantine(
        station.name, failure.code, failure.what, datetime.now(UTC).isoformat(timespec="seconds")
    )
    path = _path(station)
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        draft.write_text(json.dumps(asdict(entry)), encoding="utf-8")
    return _error(station, entry)


def quarantine_of(station: Station) -> Quarantine | None:
    """Return why a station is set aside, None where it is not."""
    try:
        return Quarantine(**json.loads(_path(station).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        # An unreadable note still says that the station was set aside.
        return Quarantine(station.name, "unknown", "its note cannot be read", "an unknown time")


def check_quarantine(station: Station) -> None:
    """Refuse a station that is set aside.

    Raises:
        StationQuarantined: It is; says why and since when.
    """
    entry = quarantine_of(station)
    if entry is not None:
        raise _error(station, entry)


def bring_back(station: Station) -> bool:
    """Let a station be used again; return whether it was set aside."""
    path = _path(station)
    known = path.exists()
    path.unlink(missing_ok=True)
    return known


def _error(station: Station, entry: Quarantine) -> StationQuarantined:
    return StationQuarantined(
        f"station '{station.name}' is set aside since {entry.since}: {entry.reason} "
        f"(error[{entry.code}])",
        where=f"probe {station.probe}, {station.serial}",
        fix=f"mend it; `harness bench check {station.name}` brings it back once it finds no error",
        station=station.name,
        reason=entry.code,
    )


def _path(station: Station) -> Path:
    # By probe and port: another cable is another attempt, and so is a virtual board without faults.
    text = f"{station.probe}\n{station.serial}"
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    return cache_dir() / "quarantine" / f"{name}.json"
