"""The TFLM glue on the virtual board, with the fake library: failures; one firmware for many."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.boards import load_board
from harness.errors import (
    ArenaTooSmall,
    DeviceError,
    IdentityError,
    ModelRegionError,
    OperatorMissing,
    SchemaMismatch,
)
from harness.models import TFLiteModel, read_model
from harness.runtimes import RuntimeOptions
from harness.runtimes.tflm import TflmRuntime
from harness.testing import ModelWriter

pytestmark = pytest.mark.usefixtures("virtual_board")
FAKE = Path(__file__).parents[1] / "fake_tflm"
OPTIONS = RuntimeOptions("tflm", "reference", f"symlink://{FAKE}")
BOARD = load_board("nucleo_f746zg")
RUNTIME = TflmRuntime()


def pools(size: int = 8, *, reshape: bool = True) -> TFLiteModel:
    writer = ModelWriter()
    source = writer.tensor((1, size, size, 4), scale=0.5, name="input")
    sink = writer.tensor((1, size // 2, size // 2, 4), scale=0.5, name="pool")
    writer.operator(
        "MAX_POOL_2D", [source], [sink],
        padding="VALID", stride_w=2, stride_h=2, filter_width=2, filter_height=2,
    )  # fmt: skip
    if reshape:
        flat = writer.tensor((size * size,), scale=0.5, name="out")
        writer.operator("RESHAPE", [sink], [flat])
        sink = flat
    return read_model(writer.finish([source], [sink]), name=f"pools-{size}")


def stimulus(model: TFLiteModel) -> tuple[bytes, bytes]:
    shape = model.graph.input_tensors()[0].shape
    data = np.random.default_rng(2).integers(-128, 128, shape, dtype=np.int8)
    half = shape[1] // 2
    return data.tobytes(), data.reshape(half, 2, half, 2, 4).max(axis=(1, 3)).tobytes()


@pytest.fixture
def session(virtual_board: None) -> Iterator[Any]:
    from harness.bench import virtual_bench
    from harness.capture.session import BoardSession

    with BoardSession.open(virtual_bench().station(f"virtual-{BOARD.id}")) as opened:
        yield opened


@pytest.fixture
def capture(session: Any) -> Callable[..., Any]:
    from harness.capture import CapturePlan

    def capture(image: Any, model: TFLiteModel, **changes: Any) -> Any:
        data, expected = stimulus(model)
        plan = CapturePlan(
            warmup=1, repeats=2, layers=True, inputs=(data,), output_bytes=(len(expected),), macs=0
        )
        found = session.run(image, replace(plan, **changes))
        assert found.outputs == (expected,)
        return found

    return capture


def own_image(model: TFLiteModel) -> Any:
    from harness.firmware import build

    return build(BOARD, model, RUNTIME.generate(model, OPTIONS, BOARD))


def refusal(
    session: Any, image: Any, model: TFLiteModel, kind: type[DeviceError] = DeviceError
) -> str:
    """Return what the device says against a model, and check that it still answers."""
    from harness.capture import CapturePlan

    data, expected = stimulus(model)
    plan = CapturePlan(0, 1, False, (data,), (len(expected),), 0)
    with pytest.raises(kind) as caught:
        session.run(image, plan)
    assert not session.broken
    return str(caught.value)


def test_one_firmware_gives_the_numbers_of_one_image(
    timing: str, capture: Callable[..., Any]
) -> None:
    from harness.firmware.shared import build_shared

    for size in (8, 16, 12):
        model = pools(size)
        shared = build_shared(BOARD, OPTIONS).image_for(model)
        first, second = capture(shared, model), capture(own_image(model), model)
        assert first.memory.arena_used == second.memory.arena_used
        if timing == "issue":  # the same instructions, whatever their addresses
            assert first.cycles == second.cycles
            assert first.layers == second.layers
        else:  # other addresses share other lines of the caches
            assert first.cycles == pytest.approx(second.cycles, rel=0.005)


def test_models_share_the_runtime_and_are_programmed_alone(capture: Callable[..., Any]) -> None:
    from harness.firmware.shared import build_shared

    images = [build_shared(BOARD, OPTIONS).image_for(pools(size)) for size in (8, 16)]
    assert images[0].build_id == images[1].build_id
    assert images[0].sha256 != images[1].sha256
    for image, size in zip(images, (8, 16), strict=True):
        model = pools(size)
        assert image.model_sha256 == model.sha256
        assert capture(image, model).identity.build_id == image.build_id


def test_only_the_model_s_sectors_are_programmed() -> None:
    from harness.bench import virtual_bench
    from harness.firmware.shared import build_shared
    from harness.flash import open_target

    station = virtual_bench().station(f"virtual-{BOARD.id}")
    shared = build_shared(BOARD, OPTIONS)
    with open_target(station, BOARD) as target:
        target.program(shared.image_for(pools(8)).elf)
        report = target.program(shared.image_for(pools(16)).elf)
    assert report.sectors_erased == 1
    assert report.bytes_unchanged > report.bytes_programmed


def test_a_missing_operator_is_tflm_s_message(session: Any, capture: Callable[..., Any]) -> None:
    from harness.firmware.shared import build_shared

    shared = build_shared(BOARD, OPTIONS, operators=("MAX_POOL_2D",))
    model = pools()
    text = refusal(session, shared.image_for(model), model, OperatorMissing)
    assert "Didn't find op for builtin opcode '22'" in text
    assert "(code 3)" in text
    fitting = pools(reshape=False)
    capture(shared.image_for(fitting), fitting)


def test_another_schema_version_is_refused(session: Any) -> None:
    model = pools()
    content = bytearray(model.content)
    root = struct.unpack_from("<I", content)[0]
    table = root - struct.unpack_from("<i", content, root)[0]
    version = root + struct.unpack_from("<H", content, table + 4)[0]
    assert struct.unpack_from("<I", content, version) == (3,)
    struct.pack_into("<I", content, version, 2)
    text = refusal(
        session, own_image(replace(model, content=bytes(content))), model, SchemaMismatch
    )
    assert "schema-version" in text
    assert "(code 2)" in text


def test_a_model_larger_than_the_free_memory_is_tflm_s_message(session: Any) -> None:
    from harness.firmware import build

    # The input alone would not link; a tensor in the middle is the device's to refuse.
    writer = ModelWriter()
    source = writer.tensor((1, 8, 8, 4), scale=0.5)
    huge = writer.tensor((1, 400, 400, 4), scale=0.5)
    sink = writer.tensor((1, 4, 4, 4), scale=0.5)
    for index, target in ((source, huge), (huge, sink)):
        writer.operator(
            "MAX_POOL_2D", [index], [target],
            padding="VALID", stride_w=2, stride_h=2, filter_width=2, filter_height=2,
        )  # fmt: skip
    model = read_model(writer.finish([source], [sink]))
    image = build(BOARD, model, RUNTIME.generate(model, OPTIONS, BOARD))
    text = refusal(session, image, pools(reshape=False), ArenaTooSmall)
    assert "Failed to allocate memory. Requested: 640000" in text
    assert "(code 4)" in text


def test_a_damaged_model_region_is_refused(session: Any, tmp_path: Path) -> None:
    from harness.firmware.shared import build_shared

    model = pools()
    image = build_shared(BOARD, OPTIONS).image_for(model)
    damaged = bytearray(image.elf.read_bytes())
    damaged[-1] ^= 1
    elf = tmp_path / "damaged.elf"
    elf.write_bytes(damaged)
    assert "model-region-is-damaged" in refusal(
        session, replace(image, elf=elf), model, ModelRegionError
    )


def erased_region(board: Any) -> Path:
    """Return an ELF that fills the head of the model region as an erased flash is."""
    from harness.firmware.shared import _elf
    from harness.paths import cache_dir

    path = cache_dir() / "wipe.elf"
    path.write_bytes(_elf([(board.model_region.origin, b"\xff" * 1024)]))
    return path


def test_an_empty_model_region_is_a_device_that_answers() -> None:
    from harness.bench import virtual_bench
    from harness.capture import CapturePlan
    from harness.capture.session import BoardSession
    from harness.firmware.shared import build_shared
    from harness.flash import open_target

    station = virtual_bench().station(f"virtual-{BOARD.id}")
    image = build_shared(BOARD, OPTIONS).image
    with open_target(station, BOARD) as target:
        target.program(erased_region(BOARD))
    model = pools()
    data, expected = stimulus(model)
    with BoardSession.open(station) as session:
        plan = CapturePlan(0, 1, False, (data,), (len(expected),), 0)
        with pytest.raises(IdentityError, match="model id is"):
            session.run(replace(image, model_sha256=model.sha256), plan)


def test_every_arena_size_is_answered(capture: Callable[..., Any]) -> None:
    found = capture(own_image(pools()), pools(), verify_arena=True)
    assert found.arena.min_bytes % 16 == 0
    assert "Failed to allocate" in found.arena.below_message


def test_the_log_of_2022_is_recognised(session: Any, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(FAKE, old)
    flags = {"flags": "-DFAKE_TFLM_OLD_LOG"}
    manifest = {"name": "old", "version": "1.0.0", "build": flags}
    (old / "library.json").write_text(json.dumps(manifest))
    options = replace(OPTIONS, library=f"symlink://{old}")
    from harness.firmware.shared import build_shared

    model = pools()
    image = build_shared(BOARD, options, operators=("MAX_POOL_2D",)).image_for(model)
    assert "Didn't find op for builtin opcode" in refusal(session, image, model)


def test_a_crash_in_a_kernel_of_one_firmware_is_told_with_its_place(
    session: Any, tmp_path: Path
) -> None:
    # The ELF that is flashed has the model and no symbols: they are beside the shared runtime's.
    from harness.errors import CoreFault
    from harness.firmware.shared import build_shared

    crashing = tmp_path / "crashing"
    shutil.copytree(FAKE, crashing)
    kernel = crashing / "tensorflow/lite/micro/kernels/pooling.cpp"
    text = kernel.read_text()
    crash = 'if (from.dims[1] == 12) __asm__ volatile("udf #0");'
    old = "    int8_t *out = to.data.int8;\n"
    assert old in text
    kernel.write_text(text.replace(old, f"    {crash}\n{old}"))
    line = 1 + kernel.read_text()[: kernel.read_text().index(crash)].count("\n")
    options = replace(OPTIONS, library=f"symlink://{crashing}")
    shared = build_shared(BOARD, options)
    sound, image = shared.image_for(pools(8)), shared.image_for(pools(12))
    assert sound.build_id == image.build_id and sound.elf != image.elf
    said = refusal(session, image, pools(12), CoreFault)
    assert "undefined instruction" in said
    assert "max_pool" in said and f"pooling.cpp:{line})" in said
