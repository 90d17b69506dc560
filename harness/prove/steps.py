"""The steps on an open device. Each returns a line for people and its facts, or raises."""

from __future__ import annotations

import time
from dataclasses import asdict
from statistics import median
from typing import Any

from harness import protocol
from harness.capture import answers
from harness.capture.clock import check_clock, read_time
from harness.capture.edges import read_edges, wrong_edge
from harness.capture.rate import best_rate, raise_rate
from harness.capture.record import CapturePlan
from harness.errors import BenchError, CaptureError, ClockError, CounterError
from harness.errors import StackOverflow as GuardHeld
from harness.firmware import FirmwareImage
from harness.prove.device import Device

Found = tuple[str, dict[str, Any]]

_RATES = (115_200, 230_400, 460_800, 921_600, 2_000_000)
_EXCHANGES = 16  # of each kind, at each rate
_RESETS = 10
_CPUID, _CYCCNT = 0xE000_ED00, 0xE000_1004
# What is in the low bits of CPUID (ARMv7-M ARM B3.2.3): part, and nothing of the revision.
_PART_MASK = 0x0000_FFF0
# How long before its end the counter is set: longer than a command takes to be started.
_BEFORE_WRAP_S = 0.05
_MOST_APART = 0.01


def chip(device: Device) -> Found:
    """Compare the chip's registers with the board's facts."""
    facts = device.board.facts
    own = facts.chip
    word, cpuid = (device.target.read_word(address) for address in (own.id_address, _CPUID))
    identity, revision = f"0x{word & own.id_mask:03X}", own.revision(word)
    size_at = own.flash_size_address
    kib = device.target.read_word(size_at & ~3) >> 8 * (size_at & 3) & 0xFFFF
    found = {
        "device_id": identity,
        "revision_id": _revision(revision),
        "revision_expected": _revision(own.expected_revision),
        "cpuid": f"0x{cpuid:08X}",
        "cpuid_expected": f"0x{facts.core.cpuid:08X}",
        "flash_kib": kib,
    }
    if (cpuid ^ facts.core.cpuid) & _PART_MASK:
        raise BenchError(
            f"the core's CPUID is 0x{cpuid:08X}",
            expected=f"0x{facts.core.cpuid:08X}, a {facts.core.cpu}",
            fix="correct the station's 'board' in bench.toml",
        )
    if kib * 1024 != device.board.flash.bytes:
        raise BenchError(
            f"the chip says that it has {kib} KiB of flash",
            expected=f"{device.board.flash.bytes // 1024} KiB",
            fix="correct the station's 'board' in bench.toml; some chips of the series have less",
        )
    text = f"device {identity}"
    if revision is not None:
        another = "" if revision == own.expected_revision else ", another than in the manifest"
        text += f", revision {_revision(revision)}{another}"
    return text, found


def _revision(number: int | None) -> str | None:
    return None if number is None else f"0x{number:04X}"


def flash(device: Device, first: FirmwareImage, second: FirmwareImage) -> Found:
    """Program two images, and the second once more, which must change nothing."""
    passes = []
    for image in (first, second, second):
        report = device.flash(image)
        passes.append(
            {
                "bytes": report.bytes_total,
                "bytes_programmed": report.bytes_programmed,
                "sectors_erased": report.sectors_erased,
                "seconds": round(report.seconds, 3),
                **{stage: round(value, 3) for stage, value in report.stages.items()},
            }
        )
    if passes[-1]["bytes_programmed"]:
        raise BenchError(
            f"{passes[-1]['bytes_programmed']} bytes of the same image were programmed again",
            expected="nothing, as flash holds it already",
            fix="flash that forgets is worn out or its supply is bad: try another board",
        )
    new = passes[1]
    text = (
        f"{new['bytes']:,} bytes: erase {new['erase']:.2f}, write {new['write']:.2f}, "
        f"verify {new['verify']:.2f} s; unchanged {passes[-1]['seconds']:.2f} s"
    )
    return text, {"passes": passes}


