from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

MakeElf = Callable[..., Path]


@pytest.fixture
def make_elf(tmp_path: Path) -> MakeElf:
    """Return a writer of minimal ELF files: `make_elf((address, data), ..., machine=)`."""

    def make(*segments: tuple[int, bytes], name: str = "image.elf", machine: int = 40) -> Path:
        offset = 52 + 32 * len(segments)
        headers, content = b"", b""
        for address, data in segments:
            fields = (1, offset + len(content), address, address, len(data), len(data), 5, 4)
            headers += struct.pack("<8I", *fields)
            content += data
        ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
        entry = segments[0][0] if segments else 0
        header = struct.pack(
            "<HHIIIIIHHHHHH",
            2,
            machine,
            1,
            entry,
            52,
            0,
            0x0500_0000,
            52,
            32,
            len(segments),
            40,
            0,
            0,
        )
        path = tmp_path / name
        path.write_bytes(ident + header + headers + content)
        return path

    return make
