"""Hold one module per schema revision, numbered in order. A released one never changes."""
