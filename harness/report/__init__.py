"""Measurements and fits as tables, for a terminal or Markdown, and as plots."""
