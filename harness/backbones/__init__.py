"""Search spaces: sample a network, know what it costs, build it.

Light to import: numpy and TensorFlow are loaded by the methods that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.backbones.architecture import Architecture, parse_architecture
from harness.backbones.backbone import WIDTH_STEP, Backbone
from harness.backbones.layers import Cost, LayerChain, LayerSpec
from harness.backbones.named import NamedNetwork, get_named, named_networks
from harness.backbones.registry import backbone_names, get_backbone, own_names, shadowed
from harness.backbones.space import Limits, SearchSpace, Space

__all__ = [
    "WIDTH_STEP",
    "Architecture",
    "Backbone",
    "Cost",
    "LayerChain",
    "LayerSpec",
    "Limits",
    "NamedNetwork",
    "SearchSpace",
    "Space",
    "architecture_from_json",
    "backbone_names",
    "get_backbone",
    "get_named",
    "named_networks",
    "own_names",
    "shadowed",
]


def architecture_from_json(data: str | Mapping[str, Any]) -> Architecture:
    """Read an architecture of the backbone that it names.

    Raises:
        BackboneError: It is malformed or outside its search space.
    """
    name, decisions = parse_architecture(data)
    return get_backbone(name).architecture(**decisions)
