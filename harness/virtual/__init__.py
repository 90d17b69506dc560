"""Virtual boards: an emulated core and chip behind pyOCD's probe API and pyserial's URL API.

Only `harness.virtual.cpu` and `harness.virtual.counting` import the emulator and the compiler, and
they are imported when a board is first powered.
"""
