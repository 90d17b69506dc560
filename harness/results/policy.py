"""What a gate lets pass: a margin and a direction for each figure, by model, board and source."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from harness.results.record import Measurement
from harness.strict import Strict, from_json, read_toml

Figure = Literal["latency", "layer", "arena", "sram", "flash", "stack", "outputs", "status"]
"""What is judged; ``layer`` is each layer's cycles, ``outputs`` whether they are bit-exact."""

Allow = Literal["better", "nothing", "anything"]
"""Which changes beyond the margin pass: better ones, none, or all."""


class Rule(Strict):
    """Margin and direction of the figures and rows that it names; a later rule overrides it."""

    figures: Annotated[tuple[Figure, ...], Field(min_length=1)]
    models: tuple[str, ...] = ("*",)  # names, with * and ?
    boards: tuple[str, ...] = ("*",)
    source: Literal["hardware", "emulated"] | None = None  # None: both
    margin: Annotated[float, Field(ge=0, lt=1)] | None = None  # None: as an earlier rule says
    allow: Allow | None = None

    def applies(self, figure: Figure, row: Measurement) -> bool:
        """Return whether the rule is about a figure of a row."""
        return (
            figure in self.figures
            and any(fnmatchcase(row.model_name or "", pattern) for pattern in self.models)
            and any(fnmatchcase(row.board, pattern) for pattern in self.boards)
            and self.source in (None, row.source.value)
        )


# A virtual board repeats itself to the cycle; on a real one (docs/hardware.md) the timed inferences
# of one image agree within a per mille, and a layer is timed once.
_DEFAULTS = (
    Rule(figures=("latency",), margin=0.01, allow="better"),
    Rule(figures=("layer",), margin=0.03, allow="better"),
    Rule(figures=("arena", "sram", "flash", "stack"), margin=0.01, allow="better"),
    Rule(figures=("outputs", "status"), margin=0.0, allow="better"),
    Rule(figures=("latency", "layer"), source="emulated", margin=0.005),
)


class Policy(Strict):
    """A policy file: rules, the last that fits counts."""

    rules: tuple[Rule, ...] = ()
    # A layer that takes a smaller share of its network's cycles is not judged by itself
    least_layer_share: Annotated[float, Field(ge=0, lt=1)] = 0.01

    def limit(self, figure: Figure, row: Measurement) -> tuple[float, Allow]:
        """Return margin and what passes beyond it, for a figure of a row."""
        margin: float = 0.0
        allow: Allow = "better"
        for rule in (*_DEFAULTS, *self.rules):
            if rule.applies(figure, row):
                margin = margin if rule.margin is None else rule.margin
                allow = rule.allow or allow
        return margin, allow


def read_policy(path: Path) -> Policy:
    """Read a policy file; raise `ConfigError` if it is missing or wrong."""
    return from_json(Policy, read_toml(path), where=str(path))
