"""Crash reports in words."""

from __future__ import annotations

import pytest

from harness import protocol
from harness.capture.crash import assertion_error, fault_error
from harness.errors import AssertionFailed, CoreFault, StackOverflow


def fault(**changes: str) -> protocol.Fault:
    values = {
        "exc": "3", "pc": "08001234", "lr": "08002001", "sp": "20001000", "psr": "61000000",
        "cfsr": "00000000", "hfsr": "40000000", "bfar": "00000000", "stack": "ok",
    }  # fmt: skip
    return protocol.Fault(**{**values, **changes})


@pytest.mark.parametrize(
    ("registers", "words"),
    [
        ({"cfsr": "00010000"}, "HardFault: undefined instruction"),
        ({"cfsr": "00008200", "bfar": "30000000"}, r"nothing is \(address 0x30000000\)"),
        ({"cfsr": "01000000", "exc": "6"}, "UsageFault: unaligned access"),
        ({"cfsr": "02000000"}, "division by zero"),
        ({"hfsr": "00000002"}, "a vector that cannot be read"),
        ({"exc": "17"}, "exception 17"),
        ({}, "no cause in its status registers"),
        ({"cfsr": "zzzzzzzz"}, "no cause"),
    ],
)
def test_registers_become_words(registers: dict[str, str], words: str) -> None:
    error = fault_error(fault(**registers), where="desk", raw_log="")
    assert isinstance(error, CoreFault) and error.code == "fault"
    with pytest.raises(CoreFault, match=words):
        raise error


def test_places_are_named() -> None:
    places = {0x0800_1234: "arm_convolve_s8 (conv.c:7)", 0x0800_2001: "model_invoke (model.c:90)"}
    error = fault_error(fault(), where="desk", raw_log="", place_of=places.get)
    assert "in arm_convolve_s8 (conv.c:7), called from model_invoke (model.c:90)" in error.what
    assert error.data["function"] == "arm_convolve_s8 (conv.c:7)"


def test_a_stack_overflow_has_its_own_code() -> None:
    error = fault_error(fault(stack="overflow", pc="00000000"), where="desk", raw_log="")
    assert isinstance(error, StackOverflow) and error.code == "stack-overflow"
    assert "larger stack" in (error.fix or "")


def test_an_assertion_names_its_place() -> None:
    record = protocol.Assertion(7, "kernel.c", "f", protocol.encode_message("n > 0 && m"))
    error = assertion_error(record, where="desk", raw_log="")
    assert isinstance(error, AssertionFailed)
    assert "f (kernel.c:7): n > 0 && m" in error.what
