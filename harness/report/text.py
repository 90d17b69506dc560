"""Numbers and names as text: an unknown value is a dash, a name from a file stays one line."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

UNKNOWN = "–"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# An underscore inside a word is no emphasis; escaped, `ds_cnn_kws` would be hard to read.
_MARKDOWN = re.compile(r"([\\`*\[\]|~#$!]|(?<!\w)_|_(?!\w))")


def number(
    value: float | None, digits: int = 0, *, per: float = 1, sign: bool = False, unit: str = ""
) -> str:
    """Return `value` / `per` with thousands separators, `digits` decimals and `unit`."""
    return UNKNOWN if value is None else f"{value / per:{'+' if sign else ''},.{digits}f}{unit}"


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
    return number(value, 1, unit=" %")


def share(value: float | None) -> str:
    """Return a share from 0 to 1 in percent."""
    return number(value, per=0.01, unit=" %")


def plus_minus(value: float | None) -> str:
    """Return an error, a share from 0 to 1, as ``±9 %``."""
    return UNKNOWN if value is None else f"±{share(value)}"


def percent_signed(value: float | None) -> str:
    """Return a share in percent with its sign and three decimals."""
    return number(value, 3, per=0.01, sign=True, unit=" %")


def image(one_firmware: bool | None) -> str:
    """Return ``shared`` for an image that takes any model, else a dash."""
    return "shared" if one_firmware else UNKNOWN


def name(value: str | None, limit: int = 60) -> str:
    """Return a name from a file as one short, printable line."""
    if value is None or value == "":
        return UNKNOWN
    clean = _CONTROL.sub("?", value)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def markdown(value: str) -> str:
    """Return `value` so that Markdown and HTML show it as it is."""
    return _MARKDOWN.sub(r"\\\1", html.escape(_CONTROL.sub("?", value), quote=False))


def when(time: datetime | None) -> str:
    """Return a time in UTC to the minute."""
    return UNKNOWN if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def clock(hertz: int | None) -> str:
    """Return a clock in MHz."""
    return UNKNOWN if hertz is None else f"{hertz / 1e6:g} MHz"


def counted_by(source: str, timing_model: str | None) -> str:
    """Return what counted the cycles, in capitals where it was no chip."""
    if source == "hardware":
        return "measured on hardware"
    return f"EMULATED: cycles modelled by {timing_model}"


def verb(source: str) -> str:
    """Return ``measured`` or, for cycles that were not, ``modelled``."""
    return "measured" if source == "hardware" else "modelled"