def boot(device: Device) -> Found:
    """Start the image and compare who answers with what was flashed."""
    line, seconds = device.boot()
    who = device.identify(line)
    facts = {
        "seconds": round(seconds, 3),
        "clock_hz": who.clock_hz,
        "clock_source": who.clock_source,
        "icache": who.icache,
        "dcache": who.dcache,
        "accelerator": who.art,
    }
    clock = device.board.facts.clock
    if (who.clock_source, who.clock_hz) != (clock.reference, clock.sysclk_hz):
        raise ClockError(
            f"the chip runs at {who.clock_hz / 1e6:g} MHz from {who.clock_source}",
            expected=f"{device.board.clock_hz / 1e6:g} MHz from the board's reference clock",
            fix="check the board's oscillator (on Nucleo boards the ST-LINK's MCO and its solder "
            "bridges) and its supply",
        )
    return f"{who.clock_hz / 1e6:g} MHz from {who.clock_source} after {seconds:.2f} s", facts


def resets(device: Device) -> Found:
    """Reset the device ten times."""
    seconds, causes = [], []
    for _ in range(_RESETS):
        line, took = device.boot()
        seconds.append(took)
        causes.append(line.reset)
    facts = {"seconds": [round(value, 3) for value in seconds], "causes": sorted(set(causes))}
    if set(causes) & {"watchdog", "brown-out", "low-power", "unknown"}:
        raise BenchError(
            f"of {_RESETS} resets by the debugger some came from elsewhere: {facts['causes']}",
            expected="software or pin",
            fix="check the supply (another USB port or cable)",
        )
    return f"{_RESETS} of {_RESETS}, {min(seconds):.2f} to {max(seconds):.2f} s", facts


def console(device: Device, plan: CapturePlan) -> Found:
    """Count repeated exchanges at each rate that the UART has."""
    usual = device.board.facts.console.baud
    chunk = plan.inputs[0][: protocol.MAX_INPUT_CHUNK]
    tried = []
    fast = device.board.facts.console.fast_baud
    for rate in sorted({*_RATES, fast}):
        if rate != usual and best_rate(device.board, rate) is None:
            continue
        device.boot()
        agreed = rate == usual or raise_rate(device.console, device.port, rate)
        entry: dict[str, Any] = {"baud": rate, "agreed": agreed}
        tried.append(entry)
        if not agreed:
            continue
        begun, repeated = time.monotonic(), 0
        try:
            for _ in range(_EXCHANGES):
                command = protocol.encode_input(0, 0, chunk)
                device.console.ask_for(command, protocol.InputAck, what="an input")
                repeated += device.console.attempts - 1
                device.console.ask_for(protocol.MEM, protocol.Memory, what="memory use")
                repeated += device.console.attempts - 1
        except CaptureError as failure:
            entry["error"] = failure.code
        entry |= {
            "exchanges": 2 * _EXCHANGES,
            "repeated": repeated,
            "garbled": device.console.garbled,
            "seconds": round(time.monotonic() - begun, 3),
        }
    clean = [item["baud"] for item in tried if _clean(item)]
    facts = {"rates": tried, "clean": clean, "asked_for": fast}
    if usual not in clean:
        own = next(item for item in tried if item["baud"] == usual)
        raise BenchError(
            f"the console loses or damages bytes at {usual} baud: {own['repeated']} of "
            f"{own['exchanges']} exchanges were repeated, {own['garbled']} lines were garbled",
            expected="a clean line",
            fix="check the cable and the USB hub; update the ST-LINK's firmware",
            facts=facts,
        )
    return f"clean at {', '.join(str(rate) for rate in clean)} baud", facts


def _clean(item: dict[str, Any]) -> bool:
    return bool(
        item["agreed"] and not item["repeated"] and not item["garbled"] and "error" not in item
    )


def slow_console(facts: dict[str, Any]) -> str | None:
    """Return what to write into the bench file where the line is slower than what is asked for."""
    best = max(facts["clean"])
    if best >= facts["asked_for"] or all(item["baud"] <= best for item in facts["rates"]):
        return None
    return f"write baud = {best} into the station in bench.toml"


