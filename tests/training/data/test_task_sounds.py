"""The tasks' recordings, and their front ends against a published implementation and real pairs."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import tasks
from harness.data.audio import read_wav
from harness.data.features import SoundFeatures, compute
from harness.data.tasks import ad, kws
from harness.data.tasks.kws import grey_to_ln, mfcc_of
from harness.errors import DataError
from support import layouts
from support.sounds import write_wav

REAL = "HARNESS_KWS_DATA"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Return a folder as Speech Commands v0.02 is published, with its lists."""
    folder = tmp_path / "speech_commands"
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for place, word in enumerate((*kws.SPEECH_COMMANDS_WORDS, "bed")):
        for speaker in range(4):
            voice = hashlib.sha256(str(speaker).encode()).hexdigest()[:8]
            for index in range(3):
                name = f"{word}/{voice}_nohash_{index}.wav"
                write_wav(folder / name, pitch_hz=200 + 90 * place, rate_hz=16_000, seconds=0.2)
                if speaker < 2:
                    lists[list(lists)[speaker]].append(name)
    write_wav(folder / "_background_noise_" / "hum.wav", rate_hz=16_000, seconds=20)
    for file, names in lists.items():
        (folder / file).write_text("\n".join(names) + "\n", encoding="utf-8")
    return folder


def test_speech_commands_as_published(commands: Path) -> None:
    dataset = tasks.load_task("kws", commands)
    assert dataset.classes == kws.CLASSES
    assert dataset.input_shape == (49, 10, 1)
    assert dataset.counts()["test"]["yes"] == 3
    groups = [set(split.group) - {""} for split in dataset.splits.values()]  # type: ignore[arg-type]
    assert [len(own) for own in groups] == [2, 1, 1]
    assert not groups[0] & groups[1] and not groups[1] & groups[2]
    assert dataset.division["task"] == "kws"
    assert dataset.features["window"] == 480
    few = tasks.load_task("kws", commands, train_samples=24)
    assert set(few.counts()["train"].values()) == {2}
    assert few.counts()["test"] == dataset.counts()["test"]


