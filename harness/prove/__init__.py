"""Prove a bench: what to run in the first hour with a board, and a report to pass on.

`prove` goes through a station step by step, from its probe to the layers of a network, and says
what is wrong where a step fails.
"""

from __future__ import annotations

from harness.prove.order import prove
from harness.prove.record import Report, Step

__all__ = ["Report", "Step", "prove"]
