"""Helpers that tests of several folders share: `from support.board import Bench`."""
