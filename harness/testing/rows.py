"""Rows without a board: round numbers from station ``fake``; no command stores them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.results.record import LayerCycles, Measurement, Status

START = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def key_of(value: object) -> str:
    """Return a sha256 in hex that stands for `value`."""
    return hashlib.sha256(repr(value).encode()).hexdigest()


def fake_measurement(index: int = 0, **changes: Any) -> Measurement:
    """Return a complete, valid row; each `index` is another job."""
    ops = 2_000_000 + 450_000 * index
    cycles = 3_000_000 + ops * 3
    values: dict[str, Any] = {
        "key": key_of(index),
        "created_at": START + timedelta(seconds=index),
        "status": Status.VALID,
        "source": "emulated",
        "board": "nucleo_f746zg",
        "campaign": "demo",
        "station": "fake",
        "probe_id": "virtual:nucleo_f746zg",
        "chip_uid": "0123456789abcdef01234567",
        "timing_model": "fake/1",
        "clock_hz": 216_000_000,
        "clock_source": "hse",
        "icache": True,
        "dcache": True,
        "art": True,
        "model_name": f"kws-{index}",
        "model_sha256": key_of(("model", index)),
        "backbone": "ds_cnn_kws",
        "architecture": {"widths": [64, 8 * index], "strides": [[2, 2], [1, 1]]},
        "seed": 7,
        "sample_index": index,
        "macs": ops // 2,
        "ops": ops,
        "parameters": 20_000 + 100 * index,
        "working_memory_bytes": 16_000 + 64 * index,
        "macs_by_operator": {"CONV_2D": ops // 2},
        "runtime": "aot",
        "runtime_version": "0.1.0",
        "kernels": "cmsis_nn",
        "kernels_version": "7.0.0",
        "one_firmware": False,
        "optimization": "-O2",
        "flags": ("-mcpu=cortex-m7",),
        "toolchain": "arm-none-eabi-gcc 12.2.1",
        "firmware_sha256": key_of(("firmware", index)),
        "build_id": "00112233aabbccdd",
        "harness_version": "0.1.0",
        "git_revision": "deadbeef",
        "warmup": 1,
        "repeats": 3,
        "cycles": (cycles, cycles, cycles),
        "latency_us": cycles * 1e6 / 216_000_000,
        "latency_ci_low_us": cycles * 1e6 / 216_000_000,
        "latency_ci_high_us": cycles * 1e6 / 216_000_000,
        "arena_planned_bytes": 16_000 + 64 * index,
        "arena_used_bytes": 16_384 + 64 * index,
        "arena_capacity_bytes": 20_000 + 64 * index,
        "arena_parts": {
            "nonpersistent": {"used": 15_000, "requested": 14_800, "count": 1},
            "persistent": {"used": 1_384 + 64 * index, "requested": 1_300, "count": 9},
        },
        "stack_bytes": 900,
        "stack_capacity_bytes": 4096,
        "flash_total_bytes": 60_000 + 100 * index,
        "flash_weights_bytes": 20_000 + 100 * index,
        "flash_graph_bytes": 4_000,
        "flash_kernels_bytes": 20_000,
        "flash_runtime_bytes": 6_000,
        "flash_port_bytes": 10_000,
        "ram_static_bytes": 10_000,
        "ram_other_bytes": 5_904,
        "reference": "tflite/builtin_ref",
        "output_bytes_total": 12,
        "output_bytes_differing": 0,
        "output_max_abs_diff": 0,
        "bit_exact": True,
        "layers": (
            LayerCycles(0, "conv", "CONV_2D", ops // 2, cycles - 100),
            LayerCycles(1, "softmax", "SOFTMAX", None, 100),
        ),
        "layers_total_cycles": cycles + 20,
        "additivity_gap": 0.0,
        "stage_seconds": {"build": 1.5, "run": 0.25},
        "raw_log": "m-init-done\r\nm-ready\r\n",
    }
    values.update(changes)
    return Measurement(**values)


def fake_failure(index: int = 0, attempt: int = 0, **changes: Any) -> Measurement:
    """Return the row of a job that failed before it measured."""
    values: dict[str, Any] = {
        "key": key_of(index),
        "created_at": START + timedelta(hours=1, seconds=attempt),
        "status": Status.INVALID,
        "issues": ("timeout",),
        "source": "emulated",
        "board": "nucleo_f746zg",
        "campaign": "demo",
        "raw_log": "m-init-done\r\n",
    }
    values.update(changes)
    return Measurement(**values)
