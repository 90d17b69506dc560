"""Ask a backbone for the layers that its networks share."""

from __future__ import annotations

from harness.backbones import Backbone
from harness.backbones.layers import Shape
from harness.backbones.skeleton import Skeleton
from harness.backbones.space import SearchSpace
from harness.errors import BackboneError, SearchError


def search_space(backbone: Backbone) -> SearchSpace:
    """Return the space of a backbone that can be searched.

    Raises:
        SearchError: It can only be sampled.
    """
    space = backbone.space
    if not isinstance(space, SearchSpace):
        raise SearchError(
            f"backbone '{backbone.name}' has no supernet, so it cannot be searched",
            expected="a space with the methods `skeleton` and `hand_designed`",
            fix="sample and measure its networks, or search another backbone",
        )
    return space


def skeleton_of(backbone: Backbone, input_shape: Shape) -> Skeleton:
    """Return the skeleton of `backbone` for inputs of one shape.

    Raises:
        SearchError: The backbone has no input of this shape, or cannot be searched.
    """
    try:
        return search_space(backbone).skeleton(input_shape)
    except BackboneError as failure:
        raise SearchError(
            f"the data has inputs of {input_shape}, which {backbone.name} does not take",
            expected=failure.expected,
        ) from None
