"""Check the flash from the device, after the measurement."""

from __future__ import annotations

from collections.abc import Sequence

from harness import protocol
from harness.capture.console import Console
from harness.errors import ImageCorrupt
from harness.flash.image import Checksum

# The device computes some megabytes a second; an emulated one on a busy host far less.
_BYTES_PER_S = 100_000


def check_image(console: Console, checksums: Sequence[Checksum]) -> None:
    """Compare the flash that the core reads with what was programmed.

    A bit that flips after the programmer has verified it may change code or weights without a sign.

    Raises:
        ImageCorrupt: Flash has changed.
    """
    for wanted in checksums:

        def collect(
            records: list[protocol.Record], wanted: Checksum = wanted
        ) -> protocol.FlashCrc | None:
            # An answer to a command that lost a digit on its way is none.
            place = wanted.address, wanted.size
            answers = (r for r in records if isinstance(r, protocol.FlashCrc))
            return next((r for r in answers if (r.address, r.bytes) == place), None)

        found = console.ask(
            protocol.encode_crc(wanted.address, wanted.size),
            collect,
            what="the checksum of the flash",
            timeout_s=2 + wanted.size / _BYTES_PER_S,
        )
        if found.crc != f"{wanted.crc:08x}":
            raise console.failure(
                ImageCorrupt,
                f"the {wanted.size} bytes of flash from 0x{wanted.address:08x} have checksum "
                f"{found.crc}: they changed after they were verified",
                expected=f"{wanted.crc:08x}, as programmed",
                fix="flash that forgets is worn out or its supply is bad: try another board",
                address=wanted.address,
            )
