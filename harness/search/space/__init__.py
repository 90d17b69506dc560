"""Which networks a search may choose: layers of the whole space, the grid of widths, what fits."""
