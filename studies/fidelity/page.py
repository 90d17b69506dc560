"""Tables of the fidelity page (`docs/fidelity.md`): predicted and published latencies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.virtual.time import cortex_m4, cortex_m7, pipeline_m4, pipeline_m7
from harness.virtual.time.events import DCACHE_FLASH, DCACHE_RAM, FETCH_JUMP, NAMES
from studies.fidelity.constants import constants_of, sources_of
from studies.fidelity.truths import Check
from studies.tables import markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"


def tables(checks: Iterable[Check], version: str) -> dict[str, str]:
    """Return the page's tables by name; `version` names the compiler."""
    found = list(checks)
    own = [c for c in found if c.optimization == c.truth.optimization]
    others = [c for c in found if "pipeline" in c.replay.timing]
    return {
        "published": f"Compiler: {version}.\n\n" + _comparison(own),
        "relations": _relations(own),
        "flags": _comparison(others),
        "causes": _causes(own),
        "sensitivity": _sensitivity(own),
        "constants": constants(),
    }


def _comparison(checks: list[Check]) -> str:
    return (
        markdown_table(
            ("what", "board", "flag", "model", "published ms", "predicted ms", "off", "source"),
            (
                (
                    c.truth.name,
                    c.truth.board,
                    c.optimization,
                    c.replay.timing,
                    f"{c.truth.latency_ms:g}",
                    f"{c.replay.latency_ms:.3g}",
                    f"{100 * c.error:+.1f} %{'' if c.holds else ' **'}",
                    c.truth.source,
                )
                for c in checks
            ),
        )
        + "\n`**`: further off than 15 %.\n"
    )


def _relations(checks: list[Check]) -> str:
    """Return the table of the ratio of the boards and the cliff between 138 and 140 channels."""
    rows = []
    for timing in sorted({c.replay.timing.split("-")[2].split("/")[0] for c in checks}):
        at = {
            (c.truth.name, c.truth.board): c.replay.latency_ms
            for c in checks
            if f"-{timing}/" in c.replay.timing
        }
        ratio = at["KWS-M", "nucleo_f446re"] / at["KWS-M", "nucleo_f746zg"]
        rows.append(("KWS-M, F446RE / F746ZG", timing, "2.278", f"{ratio:.3f}",
                     f"{100 * (ratio / (426 / 187) - 1):+.1f} %"))  # fmt: skip
        board = "nucleo_f746zg"
        cliff = at["CONV_2D, 138 channels", board] - at["CONV_2D, 140 channels", board]
        rows.append(("138 to 140 channels saves, ms", timing, "16.0", f"{cliff:.1f}",
                     f"{100 * (cliff / 16.0 - 1):+.1f} %"))  # fmt: skip
    head = ("relation", "model", "published", "predicted", "off")
    return markdown_table(head, rows)


def _causes(checks: list[Check]) -> str:
    rows = []
    for check in checks:
        if "pipeline" not in check.replay.timing:
            continue
        blocks = check.replay.blocks
        issue = sum(b.count * b.cycles for b in blocks)
        by_event = [sum(b.events[n] * b.event_cycles[n] for b in blocks) for n in range(len(NAMES))]
        total = issue + sum(by_event)
        shares = ", ".join(
            f"{name} {100 * cycles / total:.1f} %"
            for name, cycles in zip(NAMES, by_event, strict=True)
            if cycles * 1000 > total
        )
        rows.append((check.truth.name, check.truth.board, f"{100 * issue / total:.1f} %", shares))
    return markdown_table(("what", "board", "issue", "events"), rows)


def _sensitivity(checks: list[Check]) -> str:
    rows = []
    for check in checks:
        if "m7-pipeline" not in check.replay.timing:
            continue
        blocks = check.replay.blocks
        total = sum(
            b.count * b.cycles + sum(n * p for n, p in zip(b.events, b.event_cycles, strict=True))
            for b in blocks
        )
        flash = sum(b.events[DCACHE_FLASH] + b.events[FETCH_JUMP] for b in blocks)
        ram = sum(b.events[DCACHE_RAM] for b in blocks)
        rows.append((
            check.truth.name, check.truth.board,
            f"{100 * flash * pipeline_m7.BUS_FLASH / 2 / total:.1f} %",
            f"{100 * ram * pipeline_m7.BUS_RAM / 2 / total:.1f} %",
        ))  # fmt: skip
    head = ("what", "board", "BUS_FLASH 50 % off", "BUS_RAM 50 % off")
    return markdown_table(head, rows)


def constants() -> str:
    """Return the timing models' constants with their sources."""
    parts = []
    for module in (pipeline_m7, cortex_m7, pipeline_m4, cortex_m4):
        name = module.__name__.rpartition(".")[2]
        parts.append(f"### `harness/virtual/time/{name}.py`\n\n")
        parts += [f"- {source}\n" for source in sources_of(module)]
        rows = ((f"`{c.name}`", c.value, c.source) for c in constants_of(module))
        parts.append(
            "\n" + markdown_table(("constant", "value", "what, and its source"), rows) + "\n"
        )
    return "".join(parts).rstrip() + "\n"
