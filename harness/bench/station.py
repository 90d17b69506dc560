"""A station, and the bench that they make up: facts, which open nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from harness.boards import all_boards, load_board
from harness.errors import BenchError, ConfigError
from harness.strict import Strict, suggest

VIRTUAL_PROBE = "virtual:"
VIRTUAL_SERIAL = "virtual://"
LABGRID_SERIAL = "labgrid://"

_Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Text = Annotated[str, Field(min_length=1)]


class Station(Strict):
    """One board on one desk, or an emulated one.

    Attributes:
        name: The user's name for it.
        board: Board id.
        probe: pyOCD unique id of the debug probe, or a part of it that no other probe shares. Of
            virtual boards ``virtual:BOARD``, or ``virtual:BOARD#2`` for the second of its type.
        serial: pyserial URL or device of the console; ``labgrid://PLACE`` for a place of labgrid,
            which is acquired while the station is used.
        tags: The user's words about it; a campaign can ask for stations that have them.
        baud: Highest rate of the console that the wire carries; the device is asked for it after
            each reset. None for 921,600 on hardware and the board's usual rate on virtual boards.
        power: Command that switches the board's supply off and on again, such as
            ``uhubctl -l 1-1 -p 2 -a cycle``; with ``{action}`` in it, it runs twice, with ``off``
            and ``on``. A campaign runs it before it gives a board up.
        emulated: Timing model of a virtual board that another process serves. The chip's unique id
            must agree: neither kind of chip is ever taken for the other.
    """

    name: _Name
    board: _Text
    probe: _Text
    serial: _Text
    tags: tuple[str, ...] = ()
    baud: Annotated[int, Field(ge=9600, le=9_999_999)] | None = None
    power: _Text | None = None
    emulated: Literal["issue", "pipeline"] | None = None

    @model_validator(mode="after")
    def _check_emulated(self) -> Self:
        if self.emulated and self.virtual:
            raise ValueError(
                "'emulated' is for a virtual board that another process serves; name the timing "
                f"model of this one in its URL, {self.serial}?timing={self.emulated}"
            )
        return self

    @property
    def virtual(self) -> bool:
        """Whether its board is this process's own virtual one."""
        return self.probe.startswith(VIRTUAL_PROBE)

    @property
    def source(self) -> Literal["emulated", "hardware"]:
        """Source of its measurements; fits and reports never mix the two."""
        return "emulated" if self.virtual or self.emulated else "hardware"

    @property
    def options(self) -> Mapping[str, str]:
        """Options of a virtual board's URL (``?timing=issue``); none of another station's."""
        if not self.virtual:
            return {}
        return dict(parse_qsl(urlsplit(self.serial).query))

    @property
    def timing(self) -> str | None:
        """Timing model that an emulated station names, here or in its URL, else None."""
        return self.options.get("timing") if self.virtual else self.emulated

    @property
    def number(self) -> int | None:
        """Number of a virtual board (``virtual:nucleo_f746zg#2``); None where none is named."""
        _, mark, number = self.probe.partition("#")
        return int(number) if mark and self.virtual else None

    @model_validator(mode="after")
    def _one_virtual_board(self) -> Self:
        if not self.virtual:
            return self
        ids = [self.probe.removeprefix(VIRTUAL_PROBE), *self._virtual_console()]
        boards = {_board_and_number(text) for text in ids}
        if len(boards) > 1:
            raise ValueError(
                f"probe '{self.probe}' and serial '{self.serial}' are of two virtual boards: end "
                "both with the same #NUMBER"
            )
        return self

    def _virtual_console(self) -> Iterator[str]:
        if self.serial.startswith(VIRTUAL_SERIAL):
            parts = urlsplit(self.serial)
            yield f"{parts.netloc}#{parts.fragment}" if parts.fragment else parts.netloc


def _board_and_number(text: str) -> tuple[str, int]:
    """Return board and number of ``nucleo_f746zg#2``; without a number it is the first."""
    board, mark, number = text.partition("#")
    if mark and not (number.isascii() and number.isdigit() and int(number)):
        raise ValueError(f"'{text}': the number of a virtual board is 1 or more")
    return board, int(number or 1)


class Bench(Strict):
    """The stations that can be used."""

    stations: tuple[Station, ...]
    path: str | None = None  # None for the virtual bench and a discovery
    notes: tuple[str, ...] = ()  # probes that a discovery cannot use, and why

    def station(self, name: str) -> Station:
        """Return the station called `name`; virtual stations can always be named.

        Raises `ConfigError` if there is none; suggests the near miss.
        """
        known = {station.name: station for station in virtual_bench().stations}
        known |= {station.name: station for station in self.stations}
        if name in known:
            return known[name]
        raise ConfigError(
            f"unknown station '{name}'{suggest(name, sorted(known))}",
            where=self.path,
            expected=f"one of {', '.join(sorted(known))}",
            fix="see `harness bench list`; `harness bench discover` writes bench.toml",
            station=name,
        )

    def choose(self, name: str | None = None, board: str | None = None) -> Station:
        """Return the station called `name`; where none is named, the first that has `board`.

        Raises `BenchError` if no station has the board, `ConfigError` if either is unknown.
        """
        return self.station(name) if name is not None else self.having(board or "")[0]

    def having(
        self, board: str, *, tags: Collection[str] = (), source: str | None = None
    ) -> tuple[Station, ...]:
        """Return the stations with a board, all of some tags, and a source if one is named.

        Raises `BenchError` if there is none, `ConfigError` if the board is unknown.
        """
        board_id = load_board(board).id
        having = [station for station in self.stations if station.board == board_id]
        found = tuple(
            one for one in having if set(tags) <= set(one.tags) and source in (None, one.source)
        )
        if found:
            return found
        listed = (f"{one.name} ({one.board}, {one.source})" for one in having or self.stations)
        asked = [*(f"tag '{tag}'" for tag in tags), *([f"source '{source}'"] if source else ())]
        raise BenchError(
            f"no station has board '{board_id}'" + "".join(f" and {one}" for one in asked),
            where=self.path,
            expected=f"a station with that; the bench has: {', '.join(listed) or 'none'}",
            fix="plug one in and run `harness bench discover`, or name its virtual station "
            f"virtual-{board_id}",
        )


def virtual_station(board: str) -> Station:
    """Return the emulated station of a board."""
    return Station(
        name=f"virtual-{board}",
        board=board,
        probe=f"{VIRTUAL_PROBE}{board}",
        serial=f"{VIRTUAL_SERIAL}{board}",
        tags=("virtual",),
    )


def virtual_bench() -> Bench:
    """Return one virtual station for every board that can be emulated."""
    boards = (board for board in all_boards() if board.facts.emulation)
    return Bench(stations=tuple(virtual_station(board.id) for board in boards))
