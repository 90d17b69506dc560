"""Folders of recordings: labels, speakers, splits, features, and what is wrong with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from harness import data
from harness.data.audio import read_wav
from harness.data.divide import Division, by_hash
from harness.data.features import SoundFeatures, compute
from harness.data.recordings import find_recordings
from harness.errors import DataError
from support.sounds import write_wav

KWS = (49, 10, 1)


def speakers_of(dataset: data.Dataset) -> dict[str, set[str]]:
    return {name: set(dataset.division[name]) for name in ("train", "validation", "test")}


def test_names_carry_label_and_speaker(speakers: Path) -> None:
    dataset = data.load(speakers, input_shape=KWS)
    assert dataset.classes == ("0", "1")
    assert dataset.input_shape == KWS
    found = speakers_of(dataset)
    assert set.union(*found.values()) == {"ada", "bob", "eve", "joe"}
    assert sum(len(names) for names in found.values()) == 4  # nobody is in two splits
    assert [len(found[name]) for name in ("train", "validation", "test")] == [2, 1, 1]
    assert [len(split) for split in dataset.splits.values()] == [12, 6, 6]
    assert dataset.features["sample_rate_hz"] == 8000
    assert (dataset.features["window"], dataset.features["stride"]) == (320, 160)
    assert len(dataset.features["mean"]) == len(dataset.features["deviation"]) == 10
    assert np.allclose(dataset.train.x.mean(axis=(0, 1, 3)), 0, atol=1e-3)


def test_a_folder_around_the_recordings_is_no_label(speakers: Path, tmp_path: Path) -> None:
    around = tmp_path / "corpus"
    around.mkdir()
    (around / "README.md").write_text("what this is")
    speakers.rename(around / "recordings")
    assert data.load(around, input_shape=KWS).classes == ("0", "1")


def test_speakers_to_test_on_may_be_named(speakers: Path) -> None:
    division = Division(test_speakers=("eve",), validation_speakers=("ada",))
    options = data.SoundOptions(division=division)
    found = speakers_of(data.load(speakers, input_shape=KWS, options=options))
    assert found == {"train": {"bob", "joe"}, "validation": {"ada"}, "test": {"eve"}}
    wrong = data.SoundOptions(division=Division(test_speakers=("mallory",)))
    with pytest.raises(DataError, match="no recordings of speaker mallory") as caught:
        data.load(speakers, input_shape=KWS, options=wrong)
    assert "ada, bob, eve, joe" in str(caught.value)


def test_same_content_same_fingerprint_and_cached(
    speakers: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.load(speakers, input_shape=KWS)
    with monkeypatch.context() as patch:
        patch.setattr("harness.data.sounds.compute", lambda *_: pytest.fail("computed again"))
        assert data.load(speakers, input_shape=KWS).fingerprint == first.fingerprint
    write_wav(speakers / "0_ada_0.wav", pitch_hz=310.5)
    assert data.load(speakers, input_shape=KWS).fingerprint != first.fingerprint


def test_other_speeds_are_for_training_only(speakers: Path) -> None:
    dataset = data.load(speakers, input_shape=KWS, options=data.SoundOptions(speeds=(0.9, 1.1)))
    assert [len(split) for split in dataset.splits.values()] == [36, 6, 6]
    assert dataset.features["training_speeds"] == [0.9, 1.1]


def test_49_frames_of_40_ms_are_one_second_at_any_rate() -> None:
    for rate in (8000, 16_000, 44_100):
        parameters = SoundFeatures(sample_rate_hz=rate)
        assert parameters.samples == rate
        assert parameters.top_hz == min(4000, 0.45 * rate)
    sound = np.sin(np.arange(16_000) * 0.3).astype(np.float32)
    assert compute([sound, sound], SoundFeatures()).shape == (2, 49, 10, 1)


def test_features_are_those_of_tf_signal() -> None:
    import tensorflow as tf

    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    plain = SoundFeatures(level="none", centred=False, log_floor=1e-6)
    magnitude = tf.abs(tf.signal.stft(sound, 640, 320, 1024))
    matrix = tf.signal.linear_to_mel_weight_matrix(40, 513, 16_000, plain.lower_hz, plain.upper_hz)
    mel = tf.math.log(tf.matmul(magnitude, matrix) + 1e-6)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(mel)[:, :10]
    assert np.allclose(compute([sound], plain)[0, ..., 0], expected, atol=1e-3)


def test_loudness_of_a_recording_does_not_matter() -> None:
    sound = np.sin(np.arange(8000) ** 1.3 * 0.01).astype(np.float32)
    features = compute([sound, sound * np.float32(0.05)], SoundFeatures(sample_rate_hz=8000))
    assert np.allclose(features[0], features[1], atol=1e-3)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_any_width_is_read(tmp_path: Path, width: int) -> None:
    sound = read_wav(write_wav(tmp_path / "tone.wav", width=width, channels=2))
    reference = read_wav(write_wav(tmp_path / "other.wav", width=2))
    assert sound.rate_hz == 8000
    assert np.allclose(sound.samples, reference.samples, atol=2 / 256 if width == 1 else 1e-4)


def test_every_bad_file_is_named_at_once(speakers: Path) -> None:
    write_wav(speakers / "0_ada_0.wav", rate_hz=16_000)
    (speakers / "1_bob_1.wav").write_bytes(b"no sound at all")
    whole = (speakers / "1_eve_2.wav").read_bytes()
    (speakers / "1_eve_2.wav").write_bytes(whole[:-600])
    (speakers / "0_joe_1.wav").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        data.load(speakers, input_shape=KWS)
    message = str(caught.value)
    assert "4 bad files" in message
    assert "0_ada_0.wav: sample rate 16000 Hz" in message
    assert "1_bob_1.wav: not a readable WAV file" in message
    assert "1_eve_2.wav: it is cut short" in message
    assert "0_joe_1.wav" in message and "--resample" in message


def test_other_rates_are_converted_when_asked(speakers: Path) -> None:
    write_wav(speakers / "0_ada_0.wav", rate_hz=16_000, pitch_hz=300)
    same = data.load(speakers, input_shape=KWS, options=data.SoundOptions(resample=True))
    assert same.features["sample_rate_hz"] == 8000
    with pytest.raises(DataError, match="23 bad files"):
        data.load(speakers, input_shape=KWS, options=data.SoundOptions(sample_rate_hz=16_000))


def test_names_that_do_not_fit_are_listed(speakers: Path) -> None:
    write_wav(speakers / "whatever.wav")
    with pytest.raises(DataError, match=r"whatever\.wav does not fit") as caught:
        data.load(speakers, input_shape=KWS)
    assert "--pattern" in str(caught.value)


def test_pattern_says_where_the_label_is(tmp_path: Path) -> None:
    for name in ("ada-yes-01", "bob-no-02"):
        write_wav(tmp_path / f"{name}.wav")
    found = find_recordings(tmp_path, "{speaker}-{label}-{index}.wav", ())
    assert [(file.label, file.speaker) for file in found.files] == [("yes", "ada"), ("no", "bob")]
    with pytest.raises(DataError, match="pattern"):
        find_recordings(tmp_path, "{speaker}.wav", ())


def test_folders_are_labels_and_empty_ones_are_reported(tmp_path: Path) -> None:
    for label, pitch in (("high", 900), ("low", 200)):
        for index in range(30):
            write_wav(tmp_path / label / f"{index}.wav", pitch_hz=pitch + index)
    dataset = data.load(tmp_path, input_shape=KWS)
    assert dataset.classes == ("high", "low")
    assert dataset.division["by"] == "file name"
    assert sum(len(split) for split in dataset.splits.values()) == 60
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="folder none holds no WAV file"):
        data.load(tmp_path, input_shape=KWS)


def test_too_few_samples_are_told_by_class(tmp_path: Path) -> None:
    for speaker in ("ada", "bob", "eve"):
        write_wav(tmp_path / f"0_{speaker}_0.wav")
        write_wav(tmp_path / f"0_{speaker}_1.wav")
    write_wav(tmp_path / "1_ada_0.wav")
    with pytest.raises(DataError, match="class '1' has") as caught:
        data.load(tmp_path, input_shape=KWS)
    assert "test split" in str(caught.value) or "train split" in str(caught.value)


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Return a folder like Speech Commands: two of its words, two others, noise."""
    folder = tmp_path / "speech_commands"
    for place, word in enumerate(("yes", "no", "bed", "cat")):
        for speaker in range(25):
            name = hashlib.sha256(str(speaker).encode()).hexdigest()[:8]
            for index in range(2):
                write_wav(
                    folder / word / f"{name}_nohash_{index}.wav",
                    pitch_hz=200 + 100 * place + speaker,
                    rate_hz=16_000,
                    seconds=0.2,
                )
    write_wav(folder / "_background_noise_" / "hum.wav", rate_hz=16_000, seconds=20)
    return folder


