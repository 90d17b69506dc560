"""Read and write fit files: plain JSON, every field checked, no pickle."""

from __future__ import annotations

import json
import sys
import types
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from harness.errors import FitError
from harness.files import draft_of
from harness.fit.features import FEATURES
from harness.fit.model import READABLE_VERSIONS, SCHEMA_VERSION, Fit, LayerModel

T = TypeVar("T")


def save_fit(fit: Fit, path: str | Path) -> Path:
    """Write `fit` as JSON; the file appears whole or not at all.

    Raises:
        FitError: The file cannot be written.
    """
    file = Path(path)
    content = json.dumps(asdict(fit), indent=2, allow_nan=False) + "\n"
    with draft_of(file, what="fit", error=FitError) as draft:
        draft.write_text(content, encoding="utf-8")
    return file


def load_fit(path: str | Path) -> Fit:
    """Read a fit file.

    Raises:
        FitError: It is missing, not JSON, of another schema version, or a field is wrong.
    """
    file = Path(path)
    where = str(file)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FitError(
            "there is no such fit file", where=where, fix="make one: `harness fit`"
        ) from None
    except OSError as failure:
        raise FitError(
            f"the fit file cannot be read: {failure.strerror or failure}", where=where
        ) from None
    except (ValueError, RecursionError) as failure:
        raise FitError(
            f"the fit file is not JSON: {failure}", where=where, fix="make it again: `harness fit`"
        ) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version not in READABLE_VERSIONS:
        raise FitError(
            f"the fit file has schema version {version!r}",
            where=where,
            expected=" or ".join(map(str, READABLE_VERSIONS)),
            fix="make it again with this harness: `harness fit`",
        )
    # An older file says nothing of what came later, and is written in the newer version.
    fit = _record(Fit, {**data, "schema_version": SCHEMA_VERSION}, "", where)
    _check(fit, where)
    return fit


def _check(fit: Fit, where: str) -> None:
    for model in (fit.latency, fit.arena, fit.flash):
        if model is None:
            continue
        if model.n < 3 or model.feature_sxx <= 0 or model.residual_std < 0:
            _fail(model.target, "numbers that no regression gives", "n ≥ 3, spread > 0", where)
    if fit.layers is not None:
        _check_layers(fit.layers, where)
    if fit.latency.slope <= 0:
        _fail("latency.slope", fit.latency.slope, "a positive slope", where)


def _check_layers(model: LayerModel, where: str) -> None:
    counts = {len(model.features), len(model.coefficients), len(model.feature_max)}
    unknown = [name for name in model.features if name not in FEATURES]
    if len(counts) > 1 or unknown:
        _fail("layers.features", ", ".join(model.features), ", ".join(FEATURES), where)
    if min((*model.coefficients, model.relative_half_width)) < 0:
        _fail("layers.coefficients", model.coefficients, "nothing below zero", where)


def _record(kind: type[T], data: Any, at: str, where: str) -> T:
    if not isinstance(data, dict):
        _fail(at, data, "an object", where)
    hints = typing.get_type_hints(kind)
    specs = fields(kind)  # type: ignore[arg-type]  # T is a dataclass
    names = [spec.name for spec in specs]
    missing = [spec.name for spec in specs if spec.name not in data and spec.default is MISSING]
    unknown = [name for name in data if name not in names]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise FitError(
            f"the fit file is wrong: {at or 'the top level'} {what}",
            where=where,
            fix="make it again: `harness fit`",
        )
    values = {
        name: _value(hints[name], data[name], f"{at}.{name}".strip("."), where)
        for name in names
        if name in data
    }
    return kind(**values)


def _value(hint: Any, value: Any, at: str, where: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    if isinstance(wanted, type) and is_dataclass(wanted):
        return _record(wanted, value, at, where)
    if typing.get_origin(wanted) is tuple:
        kind = typing.get_args(wanted)[0]
        if not isinstance(value, list) or (
            kind is str and not all(isinstance(item, str) for item in value)
        ):
            _fail(at, value, f"a list of {'texts' if kind is str else 'numbers'}", where)
        return tuple(_value(kind, item, at, where) for item in value)
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # false for NaN too
            _fail(at, value, "a finite number", where)
        return float(value)
    if type(value) is not wanted:
        _fail(at, value, wanted.__name__, where)
    return value


def _fail(at: str, value: object, expected: str, where: str) -> NoReturn:
    raise FitError(
        f"the fit file is wrong: {at} is {_brief(value)!r}",
        where=where,
        expected=expected,
        fix="make it again: `harness fit`",
    )


def _brief(value: object) -> str:
    # Python refuses to print integers of thousands of digits.
    return "a huge number" if isinstance(value, int) and abs(value) > 2**64 else str(value)[:80]
