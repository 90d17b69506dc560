"""What a campaign does about each kind of failure: repeat the job, count it against the station."""

from __future__ import annotations

from dataclasses import dataclass

from harness import errors

DISABLE_AFTER = 3
"""Failed jobs in a row, each after all its attempts, after which a station is disabled."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about a failure."""

    attempts: int = 1  # how often a job is run at most
    counts_against_station: bool = False  # the station, not the network, may be the cause


_ONCE = Policy()
# The first class that fits decides.
_POLICIES: tuple[tuple[type[errors.HarnessError], Policy], ...] = (
    # In use by another process, or disabled: repeating does not help.
    (errors.StationLocked, _ONCE),
    (errors.StationDisabled, _ONCE),
    # A port or a probe that disappeared comes back within seconds, or not at all.
    (errors.BenchError, Policy(5, counts_against_station=True)),
    (errors.TargetMismatch, Policy(1, counts_against_station=True)),
    (errors.FlashError, Policy(3, counts_against_station=True)),
    # Caused by the network, unless memory was corrupted; a runtime's refusal never changes.
    (errors.StackOverflow, _ONCE),
    (errors.CoreFault, Policy(2)),
    (errors.AssertionFailed, Policy(2)),
    (errors.DeviceError, _ONCE),
    (errors.CounterError, Policy(2, counts_against_station=True)),
    (errors.ClockError, Policy(2, counts_against_station=True)),
    (errors.CaptureError, Policy(3, counts_against_station=True)),
)


def policy_for(failure: errors.HarnessError) -> Policy:
    """Return what to do about a failure."""
    return next((policy for kind, policy in _POLICIES if isinstance(failure, kind)), _ONCE)


def pause_s(failure: errors.HarnessError, attempt: int) -> float:
    """Return how long to wait after a failed attempt (from 1), in seconds."""
    # Only a port or a probe needs time to come back.
    return 0.2 * 2.0 ** (attempt - 1) if isinstance(failure, errors.BenchError) else 0.0
