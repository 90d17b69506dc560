"""`harness build`: a model's firmware, without a board."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import typer

from harness.cli.options import BoardId, FirmwareOptions, Json, ModelFile
from harness.cli.output import facts_json, note, print_json, print_table
from harness.errors import ConfigError
from harness.files import draft_of
from harness.paths import DEFAULT_BOARD


def build(
    model: ModelFile,
    firmware: FirmwareOptions,
    board: BoardId = DEFAULT_BOARD,
    all_types: bool = typer.Option(
        False, "--all-types", help="tflm: kernels for every data type, not for int8 alone."
    ),
    benchmark: str | None = typer.Option(
        None,
        help="MLPerf Tiny benchmark whose runner the image answers: kws01, vww01, ic01, ad01 or "
        "none (default: by the shapes of input and output).",
    ),
    baud: int | None = typer.Option(None, help="Rate of the console (default: the board's)."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Copy the ELF here."),
    json: Json = False,
) -> None:
    """Generate and build the firmware of a model; print where flash and RAM go."""
    from harness.boards import load_board
    from harness.cli.progress import spinner
    from harness.cli.row import FLASH_PARTS
    from harness.firmware import BuildOptions
    from harness.firmware import build as build_firmware
    from harness.firmware.linkmap import read_shares
    from harness.models import read_model, require_int8
    from harness.models.mlperf import benchmark_for
    from harness.runtimes import get_runtime

    target = load_board(board)
    network = read_model(model)
    require_int8(network)
    answers = benchmark_for(network, benchmark)
    chosen = BuildOptions(firmware.optimization, baud=baud or target.facts.console.baud)
    options = replace(next(firmware.sweep().options()), all_types=all_types)
    sources = get_runtime(options.runtime).generate(network, options, target)
    with spinner(f"building for {target.name}"):
        image = build_firmware(target, network, sources, chosen, benchmark=benchmark)
    if out is not None:
        with draft_of(out, what="image", error=ConfigError) as draft:
            shutil.copyfile(image.elf, draft)
    facts: list[tuple[str, object]] = [
        ("ELF", str(out or image.elf)),
        ("build id", image.build_id),
        ("MLPerf Tiny benchmark", answers.name if answers else None),
        ("toolchain", image.toolchain),
        ("flash", image.sizes.total),
        *((f"  {part}", getattr(image.sizes, part)) for part in FLASH_PARTS),
        ("static RAM", image.ram_static_bytes),
        ("  arena planned", sources.arena_planned_bytes),
    ]
    shares = [(item.section, item.library, item.bytes) for item in read_shares(image.map)]
    columns = ("section", "library", "bytes")
    if json:
        by_library = [dict(zip(columns, row, strict=True)) for row in shares]
        print_json({**facts_json(facts), "flash_by_library": by_library})
        return
    print_table(f"{network.name} on {target.name}", ("fact", "value"), facts)
    print_table("Flash by section and library", columns, shares)
    if image.cached:
        note("nothing has changed: this image was built before")
