"""One aot firmware for many models gives the numbers of images of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backbones import Limits, get_backbone
from harness.boards import load_board
from harness.capture import CapturePlan
from harness.errors import HarnessError, RuntimeUnsupported
from harness.firmware import BuildOptions, build
from harness.firmware.shared import SharedImage, build_shared
from harness.models import TFLiteModel, read_model
from harness.models.reference import run_reference
from harness.models.sampled import write_architecture
from harness.models.stimulus import random_inputs
from harness.runtimes import RuntimeOptions, get_runtime
from harness.testing import ModelWriter

pytestmark = pytest.mark.usefixtures("virtual_board")
BOARD = load_board("nucleo_f746zg")
OPTIONS = RuntimeOptions("aot", "cmsis_nn")
SMALL = Limits(max_working_memory_bytes=100_000, max_ops=16_000_000)


@pytest.fixture(scope="module")
def shared() -> SharedImage:
    return build_shared(BOARD, OPTIONS)


@pytest.fixture
def session(virtual_board: Any) -> Iterator[Any]:
    from harness.bench import virtual_bench
    from harness.capture.session import BoardSession

    # Without caches: where the kernels and the weights lie does not matter then.
    station = virtual_bench().station(f"virtual-{BOARD.id}")
    without = station.model_copy(update={"serial": f"{station.serial}?timing=issue"})
    with BoardSession.open(without) as found:
        yield found


def sampled(name: str, index: int) -> TFLiteModel:
    architecture = get_backbone(name).sample(5, index, limits=SMALL)
    return read_model(write_architecture(name, architecture.dumps()), name=f"{name}-{index}")


def plan(model: TFLiteModel) -> tuple[CapturePlan, bytes]:
    inputs = tuple(random_inputs(model, 1))
    outputs = run_reference(model, inputs).outputs
    sizes = tuple(len(item) for item in outputs)
    chosen = CapturePlan(
        warmup=1,
        repeats=1,
        boots=1,
        layers=True,
        inputs=inputs,
        output_bytes=sizes,
        macs=model.graph.macs,
    )
    return chosen, b"".join(outputs)


@pytest.mark.parametrize("name", ["ds_cnn_kws", "mobilenet_v2_vww", "ds_cnn_ad"])
def test_cycles_memory_and_outputs_are_those_of_an_image_of_its_own(
    name: str, shared: SharedImage, session: Any
) -> None:
    model = sampled(name, 1)
    chosen, expected = plan(model)
    own = build(BOARD, model, get_runtime("aot").generate(model, OPTIONS, BOARD), BuildOptions())
    beside = shared.image_for(model)
    one, two = session.run(own, chosen), session.run(beside, chosen)
    assert b"".join(one.outputs) == b"".join(two.outputs) == expected
    assert two.cycles[0] == pytest.approx(one.cycles[0], rel=1e-3)
    assert two.memory.arena_used == one.memory.arena_used
    assert beside.ram.arena == own.ram.arena
    assert beside.ram.total == pytest.approx(own.ram.total, abs=512)
    assert [layer.name for layer in two.layers] == [layer.name for layer in one.layers]


def refusal(session: Any, image: Any, model: TFLiteModel) -> str:
    with pytest.raises(HarnessError) as caught:
        session.run(image, plan(model)[0])
    return str(caught.value)


def test_a_damaged_graph_is_refused(shared: SharedImage, session: Any, tmp_path: Path) -> None:
    model = sampled("ds_cnn_kws", 2)
    image = shared.image_for(model)
    content = bytearray(image.elf.read_bytes())
    content[-1] ^= 1
    elf = tmp_path / "damaged.elf"
    elf.write_bytes(content)
    assert "model-region-is-damaged" in refusal(session, replace(image, elf=elf), model)


def test_a_graph_for_another_firmware_is_refused(
    shared: SharedImage, session: Any, tmp_path: Path
) -> None:
    from harness.firmware.shared import _elf, _segments

    model = sampled("ds_cnn_kws", 2)
    other = build_shared(BOARD, OPTIONS, BuildOptions(optimization="-Os")).image_for(model)
    place, content = _segments(other.elf, other.sha256)[-1]
    elf = tmp_path / "mixed.elf"
    elf.write_bytes(_elf([*_segments(shared.image.elf, shared.image.sha256), (place, content)]))
    mixed = replace(shared.image_for(model), elf=elf)
    assert "model-is-for-another-firmware" in refusal(session, mixed, model)


def test_a_model_without_room_says_by_how_much(shared: SharedImage) -> None:
    writer = ModelWriter()
    source = writer.tensor((1, 100, 100, 4), scale=0.5)
    sink = writer.tensor((1, 50, 50, 4), scale=0.5)
    writer.operator(
        "MAX_POOL_2D", [source], [sink],
        padding="VALID", stride_w=2, stride_h=2, filter_width=2, filter_height=2,
    )  # fmt: skip
    model = read_model(writer.finish([source], [sink]), name="large input")
    with pytest.raises(RuntimeUnsupported, match="40000 bytes of input"):
        shared.image_for(model)
