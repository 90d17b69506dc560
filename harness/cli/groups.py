"""Options that belong together travel as one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of each record among a command's parameters as options.

    A parameter annotated with a dataclass stands for its fields, whose annotations are Typer's;
    the command gets the record.
    """
    own = _parameters(command)
    kinds = {name: item.annotation for name, item in own.items()}
    records: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    if not records:
        return command
    fields = {name: _parameters(kind) for name, kind in records.items()}
    options = [
        option for name, item in own.items() for option in fields.get(name, {name: item}).values()
    ]

    def run(**values: Any) -> None:
        made = {
            name: kind(**{field: values.pop(field) for field in fields[name]})
            for name, kind in records.items()
        }
        command(**values, **made)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in options}
    return run


def _parameters(kind: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the parameters by name, with their annotations resolved.

    All are keyword-only, as a record with defaults may stand before a parameter without one.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: item.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, item in signature(kind).parameters.items()
    }
