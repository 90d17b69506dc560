"""Check the timing models against latencies that others measured on real boards."""
