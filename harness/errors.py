"""One base error, a branch per stage; the data is in attributes, the advice in the message.

Anything a user can fix is a `HarnessError`; every other exception is a bug and shows a traceback.
"""

from __future__ import annotations

from typing import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BENCH = 3
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Report something the user can fix.

    Args:
        what: What happened, with the value at fault.
        where: File, key, station or address it happened at.
        expected: What would have been right.
        fix: What to do about it.
        **data: The same facts for a program (also `error.data`).
    """

    exit_code = EXIT_FAILED
    code = "error"

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
        lines = [self.what]
        if self.where:
            lines.append(f"  where:    {self.where}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.fix:
            lines.append(f"  do:       {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments do not survive a process pool by themselves.
        state = (self.what, self.where, self.expected, self.fix, self.data)
        return (_rebuild, (type(self), state))


def _rebuild(cls: type[HarnessError], state: tuple[Any, ...]) -> HarnessError:
    what, where, expected, fix, data = state
    return cls(what, where=where, expected=expected, fix=fix, **data)


class ConfigError(HarnessError):
    """Wrong use or configuration: a file, a key, an option."""

    exit_code = EXIT_USAGE
    code = "config"


class BoardError(ConfigError):
    """A board manifest is unknown or wrong."""

    code = "board"


class BackboneError(ConfigError):
    """A backbone or an architecture is unknown or outside its search space."""

    code = "backbone"


class DataError(ConfigError):
    """Training data is missing, unreadable or not what training needs."""

    code = "data"


class ModelError(HarnessError):
    """A .tflite cannot be read or is not what can be measured."""

    code = "model"


class RuntimeUnsupported(ModelError):
    """A runtime cannot take a model; names the operator and the reason."""

    code = "unsupported"


class BuildError(HarnessError):
    """The firmware does not build."""

    code = "build"


class ImageTooLarge(BuildError):
    """The linked image does not fit a memory region of the board."""

    code = "too-large"


class ToolchainMissing(BuildError):
    """No cross compiler, or PlatformIO cannot be run."""

    code = "toolchain"
    exit_code = EXIT_BENCH


class BenchError(HarnessError):
    """A station is not ready: probe, port or board."""

    exit_code = EXIT_BENCH
    code = "bench"


class ProbeNotFound(BenchError):
    """No debug probe with the id that the station names."""

    code = "probe-missing"


class ProbeBusy(BenchError):
    """Another program holds the debug probe."""

    code = "probe-busy"


class SerialUnavailable(BenchError):
    """The console port is missing or held by another program."""

    code = "serial"


class StationLocked(BenchError):
    """Another process of ours uses the station."""

    code = "station-locked"


class StationDisabled(BenchError):
    """The station failed several jobs in a row; `harness bench check` re-enables it."""

    code = "station-disabled"


class FlashError(HarnessError):
    """Programming the target failed."""

    code = "flash"


class VerifyError(FlashError):
    """What was read back from flash differs from what was written."""

    code = "verify"


class ImageCorrupt(FlashError):
    """Flash changed after it was verified."""

    code = "image-corrupt"


class TargetMismatch(FlashError):
    """The chip behind the probe is not the board's, or the image is for another board."""

    code = "target-mismatch"


class CaptureError(HarnessError):
    """The device did not deliver a measurement."""

    code = "capture"


class CaptureTimeout(CaptureError):
    """The device was silent past the deadline; carries the last bytes seen and the raw log."""

    code = "timeout"


class DeviceHang(CaptureTimeout):
    """The device fell silent and does not answer to an empty command either."""

    code = "hang"


class DeviceReset(CaptureError):
    """The device was reset in the middle: supply, reset pin, watchdog."""

    code = "reset"


class CounterError(CaptureError):
    """The cycle counter is absent, stands still, or does not count the core's cycles."""

    code = "counter"


class ClockError(CaptureError):
    """The device's clock is not the one that it says it runs at."""

    code = "clock"


class IdentityError(CaptureError):
    """The device answered, but it runs another image or is another board."""

    code = "identity"


class DeviceError(CaptureError):
    """The firmware itself reported an error."""

    code = "device"


class ModelRegionError(DeviceError):
    """The model region is empty or does not hold what was written to it."""

    code = "model-region"


class SchemaMismatch(DeviceError):
    """The model has another schema version than the runtime in the image."""

    code = "schema-mismatch"


class OperatorMissing(DeviceError):
    """The model has an operator that is not in the image."""

    code = "operator-missing"


class ArenaTooSmall(DeviceError):
    """The runtime cannot set the model up in the memory that it has."""

    code = "arena-too-small"


class InvokeFailed(DeviceError):
    """The model was set up, and an operator failed."""

    code = "invoke-failed"


class CoreFault(DeviceError):
    """The core took a fault; the device is dead until its next reset."""

    code = "fault"


class StackOverflow(CoreFault):
    """The stack left the RAM, and the core took a fault."""

    code = "stack-overflow"


class AssertionFailed(DeviceError):
    """An assertion in the firmware does not hold; the device is dead until its next reset."""

    code = "assertion"


class VirtualError(HarnessError):
    """The virtual board met something that is not modelled, or cannot run."""

    code = "virtual"


class ResultsError(HarnessError):
    """The results store cannot be opened, migrated or queried."""

    code = "results"


class FitError(HarnessError):
    """A fit cannot be made from these rows, or is not valid for this use."""

    code = "fit"


class SearchError(ConfigError):
    """A search cannot be run like this: its data, options or checkpoints."""

    code = "search"


class BudgetsInfeasible(SearchError):
    """No network of the search space meets the budgets; carries the smallest feasible values."""

    code = "budgets"


class CampaignError(ConfigError):
    """A campaign file is wrong."""

    code = "campaign"
