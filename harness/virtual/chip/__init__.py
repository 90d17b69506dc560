"""What surrounds the core on the chip: memories, bus and register blocks."""
