"""Read board manifests from ``boards/`` and from folders that the user adds."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.boards.families import facts_of, families
from harness.boards.model import Board
from harness.errors import BoardError
from harness.paths import data_dir
from harness.strict import from_json, read_text, suggest

# PlatformIO's own keys; anything else at the top of a manifest is a typing error.
_PLATFORMIO_KEYS = frozenset(
    {"build", "connectivity", "debug", "frameworks", "name", "upload", "url", "vendor", "harness"}
)


def board_dirs() -> tuple[Path, ...]:
    """Return where manifests are looked for: ``HARNESS_BOARDS`` first, then what ships."""
    extra = os.environ.get("HARNESS_BOARDS", "")
    own = tuple(Path(part).expanduser() for part in extra.split(os.pathsep) if part)
    return (*own, data_dir("boards"))


def board_ids() -> tuple[str, ...]:
    """Return the ids of all boards, sorted."""
    return tuple(sorted({path.stem for each in board_dirs() for path in each.glob("*.json")}))


def all_boards() -> tuple[Board, ...]:
    """Load every board; BoardError where a manifest is wrong."""
    return tuple(map(load_board, board_ids()))


def load_board(board_id: str) -> Board:
    """Load one board by PlatformIO's id.

    Raises:
        BoardError: The id is unknown (names the near miss) or its manifest is wrong.
    """
    for folder in board_dirs():
        path = folder / f"{board_id}.json"
        # A name with a separator must not reach outside the folder.
        if path.parent == folder and path.is_file():
            return read_manifest(path)
    known = board_ids()
    raise BoardError(
        f"unknown board '{board_id}'{suggest(board_id, known)}",
        expected=f"one of {', '.join(known)}",
        fix="see `harness boards`; a new board is one JSON file, see docs/boards.md",
        board=board_id,
    )


def read_manifest(path: Path) -> Board:
    """Parse and check one manifest.

    Raises:
        BoardError: Not JSON, a key is unknown or missing, or the facts contradict each other.
    """
    return _read_manifest(path.resolve(), path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=64)
def _read_manifest(path: Path, _modified: int) -> Board:
    text = read_text(path, error=BoardError)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as failure:
        raise BoardError(f"not valid JSON: {failure}", where=str(path)) from None
    if not isinstance(data, dict):
        raise BoardError("a board manifest is a JSON object", where=str(path))
    for key in data:
        if key not in _PLATFORMIO_KEYS:
            raise BoardError(
                f"unknown key '{key}'{suggest(key, sorted(_PLATFORMIO_KEYS))}",
                where=str(path),
                expected=", ".join(sorted(_PLATFORMIO_KEYS)),
                fix=f"correct {path.name}",
            )
    own = _section(data, "harness", path)
    family = own.get("family")
    if family not in families():
        raise BoardError(
            "key 'family' is missing"
            if family is None
            else f"unknown family '{family}'{suggest(str(family), families())}",
            where=f"{path}: harness",
            expected=f"one of {', '.join(families())}",
            fix=f"correct {path.name}; docs/boards.md says what a new family needs",
        )
    facts = from_json(facts_of(family), own, where=f"{path}: harness", error=BoardError)
    build, upload = _section(data, "build", path), _section(data, "upload", path)
    board = Board(
        id=path.stem,
        name=str(data.get("name", path.stem)),
        vendor=str(data.get("vendor", "")),
        url=str(data.get("url", "")),
        mcu=str(build.get("mcu", "")),
        facts=facts,
        manifest=str(path),
    )
    _check_agreement(board, build, upload)
    return board


def _section(data: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    section = data.get(key)
    if not isinstance(section, dict):
        raise BoardError(
            f"key '{key}' is missing or not an object", where=str(path), fix="see docs/boards.md"
        )
    return section


def _check_agreement(board: Board, build: dict[str, Any], upload: dict[str, Any]) -> None:
    """Refuse a manifest whose PlatformIO half and harness half contradict each other."""
    f_cpu = str(build.get("f_cpu", "")).rstrip("L")
    pairs = (
        ("build.cpu", build.get("cpu"), "harness.core.cpu", board.facts.core.cpu),
        ("build.f_cpu", f_cpu, "harness.clock.sysclk_hz", str(board.clock_hz)),
        ("upload.maximum_size", upload.get("maximum_size"), "flash bytes", board.flash.bytes),
        ("upload.maximum_ram_size", upload.get("maximum_ram_size"), "RAM bytes", board.ram_bytes),
    )
    for left_key, left, right_key, right in pairs:
        if left != right:
            raise BoardError(
                f"{left_key} is {left!r}, but {right_key} is {right!r}",
                where=board.manifest,
                expected="both halves of the manifest to agree",
                fix=f"correct {board.id}.json",
            )
