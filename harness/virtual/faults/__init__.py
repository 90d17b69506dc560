"""Faults on purpose, for virtual boards: what a bench does to a campaign on a bad day.

A serial URL asks for them; without one nothing here runs. ``faults=drop:0.001,hang:0.01&seed=7``
lets faults fall on a share of the bytes or commands, at the same places for the same seed.
``faults=hang@hil-run:2`` lets one fall at the second ``hil-run`` command.
"""

from __future__ import annotations

from harness.virtual.faults.injector import Injector, ProbeGone
from harness.virtual.faults.line import FaultyLine
from harness.virtual.faults.plan import FaultPlan, Trigger, parse_faults

__all__ = ["FaultPlan", "FaultyLine", "Injector", "ProbeGone", "Trigger", "parse_faults"]
