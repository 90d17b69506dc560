from __future__ import annotations

from pathlib import Path

from harness.boards import load_board
from harness.firmware import build
from harness.firmware.linkmap import read_shares
from harness.firmware.sizes import FLASH_SECTIONS
from support import firmware as fakes


def test_libraries_add_up_to_their_sections(library: Path, cache: Path, compiler: str) -> None:
    from elftools.elf.elffile import ELFFile

    board = load_board("nucleo_f746zg")
    image = build(board, fakes.fake_model(), fakes.fake_sources(library), cache_dir=cache)
    shares = read_shares(image.map)
    with image.elf.open("rb") as stream:
        sizes = {section.name: section["sh_size"] for section in ELFFile(stream).iter_sections()}
    for name in FLASH_SECTIONS:
        assert sum(s.bytes for s in shares if s.section == name) == sizes.get(name, 0), name
    assert ("libkernels.a", ".kernels") in {(s.library, s.section) for s in shares}
    assert {"src", "src/model", "port/armv7m"} <= {s.library for s in shares}
