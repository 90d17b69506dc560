"""The public Python API; ``import harness`` offers all of it (docs/api.md).

Everything named in `__all__` is stable: it keeps its name, arguments and meaning until a major
version. Anything else in the package may change at any time. Failures are `HarnessError`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench import Bench, Station, load_bench
from harness.boards import Board, all_boards
from harness.campaign.config import CampaignConfig, MeasureOptions, read_campaign
from harness.campaign.entry import (
    CampaignResult,
    SilentListener,
    Step,
    measure_job,
    plan_now,
    run_config,
)
from harness.campaign.ledger import Listener
from harness.campaign.sweep import RuntimeSweep
from harness.errors import HarnessError
from harness.fit import Fit, Prediction, load_fit
from harness.paths import DEFAULT_BOARD, DEFAULT_STORE
from harness.prediction import BoardPrediction
from harness.results import open_store
from harness.results.record import Measurement
from harness.strict import from_json

if TYPE_CHECKING:
    import keras
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = [
    "Board",
    "BoardPrediction",
    "CampaignResult",
    "Fit",
    "HarnessError",
    "Listener",
    "Measurement",
    "Prediction",
    "Station",
    "list_boards",
    "list_stations",
    "load_fit",
    "measure",
    "predict",
    "rows",
    "run_campaign",
]

_WHERE = "harness.measure"


def list_boards() -> tuple[Board, ...]:
    """Return every board type that the harness knows, by id."""
    return all_boards()


def list_stations(bench: str | Path | None = None) -> tuple[Station, ...]:
    """Return the stations that can be measured on.

    Args:
        bench: Bench file; None takes ``$HARNESS_BENCH``, else ``./bench.toml``, else a virtual
            station for each board that can be emulated.

    Raises:
        ConfigError: The file is missing or wrong.
    """
    return _bench(bench).stations


def measure(
    model: str | Path,
    *,
    station: str | None = None,
    board: str = DEFAULT_BOARD,
    runtime: str = "aot",
    kernels: str = "cmsis_nn",
    library: str | Sequence[str] | None = None,
    kernels_source: str | None = None,
    optimization: str = "-O2",
    warmup: int = 1,
    repeats: int = 3,
    boots: int = 1,
    layers: bool = True,
    verify_arena: bool = False,
    seed: int = 0,
    again: bool = False,
    wait_s: float = 0.0,
    db: str | Path | None = None,
    bench: str | Path | None = None,
    step: Step = nullcontext,
) -> Measurement:
    """Build, flash and measure one model; what was measured before is read from the store.

    Args:
        model: A full-int8 .tflite file.
        station: Station of the bench; None takes the first free one that carries `board`.
        board: Board id, where no station is named.
        runtime: ``aot`` or ``tflm``.
        kernels: ``cmsis_nn``; ``portable`` (aot) or ``reference`` (tflm).
        library: PlatformIO spec of the TFLM library, ``[KERNELS=]SPEC``; several as a list. None
            takes ``$HARNESS_TFLM``.
        kernels_source: CMSIS-NN tree for `aot`: a folder, or a git repository with ``#commit``;
            None takes the one that is installed.
        optimization: GCC's level: -O0, -O1, -O2, -O3, -Os, -Og, -Ofast or -Oz.
        warmup: Inferences before the timed ones.
        repeats: Timed inferences after each boot, 1 to 64.
        boots: Resets, each followed by the repeats, 1 to 16.
        layers: Also time each layer, in a separate pass.
        verify_arena: Search for the smallest arena that works.
        seed: Seed of the input data.
        again: Measure even if the store has a usable row.
        wait_s: How long to wait for a station that another process uses.
        db: Results store, a file or a SQLAlchemy URL; None takes ``$HARNESS_DB``, else
            ``results/measurements.sqlite`` in the working directory.
        bench: Bench file, see `list_stations`.
        step: Called with a description of each step; returns a context manager around it.

    Returns:
        The row, as stored: ``row.latency_us``, ``row.arena_bytes``, ``row.layers`` and so on.

    Raises:
        HarnessError: An option is wrong, the model is not supported or does not fit, the compiler
            is missing, or the station is not ready; the message says what to do.
    """
    options = {
        "warmup": warmup,
        "repeats": repeats,
        "boots": boots,
        "layers": layers,
        "verify_arena": verify_arena,
    }
    config = CampaignConfig.of(
        "measure",
        station=station,
        boards=[board],
        models=[Path(model)],
        runtime=RuntimeSweep.of(
            runtime, kernels, optimization, specs=_specs(library), kernels_source=kernels_source
        ),
        measure=from_json(MeasureOptions, options, where=_WHERE),
        seed=seed,
        where=_WHERE,
    )
    stations = _bench(bench)
    (job,) = plan_now(config, stations)
    with open_store(_database(db)) as store:
        row, _ = measure_job(job, stations, store, again=again, step=step, wait_s=wait_s)
    return row


def predict(
    model: str | Path | keras.Model,
    *,
    board: str | Sequence[str] | None = None,
    kernels: str = "cmsis_nn",
    optimization: str = "-O2",
    representative: npt.NDArray[np.float32] | None = None,
) -> tuple[BoardPrediction, ...]:
    """Predict what a model takes with the `aot` runtime; needs neither board nor compiler.

    Args:
        model: A full-int8 .tflite file, or a Keras model with a batch size of 1, which needs
            TensorFlow to convert it.
        board: Board id, or several; None takes every board that has a reference fit.
        kernels: ``cmsis_nn`` or ``portable``.
        optimization: GCC's level, -O2 or -Os.
        representative: Inputs that a Keras model is calibrated with, shape (n, ...); the
            prediction hardly depends on them. None takes random ones.

    Returns:
        One prediction for each board: ``latency_us`` with ``low_us`` and ``high_us``,
        the ``expected_error`` of the timing model, ``arena_bytes``, ``sram_bytes``,
        ``flash_bytes``, ``fits``, ``layers``; ``extrapolated`` lists what is outside the data.

    Raises:
        HarnessError: The model is not supported, no such board, or no reference fit for this
            configuration.
    """
    from harness.models import read_model
    from harness.prediction import predict_boards

    if isinstance(model, str | Path):
        found = read_model(model)
    else:
        from harness.models.convert import to_int8_tflite

        if representative is None:
            from numpy.random import default_rng

            shape = (8, *model.input_shape[1:])
            representative = default_rng(0).standard_normal(shape).astype("float32")
        found = read_model(to_int8_tflite(model, representative), name=str(model.name))
    boards = [board] if isinstance(board, str) else board
    return predict_boards(found, boards, kernels, optimization)


def run_campaign(
    campaign: str | Path,
    *,
    stations: Sequence[str] = (),
    tags: Sequence[str] = (),
    every_station: bool | None = None,
    wait_s: float = 0.0,
    samples: int | None = None,
    seed: int | None = None,
    models: str | Path | None = None,
    library: str | Sequence[str] | None = None,
    verify_arena: bool | None = None,
    again: bool = False,
    out: str | Path | None = None,
    db: str | Path | None = None,
    bench: str | Path | None = None,
    listener: Listener | None = None,
) -> CampaignResult:
    """Run a campaign file; what the store has is not measured again.

    Args:
        campaign: Campaign file (TOML), see docs/campaigns.md.
        stations: Measure on these instead of where the file says.
        tags: Measure on stations that have all of these, instead of the file's.
        every_station: Let every station measure everything, to compare specimens; None does as the
            file says. Otherwise equal stations share the jobs.
        wait_s: How long to wait for a station that another process uses.
        samples: Networks per backbone instead of the file's number.
        seed: Seed instead of the file's.
        models: Folder to look the file's models up in, sub-folders included.
        library: As for `measure`.
        verify_arena: Search for the smallest arena that works; None does as the file says.
        again: Measure everything anew, whatever the store has.
        out: Folder for summary, plots and fits; None takes ``results/<campaign name>``.
        db: As for `measure`.
        bench: As for `list_stations`.
        listener: Called as jobs start and finish.

    Returns:
        Counts (``result.summary``), rows, fits and the files written (``result.outcome``). Jobs
        that failed are counted in ``result.summary.statuses["invalid"]`` and raise nothing.

    Raises:
        HarnessError: The file is wrong or cannot be planned, the compiler is missing, or the
            store or the folder cannot be written.
    """
    config = read_campaign(
        Path(campaign),
        stations=stations,
        tags=tags,
        every_station=every_station,
        samples=samples,
        seed=seed,
        models=Path(models) if models else None,
        library=_specs(library),
        verify_arena=verify_arena,
    )
    found = _bench(bench)
    jobs = plan_now(config, found)
    with open_store(_database(db)) as store:
        return run_config(
            config,
            jobs,
            found,
            store,
            out=Path(out) if out else None,
            listener=listener or SilentListener(),
            wait_s=wait_s,
            again="all" if again else "",
        )


def rows(
    *,
    db: str | Path | None = None,
    campaign: str | None = None,
    backbone: str | None = None,
    board: str | None = None,
    source: str | None = None,
    status: str | Sequence[str] | None = None,
    model: str | None = None,
    runtime: str | None = None,
    kernels: str | None = None,
    layers: bool = False,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return stored measurements as a data frame, one line per attempt, oldest first.

    Args:
        db: As for `measure`.
        campaign: Only rows of this campaign.
        backbone: Only rows of this backbone.
        board: Only rows of this board.
        source: ``hardware`` or ``emulated``.
        status: ``valid``, ``degraded`` or ``invalid``, or several of them.
        model: Only rows of the model of this name.
        runtime: Only rows of this runtime.
        kernels: Only rows of these kernels.
        layers: Return one line per layer of each row instead.
        columns: Read only these columns, which is faster; None reads all.

    Returns:
        Columns as in docs/results.md, with nullable types: what was not measured is NA. Lists and
        mappings are JSON text.

    Raises:
        ResultsError: There is no such store or column, or no row can have that status or source.
    """
    from harness.results.store import Filter

    where = Filter(
        campaign=campaign,
        backbone=backbone,
        board=board,
        source=source,
        status=status,
        model_name=model,
        runtime=runtime,
        kernels=kernels,
    )
    with open_store(_database(db), create=False) as store:
        table = "layers" if layers else "measurements"
        return store.frame(where, table=table, columns=columns)


def _specs(library: str | Sequence[str] | None) -> Sequence[str] | None:
    return [library] if isinstance(library, str) else library


def _bench(path: str | Path | None) -> Bench:
    return load_bench(Path(path) if path else None)


def _database(db: str | Path | None) -> str | Path:
    return db or os.environ.get("HARNESS_DB") or DEFAULT_STORE
