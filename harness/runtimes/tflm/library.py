"""The TFLM library that the user names."""

from __future__ import annotations

from harness.errors import ConfigError
from harness.runtimes.library import Library, get_library

THREE_WAYS = (
    "name one with `library` (on the command line --library; see docs/tflm.md): a tree that TFLM's "
    "own create_tflm_tree.py wrote ('symlink:///path/to/tree'), a git repository "
    "('https://host/repository.git#commit'), or a library of PlatformIO's registry "
    "('owner/name@version')"
)


def find_library(spec: str | None) -> Library:
    """Return the library that `spec` names, fetching it when it is not at hand.

    Raises:
        ConfigError: No spec, or the library cannot be had; tells the three ways to name one.
    """
    if spec is None or not spec.strip():
        raise ConfigError(
            "the tflm runtime needs a TFLM library and none is named",
            expected="a PlatformIO library spec",
            fix=THREE_WAYS,
        )
    return get_library(spec, what="the TFLM library", fix=THREE_WAYS)
