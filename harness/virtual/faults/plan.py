"""Which faults a virtual board has, as its serial URL says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from harness.errors import ConfigError
from harness.strict import suggest

COUNTERS = ("stuck", "absent", "wrap")
_MAX_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults of one board. A share is a probability per item, 0 to 1.

    Attributes:
        drop: Share of the bytes on the wire that get lost, both ways.
        garble: Share of the bytes that have a bit flipped, both ways.
        duplicate: Share of the bytes that arrive twice, both ways.
        delay: Share of the bytes to the host before which the line is silent for a moment.
        vanish: Share of the bytes to the host at which the port disappears; it comes back after
            one opening that fails.
        reset: Share of the bytes to the host at which the supply dips and the chip is reset.
        watchdog: The same, by the watchdog.
        probe: Share of the debugger's memory accesses at which the probe is disconnected.
        hardfault: Share of the commands during which the core takes a fault.
        hang: Share of the commands during which the core stops for good.
        flip: Share of the programming runs that leave a wrong bit in flash.
        rot: Share of the commands during which a bit in flash flips, long after it was verified.
        worn: Number of a sector that keeps zeros when it is erased; None for none.
        clock: True clock over the one that the registers say.
        hse: False when the external clock does not start.
        counter: ``stuck``, ``absent``, or ``wrap`` (starts shortly before its end); None is well.
        caches: False when the caches cannot be switched on.
        seed: Number that the places of the faults follow from.
    """

    drop: float = 0.0
    garble: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    vanish: float = 0.0
    reset: float = 0.0
    watchdog: float = 0.0
    probe: float = 0.0
    hardfault: float = 0.0
    hang: float = 0.0
    flip: float = 0.0
    rot: float = 0.0
    worn: int | None = None
    clock: float = 1.0
    hse: bool = True
    counter: str | None = None
    caches: bool = True
    seed: int = 0


def parse_faults(text: str, *, seed: str = "0") -> FaultPlan:
    """Read ``kind:value,kind:value``.

    Raises:
        ConfigError: An unknown kind, a kind named twice, or a value that it cannot have.
    """
    values: dict[str, Any] = {"seed": _seed(seed)}
    for item in filter(None, text.split(",")):
        kind, _, value = item.partition(":")
        if kind not in _READERS:
            known = ", ".join(_READERS)
            raise ConfigError(
                f"unknown fault '{kind}'{suggest(kind, list(_READERS))}",
                where=f"faults={text}",
                expected=f"one of {known}, each as kind:value",
                fix="correct the serial URL",
            )
        if kind in values:
            raise ConfigError(
                f"fault '{kind}' is named twice", where=f"faults={text}", fix="name each once"
            )
        read, expected = _READERS[kind]
        try:
            values[kind] = read(value)
        except (ValueError, KeyError):
            raise ConfigError(
                f"fault '{kind}' is {value!r}",
                where=f"faults={text}",
                expected=expected,
                fix="correct the serial URL",
            ) from None
    return FaultPlan(**values)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise ConfigError(f"seed is {text!r}", expected="a whole number", fix="correct the URL")
    return int(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _factor(text: str) -> float:
    value = float(text)
    if not 1 / _MAX_FACTOR <= value <= _MAX_FACTOR:
        raise ValueError(text)
    return value


def _sector(text: str) -> int:
    value = int(text)
    if not 0 <= value < 64:
        raise ValueError(text)
    return value


_SHARES = tuple(field.name for field in fields(FaultPlan) if field.type == "float")
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    **dict.fromkeys(_SHARES, (_share, "a share from 0 to 1, such as 0.001")),
    "worn": (_sector, "the number of a flash sector"),
    "clock": (_factor, "true clock over nominal, such as 1.02"),
    "hse": ({"off": False, "on": True}.__getitem__, "off or on"),
    "counter": ({name: name for name in COUNTERS}.__getitem__, f"one of {', '.join(COUNTERS)}"),
    "caches": ({"off": False, "on": True}.__getitem__, "off or on"),
}
