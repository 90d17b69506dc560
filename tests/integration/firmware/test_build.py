from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.boards import all_boards, load_board
from harness.errors import BuildError, ImageTooLarge
from harness.firmware import BuildOptions, FirmwareImage, build, export_project
from harness.firmware.toolchain import platformio_environment, prepare_core
from support import firmware as fakes

pytestmark = pytest.mark.usefixtures("compiler")
F746 = load_board("nucleo_f746zg")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def _symbols(image: FirmwareImage) -> dict[str, int]:
    from elftools.elf.elffile import ELFFile

    with image.elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.id)
def test_every_board_builds(board, library: Path, cache: Path) -> None:
    image = build(board, fakes.fake_model(), fakes.fake_sources(library), cache_dir=cache)
    assert image.sizes.total == sum(
        getattr(image.sizes, name) for name in ("weights", "graph", "kernels", "runtime", "port")
    )
    assert image.ram_static_bytes == image.ram.stack + image.ram.other
    assert image.ram.arena == 200
    assert image.ram.stack == 8192
    symbols = _symbols(image)
    assert symbols["_stack_bottom"] == board.ram_regions[0].origin
    assert symbols["port_vectors"] == board.flash.origin
    assert image.map.is_file()


def test_the_same_inputs_are_built_once(library: Path, cache: Path) -> None:
    model, sources = fakes.fake_model(content=b"once"), fakes.fake_sources(library)
    lines: list[str] = []
    first = build(F746, model, sources, cache_dir=cache, on_log=lines.append)
    assert not first.cached
    assert any("Linking" in line for line in lines)
    again = build(F746, model, sources, cache_dir=cache)
    assert again.cached
    assert dataclasses.replace(again, cached=False, seconds=first.seconds) == first


def test_a_damaged_image_is_built_again(library: Path, cache: Path) -> None:
    model, sources = fakes.fake_model(content=b"damage"), fakes.fake_sources(library)
    first = build(F746, model, sources, cache_dir=cache)
    first.elf.write_bytes(first.elf.read_bytes()[:100])
    again = build(F746, model, sources, cache_dir=cache)
    assert not again.cached
    assert again.sha256 == first.sha256
    (again.elf.parent / "image.json").write_text(json.dumps({"other": "version"}))
    assert build(F746, model, sources, cache_dir=cache).sha256 == first.sha256


@pytest.mark.parametrize("flags", [(), ("-g",)])
def test_the_image_does_not_depend_on_where_it_is_built(
    flags: tuple[str, ...], library: Path, cache: Path, tmp_path: Path
) -> None:
    model, options = fakes.fake_model(), BuildOptions(extra_flags=flags)
    here = build(F746, model, fakes.fake_sources(library), options, cache_dir=cache)
    there = build(
        F746,
        model,
        fakes.fake_sources(tmp_path / "library"),
        options,
        cache_dir=tmp_path / "a" / "longer" / "way",
    )
    assert here.sha256 == there.sha256
    assert str(tmp_path).encode() not in there.elf.read_bytes()


def test_an_exported_project_builds_by_hand_to_the_same_bytes(
    library: Path, cache: Path, tmp_path: Path
) -> None:
    model, sources = fakes.fake_model(), fakes.fake_sources(library)
    image = build(F746, model, sources, cache_dir=cache)
    folder = export_project(F746, model, sources, tmp_path / "project")
    environment = platformio_environment(prepare_core(cache), None)
    command = [sys.executable, "-m", "platformio", "run", "-d", str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    elf = folder / ".pio" / "build" / F746.id / "firmware.elf"
    assert elf.read_bytes() == image.elf.read_bytes()


def test_too_much_flash_says_how_much(library: Path, cache: Path) -> None:
    text = fakes.MODEL_C.replace("static const uint8_t weights", "const volatile uint8_t weights")
    sources = fakes.fake_sources(library, weights=2 << 20, model_c=text)
    with pytest.raises(ImageTooLarge, match="flash") as caught:
        build(F746, fakes.fake_model(content=b"flash"), sources, cache_dir=cache)
    assert caught.value.data["region"] == "FLASH"
    assert 1 << 20 < caught.value.data["overflow_bytes"] < (1 << 20) + 50_000
    assert "weights 2097152" in str(caught.value)


def test_too_much_ram_says_how_much(library: Path, cache: Path) -> None:
    sources = fakes.fake_sources(library, size=150_000)
    with pytest.raises(ImageTooLarge, match="RAM") as caught:
        build(F746, fakes.fake_model(content=b"ram"), sources, cache_dir=cache)
    assert caught.value.data["region"] == "RAM"
    assert "arena 300000" in str(caught.value)
    assert Path(caught.value.data["log"]).is_file()


def test_sources_that_do_not_compile_show_the_line(library: Path, cache: Path) -> None:
    sources = fakes.fake_sources(library, model_c=fakes.MODEL_C + "\nint broken = nothing;\n")
    with pytest.raises(BuildError, match=r"model\.c:\d+:\d+: error: .*nothing"):
        build(F746, fakes.fake_model(content=b"broken"), sources, cache_dir=cache)


def test_a_heap_does_not_link(library: Path, cache: Path) -> None:
    text = fakes.MODEL_C.replace(
        "int model_setup(void) { return 0; }",
        "#include <stdlib.h>\nvoid *kept;\nint model_setup(void) { kept = malloc(1); return 0; }",
    )
    sources = fakes.fake_sources(library, model_c=text)
    with pytest.raises(BuildError, match="_sbrk"):
        build(F746, fakes.fake_model(content=b"heap"), sources, cache_dir=cache)


def test_binary_files_beside_the_sources_are_followed(library: Path, cache: Path) -> None:
    assembler = (
        '.section .rodata.model_weights,"a"\n.global blob\nblob:\n.incbin "model/weights.bin"\n'
    )
    text = fakes.MODEL_C.replace(
        "int model_setup(void) { return 0; }",
        "extern const uint8_t blob[];\nint model_setup(void) { return blob[0] == 255; }",
    )
    base = fakes.fake_sources(library, model_c=text)
    images = []
    for byte in (b"\x01", b"\x02"):
        files = {**base.files, "model/blob.S": assembler, "model/weights.bin": byte * 4096}
        sources = dataclasses.replace(base, files=files)
        images.append(build(F746, fakes.fake_model(content=byte), sources, cache_dir=cache))
    assert [image.sizes.weights for image in images] == [4096, 4096]
    assert b"\x02" * 4096 in images[1].elf.read_bytes()


def test_builders_at_the_same_time_do_not_meet(library: Path, cache: Path) -> None:
    jobs = [(fakes.fake_model(content=bytes([n % 3])), fakes.fake_sources(library)) for n in (0, 1)]

    def one(job) -> FirmwareImage:
        return build(F746, *job, cache_dir=cache, jobs=1)

    with ThreadPoolExecutor(3) as pool:
        images = list(pool.map(one, [*jobs, jobs[0]]))
    assert images[0].sha256 == images[2].sha256 != images[1].sha256
    assert not list((cache / "images").glob(".*"))


def test_the_environment_of_the_caller_does_not_leak_in(
    library: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = build(F746, fakes.fake_model(), fakes.fake_sources(library), cache_dir=cache)
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DLEAK -O0")
    monkeypatch.setenv("C_INCLUDE_PATH", os.sep)
    expected.elf.unlink()
    again = build(F746, fakes.fake_model(), fakes.fake_sources(library), cache_dir=cache)
    assert again.sha256 == expected.sha256
