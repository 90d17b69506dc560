"""What a job needs of a station. Any free station that fits takes the job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from harness.bench import Bench, Station
from harness.boards import load_board
from harness.campaign.config import CampaignConfig
from harness.errors import BenchError, HarnessError


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job needs of a station; equal stations are those that fit the same needs."""

    board: str  # id
    source: Literal["emulated", "hardware"]
    timing_model: str | None = None  # name and version; None for hardware
    tags: tuple[str, ...] = ()  # all of them
    stations: tuple[str, ...] = ()  # one of these; empty: any
    specimen: str | None = None  # this station alone, as its result is compared with others'

    @classmethod
    def of(cls, station: Station) -> Needs:
        """Return what this station and its equals fit.

        Raises `HarnessError` if the board or the timing model is unknown.
        """
        return cls(load_board(station.board).id, station.source, timing_model_of(station))

    def fits(self, station: Station) -> bool:
        """Return whether a station can take the job."""
        return (
            (station.board, station.source) == (self.board, self.source)
            and set(self.tags) <= set(station.tags)
            and (not self.stations or station.name in self.stations)
            and self.specimen in (None, station.name)
            and timing_model_of(station) == self.timing_model
        )

    def find(self, bench: Bench) -> tuple[Station, ...]:
        """Return the stations of a bench that fit; raise `BenchError` if none does."""
        names = (self.specimen,) if self.specimen else self.stations
        candidates = [bench.station(name) for name in names] if names else bench.stations
        found = tuple(station for station in candidates if self.fits(station))
        if not found:
            raise BenchError(
                f"no station fits: {self}",
                where=bench.path,
                fix="`harness bench list` shows the stations; plan the campaign again",
            )
        return found

    def __str__(self) -> str:
        """Return board, source and what else is asked for."""
        named = f"station {self.specimen}" if self.specimen else " or ".join(self.stations)
        words = (self.board, self.source, *(f"tag {tag}" for tag in self.tags), named)
        return ", ".join(word for word in words if word)


def choose_needs(
    config: CampaignConfig, bench: Bench, missing: list[str] | None = None
) -> tuple[Needs, ...]:
    """Return the needs of a campaign's jobs: one for each pool of equal stations.

    A board that is named is measured on hardware where the bench has it on hardware. Raises
    `BenchError` if no station fits, `ConfigError` if a name is unknown; a board or station that the
    bench lacks is added to `missing` instead, where there is another.
    """
    found: dict[Needs, None] = {}
    lacking: list[HarnessError] = []
    for board in config.boards:
        try:
            stations = bench.having(board, tags=config.tags, source=config.source)
        except BenchError as failure:
            lacking.append(failure)
            continue
        first = next((one for one in stations if one.source == "hardware"), stations[0])
        needs = replace(Needs.of(first), tags=config.tags)
        found |= _pools(needs, [one for one in stations if needs.fits(one)], config)
    named: dict[Needs, list[Station]] = {}
    for name in config.stations:
        try:
            station = bench.station(name)
        except HarnessError as failure:
            lacking.append(failure)
            continue
        if set(config.tags) <= set(station.tags) and config.source in (None, station.source):
            named.setdefault(Needs.of(station), []).append(station)
    for needs, ones in named.items():
        names = tuple(station.name for station in ones)
        found |= _pools(replace(needs, tags=config.tags, stations=names), ones, config)
    if lacking and (missing is None or not found):
        raise lacking[0]
    if missing is not None:
        missing += [failure.what for failure in lacking]
    if not found:
        raise BenchError(
            f"none of the stations {', '.join(config.stations)} has what is asked for",
            where=bench.path,
            expected=", ".join([*(f"tag {tag}" for tag in config.tags), config.source or ""]),
            fix="name others, or leave --tag out; `harness bench list` shows tags and sources",
        )
    return tuple(found)


def _pools(needs: Needs, stations: list[Station], config: CampaignConfig) -> dict[Needs, None]:
    if not config.every_station:
        return {needs: None}
    return {replace(needs, stations=(), specimen=station.name): None for station in stations}


def timing_model_of(station: Station) -> str | None:
    """Return name and version of a virtual station's timing model; None for hardware."""
    if station.source == "hardware":
        return None
    from harness.virtual.time import timing_model

    return timing_model(load_board(station.board), station.timing).identity
