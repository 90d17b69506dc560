"""One measurement in full, on the terminal or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.output import print_table

if TYPE_CHECKING:
    from harness.results.record import Measurement

FLASH_PARTS = ("weights", "graph", "kernels", "runtime", "port")
_KIB = 1024


def as_json(row: Measurement, *, layers: bool = True) -> dict[str, Any]:
    """Return a row as plain data, without its log and on wish without its layers."""
    data = {name: value for name, value in asdict(row).items() if name != "raw_log"}
    if not layers:
        data["layers"] = ()
    return {**data, "expected_error": row.expected_error}


def print_row(row: Measurement) -> None:
    """Print one row: facts, then layers."""
    from harness.report.text import plus_minus
    from harness.results.record import outliers

    latency = f"{row.latency_us / 1000:.3f} ms" if row.latency_us is not None else "–"
    if row.latency_us is not None and row.latency_ci_low_us is not None:
        low, high = row.latency_ci_low_us / 1000, (row.latency_ci_high_us or 0) / 1000
        latency += f" ({low:.3f} – {high:.3f}, {len(row.cycles)} repeats)"
    cycles = sorted(row.cycles)[len(row.cycles) // 2] if row.cycles else None
    error = row.expected_error
    apart = [f"{row.cycles[index]:,} (repeat {index})" for index in outliers(row.cycles)]
    facts: list[tuple[str, object]] = [
        ("status", f"{row.status} {' '.join(row.issues)}".strip()),
        ("source", f"{row.source}" + (f", {row.timing_model}" if row.timing_model else "")),
        ("station", f"{row.station} ({row.board}, chip {row.chip_uid or '–'})"),
        (f"latency, {'modelled' if row.source == 'emulated' else 'measured'}", latency),
        *([("  expected error", f"{plus_minus(error)}, see docs/fidelity.md")] if error else []),
        ("cycles", cycles),
        *([("  outliers, kept", ", ".join(apart))] if apart else []),
        ("MACs", row.macs),
        ("cycles per MAC", cycles / row.macs if cycles and row.macs else None),
        *_arena(row),
        ("stack used / reserved", _pair(row.stack_bytes, row.stack_capacity_bytes)),
        ("static RAM", row.ram_static_bytes),
        ("flash", f"{(row.flash_total_bytes or 0) / _KIB:.1f} KiB"),
        *((f"  {part}", getattr(row, f"flash_{part}_bytes")) for part in FLASH_PARTS),
        (
            "outputs",
            f"{row.output_bytes_total} bytes, {row.output_bytes_differing} differ from "
            f"{row.reference}"
            + (f" by at most {row.output_max_abs_diff}" if row.output_bytes_differing else ""),
        ),
        ("built with", f"{row.runtime}/{row.kernels} {row.optimization}, {row.toolchain}"),
        ("versions", " / ".join(v or "–" for v in (row.runtime_version, row.kernels_version))),
    ]
    facts += [(name, text) for name in ("library", "message") if (text := getattr(row, name))]
    print_table(row.model_name or "model", ("fact", "value"), facts)
    if row.layers:
        total = sum(layer.cycles or 0 for layer in row.layers) or 1
        print_table(
            "Layers (from a separate pass)",
            ("layer", "operator", "MACs", "cycles", "share %", "cycles per MAC"),
            [
                (
                    layer.name,
                    layer.operator,
                    layer.macs,
                    layer.cycles,
                    f"{100 * (layer.cycles or 0) / total:.1f}",
                    layer.cycles / layer.macs if layer.macs and layer.cycles else None,
                )
                for layer in row.layers
            ],
        )
        if row.additivity_gap is not None:
            typer.echo(
                f"the layers add up to {total:,} cycles, {100 * row.additivity_gap:+.3f} %\n"
                "from the median of whole inferences"
            )


def _arena(row: Measurement) -> list[tuple[str, object]]:
    """Return the facts about the arena, the runtime's own categories indented."""
    facts: list[tuple[str, object]] = []
    if row.arena_min_bytes is not None:
        text = f"{row.arena_min_bytes:,} bytes"
        if row.arena_below_bytes is not None:
            text += f" (at {row.arena_below_bytes:,}: {row.arena_below_message})"
        facts.append(("arena verified minimum", text))
    facts += [
        ("arena planned / used", _pair(row.arena_planned_bytes, row.arena_used_bytes)),
        ("arena capacity", row.arena_capacity_bytes),
    ]
    for kind, part in (row.arena_parts or {}).items():
        own = kind not in ("persistent", "nonpersistent")
        note = f", {part['requested']:,} requested in {part['count']:,}" if own else " bytes"
        facts.append((f"{'    ' if own else '  '}{kind}", f"{part['used']:,}{note}"))
    return facts


def _pair(left: int | None, right: int | None) -> str:
    return " / ".join("–" if value is None else f"{value:,}" for value in (left, right)) + " bytes"
