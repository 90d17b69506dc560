"""One base error, a branch per stage; the data is in attributes, the advice in the message.

Anything a user can fix is a `HarnessError`; every other exception is a bug and shows a traceback.
"""

from __future__ import annotations

from functools import partial
from typing import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BENCH = 3
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Something the user can fix.

    Args:
        what: What happened, with the value at fault.
        where: File, key, station or address it happened at.
        expected: What would have been right.
        fix: What to do about it.
        **data: The same facts for a program (also `error.data`).
    """

    exit_code = EXIT_FAILED
    code = "error"

    def __init_subclass__(cls, *, code: str | None = None, exit_code: int | None = None) -> None:
        """Take `code` and `exit_code` as class arguments; each is inherited where not given."""
        super().__init_subclass__()
        cls.code = code or cls.code
        cls.exit_code = cls.exit_code if exit_code is None else exit_code

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        fix: str | None = None,
        **data: Any,
    ) -> None:
        super().__init__(what, where, expected, fix)
        self.what = what
        self.where = where
        self.expected = expected
        self.fix = fix
        self.data = data

    def __str__(self) -> str:
        rest = {"where:": self.where, "expected:": self.expected, "do:": self.fix}
        return "\n".join(
            [self.what, *(f"  {label:<9} {text}" for label, text in rest.items() if text)]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments do not survive a process pool by themselves.
        named = {"where": self.where, "expected": self.expected, "fix": self.fix, **self.data}
        return (partial(type(self), self.what, **named), ())


class ConfigError(HarnessError, code="config", exit_code=EXIT_USAGE):
    """Wrong use or configuration: a file, a key, an option."""


class BoardError(ConfigError, code="board"):
    """A board manifest is unknown or wrong."""


class BackboneError(ConfigError, code="backbone"):
    """A backbone or an architecture is unknown or outside its search space."""


class DataError(ConfigError, code="data"):
    """Training data is missing, unreadable or not what training needs."""


class ModelError(HarnessError, code="model"):
    """A .tflite cannot be read or is not what can be measured."""


class ModelFormatError(ModelError, code="model-format", exit_code=EXIT_USAGE):
    """A file is not a .tflite, perhaps a model of another framework."""


class RuntimeUnsupported(ModelError, code="unsupported"):
    """A runtime cannot take a model; names the operator and the reason."""


class BuildError(HarnessError, code="build"):
    """The firmware does not build."""


class ImageTooLarge(BuildError, code="too-large"):
    """The linked image does not fit a memory region of the board."""


class ToolchainMissing(BuildError, code="toolchain", exit_code=EXIT_BENCH):
    """No cross compiler, or PlatformIO cannot be run."""


class BenchError(HarnessError, code="bench", exit_code=EXIT_BENCH):
    """A station is not ready: probe, port or board."""


class ProbeNotFound(BenchError, code="probe-missing"):
    """No debug probe with the id that the station names."""


class ProbeBusy(BenchError, code="probe-busy"):
    """Another program holds the debug probe."""


class SerialUnavailable(BenchError, code="serial"):
    """The console port is missing or held by another program."""


class StationLocked(BenchError, code="station-locked"):
    """Another process of ours uses the station."""


class StationAway(StationLocked, code="station-away"):
    """A station of a farm whose host, worker or scheduler is not there now, and may come back."""


class FarmError(HarnessError, code="farm", exit_code=EXIT_BENCH):
    """A farm cannot be reached, or does not fit this host."""


class StationDisabled(BenchError, code="station-disabled"):
    """The station failed several jobs in a row; `harness bench check` re-enables it."""


class FlashError(HarnessError, code="flash"):
    """Programming the target failed."""


class VerifyError(FlashError, code="verify"):
    """What was read back from flash differs from what was written."""


class ImageCorrupt(FlashError, code="image-corrupt"):
    """Flash changed after it was verified."""


class TargetMismatch(FlashError, code="target-mismatch"):
    """The chip behind the probe is not the board's, or the image is for another board."""


class CaptureError(HarnessError, code="capture"):
    """The device did not deliver a measurement."""


class CaptureTimeout(CaptureError, code="timeout"):
    """The device was silent past the deadline; carries the last bytes seen and the raw log."""


class DeviceHang(CaptureTimeout, code="hang"):
    """The device fell silent and does not answer to an empty command either."""


class DeviceReset(CaptureError, code="reset"):
    """The device was reset in the middle: supply, reset pin, watchdog."""


class CounterError(CaptureError, code="counter"):
    """The cycle counter is absent, stands still, or does not count the core's cycles."""


class ClockError(CaptureError, code="clock"):
    """The device's clock is not the one that it says it runs at."""


class IdentityError(CaptureError, code="identity"):
    """The device answered, but it runs another image or is another board."""


class DeviceError(CaptureError, code="device"):
    """The firmware itself reported an error."""


class ModelRegionError(DeviceError, code="model-region"):
    """The model region is empty or does not hold what was written to it."""


class SchemaMismatch(DeviceError, code="schema-mismatch"):
    """The model has another schema version than the runtime in the image."""


class OperatorMissing(DeviceError, code="operator-missing"):
    """The model has an operator that is not in the image."""


class ArenaTooSmall(DeviceError, code="arena-too-small"):
    """The runtime cannot set the model up in the memory that it has."""


class InvokeFailed(DeviceError, code="invoke-failed"):
    """The model was set up, and an operator failed."""


class CoreFault(DeviceError, code="fault"):
    """The core took a fault; the device is dead until its next reset."""


class StackOverflow(CoreFault, code="stack-overflow"):
    """The stack left the RAM, and the core took a fault."""


class AssertionFailed(DeviceError, code="assertion"):
    """An assertion in the firmware does not hold; the device is dead until its next reset."""


class VirtualError(HarnessError, code="virtual"):
    """The virtual board met something that is not modelled, or cannot run."""


class ResultsError(HarnessError, code="results"):
    """The results store cannot be opened, migrated or queried."""


class FitError(HarnessError, code="fit"):
    """A fit cannot be made from these rows, or is not valid for this use."""


class SearchError(ConfigError, code="search"):
    """A search cannot be run like this: its data, options or checkpoints."""


class BudgetsInfeasible(SearchError, code="budgets"):
    """No network of the search space meets the budgets; carries the smallest feasible values."""


class CampaignError(ConfigError, code="campaign"):
    """A campaign file is wrong."""


class Interrupted(HarnessError, code="interrupted", exit_code=EXIT_INTERRUPTED):
    """Ctrl-C or SIGTERM ended a command; says what is kept."""
