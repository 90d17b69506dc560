"""Which faults a virtual board has, as its serial URL says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from harness.errors import ConfigError
from harness.strict import Strict, suggest

Kind = Literal[
    "drop", "garble", "duplicate", "delay", "vanish", "reset", "watchdog", "probe", "hardfault",
    "hang", "latchup", "flip", "rot",
]  # fmt: skip
"""Faults that fall at moments, by a share or a trigger; the others last."""

Share = Annotated[float, Field(ge=0, le=1)]


class Trigger(Strict, strict=False):
    """A fault that falls once, at the next opportunity after a named command.

    That is the next byte to the host, memory access of the probe or programming run; the core's
    faults fall at once.
    """

    kind: Kind
    #: First word of a command on the wire, such as ``hil-run`` or ``infer``, or ``program`` for a
    #: programming run of the flash.
    command: Annotated[str, Field(min_length=1)]
    #: Which of these commands, from 1, counted from the first opening of the URL.
    count: Annotated[int, Field(ge=1)]


class FaultPlan(Strict, strict=False):
    """Faults of one board. A share is a probability per item, 0 to 1."""

    # Of the bytes on the wire, both ways:
    drop: Share = 0.0  # gets lost
    garble: Share = 0.0  # has a bit flipped
    duplicate: Share = 0.0  # arrives twice
    # Of the bytes to the host:
    delay: Share = 0.0  # the line is silent for a moment before it
    vanish: Share = 0.0  # the port disappears; it comes back after one opening that fails
    reset: Share = 0.0  # the supply dips and the chip is reset
    watchdog: Share = 0.0  # the watchdog resets the chip
    # Of the debugger's memory accesses:
    probe: Share = 0.0  # the probe is disconnected
    # Of the commands:
    hardfault: Share = 0.0  # the core takes a fault
    hang: Share = 0.0  # the core stops for good
    latchup: Share = 0.0  # chip and probe are dead until the supply is switched off and on
    # Of the programming runs:
    flip: Share = 0.0  # it leaves a wrong bit in flash
    # Of the commands, again:
    rot: Share = 0.0  # a bit in flash flips, long after it was verified
    # Lasting defects:
    worn: Annotated[int, Field(ge=0, lt=64)] | None = None  # sector that keeps zeros when erased
    clock: Annotated[float, Field(ge=0.25, le=4)] = 1.0  # true over the one that registers say
    hse: bool = True  # whether the external clock starts
    #: Defect of the cycle counter; ``wrap`` starts it shortly before its end.
    counter: Literal["stuck", "absent", "wrap"] | None = None
    jitter: Share = 0.0  # of the counted cycles that is lost to something else, as by interrupts
    caches: bool = True  # whether the caches can be switched on
    overdrive: bool = True  # whether the supply gets ready for the highest clocks (F4, F7, H7)
    rate: Annotated[int, Field(ge=1)] | None = None  # fastest console that the wire carries, baud
    triggers: tuple[Trigger, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=10**18)] = 0  # the places of faults follow from it


KINDS = tuple(name for name in FaultPlan.model_fields if name not in ("triggers", "seed"))


def parse_faults(text: str, *, seed: str = "0") -> FaultPlan:
    """Read ``kind:value`` and ``kind@command:count``, separated by commas.

    Raises:
        ConfigError: An unknown kind, a kind named twice, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    triggers: list[dict[str, str]] = []
    for item in filter(None, text.split(",")):
        name, _, value = item.partition(":")
        kind, at, command = name.partition("@")
        if kind not in (get_args(Kind) if at else KINDS):
            raise ConfigError(
                f"unknown fault '{name}'{suggest(kind, list(KINDS))}",
                where=f"faults={text}",
                expected=f"kind:value or kind@command:count; kinds: {', '.join(KINDS)}",
                fix="correct the serial URL",
            )
        if at:
            triggers.append({"kind": kind, "command": command, "count": value})
        elif kind in values:
            raise ConfigError(
                f"fault '{kind}' is named twice", where=f"faults={text}", fix="name each once"
            )
        else:
            values[kind] = value
    try:
        return FaultPlan.model_validate({**values, "triggers": tuple(triggers), "seed": seed})
    except ValidationError as failure:
        problem = failure.errors()[0]
    key, *rest = problem["loc"]
    name = f"fault '{key}'" if key in KINDS else str(key)
    if rest:
        trigger = triggers[int(rest[0])]
        name = f"{rest[1]} of fault '{trigger['kind']}@{trigger['command']}'"
    raise ConfigError(
        f"{name} is {problem['input']!r}",
        where=f"faults={text}&seed={seed}",
        expected=problem["msg"].removeprefix("Input should be "),
        fix="correct the serial URL",
    )
