"""Anomaly detection: which machine is it (MicroNets, Banbury et al. 2021, section 5.2).

Inputs are log-mel images of 64 frames (32 ms each, of 64 ms windows; about two seconds) scaled to
32×32, cut from a recording every 16 frames. Networks learn to tell the machines apart by their
normal sounds; a recording that is not surely its own machine is anomalous.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.cache import cached_arrays, stamp
from harness.data.dataset import Dataset, assemble, listed, resize
from harness.data.divide import SplitName
from harness.data.features import SoundFeatures
from harness.data.recordings import Recording, Recordings, find_recordings
from harness.data.sounds import normalised
from harness.data.subset import thin
from harness.data.tasks.task import Request, division, load_sounds
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYOUTS = (
    "toycar_logmel.npz; or recordings named as in DCASE 2020 task 2, "
    "train/normal_id_01_00000000.wav and test/anomaly_id_01_00000000.wav, of one type of machine; "
    "or {normal,anomaly}_CONDITION_MACHINE_SPEED.wav"
)
FEATURES = SoundFeatures(
    kind="log_mel",
    frames=64,
    bins=64,
    window_ms=64.0,
    stride_ms=32.0,
    lower_hz=0.0,
    upper_hz=8_000.0,
    log_floor=1e-6,
    spectrum="power",
    level="none",
    centred=False,
    images_stride=16,
)
TEST_SHARE, VALIDATION_SHARE = 0.4, 0.1
"""Of a machine's normal recordings, where the data set does not say; anomalies are for testing."""

_RULE = (
    "by hash of the name, of each machine's normal recordings 40 % to test and 10 % to validate; "
    "all anomalies to test"
)
_ARCHIVE = "toycar_logmel.npz"
_SHAPE = (200, 128)  # frames and mel bands of a clip in the archive
_DB_PER_STEP, _DB_AT_0 = 0.5, -32.0
_MOTOR = re.compile(r"^(normal|anomaly)_([A-Za-z]+)_(M\d+)_(\d+)\.wav$")


def load(request: Request) -> Dataset | None:
    """Return the data set of a folder; None if its layout is not known.

    Raises:
        DataError: Folders, archive or recordings are missing or bad.
    """
    folder = request.folder
    if (folder / _ARCHIVE).is_file():
        return _spectra(request, folder / _ARCHIVE)
    motors = [path for path in sorted(folder.glob("*.wav")) if _MOTOR.match(path.name)]
    if motors:
        return load_sounds(request, _motors(motors), FEATURES, "ad", "motors, by name")
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    if "train" not in names and "test" not in names:
        types = sorted(
            path.name for path in folder.iterdir() if any((path / part).is_dir() for part in _PARTS)
        )
        if len(types) != 1:
            if not types:
                return None
            raise DataError(
                f"{len(types)} types of machine: {', '.join(types)}",
                where=str(folder),
                expected="one type: a network tells machines of one type apart",
                fix=f"name one: --data {folder / types[0]}",
            )
        folder = folder / types[0]
    if missing := [f"{part}/ is missing" for part in _PARTS if not (folder / part).is_dir()]:
        raise DataError(listed("folder", missing), where=str(folder), expected=LAYOUTS)
    found = find_recordings(folder, None, ())
    if found.convention != "machines":
        raise DataError("files have other names", where=str(folder), expected=LAYOUTS)
    return load_sounds(request, found, FEATURES, "ad", "DCASE 2020 task 2")


_PARTS = ("train", "test")


def hold_out(
    machines: Sequence[str], names: Sequence[str], anomalous: Sequence[bool]
) -> list[SplitName]:
    """Return the split of each recording: anomalies to test, and 40 % of each machine's normals."""
    splits: list[SplitName] = ["test"] * len(names)
    normals = defaultdict(list)
    for place, machine in enumerate(machines):
        if not anomalous[place]:
            normals[machine].append(place)
    for places in normals.values():
        places.sort(key=lambda place: hashlib.sha256(names[place].encode()).digest())
        tested = max(1, round(TEST_SHARE * len(places)))
        decided = max(1, round(VALIDATION_SHARE * len(places)))
        for rank, place in enumerate(places):
            own: SplitName = "validation" if rank < tested + decided else "train"
            splits[place] = "test" if rank < tested else own
    return splits


