"""Golden networks: built once, measured on the station and on the virtual board."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from harness.backbones import get_backbone, get_named
from harness.bench import Station
from harness.bench.station import virtual_station
from harness.campaign.config import MeasureOptions
from harness.campaign.measure import Built, build_job, run_job
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.prepare import prepare
from harness.campaign.specs import ModelSpec
from harness.capture import CapturePlan
from harness.capture.session import BoardSession
from harness.errors import BenchError, CaptureError
from harness.firmware import BuildOptions
from harness.prove.steps import Found
from harness.results.record import Measurement
from harness.runtimes import RuntimeOptions

_SEED = 2021
_MEASURE = MeasureOptions(warmup=1, repeats=3, layers=True)
_PLAIN = BuildOptions()
_OFF = BuildOptions(icache=False, dcache=False, art=False)


@dataclass(frozen=True, slots=True)
class Golden:
    """Images of the proof, all of which a host has computed the outputs of."""

    networks: tuple[Built, ...]  # the first is the one that everything else uses
    off: Built  # the first with caches and accelerator off

    @property
    def plan(self) -> CapturePlan:
        """Inputs and sizes of the first network."""
        prepared = self.networks[0].prepared
        sizes = tuple(len(item) for item in prepared.outputs)
        return CapturePlan(
            warmup=1, repeats=3, layers=True, inputs=prepared.inputs, output_bytes=sizes, macs=0
        )


def build_golden(station: Station) -> Golden:
    """Write, build and compute the golden networks: DS-CNN (S), and a sample of each task's own.

    Raises:
        BuildError: The compiler or linker refuses; or there is none (`ToolchainMissing`).
    """
    named = get_named("ds-cnn-s")
    autoencoder = get_backbone("ds_cnn_ad").sample(_SEED, 1)
    specs = [
        ModelSpec("ds-cnn-s", _SEED, named.architecture),
        ModelSpec("ds-cnn-ad", _SEED, autoencoder),
    ]
    needs = Needs.of(station)
    built = []
    for spec in specs:
        job = Job.of(needs, spec, RuntimeOptions(), _PLAIN, _MEASURE)
        built.append(build_job(job, prepare(spec)))
    first = built[0]
    off = Job.of(needs, specs[0], RuntimeOptions(), _OFF, _MEASURE)
    return Golden(tuple(built), build_job(off, first.prepared))


def measure(golden: Golden, session: BoardSession, station: Station) -> tuple[Found, Measurement]:
    """Measure the golden networks; return the row of the first.

    Raises:
        CaptureError: Outputs differ from the host's, or what a measurement raises.
    """
    rows = [run_job(built, session, station, campaign=None) for built in golden.networks]
    facts = {"networks": [_facts(row) for row in rows]}
    for row in rows:
        if not row.bit_exact:
            raise CaptureError(
                f"outputs of {row.model_name} differ from the host's in "
                f"{row.output_bytes_differing} of {row.output_bytes_total} bytes",
                expected=f"the bytes of {row.reference}",
                fix="see the other steps; a board that computes wrongly cannot be trusted",
                facts=facts,
            )
    text = ", ".join(f"{row.model_name} {(row.latency_us or 0) / 1e3:.3f} ms" for row in rows)
    return (f"bit-exact: {text}", facts), rows[0]


def compare_caches(
    golden: Golden, session: BoardSession, station: Station, on: Measurement
) -> Found:
    """Measure the first network without caches and accelerator.

    Raises:
        BenchError: They are not as the image sets them, or make no difference.
    """
    off = run_job(golden.off, session, station, campaign=None)
    flags = ("icache", "dcache", "art")
    facts = {
        "on": {name: getattr(on, name) for name in flags} | {"cycles": _middle(on)},
        "off": {name: getattr(off, name) for name in flags} | {"cycles": _middle(off)},
    }
    for row, wanted in ((on, "on"), (off, "off")):
        if "caches-differ" in row.issues:
            raise BenchError(
                f"caches or accelerator do not go {wanted}: "
                + ", ".join(f"{name} = {getattr(row, name)}" for name in flags),
                expected=f"what the image sets: all that the board has {wanted}",
                fix="power-cycle the board; report it with this file if it stays",
                facts=facts,
            )
    ratio = _middle(off) / _middle(on)
    if ratio <= 1 and on.source == "emulated":
        # The timing model of the Cortex-M4 always has the flash accelerator on.
        return "as the image sets them; the timing model makes no difference", facts
    if ratio <= 1:
        raise BenchError(
            f"caches and accelerator make no difference: {ratio:.3f} times the cycles without",
            expected="more cycles without them",
            fix="report it with this file",
            facts=facts,
        )
    return f"{ratio:.2f} times the cycles without them", {**facts, "ratio": round(ratio, 4)}


def compare_virtual(golden: Golden, on: Measurement) -> Found:
    """Measure the first network on the virtual board of the same type, layer by layer."""
    built = golden.networks[0]
    job = built.job
    station = virtual_station(job.board.id)
    there = Job.of(Needs.of(station), job.spec, job.runtime, job.build, job.measure)
    with BoardSession.open(station) as session:
        row = run_job(replace(built, job=there), session, station, campaign=None)
    layers = []
    for own, other in zip(on.layers, row.layers, strict=True):
        ratio = own.cycles / other.cycles if own.cycles and other.cycles else None
        layers.append(
            {
                "layer": own.name,
                "operator": own.operator,
                "macs": own.macs,
                "cycles": own.cycles,
                "virtual_cycles": other.cycles,
                "ratio": None if ratio is None else round(ratio, 4),
            }
        )
    ratio = _middle(on) / _middle(row)
    facts = {
        "network": on.model_name,
        "timing_model": row.timing_model,
        "cycles": _middle(on),
        "virtual_cycles": _middle(row),
        "ratio": round(ratio, 4),
        "layers": layers,
    }
    return f"{ratio:.3f} times the cycles of the virtual board ({row.timing_model})", facts


def _middle(row: Measurement) -> float:
    return float(median(row.cycles))


def _facts(row: Measurement) -> dict[str, Any]:
    return {
        "network": row.model_name,
        "macs": row.macs,
        "cycles": list(row.cycles),
        "latency_us": row.latency_us,
        "bit_exact": row.bit_exact,
        "status": row.status.value,
        "issues": list(row.issues),
        "arena_used_bytes": row.arena_used_bytes,
        "stack_bytes": row.stack_bytes,
        "flash_total_bytes": row.flash_total_bytes,
        "layers_total_cycles": row.layers_total_cycles,
        "layers": [
            {"layer": item.name, "operator": item.operator, "cycles": item.cycles}
            for item in row.layers
        ],
        "seconds": {name: round(value, 3) for name, value in row.stage_seconds.items()},
    }
