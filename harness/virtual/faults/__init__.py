"""Faults on purpose, for virtual boards: what a bench does to a campaign on a bad day.

A serial URL asks for them, ``virtual://nucleo_f746zg?faults=drop:0.001,hang:0.01&seed=7``; without
one nothing here runs. The same seed gives the same faults at the same places of the same streams.
"""

from __future__ import annotations

from harness.virtual.faults.injector import Injector, ProbeGone
from harness.virtual.faults.line import FaultyLine
from harness.virtual.faults.plan import FaultPlan, parse_faults

__all__ = ["FaultPlan", "FaultyLine", "Injector", "ProbeGone", "parse_faults"]
