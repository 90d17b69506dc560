"""Virtual boards: an emulated core and chip behind pyOCD's probe API and pyserial's URL API.

Folders: ``core`` (registers, exceptions, debug state), ``chip`` (memories, bus, register blocks),
``time`` (cycles of blocks and of events), ``ports`` (probe, console, both served to other
processes), ``faults`` (faults on purpose). `machine` puts them together, `registry` names boards.
The emulator and its compiler are imported when a board is first powered.
"""
