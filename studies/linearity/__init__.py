"""How far latency is linear in ops within a backbone, and what layers add (docs/linearity.md)."""
