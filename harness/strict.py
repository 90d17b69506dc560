"""Records to JSON, and parsed JSON or TOML to records; an unknown key is an error."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.errors import ConfigError, HarnessError

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_SHOWN = 8
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class Strict(BaseModel):
    """Base of every record that a user's file holds: frozen, no unknown keys, no coercion."""

    model_config = _STRICT


R = TypeVar("R")


def to_json(record: object) -> dict[str, Any]:
    """Return a dataclass or pydantic model as plain JSON values, by field name.

    Raises:
        ValueError: It holds NaN, an infinity or something that JSON has no form for.
    """
    data: dict[str, Any] = _adapter(type(record)).dump_python(
        (record,), mode="json", warnings="error"
    )[0]
    json.dumps(data, allow_nan=False)
    return data


def from_json(
    kind: type[R],
    data: object,
    *,
    where: str,
    error: type[HarnessError] = ConfigError,
    fix: str | None = None,
) -> R:
    """Build a frozen dataclass or pydantic model from parsed JSON or TOML.

    Args:
        kind: The record to build. A field without a default must be there.
        data: Parsed content, an object for most records.
        where: File name (and section) for messages.
        error: Branch of `HarnessError` to raise.
        fix: Advice of the message; by default, to correct `where`.

    Raises:
        HarnessError: Every problem at once: key path, value, what was expected.
    """
    try:
        # Through JSON, as strict mode then takes lists for tuples and strings for enumerations.
        record: R = _adapter(kind).validate_json(json.dumps([data], default=str))[0]
        return record
    except ValidationError as failure:
        problems = [_describe(kind, item) for item in failure.errors()]
    shown = problems[:_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more")
    raise error(
        shown[0] if len(shown) == 1 else "\n".join([f"{len(problems)} problems:", *shown]),
        where=where,
        fix=fix or f"correct {where} and run the command again",
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
    except UnicodeDecodeError as failure:
        raise error(
            f"{path} is not a text file: byte {failure.start} is no UTF-8",
            expected="a UTF-8 text file",
            fix="check the path",
        ) from None
    except OSError as failure:
        reason = failure.strerror or failure
        raise error(f"cannot read {path}: {reason}", fix="check the file") from None


def suggest(name: str, known: Sequence[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for a near miss of `name`, else an empty string."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        # In a tuple, as pydantic passes a configuration on to dataclasses, but takes none for one.
        _ADAPTERS[kind] = TypeAdapter(tuple[kind], config=_STRICT)
    return _ADAPTERS[kind]


def _describe(kind: Any, item: Any) -> str:
    location = item["loc"][1:]  # without the position in the tuple
    path = ".".join(str(part) for part in location if not str(part).startswith("function-"))
    path = path or "(top level)"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields_at(kind, location[:-1])
        hint = suggest(str(location[-1]), known)
        return f"unknown key '{path}'{hint or '; known: ' + ', '.join(sorted(known))}"
    if item["type"].startswith("missing"):
        return f"key '{path}' is missing"
    value = item.get("input")
    if item["type"] == "value_error" and not isinstance(value, str | int | float | bool | None):
        said = str(item["msg"]).removeprefix("Value error, ")  # about the record as a whole
        return f"{path}: {said}" if location else said
    if value is None:
        return f"key '{path}' is null: {item['msg']}"
    shown = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return f"key '{path}' is {shown[:80]}: {item['msg'].removeprefix('Value error, ')}"


def _fields_at(kind: type, location: Sequence[Any]) -> list[str]:
    """Return the keys that are known at `location` inside `kind`."""
    current: Any = kind
    for part in location:
        if not isinstance(part, int):
            found = (_hints(record).get(part) for record in _records_in(current))
            current = next((hint for hint in found if hint is not None), None)
    return [name for record in _records_in(current) for name in _hints(record)]


def _hints(record: Any) -> dict[str, Any]:
    if issubclass(record, BaseModel):
        return {name: field.annotation for name, field in record.model_fields.items()}
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in fields(record) if field.init}


def _records_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and (
        is_dataclass(annotation) or issubclass(annotation, BaseModel)
    ):
        return [annotation]
    return [
        record
        for argument in getattr(annotation, "__args__", ())
        for record in _records_in(argument)
    ]
