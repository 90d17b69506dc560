"""How tools reach a virtual board: debug probe, console, both served to other processes."""
