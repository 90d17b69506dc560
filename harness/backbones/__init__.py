"""Search spaces: sample a network, know what it costs, build it.

Light to import: numpy and TensorFlow are loaded by the methods that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.backbones.architecture import Architecture, parse_architecture
from harness.backbones.backbone import WIDTH_STEP, Backbone
from harness.backbones.layers import Cost, LayerSpec
from harness.backbones.space import Limits
from harness.errors import BackboneError

__all__ = [
    "WIDTH_STEP",
    "Architecture",
    "Backbone",
    "Cost",
    "LayerSpec",
    "Limits",
    "architecture_from_json",
    "backbone_names",
    "get_backbone",
]

_MILLION = 1_000_000


@lru_cache(maxsize=1)
def _all() -> dict[str, Backbone]:
    from harness.backbones import ds_cnn, mobilenet_v2

    backbones = (
        Backbone("ds_cnn_kws", "keyword spotting", ds_cnn.KWS, 12, True, 2 * _MILLION, 5),
        Backbone(
            "mobilenet_v2_vww", "visual wake words", mobilenet_v2.VWW, 2, False, 4 * _MILLION, 5
        ),
        Backbone("ds_cnn_ad", "anomaly detection", ds_cnn.AD, 4, True, 4 * _MILLION, 5),
    )
    return {backbone.name: backbone for backbone in backbones}


def backbone_names() -> tuple[str, ...]:
    """Return the names of all backbones."""
    return tuple(_all())


def get_backbone(name: str) -> Backbone:
    """Return the backbone called `name`.

    Raises:
        BackboneError: There is none; suggests the near miss.
    """
    try:
        return _all()[name]
    except KeyError:
        from harness.strict import suggest  # pydantic: only when there is something to say

        raise BackboneError(
            f"unknown backbone '{name}'{suggest(name, backbone_names())}",
            expected=", ".join(backbone_names()),
        ) from None


def architecture_from_json(data: str | Mapping[str, Any]) -> Architecture:
    """Read an architecture of the backbone that it names.

    Raises:
        BackboneError: It is malformed or outside its search space.
    """
    name, decisions = parse_architecture(data)
    return get_backbone(name).architecture(**decisions)
