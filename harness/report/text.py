"""Write numbers and names for people: an unknown is a dash, a foreign name stays one line."""

from __future__ import annotations

import html
import re

UNKNOWN = "–"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# An underscore inside a word is no emphasis; escaped, `ds_cnn_kws` would be hard to read.
_MARKDOWN = re.compile(r"([\\`*\[\]|~#$!]|(?<!\w)_|_(?!\w))")


def number(value: float | None, digits: int = 0) -> str:
    """Return `value` with thousands separators and `digits` decimals."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, figures: int = 3) -> str:
    """Return `value` with `figures` significant figures, without an exponent."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    digits = figures - len(f"{abs(value):.0f}") if abs(value) >= 1 else figures
    return f"{value:,.{max(0, digits)}f}"


def r_squared(value: float | None) -> str:
    """Return a coefficient of determination, never rounded up to a perfect one."""
    if value is None:
        return UNKNOWN
    return f"{min(value, 0.9999) if value < 1 else value:.4f}"


def percent(value: float | None) -> str:
    """Return a figure that is in percent already."""
    return UNKNOWN if value is None else f"{value:.1f} %"


def share(value: float | None) -> str:
    """Return a share from 0 to 1 in percent."""
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def percent_signed(value: float | None) -> str:
    """Return a share in percent with its sign and three decimals."""
    return UNKNOWN if value is None else f"{100 * value:+.3f} %"


def image(one_firmware: bool | None) -> str:
    """Return what is said of an image: only a shared one is worth a word."""
    return "shared" if one_firmware else UNKNOWN


def yes_no(value: bool | None) -> str:
    """Return yes, no or unknown."""
    return UNKNOWN if value is None else "yes" if value else "no"


def name(value: str | None, limit: int = 60) -> str:
    """Return a name from a file as one short, printable line."""
    if value is None or value == "":
        return UNKNOWN
    clean = _CONTROL.sub("?", value)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def markdown(value: str) -> str:
    """Return `value` so that Markdown and HTML show it as it is."""
    return _MARKDOWN.sub(r"\\\1", html.escape(_CONTROL.sub("?", value), quote=False))


def clock(hertz: int | None) -> str:
    """Return a clock in MHz."""
    return UNKNOWN if hertz is None else f"{hertz / 1e6:g} MHz"


def verb(source: str) -> str:
    """Return what was done to get a figure; modelled cycles are never called measured."""
    return "measured" if source == "hardware" else "modelled"
