"""Which stations a campaign's jobs may be measured on."""

from __future__ import annotations

from typing import Any

import pytest

from harness.bench import Bench, Station
from harness.campaign.config import CampaignConfig
from harness.campaign.needs import Needs, choose_needs
from harness.errors import BenchError, ConfigError

BOARD, OTHER = "nucleo_f746zg", "nucleo_f446re"


def station(name: str, board: str = BOARD, **facts: Any) -> Station:
    return Station(name=name, board=board, probe=f"06-{name}", serial=f"/dev/{name}", **facts)


def virtual(name: str, number: int, query: str = "") -> Station:
    at = f"{BOARD}#{number}"
    return Station(
        name=name, board=BOARD, probe=f"virtual:{at}", serial=f"virtual://{BOARD}{query}#{number}"
    )


BENCH = Bench(
    stations=(
        virtual("v1", 1),
        virtual("v2", 2),
        virtual("issue", 3, "?timing=issue"),
        station("a", tags=("lab", "hot")),
        station("b", tags=("lab",)),
        station("c", OTHER),
    )
)


def pools(**choice: Any) -> list[list[str]]:
    """Return the names of the stations of each pool."""
    config = CampaignConfig.model_validate({"name": "c", "models": ("m.tflite",), **choice})
    return [[one.name for one in needs.find(BENCH)] for needs in choose_needs(config, BENCH)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"boards": (BOARD, OTHER)}, [["a", "b"], ["c"]]),  # hardware, where there is some
        ({"boards": (BOARD,), "source": "emulated"}, [["v1", "v2"]]),
        ({"boards": (BOARD,), "tags": ("lab", "hot")}, [["a"]]),
        ({"stations": ("b", "v2", "a")}, [["b", "a"], ["v2"]]),
        ({"stations": ("v1", "issue")}, [["v1"], ["issue"]]),  # two timing models
        ({"stations": ("a", "b", "c"), "tags": ("lab",)}, [["a", "b"]]),
        ({"boards": (OTHER,), "stations": ("a",)}, [["c"], ["a"]]),
        ({"boards": (BOARD, OTHER), "every_station": True}, [["a"], ["b"], ["c"]]),
        ({"stations": ("virtual-nucleo_l4r5zi",)}, [["virtual-nucleo_l4r5zi"]]),
    ],
)
def test_pools(choice: dict[str, Any], expected: list[list[str]]) -> None:
    assert pools(**choice) == expected


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"boards": (BOARD,), "tags": ("cold",)}, BenchError, "and tag 'cold'"),
        ({"boards": (OTHER,), "source": "emulated"}, BenchError, "and source 'emulated'"),
        ({"stations": ("c",), "tags": ("lab",)}, BenchError, "none of the stations c has"),
        ({"stations": ("d",)}, ConfigError, "unknown station 'd'"),
        ({"boards": ("nucleo_l4r5zi",)}, BenchError, "no station has board 'nucleo_l4r5zi'"),
    ],
)
def test_what_no_station_has(choice: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pools(**choice)


def test_equal_stations_have_the_same_needs_and_a_specimen_does_not() -> None:
    one, two = (BENCH.station(name) for name in "ab")
    assert Needs.of(one) == Needs.of(two)
    assert Needs.of(BENCH.station("v1")) == Needs.of(BENCH.station("v2"))
    assert Needs.of(BENCH.station("v1")) != Needs.of(BENCH.station("issue"))
    config = CampaignConfig.model_validate(
        {"name": "c", "models": ("m.tflite",), "boards": (BOARD,), "every_station": True}
    )
    assert [needs.specimen for needs in choose_needs(config, BENCH)] == ["a", "b"]
