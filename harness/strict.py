"""Turn parsed JSON or TOML into frozen records; unknown keys are errors with a suggestion."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ConfigError


class Strict(BaseModel):
    """Base of every record that is read from a file: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


M = TypeVar("M", bound=BaseModel)


def parse(
    record: type[M],
    data: Mapping[str, Any],
    *,
    where: str,
    error: type[ConfigError] = ConfigError,
) -> M:
    """Build `record` from `data`.

    Args:
        record: The pydantic model to build.
        data: Parsed file content.
        where: File name (and section) for messages.
        error: The `ConfigError` branch to raise.

    Raises:
        ConfigError: Every problem at once: key path, value, what was expected.
    """
    try:
        # Through JSON, as strict mode then takes lists for tuples and strings for enumerations.
        return record.model_validate_json(json.dumps(data, default=str))
    except ValidationError as failure:
        problems = [_describe(record, item) for item in failure.errors()]
    shown = problems[:8]
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more")
    raise error(
        shown[0] if len(shown) == 1 else "\n".join([f"{len(problems)} problems:", *shown]),
        where=where,
        fix=f"correct {where} and run the command again",
        problems=problems,
    )


def read_toml(path: Path, *, error: type[ConfigError] = ConfigError) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: The file is missing, unreadable or not TOML (with line and column).
    """
    text = read_text(path, error=error)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise error(
            f"not valid TOML: {failure}", where=str(path), fix="correct the line named above"
        ) from None


def read_text(path: Path, *, error: type[ConfigError] = ConfigError) -> str:
    """Read a small UTF-8 text file.

    Raises:
        ConfigError: It is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"no such file: {path}", fix="check the path") from None
    except (OSError, UnicodeDecodeError) as failure:
        raise error(f"cannot read {path}: {failure}", fix="check the file") from None


def suggest(name: str, known: Sequence[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for a near miss of `name`, else an empty string."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _describe(record: type[BaseModel], item: Any) -> str:
    location = [part for part in item["loc"] if not _is_tag(part)]
    path = ".".join(str(part) for part in location) or "(top level)"
    if item["type"] == "extra_forbidden":
        known = _fields_at(record, item["loc"][:-1])
        hint = suggest(str(item["loc"][-1]), known)
        return f"unknown key '{path}'{hint or '; known: ' + ', '.join(sorted(known))}"
    if item["type"] == "missing":
        return f"key '{path}' is missing"
    value = item.get("input")
    shown = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return f"key '{path}' is {shown}: {item['msg'].removeprefix('Value error, ')}"


def _is_tag(part: object) -> bool:
    return isinstance(part, str) and part.startswith("function-")


def _fields_at(record: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Return the keys that are known at `location` inside `record`."""
    current: Any = record
    for part in location:
        if isinstance(part, int):
            continue
        fields = _models_in(current)
        current = next(
            (model.model_fields[part].annotation for model in fields if part in model.model_fields),
            None,
        )
    names = [name for model in _models_in(current) for name in model.model_fields]
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for argument in getattr(annotation, "__args__", ()):
        found.extend(_models_in(argument))
    return found
