"""The wire grammar between host and firmware: encode, parse, check; no I/O.

Host to device: one ASCII command ended by ``%``. Device to host: lines ended by CR LF; every
command ends with ``m-ready``. The harness's own lines carry a sequence number and a CRC-32::

    m-hil-<kind> <seq> key=value key=value ... #<crc32>

The CRC is zlib's CRC-32 of every byte before `` #``, in eight lower-case hex digits. MLPerf Tiny's
lines (``m-name-dut-[..]``, ``m-lap-us-..``) have no CRC, so nothing that is stored is taken from
them.
`firmware_template/src/bench_console.c` is the device's side of the same grammar.
"""

from __future__ import annotations

from harness.protocol.commands import (
    MAX_COMMAND_BYTES,
    MAX_INPUT_CHUNK,
    MAX_REPEATS,
    MAX_WARMUPS,
    TERMINATOR,
    encode_arena,
    encode_arena_parts,
    encode_cycles,
    encode_id,
    encode_input,
    encode_inputs,
    encode_io,
    encode_layers,
    encode_mem,
    encode_output,
    encode_run,
    encode_setup,
    encode_sync,
)
from harness.protocol.lines import (
    INIT_DONE,
    MAX_LINE_BYTES,
    READY,
    Garbled,
    Line,
    LineAssembler,
    Parsed,
    Ready,
    Text,
    crc32,
    encode_line,
    parse_line,
)
from harness.protocol.records import (
    MAX_LAYERS,
    MAX_OUTPUT_CHUNK,
    ArenaPart,
    ArenaPartsEnd,
    ArenaTry,
    Boot,
    Cycle,
    DeviceErr,
    DeviceId,
    Fault,
    InputAck,
    Layer,
    LayersEnd,
    Memory,
    Output,
    OutputEnd,
    Record,
    RecordError,
    RunEnd,
    Setup,
    Tensor,
    TensorsEnd,
    decode,
    decode_message,
    encode_message,
)

__all__ = [
    "INIT_DONE",
    "MAX_COMMAND_BYTES",
    "MAX_INPUT_CHUNK",
    "MAX_LAYERS",
    "MAX_LINE_BYTES",
    "MAX_OUTPUT_CHUNK",
    "MAX_REPEATS",
    "MAX_WARMUPS",
    "READY",
    "TERMINATOR",
    "VERSION",
    "ArenaPart",
    "ArenaPartsEnd",
    "ArenaTry",
    "Boot",
    "Cycle",
    "DeviceErr",
    "DeviceId",
    "Fault",
    "Garbled",
    "InputAck",
    "Layer",
    "LayersEnd",
    "Line",
    "LineAssembler",
    "Memory",
    "Output",
    "OutputEnd",
    "Parsed",
    "Ready",
    "Record",
    "RecordError",
    "RunEnd",
    "Setup",
    "Tensor",
    "TensorsEnd",
    "Text",
    "crc32",
    "decode",
    "decode_message",
    "encode_arena",
    "encode_arena_parts",
    "encode_cycles",
    "encode_id",
    "encode_input",
    "encode_inputs",
    "encode_io",
    "encode_layers",
    "encode_line",
    "encode_mem",
    "encode_message",
    "encode_output",
    "encode_run",
    "encode_setup",
    "encode_sync",
    "parse_line",
]

VERSION = 2
"""Version of the grammar; `hil-id` reports the device's."""
