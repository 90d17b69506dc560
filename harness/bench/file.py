"""The file that lists the stations, ``bench.toml``."""

from __future__ import annotations

import json
import os
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.bench.station import Bench, Station, virtual_bench
from harness.boards import load_board
from harness.errors import BoardError, ConfigError
from harness.files import draft_of
from harness.strict import Strict, from_json, read_toml

ENVIRONMENT = "HARNESS_BENCH"
FILE_NAME = "bench.toml"


class _File(Strict):
    """The content of ``bench.toml``."""

    station: tuple[Station, ...] = ()


def load_bench(path: Path | None = None) -> Bench:
    """Read the stations.

    Looks at `path`, then at the file that ``HARNESS_BENCH`` names, then at ``./bench.toml``; with
    none of them, every board that can be emulated has a virtual station. Raises `ConfigError` if a
    named file is missing, or a file is wrong: unknown key (with the near miss), unknown board, two
    stations of one name, probes or ports that clash.
    """
    if path is None and os.environ.get(ENVIRONMENT):
        path = Path(os.environ[ENVIRONMENT]).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"no such file: {path}",
                where=f"environment variable {ENVIRONMENT}",
                fix=f"correct or unset {ENVIRONMENT}, or run `harness bench discover`",
            )
    if path is None and Path(FILE_NAME).is_file():
        path = Path(FILE_NAME)
    if path is None:
        return virtual_bench()
    stations = from_json(_File, read_toml(path), where=str(path)).station
    _check_stations(stations, str(path))
    return Bench(stations=stations, path=str(path))


def write_bench(bench: Bench, path: Path, *, overwrite: bool = False) -> None:
    """Write the stations of `bench` to a TOML file, in one step.

    Raises `ConfigError` if the file exists and `overwrite` is false, or if the stations clash.
    """
    if path.exists() and not overwrite:
        raise ConfigError(
            f"{path} exists", fix="name another file, or ask to overwrite it", path=str(path)
        )
    _check_stations(bench.stations, str(path))
    head = "# Stations of this bench. Local: do not commit. See docs/bench.md.\n"
    with draft_of(path, what="bench file", error=ConfigError) as draft:
        draft.write_text(head + bench_text(bench), encoding="utf-8")


def bench_text(bench: Bench) -> str:
    """Return the stations of `bench` as TOML, its notes as comments."""
    lines = []
    for station in bench.stations:
        lines += ["", "[[station]]"]
        facts = station.model_dump(exclude_defaults=True).items()
        lines += [f"{key} = {_toml(value)}" for key, value in facts]
    lines += [f"# {note}" for note in bench.notes]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Return a number, a string or a tuple as TOML; JSON's escapes are a subset of TOML's."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "[" + ", ".join(_toml(item) for item in value) + "]"


def _check_stations(stations: tuple[Station, ...], where: str) -> None:
    for station in stations:
        try:
            load_board(station.board)
        except BoardError as unknown:
            raise ConfigError(
                f"station '{station.name}': {unknown.what}",
                where=where,
                expected=unknown.expected,
                fix=f"correct 'board' of that station in {where}",
                station=station.name,
            ) from None
    for one, two in combinations(stations, 2):
        _check_pair(one, two, where)


def _check_pair(one: Station, two: Station, where: str) -> None:
    if one.name == two.name:
        raise ConfigError(
            f"two stations are called '{one.name}'", where=where, fix="give each its own name"
        )
    short, long = sorted((one.probe.lower(), two.probe.lower()), key=len)
    # pyOCD matches a part of the id, so a probe id inside another one names both.
    if short in long and ":" not in short:
        raise ConfigError(
            f"the probe ids of stations '{one.name}' ({one.probe}) and '{two.name}' ({two.probe}) "
            "match the same probe",
            where=where,
            expected="ids that tell the probes apart",
            fix="write the full unique ids as `pyocd list` shows them",
        )
    # Of virtual boards, the one without a number is the first.
    same_probe = one.probe.removesuffix("#1") == two.probe.removesuffix("#1")
    if same_probe or one.serial == two.serial:
        what = "probe" if same_probe else "serial"
        raise ConfigError(
            f"stations '{one.name}' and '{two.name}' have the same {what} '{getattr(one, what)}'",
            where=where,
            fix="one station per board; of virtual ones there are more: 'virtual:BOARD#2'",
        )