def _motors(paths: Sequence[Path]) -> Recordings:
    """Find the motors that have normal recordings; the others cannot be learned."""
    found = [(path, match) for path in paths if (match := _MOTOR.match(path.name))]
    known = sorted({match[3] for _, match in found if match[1] == "normal"})
    found = [(path, match) for path, match in found if match[3] in known]
    machines = [match[3] for _, match in found]
    anomalous = [match[1] == "anomaly" for _, match in found]
    splits = hold_out(machines, [path.name for path, _ in found], anomalous)
    files = tuple(
        Recording(path, path.name, machine, None, split, odd)
        for (path, _), machine, split, odd in zip(found, machines, splits, anomalous, strict=True)
    )
    return Recordings("motors", files, tuple(known))


def _spectra(request: Request, file: Path) -> Dataset:
    stored = cached_arrays(
        f"ad-{stamp([file], shape=request.input_shape, features=FEATURES.as_json())}",
        lambda: _read(file, request.input_shape),
    )
    machines = [f"id_{number:02}" for number in stored["machine"].tolist()]
    clip, anomalous = stored["clip"].tolist(), stored["anomalous"].tolist()
    names = [f"{name} {start}" for name, start in zip(stored["name"], stored["start"], strict=True)]
    # Whole clips are held out, never parts of one.
    own = hold_out(
        [machines[place] for place in stored["first"]],
        [str(stored["name"][place]) for place in stored["first"]],
        [anomalous[place] for place in stored["first"]],
    )
    splits = [own[number] for number in clip]
    kept, thinned = thin(machines, splits, names, request.train_samples)
    classes = sorted(set(machines))
    splits = [splits[place] for place in kept]
    x, normalisation = normalised(stored["x"][kept], splits, str(file))
    height, width, _ = request.input_shape
    resized = {"resized": [height, width], "from": "log-mel spectra of librosa (Slaney's bands)"}
    return assemble(
        request.name,
        classes,
        x,
        [classes.index(machines[place]) for place in kept],
        splits,
        {**FEATURES.as_json(), **resized, **normalisation},
        division("ad", _ARCHIVE, _RULE, **thinned),
        anomalous=[anomalous[place] for place in kept],
        clip=[clip[place] for place in kept],
        group=[machines[place] for place in kept],
    )


def _read(file: Path, input_shape: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    import numpy as np

    expected = f"x int8 (n, {_SHAPE[0]}, {_SHAPE[1]}), machine_id, anomaly, name: n each"
    try:
        with np.load(file, allow_pickle=False) as stored:
            x, machine, anomaly, name = (
                stored[key] for key in ("x", "machine_id", "anomaly", "name")
            )
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as failure:
        raise DataError(
            f"not a readable archive of spectra ({failure})", where=str(file), expected=expected
        ) from None
    lengths = {len(part) for part in (x, machine, anomaly, name)}
    if x.shape[1:] != _SHAPE or x.dtype != np.int8 or len(lengths) != 1 or not len(x):
        raise DataError(
            f"x is {x.dtype} of shape {x.shape}, with {len(machine)} machines, {len(anomaly)} "
            f"anomalies and {len(name)} names",
            where=str(file),
            expected=expected,
        )
    step, frames = FEATURES.images_stride or FEATURES.frames, FEATURES.frames
    starts = range(0, _SHAPE[0] - frames + 1, step)
    db = x.astype(np.float32) * np.float32(_DB_PER_STEP) + np.float32(_DB_AT_0)
    cut = np.stack([db[:, start : start + frames] for start in starts], axis=1)
    images = resize(cut.reshape(-1, frames, _SHAPE[1], 1), *input_shape[:2])
    count = len(starts)
    return {
        "x": images,
        "machine": np.repeat(machine, count),
        "anomalous": np.repeat(anomaly != 0, count),
        "name": np.repeat(name, count),
        "clip": np.repeat(np.arange(len(x)), count),
        "start": np.tile(np.array(starts), len(x)),
        "first": np.arange(len(x)) * count,
    }
