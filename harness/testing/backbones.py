"""Check that a backbone keeps what the harness relies on; for the tests of your own."""

from __future__ import annotations

from harness.backbones import Architecture, Backbone, LayerSpec, SearchSpace
from harness.backbones.draw import Draw
from harness.backbones.layers import Shape
from harness.backbones.skeleton import Skeleton, SuperConv
from harness.backbones.space import FULL_SCALE

_TAIL = 3  # pool, classifier, reshape
_Row = tuple[object, ...]


def check_backbone(backbone: Backbone, samples: int = 8) -> None:
    """Check samples of a backbone: decisions, layers, cost, and the skeleton where it has one.

    Needs no TensorFlow.

    Raises:
        AssertionError: Says which network breaks which rule.
    """
    other = backbone.with_classes(backbone.classes + 1)
    for index in range(samples):
        network = backbone.sample(0, index)
        where = f"{backbone.name}, sample {index} of seed 0"
        layers = backbone.layers(network)
        _require(backbone.from_json(network.dumps()) == network, where, "is another after JSON")
        _check_chain(backbone, network, layers, where)
        _require(
            other.layers(network)[:-_TAIL] == layers[:-_TAIL]
            and other.layers(network)[-1].output_shape[2] == backbone.classes + 1,
            where,
            "with another number of classes differs in more than the classifier",
        )
        at = backbone.space.propose(Draw(0, index), 4)
        costs = [
            backbone.cost(backbone.architecture(**at(FULL_SCALE * part // 8))).macs
            for part in range(1, 33)
        ]
        _require(costs == sorted(costs), where, "is proposed cheaper at a larger scale")
        if isinstance(backbone.space, SearchSpace):
            skeleton = backbone.space.skeleton(backbone.input_shape_of(network))
            expected = _of_skeleton(skeleton, network)
            found = [_row(layer) for layer in layers[:-_TAIL]]
            _require(found == expected, where, f"has layers {found}, its skeleton {expected}")
    if isinstance(backbone.space, SearchSpace):
        _check_hand_designed(backbone, backbone.space)


def _check_chain(
    backbone: Backbone, network: Architecture, layers: tuple[LayerSpec, ...], where: str
) -> None:
    shape = backbone.input_shape_of(network)
    outputs: dict[str, Shape] = {}
    for layer in layers:
        _require(layer.name not in outputs, where, f"has two layers '{layer.name}'")
        _require(
            layer.input_shape == shape, where, f"gives {shape} to a '{layer.name}' for another"
        )
        if layer.adds is not None:
            _require(outputs.get(layer.adds) == shape, where, f"cannot add '{layer.adds}'")
        outputs[layer.name] = shape = layer.output_shape
    _require(
        layers[-1].operator == "RESHAPE" and shape == (1, 1, backbone.classes),
        where,
        f"ends with {layers[-1].operator} of {shape}, not with RESHAPE to the classes",
    )


def _check_hand_designed(backbone: Backbone, space: SearchSpace) -> None:
    skeleton = space.skeleton(backbone.input_shape)
    optional = {block.index for block in skeleton.blocks if block.optional}
    depths = space.hand_designed()
    where = f"{backbone.name}, hand_designed"
    _require(bool(depths), where, "names no network")
    for kept in depths:
        _require(kept <= optional, where, f"keeps {set(kept - optional)}, which are not optional")


def _of_skeleton(skeleton: Skeleton, network: Architecture) -> list[_Row]:
    """Return the layers that a network of the skeleton has."""
    rows: list[_Row] = []
    channels = skeleton.input_shape[2]

    def conv(item: SuperConv) -> None:
        nonlocal channels
        if item.width is not None:
            channels = network[item.width[0]][item.width[1]]
        operator = "DEPTHWISE_CONV_2D" if item.depthwise else "CONV_2D"
        rows.append((operator, item.name, item.kernel, item.stride, item.activation, channels))

    conv(skeleton.stem)
    for block in skeleton.blocks:
        before = channels
        if not block.optional or network[block.decisions[-1]][block.index]:
            for item in block.convs:
                conv(item)
            if block.residual and channels == before:
                rows.append(("ADD",))
        elif block.stride > 1:
            rows.append(("AVERAGE_POOL_2D", (block.stride, block.stride), block.stride))
    if skeleton.head:
        conv(skeleton.head)
    return rows


def _row(layer: LayerSpec) -> _Row:
    if layer.operator == "ADD":
        return ("ADD",)
    if layer.operator == "AVERAGE_POOL_2D":
        return (layer.operator, layer.kernel, layer.stride)
    return (
        layer.operator, layer.name, layer.kernel, layer.stride, layer.activation,
        layer.output_shape[2],
    )  # fmt: skip


def _require(holds: bool, where: str, problem: str) -> None:
    if not holds:
        raise AssertionError(f"{where}: {problem}")
