"""Options that belong together travel as one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of each record among a command's parameters as options.

    A parameter annotated with a dataclass stands for its fields, whose annotations are Typer's;
    the command gets the record.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    if not records:
        return command
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name not in records:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        annotations = get_type_hints(records[name], include_extras=True)
        for item in fields(records[name]):
            default = Parameter.empty if item.default is MISSING else item.default
            parameters.append(
                Parameter(
                    item.name,
                    Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=annotations[item.name],
                )
            )

    def run(**values: Any) -> None:
        made = {
            name: kind(**{item.name: values.pop(item.name) for item in fields(kind)})
            for name, kind in records.items()
        }
        command(**values, **made)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    # Keyword-only for all, as a record with defaults may stand before a parameter without one.
    plain = [item.replace(kind=Parameter.KEYWORD_ONLY) for item in parameters]
    run.__signature__ = Signature(plain)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in plain}
    return run
