"""Typed errors for what goes wrong in a debug session."""

from __future__ import annotations

from typing import Any

from harness.bench.probe import connect_error
from harness.bench.station import Station
from harness.errors import BenchError, FlashError, HarnessError, ProbeNotFound, VerifyError
from harness.flash.image import Image


def differs(image: Image, address: int, expected: bytes, found: bytes) -> VerifyError:
    """Return the error for bytes of an image that read back as others from `address` on."""
    pairs = enumerate(zip(expected, found, strict=True))
    wrong = [(i, want, got) for i, (want, got) in pairs if want != got]
    first, want, got = wrong[0]
    return VerifyError(
        f"flash at 0x{address + first:08X} reads 0x{got:02X}; {image.path.name} has 0x{want:02X}",
        where=f"{len(wrong)} of {len(expected)} bytes from 0x{address:08X} differ",
        fix="flash again; if it fails at the same address, the sector is worn or write-protected",
        address=address + first,
        expected_byte=want,
        found=got,
    )


def translate(failure: Exception, doing: str, station: Station, *, connect: bool) -> HarnessError:
    """Return the typed error for an exception that came out of pyOCD in a running session."""
    from pyocd.core import exceptions

    known = connect_error(failure, station.probe)
    plain = type(known) is BenchError and "does not answer" in known.what
    if not plain or connect:
        return known
    address = getattr(failure, "address", None) or getattr(failure, "fault_address", None)
    at = f" at 0x{address:08X}" if address is not None else ""
    facts: dict[str, Any] = {
        "address": address,
        "result_code": getattr(failure, "result_code", None),
        "station": station.name,
    }
    if isinstance(failure, exceptions.FlashFailure):
        verbs = {exceptions.FlashEraseFailure: "erasing", exceptions.FlashProgramFailure: "writing"}
        verb = verbs.get(type(failure), "the flash algorithm")
        return FlashError(
            f"{doing}: {verb} failed{at}: {failure}",
            fix="check write protection (option bytes) and supply voltage; power-cycle the board",
            **facts,
        )
    if isinstance(failure, exceptions.ProbeError):
        return ProbeNotFound(
            f"{doing}: lost debug probe '{station.probe}': {failure}",
            fix="check its cable, or its host, and connect it again",
            probe=station.probe,
            seen=(),
        )
    return FlashError(
        f"{doing}: the chip stopped answering{at}: {failure or type(failure).__name__}",
        fix="power-cycle the board and flash again; lower the SWD clock if it happens often",
        **facts,
    )
