"""The emulated core: registers, exceptions, memory accesses, debug state."""
