"""Counts of a network, from which fits predict its cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.backbones import Architecture, Backbone
from harness.fit.features import count_features


class Counts(NamedTuple):
    """Counts of a network, or expected ones of a supernet: numbers, or float64 tensors."""

    ops: Any  # operations, two for each multiply-accumulate
    parameters: Any  # weights and biases, in elements
    working_memory_bytes: Any  # maximum over nodes of inputs + outputs
    # Of the layers, by name; see `harness.fit.features.FEATURES`. Empty where they were not wanted.
    features: Mapping[str, Any]

    def numbers(self) -> Counts:
        """Return the counts as floats."""
        features = {name: float(value) for name, value in self.features.items()}
        return Counts(
            float(self.ops), float(self.parameters), float(self.working_memory_bytes), features
        )


def counts_of(backbone: Backbone, architecture: Architecture, *, features: bool = True) -> Counts:
    """Return the counts of one network; without `features` in half the time."""
    cost = backbone.cost(architecture)
    found = count_features(backbone.layers(architecture)) if features else {}
    return Counts(cost.ops, cost.parameters, cost.working_memory_bytes, found)
