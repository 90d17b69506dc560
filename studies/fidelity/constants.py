"""Read the constants of the timing models from their code: name, value, and source beside it."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

_CITED = re.compile(r"^- (\[[A-Z]+\] .*?)(?=^- |^\S|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Constant:
    """One number of a model.

    Attributes:
        name: As in the code.
        value: As in the code.
        source: The comment on its line: what it is, and the letter of where it is from.
    """

    name: str
    value: str
    source: str


def constants_of(module: ModuleType) -> Iterator[Constant]:
    """Yield the public numbers that a module assigns, in its order.

    Raises:
        ValueError: One has no comment.
    """
    code = inspect.getsource(module)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.parse(code).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if not name.isupper() or name.startswith("_"):
            continue
        value = getattr(module, name)
        if not isinstance(value, (int, dict)):
            continue
        if node.lineno not in comments:
            raise ValueError(f"{module.__name__}.{name} does not say where it is from")
        yield Constant(name, ast.unparse(node.value), comments[node.lineno])


def sources_of(module: ModuleType) -> list[str]:
    """Return what the letters in a module's comments stand for, one line each."""
    found = _CITED.findall(inspect.getdoc(module) or "")
    return [" ".join(item.split()).rstrip(";") for item in found]
