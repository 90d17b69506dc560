"""What a campaign does about each kind of failure: try again, blame the station, or neither."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import (
    AssertionFailed,
    BenchError,
    CaptureError,
    ClockError,
    CoreFault,
    CounterError,
    DeviceError,
    FlashError,
    HarnessError,
    StackOverflow,
    StationDisabled,
    StationLocked,
    TargetMismatch,
)

DISABLE_AFTER = 3
"""Jobs in a row that a station fails, each after all its attempts."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about a failure.

    Attributes:
        attempts: How often a job is tried in all.
        blames_station: Whether it speaks against the station rather than the network.
    """

    attempts: int = 1
    blames_station: bool = False


_NEVER_AGAIN = Policy()
# The first class that fits decides.
_POLICIES: tuple[tuple[type[HarnessError], Policy], ...] = (
    # Somebody else's station, or one that waits to be looked at: no use in trying.
    (StationLocked, _NEVER_AGAIN),
    (StationDisabled, _NEVER_AGAIN),
    # A port or a probe that vanished comes back within seconds, or not at all.
    (BenchError, Policy(5, blames_station=True)),
    (TargetMismatch, Policy(1, blames_station=True)),
    (FlashError, Policy(3, blames_station=True)),
    # The network's own doing, unless memory was upset; what the runtime refuses it refuses always.
    (StackOverflow, _NEVER_AGAIN),
    (CoreFault, Policy(2)),
    (AssertionFailed, Policy(2)),
    (DeviceError, _NEVER_AGAIN),
    (CounterError, Policy(2, blames_station=True)),
    (ClockError, Policy(2, blames_station=True)),
    (CaptureError, Policy(3, blames_station=True)),
)


def policy_for(failure: HarnessError) -> Policy:
    """Return what to do about a failure."""
    return next((policy for kind, policy in _POLICIES if isinstance(failure, kind)), _NEVER_AGAIN)


def pause_s(failure: HarnessError, attempt: int) -> float:
    """Return how long to wait after a failed attempt (from 1), in seconds."""
    # Only what is plugged in takes time to come back.
    return 0.2 * 2.0 ** (attempt - 1) if isinstance(failure, BenchError) else 0.0
