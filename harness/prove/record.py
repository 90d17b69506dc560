"""What the proof of a bench leaves: steps, and a report without anything private."""

from __future__ import annotations

import getpass
import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "note", "failed", "skipped"]
FORMAT = 1
"""Version of the report's layout."""
_SHORTEST_NAME = 3  # a shorter one would be found inside of words


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the proof."""

    name: str
    status: Status
    what: str  # in one line, for people
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None  # error code of a failed step
    fix: str | None = None
    log: str | None = None  # end of the console's log of a failed step


@dataclass(frozen=True, slots=True)
class Report:
    """All steps on one station."""

    board: str
    source: str  # ``hardware`` or ``emulated``
    created: str  # in ISO 8601, UTC
    software: Mapping[str, str | None]  # versions of what was used
    steps: tuple[Step, ...]
    private: Mapping[str, str] = field(default_factory=dict)  # what is not passed on, and its name

    @property
    def failed(self) -> tuple[Step, ...]:
        """Steps that failed, in order."""
        return tuple(step for step in self.steps if step.status == "failed")

    def to_json(self) -> dict[str, Any]:
        """Return the report with everything private replaced by ``<its name>``."""
        hidden = dict(sorted(self.private.items(), key=lambda item: -len(item[0])))
        content = {
            "format": FORMAT,
            "board": self.board,
            "source": self.source,
            "created": self.created,
            "software": self.software,
            "failed": [step.name for step in self.failed],
            "steps": [asdict(step) for step in self.steps],
        }
        found: dict[str, Any] = _redacted(content, hidden)
        return found


def private_values(*, station: str, probe: str, serial: str, uid: str | None) -> dict[str, str]:
    """Return what a report must not hold, and what stands for it there."""
    values = {probe: "probe", serial: "serial", station: "station"}
    if uid:
        values[uid] = "chip"
    values |= {str(Path.cwd()): "folder", str(Path.home()): "home", platform.node(): "host"}
    with suppress(KeyError, OSError):  # a user without a name
        values[getpass.getuser()] = "user"
    return {value: name for value, name in values.items() if len(value) >= _SHORTEST_NAME}


def fingerprint(serial_number: str) -> str:
    """Return a hash that tells devices apart without naming them."""
    return hashlib.sha256(f"tinyml-harness:{serial_number}".encode()).hexdigest()[:12]


def _redacted(value: Any, hidden: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for text, name in hidden.items():
            value = value.replace(text, f"<{name}>")
        return value
    if isinstance(value, Mapping):
        return {key: _redacted(item, hidden) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, hidden) for item in value]
    return value
