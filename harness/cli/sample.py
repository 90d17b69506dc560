"""`harness sample`: architectures of a backbone, with their cost, optionally converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json
from harness.cli.output import note, print_json, print_rows, print_table

if TYPE_CHECKING:
    from harness.backbones import Architecture

_COSTS = ("macs", "ops", "parameters", "working_memory_bytes")


def sample(
    backbone: Annotated[
        str | None, typer.Argument(help="Backbone; without one, the backbones are listed.")
    ] = None,
    count: int = typer.Option(10, "-n", "--samples", min=1, help="How many."),
    seed: int = typer.Option(0, min=0, help="Seed."),
    first: int = typer.Option(0, min=0, help="Index of the first sample."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Also convert each to int8 .tflite here."
    ),
    json: Json = False,
) -> None:
    """Sample architectures; the same seed gives the same ones on every machine."""
    from harness.backbones import backbone_names, get_backbone

    if backbone is None:
        names = [(name, get_backbone(name).task) for name in backbone_names()]
        print_rows("Backbones", ("backbone", "task"), names, json=json)
        return
    chosen = get_backbone(backbone)
    rows = []
    for index in range(first, first + count):
        architecture = chosen.sample(seed, index)
        cost = chosen.cost(architecture)
        rows.append(
            {
                "index": index,
                "id": architecture.id,
                **{name: getattr(cost, name) for name in _COSTS},
                "architecture": architecture.to_json(),
            }
        )
        if out is not None:
            rows[-1]["path"] = str(_convert(architecture, seed, out))
    if json:
        print_json(rows)
        return
    print_table(
        f"{backbone}, seed {seed}",
        ("index", "id", "MACs", "ops", "parameters", "working memory"),
        [tuple(row.values())[:6] for row in rows],
    )
    if out is not None:
        note(f"{len(rows)} models in {out}")


def _convert(architecture: Architecture, seed: int, folder: Path) -> Path:
    from harness.campaign.prepare import convert
    from harness.campaign.specs import ModelSpec

    folder.mkdir(parents=True, exist_ok=True)
    name = f"{architecture.backbone}-{architecture.id}"
    path = folder / f"{name}.tflite"
    path.write_bytes(convert(ModelSpec(name=name, seed=seed, architecture=architecture)))
    return path
