"""Say why no row matches: which condition fails, and what the store has instead."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.results.store import Filter
from harness.strict import suggest

if TYPE_CHECKING:
    from harness.results.store import Store

_SHOWN = 8
_OF_CONFIGURATION = ("board", "source", "backbone", "runtime", "kernels", "optimization")


def nothing_matches(store: Store, where: Filter) -> ConfigError:
    """Return the error for conditions that no row meets.

    It names the first value that no row has, with those that rows have; or all conditions, where
    rows meet each but none meets all.
    """
    asked: dict[str, Any] = {
        spec.name: value
        for spec in fields(where)
        if (value := getattr(where, spec.name)) is not None
    }
    for name, value in asked.items():
        alone: dict[str, Any] = {name: value}
        if isinstance(value, str) and not store.count(Filter(**alone)):
            known = _known(store, name)
            listed = [f"{word} ({rows:,} rows)" for word, rows in known.most_common(_SHOWN)]
            more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
            return ConfigError(
                f"no row has {_words(name)} '{value}'{suggest(value, list(known))}",
                where=store.url,
                expected=", ".join(listed) + more if listed else f"rows with a {_words(name)}",
                fix="`harness results` lists the rows",
            )
    conditions = ", ".join(f"{_words(name)} {value}" for name, value in asked.items())
    return ConfigError(
        f"no row has {conditions}" if asked else "the store has no rows",
        where=store.url,
        expected="rows that have all of it" if len(asked) > 1 else None,
        fix="leave one out, or measure with `harness run`" if asked else "measure: `harness run`",
    )


def _known(store: Store, name: str) -> Counter[str]:
    cell = name not in _OF_CONFIGURATION
    table = store.table(Filter(), (name,) if cell else ("key",))
    found = table[name].tolist() if cell else table.facts(name)
    return Counter(str(value) for value in found if value is not None)


def _words(name: str) -> str:
    return {"model_name": "model"}.get(name, name)
