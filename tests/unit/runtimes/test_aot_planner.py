from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runtimes.aot.planner import Buffer, place
from support.aot import generate
from support.published import read_published

buffers = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size * 16, first, first + length),
        st.integers(1, 64),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    max_size=25,
)


@given(buffers)
def test_no_two_live_buffers_overlap(items):
    offsets, total = place(items)
    placed = list(zip(items, offsets, strict=True))
    for number, (a, a_offset) in enumerate(placed):
        assert a_offset >= 0 and a_offset + a.bytes <= total
        for b, b_offset in placed[:number]:
            apart_in_time = a.last < b.first or b.last < a.first
            apart = a_offset + a.bytes <= b_offset or b_offset + b.bytes <= a_offset
            assert apart_in_time or apart


@given(buffers)
def test_arena_is_no_smaller_than_the_busiest_moment(items):
    _, total = place(items)
    for now in range(20):
        assert sum(b.bytes for b in items if b.first <= now <= b.last) <= total


def test_nothing_needs_nothing():
    assert place([]) == ([], 0)


def test_reuses_dead_memory():
    offsets, total = place([Buffer(64, 0, 1), Buffer(64, 2, 3), Buffer(32, 1, 2)])
    assert offsets[0] == offsets[1] == 0
    assert total == 96


# "Arena allocation head" that TFLM's recording allocator reports for its reference kernels, which
# need no scratch except MEAN's; the portable kernels need the same.
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mlperf_tiny/ad01_int8", 768),
        ("mlperf_tiny/kws_ref_model", 16_000),
        ("mlperf_tiny/pretrainedResnet_quant", 49_152),
        ("mlperf_tiny/vww_96_int8", 73_728),
        ("micronets/kws_micronet_m_int8", 86_112),
        ("heim2021/lenet_mnist_int8", 6_768),
    ],
)
def test_arena_equals_tflms(name, head):
    model = read_published(f"{name}.tflite")
    assert generate(model, "portable").arena_planned_bytes == head
