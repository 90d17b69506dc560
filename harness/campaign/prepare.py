"""Prepare a network: its .tflite, its inputs, and the outputs expected of them.

Runs in a worker process. Results are cached by content, so a network is written once for all
boards, kernels and flags.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import cache
from harness.campaign.specs import ModelSpec
from harness.files import draft_of
from harness.paths import cache_dir

if TYPE_CHECKING:
    from harness.models import TFLiteModel


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network with its inputs and expected outputs."""

    content: bytes  # the .tflite
    inputs: tuple[bytes, ...]  # one of each input tensor
    outputs: tuple[bytes, ...]  # one of each output tensor
    reference: str  # name and version of what computed `outputs`
    seconds: float


def prepare(spec: ModelSpec) -> Prepared:
    """Convert or read the network and compute its reference outputs.

    Raises `ModelError` if it is no int8 .tflite.
    """
    from harness.models import read_model, require_int8
    from harness.models.stimulus import random_inputs

    start = time.perf_counter()
    content = convert(spec)
    model = read_model(content, name=spec.name)
    require_int8(model)
    inputs = tuple(random_inputs(model, spec.seed))
    outputs, reference = _outputs(model, inputs)
    seconds = time.perf_counter() - start
    return Prepared(content, inputs, outputs, reference, seconds)


def start_worker() -> None:
    """Set a worker process up: it ends when the parent ends, in whatever way."""
    # Imports make objects that last, which collecting garbage would go through again and again.
    gc.set_threshold(100_000, 50, 100)
    # Ctrl-C reaches every process of the terminal, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()  # returns at once if the parent was killed before we started
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def convert(spec: ModelSpec) -> bytes:
    """Return the network's .tflite: read, from the cache, or written now."""
    if spec.path is not None:
        return spec.path.read_bytes()
    if spec.architecture is None:
        raise ValueError(f"{spec.name} has neither an architecture nor a path")
    from harness.models.sampled import SAMPLER_VERSION, write_architecture

    identity = {**spec.identity(), "writer": SAMPLER_VERSION}
    cached = _cache_path("models", identity, ".tflite")
    known = cache.read(cached)
    if known is not None:
        return known
    content = write_architecture(spec.architecture.backbone, spec.architecture.to_json(), spec.seed)
    _write(cached, content)
    return content


def _outputs(model: TFLiteModel, inputs: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], str]:
    from harness.models.reference import default_reference, reference_version, run_reference

    version = reference_version(default_reference())
    identity = {
        "model": model.sha256,
        "inputs": [hashlib.sha256(item).hexdigest() for item in inputs],
        "reference": version,
    }
    cached = _cache_path("references", identity, ".json")
    known = cache.read(cached)
    if known is not None:
        return tuple(bytes.fromhex(item) for item in json.loads(known)), version
    outputs = run_reference(model, inputs).outputs
    _write(cached, json.dumps([item.hex() for item in outputs]).encode())
    return outputs, version


def _cache_path(kind: str, identity: dict[str, Any], suffix: str) -> Path:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return cache_dir() / kind / digest[:2] / f"{digest}{suffix}"


def _write(path: Path, content: bytes) -> None:
    with draft_of(path) as draft:
        draft.write_bytes(content)
