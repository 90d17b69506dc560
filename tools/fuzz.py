"""Hostile input in bulk: `nox -s fuzz`, or `python -m tools.fuzz --target tflite`.

Each target takes bytes and may refuse them with the error that its users expect; anything else
that comes out of it, or more than `LIMIT_S` seconds, is a finding. Findings are written to a
folder, by the hash of the input.

First come blind mutations of sound inputs; then, where atheris is installed (`pip install
'tinyml-harness[fuzz]'`), inputs that it derives from the branches they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from studies.published import MODELS

ROOT = Path(__file__).parents[1]
LIMIT_S = 10
Target = Callable[[bytes], str]

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_TOKENS = (
    b"-1", b"0", b"1e400", b"nan", b"true", b"null", b"[]", b"{}", b'""', b'"../../etc/passwd"',
    b"9" * 40, b"\xff\xfe", b"\x00", b"\r", b"\n", b"#", b"%", b"=", b'"', b"'", b"\\", b"[[",
    b"]]", "ä€\U0001f600".encode(),
)  # fmt: skip


# --- targets ------------------------------------------------------------------------------------


def wire(data: bytes) -> str:
    """Cut, check and decode lines of a device."""
    from harness import protocol

    assembler = protocol.LineAssembler()
    outcome = "nothing"
    half = len(data) // 2
    for parsed in (*assembler.feed(data[:half]), *assembler.feed(data[half:] + b"\n")):
        outcome = type(parsed).__name__
        if isinstance(parsed, protocol.Line):
            try:
                record = protocol.decode(parsed)
                if isinstance(record, protocol.Output):
                    _ = record.data
            except protocol.RecordError:
                outcome = "RecordError"
    assert len(assembler.pending) <= protocol.MAX_LINE_BYTES
    return outcome


def records(data: bytes) -> str:
    """Decode a line whose CRC holds, whatever it says."""
    from harness import protocol

    body = data.split(b"\n")[0].rstrip(b"\r").rpartition(b" #")[0] or data[:200]
    return wire(body + b" #" + protocol.crc32(body).encode() + b"\r\n")


def tflite(data: bytes) -> str:
    """Read a model, count its work, and generate code for what was accepted."""
    from harness.boards import load_board
    from harness.errors import ModelError
    from harness.models import read_model
    from harness.models.graph import require_int8
    from harness.runtimes import RuntimeOptions, get_runtime

    try:
        model = read_model(data, name="fuzzed")
        graph = model.graph
        _ = graph.macs, graph.ops, graph.parameters, graph.working_memory_bytes, graph.layers()
        require_int8(model)
    except ModelError:
        return "refused"
    try:
        get_runtime("aot").generate(model, RuntimeOptions(), load_board("nucleo_f746zg"))
    except ModelError:
        return "read"
    return "generated"


def board(data: bytes) -> str:
    """Read a board manifest."""
    from harness.boards.registry import read_manifest
    from harness.errors import ConfigError

    return _of_file(data, "fuzzed.json", read_manifest, ConfigError)


def campaign(data: bytes) -> str:
    """Read a campaign file."""
    from harness.campaign.config import read_campaign
    from harness.errors import ConfigError

    return _of_file(data, "fuzzed.toml", read_campaign, ConfigError)


def bench(data: bytes) -> str:
    """Read a bench file."""
    from harness.bench import load_bench
    from harness.errors import ConfigError

    return _of_file(data, "bench.toml", load_bench, ConfigError)


def faults(data: bytes) -> str:
    """Read the faults of a serial URL."""
    from harness.errors import ConfigError
    from harness.virtual.faults.plan import parse_faults

    try:
        parse_faults(data.decode("utf-8", "replace"))
    except ConfigError:
        return "refused"
    return "read"


def _of_file(data: bytes, name: str, read: Callable[[Path], Any], refusal: type[Exception]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            read(path)
        except refusal:
            return "refused"
    return "read"


TARGETS: dict[str, Target] = {
    "wire": wire, "records": records, "tflite": tflite, "board": board, "campaign": campaign,
    "bench": bench, "faults": faults,
}  # fmt: skip
COUNTS = {
    "wire": 100_000, "records": 100_000, "tflite": 20_000, "board": 5_000, "campaign": 5_000,
    "bench": 5_000, "faults": 20_000,
}  # fmt: skip
GUIDED_COUNTS = {
    "wire": 100_000, "records": 50_000, "tflite": 5_000, "board": 2_000, "campaign": 2_000,
    "bench": 2_000, "faults": 20_000,
}  # fmt: skip
_GUIDED_SEED_BYTES = 64 << 10  # larger models slow atheris down and reach no other branches


# --- what mutations start from ------------------------------------------------------------------


def seeds(target: str) -> list[bytes]:
    """Return sound inputs of a target."""
    if target in ("wire", "records"):
        return _lines()
    if target == "tflite":
        return _models()
    if target == "board":
        return [path.read_bytes() for path in sorted((ROOT / "boards").glob("*.json"))]
    if target == "campaign":
        return [path.read_bytes() for path in sorted((ROOT / "campaigns").glob("*.toml"))]
    if target == "bench":
        return [
            b'[[station]]\nname = "desk"\nboard = "nucleo_f746zg"\nprobe = "0669FF37"\n'
            b'serial = "/dev/ttyACM0"\ntags = ["a", "b"]\n'
        ]
    return [b"drop:0.001,garble:0.1,worn:3,counter:stuck,clock:1.02,hse:off,caches:off"]


def _lines() -> list[bytes]:
    from harness import protocol

    ids = {"build": "0123456789abcdef", "board": "nucleo_f746zg", "reset": "pin"}
    return [
        protocol.encode_line("boot", 0, ids),
        protocol.encode_line("cycle", 3, {"i": 2, "cycles": 123456789}),
        protocol.encode_line("time", 4, {"cycles": 2**40, "ticks": 5, "counter": 7}),
        protocol.encode_line("out", 5, {"idx": 0, "off": 64, "hex": "00ff" * 32}),
        protocol.encode_line("setup", 6, {"rc": -1, "err": "100%25%20full"}),
        protocol.encode_line("run-end", 7, {"w": 1, "n": 3, "rc": 0}),
        b"m-ready\r\n", b"m-name-dut-[x]\r\n", b"e-[Unknown command]\r\n", b"m-init-done\r\n",
    ]  # fmt: skip


def _models() -> list[bytes]:
    """Return small networks of our own, and the published ones where they are at hand."""
    from harness.testing import tiny_network

    found = [tiny_network(seed) for seed in (1, 2)]
    return found + [path.read_bytes() for path in sorted(MODELS.rglob("*.tflite"))]


# --- mutations ---------------------------------------------------------------------------------


def mutated(rng: random.Random, sound: Sequence[bytes]) -> bytes:
    """Return a sound input with one to eight things wrong with it."""
    data = bytearray(rng.choice(sound))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4, 8))):
        if data:
            rng.choice(_MUTATIONS)(rng, data, sound)
    return bytes(data)


def _place(rng: random.Random, data: bytearray) -> int:
    # Structure is at the ends of a flatbuffer, weights in the middle.
    where = rng.random()
    if where < 0.3:
        return rng.randrange(min(len(data), 512))
    return len(data) - 1 - rng.randrange(min(len(data), 4096) if where < 0.7 else len(data))


def _flip(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    data[_place(rng, data)] = rng.randrange(256)


def _number(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    size = rng.choice((2, 4, 4, 8))
    at = _place(rng, data) // size * size
    value = rng.choice((*_NUMBERS, len(data), len(data) - 4, rng.getrandbits(32)))
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _token(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    at = _place(rng, data)
    data[at : at + rng.choice((0, 1, 4))] = rng.choice(_TOKENS)


def _cut(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 16, len(data)))]


def _repeat(rng: random.Random, data: bytearray, _sound: Sequence[bytes]) -> None:
    at = _place(rng, data)
    piece = data[at : at + rng.choice((1, 4, 16, 64))]
    data[at:at] = piece * rng.choice((1, 2, 50))


def _splice(rng: random.Random, data: bytearray, sound: Sequence[bytes]) -> None:
    other = rng.choice(sound)
    start = rng.randrange(len(other))
    at = _place(rng, data)
    data[at : at + 16] = other[start : start + rng.choice((4, 16, 64))]


_MUTATIONS = (_flip, _flip, _byte, _number, _number, _number, _token, _cut, _repeat, _splice)


# --- running -----------------------------------------------------------------------------------


class HangError(Exception):
    """A target took too long."""


def _ring(_number: int, _frame: object) -> None:
    raise HangError(f"more than {LIMIT_S} s")


def run(target: str, count: int, seed: int, findings: Path) -> dict[str, Any]:
    """Try mutated inputs on a target; return what came of it."""
    import resource

    rng = random.Random(f"{target} {seed}")
    sound, check = seeds(target), TARGETS[target]
    outcomes: Counter[str] = Counter()
    found: list[str] = []
    slowest = 0.0
    start = time.perf_counter()
    signal.signal(signal.SIGALRM, _ring)
    for data in _inputs(rng, sound, count):
        began = time.perf_counter()
        signal.alarm(LIMIT_S)
        try:
            outcomes[check(data)] += 1
        except Exception as failure:
            found.append(_keep(findings, target, data, failure))
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - began)
    return {
        "target": target,
        "inputs": count,
        "seeds": len(sound),
        "outcomes": dict(outcomes),
        "findings": found,
        "slowest_seconds": round(slowest, 3),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _inputs(rng: random.Random, sound: Sequence[bytes], count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield mutated(rng, sound)


def run_guided(target: str, count: int, seed: int, findings: Path) -> dict[str, Any]:
    """Let atheris look for inputs in a process of its own; return what came of it."""
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    start = time.perf_counter()
    # atheris ends its process by itself, so that the seeds have to be removed from here.
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "tools.fuzz", "--guided", target, "--count", str(count)]
        command += ["--seed", str(seed), "--findings", str(findings), "--corpus", corpus]
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    found = [str(path) for path in sorted(set(findings.iterdir()) - before)]
    if answer.returncode and not found:
        found = [f"atheris ended with {answer.returncode}: {answer.stderr[-2000:]}"]
    statistics = dict(re.findall(r"stat::(\w+):\s+(\d+)", answer.stderr))
    coverage = re.findall(r"cov: (\d+)", answer.stderr)
    return {
        "target": target,
        "engine": "atheris",
        "inputs": int(statistics.get("number_of_executed_units", 0)),
        "edges": int(coverage[-1]) if coverage else None,
        "new_inputs": int(statistics.get("new_units_added", 0)),
        "slowest_seconds": int(statistics.get("slowest_unit_time_sec", 0)),
        "peak_memory_mib": int(statistics.get("peak_rss_mb", 0)),
        "findings": found,
        "seconds": round(time.perf_counter() - start, 1),
    }


def guide(target: str, count: int, seed: int, findings: Path, corpus: Path) -> None:
    """Run atheris on a target; does not return."""
    import atheris

    # numba compiles the bytecode of these, and does not know the instrumentation in it.
    compiled = ["harness.virtual.native"]
    with atheris.instrument_imports(include=["harness"], exclude=compiled):
        check = TARGETS[target]
        for number, data in enumerate(seeds(target)):
            check(data)  # imports what it needs, to be instrumented
            if len(data) <= _GUIDED_SEED_BYTES:
                (corpus / str(number)).write_bytes(data)
    options = (
        f"-runs={count}", f"-seed={seed}", f"-timeout={LIMIT_S}", "-print_final_stats=1",
        f"-artifact_prefix={findings}/{target}-",
    )  # fmt: skip
    atheris.Setup([sys.argv[0], str(corpus), *options], check_only(check))
    atheris.Fuzz()


def check_only(check: Target) -> Callable[[bytes], None]:
    """Return the target without its answer, which atheris would take for a verdict."""

    def one(data: bytes) -> None:
        check(data)

    return one


def _keep(folder: Path, target: str, data: bytes, failure: Exception) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return f"{type(failure).__name__}: {failure} ({path})"


def main() -> None:
    """Run the targets and print a line of figures for each; exit 1 on a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", choices=tuple(TARGETS))
    parser.add_argument("--count", type=int, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--engine", choices=("all", "mutations", "atheris"), default="all")
    parser.add_argument("--guided", choices=tuple(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.guided:
        guide(options.guided, options.count, options.seed, options.findings, options.corpus)
    bad = 0
    engines = [("mutations", run, COUNTS), ("atheris", run_guided, GUIDED_COUNTS)]
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(
            "atheris is not installed: no inputs guided by coverage; "
            "pip install 'tinyml-harness[fuzz]'\n"
        )
        if options.engine == "atheris":
            sys.exit(2)
        del engines[1]
    for name, fuzz, counts in engines:
        for target in options.target or TARGETS:
            if options.engine not in ("all", name):
                continue
            count = options.count or counts[target]
            result = fuzz(target, count, options.seed, options.findings)
            bad += len(result["findings"])
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
