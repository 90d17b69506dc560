"""`harness sample`: architectures of a backbone, with their cost, optionally converted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Json
from harness.cli.output import note, print_json, print_rows, print_table
from harness.errors import ConfigError
from harness.files import draft_of

if TYPE_CHECKING:
    from harness.backbones import Architecture

_COSTS = ("macs", "ops", "parameters", "working_memory_bytes")
_HEADS = ("id", "MACs", "ops", "parameters", "working memory")


def sample(
    backbone: Annotated[
        str | None, typer.Argument(help="Backbone; without one, the backbones are listed.")
    ] = None,
    count: int = typer.Option(10, "-n", "--samples", min=1, help="How many."),
    seed: int = typer.Option(0, min=0, help="Seed."),
    first: int = typer.Option(0, min=0, help="Index of the first sample."),
    named: Annotated[
        list[str] | None,
        typer.Option(
            "--named",
            help="Instead of samples: this published network; may be repeated.",
            show_default=False,
        ),
    ] = None,
    list_named: bool = typer.Option(
        False, "--list-named", help="List the published networks, of BACKBONE where it is given."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Also convert each to int8 .tflite here."
    ),
    json: Json = False,
) -> None:
    """Sample architectures; the same seed gives the same ones on every machine.

    Weights are random, those of published networks as well.
    """
    from harness.backbones import get_backbone, get_named

    if list_named:
        _list_named(backbone, json=json)
        return
    if named:
        if backbone is not None:
            raise typer.BadParameter("name a backbone to sample from, or --named networks")
        found = [(name, get_named(name).architecture) for name in named]
        rows = [
            {"name": name, **_row(architecture, seed, out, name)} for name, architecture in found
        ]
        _print("published networks", ("name", *_HEADS), rows, out, json=json)
        return
    if backbone is None:
        _list(json=json)
        return
    chosen = get_backbone(backbone)
    samples = [(index, chosen.sample(seed, index)) for index in range(first, first + count)]
    rows = [{"index": index, **_row(architecture, seed, out)} for index, architecture in samples]
    _print(f"{backbone}, seed {seed}", ("index", *_HEADS), rows, out, json=json)


def _row(
    architecture: Architecture, seed: int, out: Path | None, name: str | None = None
) -> dict[str, Any]:
    from harness.backbones import get_backbone

    cost = get_backbone(architecture.backbone).cost(architecture)
    row = {
        "id": architecture.id,
        **{figure: getattr(cost, figure) for figure in _COSTS},
        "architecture": architecture.to_json(),
    }
    if out is not None:
        row["path"] = str(_convert(architecture, seed, out, name))
    return row


def _print(
    title: str,
    heads: Sequence[str],
    rows: Sequence[dict[str, Any]],
    out: Path | None,
    *,
    json: bool,
) -> None:
    if json:
        print_json(rows)
        return
    print_table(title, heads, [tuple(row.values())[: len(heads)] for row in rows])
    if out is not None:
        note(f"{len(rows)} models in {out}")


def _list(*, json: bool) -> None:
    """List the backbones; one of a package that is broken is named on stderr."""
    from harness.backbones import backbone_names, get_backbone, shadowed
    from harness.errors import BackboneError

    rows = []
    broken = list(shadowed())
    for name in backbone_names():
        try:
            rows.append((name, get_backbone(name).task))
        except BackboneError as failure:
            broken.append(failure)
    print_rows("Backbones", ("backbone", "task"), rows, json=json)
    for problem in broken:
        note(str(problem))


def _list_named(backbone: str | None, *, json: bool) -> None:
    from harness.backbones import get_backbone, named_networks

    space = None if backbone is None else get_backbone(backbone).name
    rows = []
    for network in named_networks():
        if space in (None, network.backbone):
            cost = get_backbone(network.backbone).cost(network.architecture)
            rows.append(
                {
                    "name": network.name,
                    "backbone": network.backbone,
                    "macs": cost.macs,
                    "parameters": cost.parameters,
                    "mops": cost.ops / 1e6,
                    "published_mops": network.published_mops,
                    "published_score": network.published_score,
                    "metric": network.metric,
                    "source": network.source,
                    "differs": network.differs,
                    "architecture": network.architecture.to_json(),
                }
            )
    if json:
        print_json(rows)
        return
    print_table(
        "Published networks",
        ("name", "backbone", "MACs", "parameters", "Mops", "published Mops", "published", "metric"),
        [(*list(row.values())[:4], *_published(row)) for row in rows],
    )
    note("published: int8, trained on the full data set by its authors; not measured here")
    for source in dict.fromkeys(row["source"] for row in rows):
        note(f"source: {source}")
    for row in rows:
        if row["differs"]:
            note(f"{row['name']}: {row['differs']}")


def _published(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['mops']:.1f}",
        f"{row['published_mops']:.1f}",
        f"{row['published_score']:.2f}",
        row["metric"],
    )


def _convert(architecture: Architecture, seed: int, folder: Path, name: str | None) -> Path:
    from harness.campaign.prepare import convert
    from harness.campaign.specs import ModelSpec

    name = name or f"{architecture.backbone}-{architecture.id}"
    path = folder / f"{name}.tflite"
    content = convert(ModelSpec(name=name, seed=seed, architecture=architecture))
    with draft_of(path, what="model", error=ConfigError) as draft:
        draft.write_bytes(content)
    return path
