"""Find a backbone by name: the harness's own, and those of installed packages.

A package offers backbones by entry points of the group ``harness.backbones``, each of which names a
`Backbone` and has its name. The harness's own are found without looking for packages; a package is
imported when its backbone is asked for.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from harness.backbones import ds_cnn, mobilenet_v2
from harness.backbones.backbone import Backbone
from harness.errors import BackboneError

GROUP = "harness.backbones"
"""The entry point group."""

_MILLION = 1_000_000
_SPACE = (
    "slots", "with_classes", "with_resolution", "normalize", "layers", "propose", "input_shape"
)  # fmt: skip
_OWN = {
    backbone.name: backbone
    for backbone in (
        Backbone("ds_cnn_kws", "keyword spotting", ds_cnn.KWS, 12, True, 2 * _MILLION, 5),
        Backbone(
            "mobilenet_v2_vww", "visual wake words", mobilenet_v2.VWW, 2, False, 4 * _MILLION, 5
        ),
        Backbone("ds_cnn_ad", "anomaly detection", ds_cnn.AD, 4, True, 4 * _MILLION, 5),
        Backbone(
            "ds_cnn_ad_3x3", "anomaly detection, first convolution 3×3", ds_cnn.AD_3X3,
            4, True, 4 * _MILLION, 5,
        ),
        Backbone("ds_cnn_ic", "image classification", ds_cnn.IC, 10, False, 2 * _MILLION, 5),
    )
}  # fmt: skip


def own_names() -> tuple[str, ...]:
    """Return the names of the harness's own backbones."""
    return tuple(_OWN)


def backbone_names() -> tuple[str, ...]:
    """Return the names of all backbones: the harness's own, then those of packages, sorted."""
    return (*_OWN, *sorted(set(_offered()) - set(_OWN)))


@lru_cache(maxsize=64)
def get_backbone(name: str) -> Backbone:
    """Return the backbone called `name`.

    Raises:
        BackboneError: There is none (suggests the near miss), or the package that offers it is
            broken.
    """
    if name in _OWN:
        return _OWN[name]
    points = _offered().get(name)
    if not points:
        from harness.strict import suggest  # pydantic: only when there is something to say

        names = backbone_names()
        raise BackboneError(
            f"unknown backbone '{name}'{suggest(name, names)}", expected=", ".join(names)
        )
    if len(points) > 1:
        raise BackboneError(
            f"several packages offer a backbone '{name}': {', '.join(map(_package, points))}",
            expected="one",
            fix="uninstall the others",
        )
    return _load(points[0])


def shadowed() -> tuple[BackboneError, ...]:
    """Return a complaint for each backbone of a package that has the name of the harness's own."""
    return tuple(
        BackboneError(
            f"{_package(point)} offers a backbone '{name}', which is the harness's own",
            expected="another name",
            fix=f"rename it, or uninstall {_package(point)}",
        )
        for name, points in _offered().items()
        if name in _OWN
        for point in points
    )


def forget() -> None:
    """Look for packages again: one was installed or removed in this process."""
    _offered.cache_clear()
    get_backbone.cache_clear()


@lru_cache(maxsize=1)
def _offered() -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in dict.fromkeys(entry_points(group=GROUP)):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _load(point: EntryPoint) -> Backbone:
    where = f"{_package(point)}, entry point {point.name} = {point.value}"
    try:
        backbone = point.load()
    except Exception as failure:  # whatever the package's own code raises
        raise BackboneError(
            f"backbone '{point.name}' cannot be loaded: {type(failure).__name__}: {failure}",
            where=where,
            expected="module:NAME of a harness.backbones.Backbone",
            fix=f"correct or uninstall {_package(point)}",
        ) from failure
    problem = _problem(point.name, backbone)
    if problem is not None:
        raise BackboneError(
            f"backbone '{point.name}' {problem}",
            where=where,
            expected="a harness.backbones.Backbone of that name with a space",
            fix=f"correct or uninstall {_package(point)}",
        )
    return backbone  # type: ignore[no-any-return]


def _problem(name: str, backbone: object) -> str | None:
    if not isinstance(backbone, Backbone):
        return f"is of type {type(backbone).__name__}"
    if backbone.name != name:
        return f"calls itself '{backbone.name}'"
    missing = [method for method in _SPACE if not hasattr(backbone.space, method)]
    return f"has a space without {', '.join(missing)}" if missing else None


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
