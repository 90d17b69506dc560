"""Read and write fit files: plain JSON, every field checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from harness.errors import FitError
from harness.files import draft_of
from harness.fit.features import FEATURES
from harness.fit.model import SCHEMA_VERSION, Fit, LayerModel
from harness.strict import from_json, to_json

_AGAIN = "make it again: `harness fit`"


def save_fit(fit: Fit, path: str | Path) -> Path:
    """Write `fit` as JSON; the file appears whole or not at all.

    Raises:
        FitError: The file cannot be written.
    """
    file = Path(path)
    content = json.dumps(to_json(fit), indent=2) + "\n"
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
        raise FitError(f"the fit file is not JSON: {failure}", where=where, fix=_AGAIN) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise FitError(
            f"the fit file has schema version {version!r}",
            where=where,
            expected=str(SCHEMA_VERSION),
            fix="make it again with this harness: `harness fit`",
        )
    fit = from_json(Fit, data, where=where, error=FitError, fix=_AGAIN)
    for model in (fit.latency, fit.arena, fit.flash):
        if model and (model.n < 3 or model.feature_sxx <= 0 or model.residual_std < 0):
            _fail(f"{model.target} has numbers that no regression gives", "n ≥ 3, spread", where)
    if fit.latency.slope <= 0:
        _fail(f"latency.slope is {fit.latency.slope}", "a positive slope", where)
    if fit.layers is not None:
        _check_layers(fit.layers, where)
    return fit


def _check_layers(model: LayerModel, where: str) -> None:
    lengths = {len(model.features), len(model.coefficients), len(model.feature_max)}
    if len(lengths) > 1 or not set(model.features) <= set(FEATURES):
        names = ", ".join(model.features)
        _fail(f"layers.features is {names}", f"as many coefficients; {', '.join(FEATURES)}", where)
    if min((*model.coefficients, model.relative_half_width)) < 0:
        _fail(f"layers.coefficients is {model.coefficients}", "nothing below zero", where)


def _fail(what: str, expected: str, where: str) -> NoReturn:
    raise FitError(f"the fit file is wrong: {what}", where=where, expected=expected, fix=_AGAIN)
