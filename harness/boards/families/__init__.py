"""One module per family of chips: the facts that only its boards have.

A family's module defines ``Facts``, a `HarnessFacts` whose clock, console and chip are the family's
own. What several families share is beside this folder (`harness.boards.stm32`).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from harness.boards.model import HarnessFacts


@cache
def families() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return tuple(sorted(module.name for module in iter_modules(__path__)))


def facts_of(family: str) -> type[HarnessFacts]:
    """Return the class of a family's facts; `family` is one of `families`."""
    found: type[HarnessFacts] = import_module(f"{__name__}.{family}").Facts
    return found
