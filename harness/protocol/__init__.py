"""The wire grammar between host and firmware: encode, parse, check; no I/O.

Host to device: one ASCII command ended by ``%``. Device to host: lines ended by CR LF; every
command ends with ``m-ready``. The harness's own lines carry a sequence number and a CRC-32::

    m-hil-<kind> <seq> key=value key=value ... #<crc32>

The CRC is zlib's CRC-32 of every byte before `` #``, in eight lower-case hex digits. MLPerf Tiny's
lines (``m-name-dut-[..]``, ``m-lap-us-..``) have no CRC, so nothing that is stored is taken from
them.
`firmware_template/src/bench_console.c` is the device's side of the same grammar.
"""

# ruff: noqa: F403 - one grammar in three files; none of them has names that are not part of it

from __future__ import annotations

from harness.protocol.commands import *
from harness.protocol.lines import *
from harness.protocol.records import *

VERSION = 4
"""Version of the grammar; `hil-id` reports the device's."""
