"""`harness boards`: the board types that are known."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Json
from harness.cli.output import print_json, print_table


def boards(
    board: Annotated[str | None, typer.Argument(help="Show one board in full.")] = None,
    json: Json = False,
) -> None:
    """List the board types, or show one."""
    from harness.boards import all_boards, load_board

    if board is not None:
        found = load_board(board)
        if json:
            print_json(found.model_dump(mode="json"))
            return
        facts = found.facts
        rows: list[tuple[str, object]] = [
            ("board", found.id),
            ("microcontroller", found.mcu),
            ("core", f"{facts.core.cpu}, {facts.core.fpu}"),
            ("clock", f"{found.clock_hz / 1e6:g} MHz, {facts.clock.flash_wait_states} wait states"),
            (
                "caches",
                f"I {facts.caches.icache_bytes // 1024} KiB, D {facts.caches.dcache_bytes // 1024} "
                f"KiB, flash accelerator {'yes' if facts.caches.art else 'no'}",
            ),
            ("console", f"{facts.console.peripheral} at {facts.console.baud} baud"),
            ("pyOCD target", facts.pyocd_target),
            ("port", f"firmware_template/port/{found.family}"),
            ("virtual board", facts.emulation),
            ("manifest", found.manifest),
        ]
        for region in facts.memory:
            alias = f", second address of {region.alias_of}" if region.alias_of else ""
            text = f"0x{region.origin:08x}, {region.bytes // 1024} KiB ({region.kind}{alias})"
            rows.append((f"memory {region.name}", text))
        runs = ", ".join(f"{run.count} × {run.bytes // 1024} KiB" for run in facts.flash_sectors)
        rows.append(("flash sectors", runs))
        print_table(found.name, ("fact", "value"), rows)
        return
    known = all_boards()
    if json:
        print_json([item.model_dump(mode="json") for item in known])
        return
    print_table(
        "Boards",
        ("board", "core", "clock MHz", "flash KiB", "RAM KiB", "pyOCD target", "virtual"),
        [
            (
                item.id,
                item.facts.core.cpu,
                item.clock_hz // 1_000_000,
                item.flash.bytes // 1024,
                item.ram_bytes // 1024,
                item.facts.pyocd_target,
                item.facts.emulation,
            )
            for item in known
        ],
    )