def test_speech_commands_has_silence_and_unknown(commands: Path) -> None:
    dataset = data.load(commands, input_shape=KWS)
    assert dataset.classes == ("_silence_", "_unknown_", "yes", "no")
    counts = np.bincount(dataset.train.y)
    # A tenth of the wanted words each, as in the data set's own convention.
    assert counts[0] == counts[1] == round((counts[2] + counts[3]) * 0.1)
    chosen = data.load(commands, input_shape=KWS, options=data.SoundOptions(words=("bed", "cat")))
    assert chosen.classes == ("_silence_", "_unknown_", "bed", "cat")


def test_speech_commands_lists_decide_the_splits(commands: Path) -> None:
    names = [f"{word}/{path.name}" for word in ("yes", "no", "bed", "cat")
             for path in sorted((commands / word).iterdir())[:10]]  # fmt: skip
    (commands / "testing_list.txt").write_text("\n".join(names[::2]) + "\n", encoding="utf-8")
    (commands / "validation_list.txt").write_text("\n".join(names[1::2]) + "\n", encoding="utf-8")
    found = find_recordings(commands, None, ())
    splits = {file.name: file.split for file in found.files}
    assert all(splits[name] == "test" for name in names[::2])
    assert all(splits[name] == "validation" for name in names[1::2])
    assert data.load(commands, input_shape=KWS).division["by"] == "the data set's lists"