def clock(device: Device) -> Found:
    """Compare counter, timer and host, as each measurement does, and say by how much."""
    line, _ = device.boot()
    who, watch, byte_s = device.identify(line), device.stopwatch, device.byte_s
    first = read_time(device.console, watch, byte_s=byte_s)
    begun = time.monotonic()
    check_clock(
        device.console,
        watch,
        first,
        clock_hz=who.clock_hz,
        fallback=who.clock_source != device.board.facts.clock.reference,
        thorough=True,
        byte_s=byte_s,
    )
    last = read_time(device.console, watch, byte_s=byte_s)
    seconds = (last.time.cycles - first.time.cycles) / who.clock_hz
    low, high = last.before - first.after, last.after - first.before
    ticks = ((last.time.ticks - first.time.ticks) & 0xFFFF_FFFF) / 1e6
    facts = {
        "host_s": [round(low, 6), round(high, 6)],
        "device_s": round(seconds, 6),
        "timer_s": round(ticks, 6),
        "off_ppm": round((seconds / ((low + high) / 2) - 1) * 1e6),
        "bracket_ppm": round((high - low) / high * 1e6),
        "took_s": round(time.monotonic() - begun, 3),
    }
    text = f"{facts['off_ppm']:+,} ppm from the host, known to {facts['bracket_ppm']:,} ppm"
    return text, facts


def counter(device: Device, plan: CapturePlan) -> Found:
    """Let the cycle counter pass 2^32 during timed inferences."""
    device.set_up(plan)
    before = answers.timed_cycles(device.console, 1, 3, timeout_s=30)
    usual = median(before)
    if usual == 0:
        raise CounterError("the cycle counter stands still", fix="power-cycle the board")
    hz = device.board.clock_hz
    repeats = min(protocol.MAX_REPEATS, int(2 * _BEFORE_WRAP_S * hz / usual) + 2)
    device.target.write_word(_CYCCNT, 2**32 - int(_BEFORE_WRAP_S * hz))
    after = answers.timed_cycles(device.console, 0, repeats, timeout_s=60)
    now = device.console.ask_for(protocol.TIME, protocol.Time, what="the time").counter
    apart = max(abs(value - usual) for value in after) / usual
    facts = {"cycles": list(before), "cycles_across": list(after), "counter_after": now}
    if now >= 2**31:
        raise CounterError(
            f"the cycle counter reads {now} and has not passed 2^32 yet",
            expected="that it takes a value from the debugger and counts on",
            fix="power-cycle the board",
        )
    if apart > _MOST_APART:
        raise CounterError(
            f"cycles across 2^32 are {apart:.1%} apart from those before",
            expected=f"within {_MOST_APART:.0%} of {usual:,.0f}",
            fix="power-cycle the board; report it with this file if it stays",
        )
    return f"{repeats} inferences across 2^32, {apart:.3%} apart at most", facts


def edges(device: Device) -> Found:
    """Load and store unaligned words across the boundaries between memories."""
    device.boot()
    found = list(read_edges(device.console, device.board))
    facts = {"edges": [asdict(reading) for reading in found]}
    for reading in found:
        if reading.wrong:
            failure = wrong_edge(device.console, reading)
            failure.data["facts"] = facts
            raise failure
    names = ", ".join(reading.edge for reading in found if reading.tried)
    return f"none wrong across {names or 'any boundary'}", facts


def guard(device: Device) -> Found:
    """Touch what lies below the stack: the MPU has to object."""
    device.boot()
    try:
        device.console.ask_for(protocol.GUARD, protocol.Guard, what="the guard of the stack")
    except GuardHeld as held:
        device.boot()
        return "an access below the stack faults", {"reported": held.code}
    raise BenchError(
        "an access below the stack went through",
        expected="a fault by the MPU",
        fix="a stack that overflows on this chip would not be noticed: report it with this file",
    )
