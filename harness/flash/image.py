"""Read what an ELF file puts into flash."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from pathlib import Path

from harness.boards import Board
from harness.errors import FlashError, TargetMismatch

# Behind the sixteen vectors: `port_identity` of firmware_template/port/armv7m/startup.c.
_IDENTITY_AT, _IDENTITY_BYTES = 64, 70
_IDENTITY_MAGIC = b"TMLH1 "


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes at a load address."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """First address after the segment."""
        return self.address + len(self.data)


@dataclass(frozen=True, slots=True)
class Checksum:
    """CRC-32 (zlib's) of `size` bytes at `address`."""

    address: int
    size: int
    crc: int

    @classmethod
    def of(cls, address: int, data: bytes) -> Checksum:
        """Return the checksum of `data`."""
        return cls(address, len(data), zlib.crc32(data))


@dataclass(frozen=True, slots=True)
class Image:
    """The loadable content of an ELF file, in address order, without gaps inside a segment."""

    path: Path  # the ELF file
    segments: tuple[Segment, ...]  # what is to be in flash; never overlapping

    @property
    def bytes(self) -> int:
        """Bytes in all segments."""
        return sum(len(segment.data) for segment in self.segments)

    @property
    def checksums(self) -> tuple[Checksum, ...]:
        """One for each segment."""
        return tuple(Checksum.of(segment.address, segment.data) for segment in self.segments)


def read_image(path: Path, board: Board) -> Image:
    """Read an ELF file and check that a board's flash takes it.

    Raises:
        FlashError: The file is missing, not an ELF file, truncated, or loads nothing.
        TargetMismatch: It is not for Arm, says that it is for another board, or loads to addresses
            outside the board's flash.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    segments: list[Segment] = []
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf.header["e_machine"] != "EM_ARM":
                raise TargetMismatch(
                    f"{path.name} is for machine {elf.header['e_machine']}, not EM_ARM",
                    where=str(path),
                    fix=f"build it for {board.id}",
                )
            for part in elf.iter_segments("PT_LOAD"):
                if part["p_filesz"]:
                    segments.append(Segment(int(part["p_paddr"]), part.data()))
                    if len(segments[-1].data) != part["p_filesz"]:
                        raise ELFError("a segment ends after the file")
    except OSError as failure:
        what = f"cannot read {path}: {failure.strerror}"
        raise FlashError(what, where=str(path), fix="build the image first") from None
    except (ELFError, ValueError, KeyError, UnicodeDecodeError) as failure:
        raise FlashError(
            f"{path.name} is not a complete ELF file: {failure}",
            where=str(path),
            fix="build the image again",
        ) from None
    segments.sort(key=lambda segment: segment.address)
    if not segments:
        raise FlashError(f"{path.name} loads nothing", where=str(path), fix="check its link script")
    _check_board(path, segments, board)
    _check_addresses(path, segments, board)
    return Image(path, tuple(segments))


def _check_board(path: Path, segments: list[Segment], board: Board) -> None:
    """Refuse an image of ours for another board; others' images do not say what they are for."""
    record = segments[0].data[_IDENTITY_AT : _IDENTITY_AT + _IDENTITY_BYTES]
    if segments[0].address != board.flash.origin or not record.startswith(_IDENTITY_MAGIC):
        return
    text = record.removeprefix(_IDENTITY_MAGIC).split(b"\0", 1)[0]
    built_for = text.decode("ascii", "backslashreplace")
    if built_for != board.id:
        raise TargetMismatch(
            f"{path.name} is built for {built_for}",
            where=str(path),
            expected=f"an image for {board.id}",
            fix=f"build it for {board.id}, or flash a station that carries {built_for}",
            built_for=built_for,
            board=board.id,
        )


def _check_addresses(path: Path, segments: list[Segment], board: Board) -> None:
    flash = board.flash
    for segment in segments:
        if segment.address < flash.origin or segment.end > flash.end:
            raise TargetMismatch(
                f"{path.name} loads {len(segment.data)} bytes to 0x{segment.address:08X}–"
                f"0x{segment.end - 1:08X}, outside the flash of {board.id}",
                where=str(path),
                expected=f"addresses within 0x{flash.origin:08X}–0x{flash.end - 1:08X} "
                f"({flash.bytes // 1024} KiB)",
                fix=f"build it for {board.id}, or flash the board that it was built for",
                address=segment.address,
                board=board.id,
            )
    for low, high in itertools.pairwise(segments):
        if low.end > high.address:
            raise FlashError(
                f"{path.name} loads two segments to 0x{high.address:08X}",
                where=str(path),
                fix="check its link script",
                address=high.address,
            )
