"""One network of a search space, as its decisions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Architecture:
    """One point of a backbone's search space.

    Made and checked by `Backbone.architecture`, `Backbone.sample` or `Backbone.from_json`.
    """

    backbone: str  # name of the backbone
    # Pairs of decision name and its values, in the backbone's order. Widths are channel counts; a
    # block of width 0 is skipped.
    decisions: tuple[tuple[str, tuple[int, ...]], ...]

    def __getitem__(self, decision: str) -> tuple[int, ...]:
        for name, values in self.decisions:
            if name == decision:
                return values
        raise KeyError(decision)

    @property
    def id(self) -> str:
        """Content hash: equal for equal networks of one backbone, on every machine."""
        return hashlib.sha256(self.dumps().encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"backbone": name, "decisions": {name: [int, ...]}}``."""
        return {
            "backbone": self.backbone,
            "decisions": {name: list(values) for name, values in self.decisions},
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """Let `harness.strict` read and write this form where a record holds an architecture."""
        from pydantic_core import core_schema

        from harness.backbones import architecture_from_json

        return core_schema.no_info_plain_validator_function(
            architecture_from_json,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_json),
        )

    def dumps(self) -> str:
        """Return the canonical JSON text that `id` is the hash of."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))


def parse_architecture(data: str | Mapping[str, Any]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Read backbone name and raw decisions from JSON text or an already parsed object.

    Raises:
        BackboneError: It is not JSON, a key is missing or unknown, or a value is no integer.
    """
    expected = '{"backbone": NAME, "decisions": {NAME: [int, ...]}}'
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except json.JSONDecodeError as failure:
            raise BackboneError(f"architecture is not JSON: {failure}", expected=expected) from None
    if not isinstance(data, Mapping) or set(data) != {"backbone", "decisions"}:
        shown = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise BackboneError(f"architecture has the wrong keys: {shown}", expected=expected)
    name, decisions = data["backbone"], data["decisions"]
    if not isinstance(name, str) or not isinstance(decisions, Mapping):
        raise BackboneError("architecture has values of the wrong type", expected=expected)
    parsed: dict[str, tuple[int, ...]] = {}
    for key, values in decisions.items():
        if not isinstance(values, Sequence) or not all(type(value) is int for value in values):
            raise BackboneError(
                f"decision '{key}' of {name} is {values!r}", expected="a list of integers"
            )
        parsed[str(key)] = tuple(values)
    return name, parsed
