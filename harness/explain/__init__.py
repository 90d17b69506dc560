"""Say where a virtual board's cycles went: what a real board cannot tell."""