def test_hash_split_is_that_of_speech_commands() -> None:
    # Rows of the data set's own testing_list.txt and validation_list.txt (version 0.02).
    division = Division()
    assert by_hash("left/32561e9e_nohash_0.wav", division) == by_hash(
        "right/32561e9e_nohash_3.wav", division
    )
    assert by_hash("bed/0c40e715_nohash_0.wav", division) == "test"
    assert by_hash("bed/026290a7_nohash_0.wav", division) == "validation"
    shares = [by_hash(f"{index}.wav", division) for index in range(4000)]
    assert abs(shares.count("test") / 4000 - 0.1) < 0.02
    assert abs(shares.count("validation") / 4000 - 0.1) < 0.02


def test_machines_are_classes_and_anomalies_are_for_testing(tmp_path: Path) -> None:
    for place, machine in enumerate(("id_00", "id_02")):
        for index in range(20):
            write_wav(
                tmp_path / "train" / f"normal_{machine}_{index:08}.wav",
                pitch_hz=300 + 300 * place + index,
                rate_hz=16_000,
                seconds=4,
            )
        for kind in ("normal", "anomaly"):
            write_wav(
                tmp_path / "test" / f"{kind}_{machine}_00000000.wav", rate_hz=16_000, seconds=4
            )
    dataset = data.load(tmp_path, input_shape=(32, 32, 1))
    assert dataset.classes == ("id_00", "id_02")
    assert dataset.input_shape == (32, 32, 1)
    assert dataset.features["kind"] == "log_mel"
    test = dataset.test
    assert test.anomalous is not None and test.clip is not None
    assert len(set(test.clip.tolist())) == 4
    assert len(test) > 4  # several inputs are cut from each recording
    assert dataset.train.anomalous is not None and not dataset.train.anomalous.any()