def test_files_are_not_read_again(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tasks.load_task("kws", commands)
    monkeypatch.setattr("harness.data.sounds.read_wav", lambda _: pytest.fail("read again"))
    assert tasks.load_task("kws", commands).fingerprint == first.fingerprint


def test_an_index_of_recordings_is_split_by_speaker(tmp_path: Path) -> None:
    rows = ["file,label,word,speaker"]
    for speaker in ("ada", "bob", "eve", "joe"):
        for label in kws.CLASSES:
            for index in range(2):
                name = f"wav/{label}/{speaker}{index}.wav"
                write_wav(tmp_path / name, rate_hz=16_000, seconds=0.1)
                rows.append(f"{name},{label},,{'' if label == kws.SILENCE else speaker}")
    (tmp_path / "wav_index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    dataset = tasks.load_task("kws", tmp_path)
    groups = [set(split.group) - {""} for split in dataset.splits.values()]  # type: ignore[arg-type]
    assert [len(own) for own in groups] == [2, 1, 1]
    (tmp_path / "wav" / "yes" / "ada0.wav").unlink()
    with pytest.raises(DataError, match=r"wav/yes/ada0\.wav is missing"):
        tasks.load_task("kws", tmp_path)


def test_silence_to_test_with_is_taken_from_recordings(tmp_path: Path) -> None:
    folder = layouts.log_mel_pictures(tmp_path, silence=False)
    (folder / "logmel_test_a.tar.xz").rename(folder / "logmel_test.tar.xz")
    with pytest.raises(DataError, match="class '_silence_' has 0 samples in the test split"):
        tasks.load_task("kws", folder)
    write_wav(folder / "wav" / "_silence_" / "1.wav", rate_hz=16_000, seconds=1)
    assert tasks.load_task("kws", folder).counts()["test"]["_silence_"] == 1


def test_machines_as_dcase_names_them(tmp_path: Path) -> None:
    for place, machine in enumerate(("id_01", "id_02")):
        for index in range(20):
            name = tmp_path / "ToyCar" / "train" / f"normal_{machine}_{index:08}.wav"
            write_wav(name, pitch_hz=300 + 300 * place, rate_hz=16_000, seconds=3)
        for kind in ("normal", "anomaly"):
            name = tmp_path / "ToyCar" / "test" / f"{kind}_{machine}_00000000.wav"
            write_wav(name, rate_hz=16_000, seconds=3)
    dataset = tasks.load_task("ad", tmp_path)
    assert dataset.classes == ("id_01", "id_02")
    assert dataset.input_shape == (32, 32, 1)
    assert len(dataset.test) == 4 * 2  # 2.08 s of 3 s, every 0.51 s
    assert dataset.test.clip is not None and len(set(dataset.test.clip)) == 4
    assert len(dataset.features["mean"]) == 32


def test_motors_that_never_ran_well_are_left_out(tmp_path: Path) -> None:
    for motor in ("M1", "M2"):
        for speed in range(1400, 1410):
            write_wav(tmp_path / f"normal_healthy_{motor}_{speed}.wav", rate_hz=16_000, seconds=3)
        write_wav(tmp_path / f"anomaly_propeller_{motor}_1400.wav", rate_hz=16_000, seconds=3)
    write_wav(tmp_path / "anomaly_bearing_M4_1400.wav", rate_hz=16_000, seconds=3)
    dataset = tasks.load_task("ad", tmp_path)
    assert dataset.classes == ("M1", "M2")
    assert [len(set(split.clip)) for split in dataset.splits.values()] == [10, 2, 10]  # type: ignore[arg-type]
    assert dataset.train.anomalous is not None and not dataset.train.anomalous.any()
    assert dataset.test.anomalous is not None and dataset.test.anomalous.any()


def chirp() -> np.ndarray:
    """Return a second of a rising tone, a fixed one and something like noise."""
    n = np.arange(16_000)
    t = n / 16_000
    tones = 0.4 * np.sin(2 * np.pi * (200 * t + 900 * t * t))
    tones += 0.1 * np.sin(2 * np.pi * 3000 * t) * (t > 0.5)
    noise = 0.01 * np.sin(n * n * 0.37 % 6.283185).astype(np.float32)
    return (tones.astype(np.float32) + noise).astype(np.float32)


# Made with librosa 0.11.0: librosa.feature.mfcc(S=log, n_mfcc=10, dct_type=2, norm="ortho") of
# log = ln(P @ M.T + 2.6e-7), P the power of 480-sample frames every 320 (librosa.util.frame,
# periodic Hann) by a 512-point FFT, and M = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40,
# fmin=0, fmax=4000, htk=True, norm=None). Frames 0, 24 and 48.
LIBROSA_MFCC = [
    [-17.94, 9.63, 9.06, 3.07, -4.23, -8.42, -7.63, -3.37, -6.07, -8.5],
    [-12.22, -8.01, -3.89, -1.7, 7.61, 2.04, -8.08, 0.23, 3.1, 3.96],
    [-17.71, -11.29, 2.19, 4.81, -3.01, 3.33, 2.13, -4.15, -2.2, 6.3],
]
# The same: ln(librosa.feature.melspectrogram(y=three of it, the first 33,280 samples, sr=16000,
# n_fft=1024, hop_length=512, center=False, power=2.0, n_mels=64, fmin=0, fmax=7200, htk=True,
# norm=None) + 1e-6). Frames 0, 31 and 63, bands 0, 7, 20, 33, 48 and 63.
LIBROSA_LOG_MEL = [
    [-2.64, 8.96, -2.4, -2.07, -1.8, -1.07],
    [-0.13, 9.14, -1.95, 0.16, -1.63, -1.22],
    [-2.99, 7.44, -2.78, -2.13, -1.94, -0.88],
]


def test_mfcc_are_those_of_librosa() -> None:
    found = compute([chirp()[: kws.FEATURES.samples]], kws.FEATURES)[0, ..., 0]
    # `tf.signal` does not make the first row of the DCT orthonormal: √2 more.
    found[:, 0] /= 2**0.5
    assert found.shape == (49, 10)
    assert np.allclose(found[[0, 24, 48]], LIBROSA_MFCC, atol=0.03)


def test_log_mel_are_those_of_librosa() -> None:
    assert ad.FEATURES.samples == 33_280
    found = compute([np.tile(chirp(), 3)[:33_280]], ad.FEATURES)[0, ..., 0]
    assert found.shape == (64, 64)
    assert np.allclose(
        found[np.ix_([0, 31, 63], [0, 7, 20, 33, 48, 63])], LIBROSA_LOG_MEL, atol=0.03
    )


def test_mfcc_of_pictures_are_those_of_sounds() -> None:
    bands = replace(kws.FEATURES, kind="log_mel", bins=40)
    clip = [chirp()[: kws.FEATURES.samples]]
    expected = compute(clip, kws.FEATURES)[0, ..., 0]
    assert np.allclose(mfcc_of(compute(clip, bands)[0, ..., 0]), expected, atol=1e-3)


def test_real_recordings_and_their_pictures_agree() -> None:
    """Correlate log-mel and MFCC of recordings with those of the pictures made elsewhere."""
    folder = Path(os.environ.get(REAL, "/nonexistent"))
    if not (folder / "wav").is_dir():
        pytest.skip(f"set {REAL} to a folder with logmel_test_a.tar.xz and wav/LABEL/*.wav")
    pictures = {}
    with tarfile.open(folder / "logmel_test_a.tar.xz") as archive:
        for member in archive:
            if (stream := archive.extractfile(member)) is not None:
                pictures[Path(member.name).stem] = np.asarray(Image.open(stream))[::2]
    files = sorted(folder.glob("wav/*/*.wav"))
    pairs = [(path, pictures[key]) for path in files if (key := _key(path, pictures)) is not None]
    assert len(pairs) > 500
    clips = [read_wav(path).samples[: kws.FEATURES.samples] for path, _ in pairs]
    bands: SoundFeatures = replace(kws.FEATURES, kind="log_mel", bins=40)
    theirs = grey_to_ln(np.stack([picture for _, picture in pairs]))
    ours = compute(clips, bands)[..., 0].clip(theirs.min(), theirs.max())
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.96
    ours_mfcc, theirs_mfcc = compute(clips, kws.FEATURES)[..., 0], mfcc_of(theirs)
    for place in range(3):
        pair = ours_mfcc[..., place].ravel(), theirs_mfcc[..., place].ravel()
        assert np.corrcoef(*pair)[0, 1] > 0.95


def _key(path: Path, pictures: dict[str, np.ndarray]) -> str | None:
    """Return the name of a recording's picture, which carries the word."""
    names = (path.stem, f"{path.stem}.{path.parent.name}")
    return next((name for name in names if name in pictures), None)
