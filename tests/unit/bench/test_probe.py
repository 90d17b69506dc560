from __future__ import annotations

import errno
import logging

import pytest

from harness.bench.discovery import SeenProbe
from harness.bench.probe import connect_error, is_bench_trouble, match_probe, quiet_pyocd
from harness.errors import BenchError, ProbeBusy, ProbeNotFound, VirtualError

SEEN = [SeenProbe("066DFF1111", "ST-LINK"), SeenProbe("066DFF2222", "ST-LINK"), SeenProbe("066D")]


def test_whole_id_wins_over_parts() -> None:
    assert match_probe("066d", SEEN) is SEEN[2]


def test_part_of_one_id_is_enough() -> None:
    assert match_probe("ff2222", SEEN) is SEEN[1]


def test_part_of_two_ids_is_refused_naming_both() -> None:
    with pytest.raises(ProbeNotFound, match="matches 2 probes") as caught:
        match_probe("066DFF", SEEN)
    assert caught.value.data["seen"] == ("066DFF1111", "066DFF2222")


def test_missing_probe_lists_what_is_seen() -> None:
    with pytest.raises(ProbeNotFound) as caught:
        match_probe("0999", SEEN)
    assert "066DFF1111 (ST-LINK)" in str(caught.value)
    with pytest.raises(ProbeNotFound, match="none at all"):
        match_probe("0999", [])


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


def test_causes_become_typed_errors() -> None:
    from pyocd.core import exceptions

    probe_error = exceptions.ProbeError("USB Error")
    busy = connect_error(chained(probe_error, OSError(errno.EBUSY, "Resource busy")), "p")
    assert isinstance(busy, ProbeBusy)
    denied = connect_error(OSError(errno.EACCES, "Access denied"), "p")
    assert type(denied) is BenchError
    assert "udev" in str(denied.fix)
    gone = connect_error(exceptions.ProbeDisconnected("gone"), "p")
    assert isinstance(gone, ProbeNotFound)
    refused = connect_error(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "remote:h:1")
    assert isinstance(refused, ProbeNotFound) and "host and port" in str(refused.fix)
    silent = connect_error(exceptions.TransferError("no ACK"), "p")
    assert type(silent) is BenchError
    assert "does not answer" in silent.what
    unsupported = connect_error(exceptions.TargetSupportError("x"), "p")
    assert "pyocd_target" in str(unsupported.fix)


def test_errors_of_ours_come_through_pyocd_unchanged() -> None:
    ours = VirtualError("no such register")
    assert connect_error(chained(RuntimeError("wrapped"), ours), "p") is ours


def test_bugs_are_told_from_bench_trouble() -> None:
    from pyocd.core import exceptions

    assert is_bench_trouble(exceptions.TransferError())
    assert is_bench_trouble(OSError())
    assert is_bench_trouble(chained(RuntimeError(), VirtualError("x")))
    assert not is_bench_trouble(AttributeError("bug"))


def test_pyocd_log_is_kept_and_quiet() -> None:
    logger = logging.getLogger("pyocd.test")
    with quiet_pyocd() as outer, quiet_pyocd() as inner:
        logger.warning("number %d", 1)
    assert list(outer) == list(inner) == ["warning: number 1"]
