"""The named tasks: each layout of their data, subsets, the cache, and what is wrong with a folder.

Layouts of recordings are in tests/training, as features need TensorFlow.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data import tasks
from harness.data.divide import Division, by_hash
from harness.data.subset import balanced
from harness.data.tasks import kws
from harness.errors import DataError
from support import layouts


def test_log_mel_pictures_become_mfcc_by_speaker(tmp_path: Path) -> None:
    folder = layouts.log_mel_pictures(tmp_path / "kws")
    (folder / "logmel_test_a.tar.xz").rename(folder / "logmel_test.tar.xz")
    dataset = tasks.load_task("kws", folder)
    assert dataset.classes == kws.CLASSES
    assert dataset.input_shape == (49, 10, 1)
    assert [len(split) for split in dataset.splits.values()] == [36, 12, 12]
    groups = [set(split.group) - {""} for split in dataset.splits.values()]  # type: ignore[arg-type]
    assert groups == [{"0a", "0b", "0c"}, {"1a"}, {"2a"}]
    # A picture of one grey level is a flat spectrum: only the first coefficient is not 0, and rises
    # with the level. For a constant c it is c · sqrt(2 · 40).
    first = dataset.test.x[:, 0, 0, 0] * dataset.features["deviation"][0]
    first = (first + dataset.features["mean"][0]) / 80**0.5
    expected = (40 + 12 * dataset.test.y - 144.4) / 9.52
    assert np.allclose(first, expected, atol=0.02)
    assert np.abs(dataset.test.x[:, :, 1:]).max() < 0.2


def test_a_part_of_the_test_pictures_is_widened_by_a_tenth_of_the_training_speakers(
    tmp_path: Path,
) -> None:
    picture = layouts.jpeg(np.full(kws.PICTURE, 90, np.uint8))
    names = [f"{speaker:08x}_nohash_0" for speaker in range(40)]
    members = {f"{label}/{name}.x.jpg": picture for label in kws.CLASSES for name in names}
    layouts.tar(layouts.log_mel_pictures(tmp_path) / "logmel_train.tar.xz", members)
    dataset = tasks.load_task("kws", tmp_path)
    groups = [set(split.group) for split in dataset.splits.values()]  # type: ignore[arg-type]
    train, test = groups[0] - {""}, groups[2]
    moved = test - {"2a", ""}
    assert 1 <= len(moved) <= 10
    assert not train & test
    assert len(dataset.test) == 12 + 12 * len(moved)
    rule = Division(validation_share=0.1, test_share=0.2)
    assert all(by_hash(f"{speaker}_nohash_0", rule) == "test" for speaker in moved)
    assert "a tenth of the training speakers" in dataset.division["by"]


def test_a_subset_is_balanced_and_only_of_the_training_split(tmp_path: Path) -> None:
    folder = layouts.cifar_batches(tmp_path)
    whole = tasks.load_task("ic", folder)
    dataset = tasks.load_task("ic", folder, train_samples=60)
    assert set(dataset.counts()["train"].values()) == {6}
    assert dataset.counts()["test"] == whole.counts()["test"]
    assert dataset.division["train_samples"]["taken"] == 60
    assert dataset.name == "ic-60"
    with pytest.raises(DataError, match="0 training samples"):
        tasks.load_task("ic", folder, train_samples=0)


def test_a_small_class_gives_all_and_the_others_more() -> None:
    labels = ["a"] * 3 + ["b"] * 50 + ["c"] * 50
    names = [str(index) for index in range(len(labels))]
    chosen = balanced(labels, names, 43)
    assert [[labels[place] for place in chosen].count(label) for label in "abc"] == [3, 20, 20]
    assert set(balanced(labels, names, 20)) <= set(chosen)
    assert len(balanced(labels, names, 1000)) == len(labels)


def test_cifar_batches_are_planes_of_red_green_blue(tmp_path: Path) -> None:
    layouts.cifar_batches(tmp_path / "cifar-10-batches-bin")
    dataset = tasks.load_task("ic", tmp_path)
    assert dataset.input_shape == (32, 32, 3)
    assert len(dataset.test) == 50
    assert len(dataset.train) + len(dataset.validation) == 250
    assert dataset.classes[3] == "cat"
    for label, image in zip(dataset.test.y, dataset.test.x, strict=True):
        assert np.allclose(image, np.array([10 * label, 0, 250]) / 255)
    grey = tasks.load_task("ic", tmp_path, input_shape=(16, 16, 1))
    assert grey.input_shape == (16, 16, 1)
    assert np.allclose(grey.test.x[0], 0.114 * 250 / 255, atol=1e-3)


def test_the_second_start_reads_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = layouts.cifar_pictures(tmp_path)
    first = tasks.load_task("ic", folder)
    assert first.counts()["test"] == dict.fromkeys(first.classes, 60)
    with monkeypatch.context() as patch:
        patch.setattr("harness.data.tasks.ic.read_archive", lambda *_, **__: pytest.fail("read"))
        assert tasks.load_task("ic", folder).fingerprint == first.fingerprint
    layouts.cifar_pictures(folder, each=70)
    assert tasks.load_task("ic", folder).counts()["test"]["cat"] == 70


def test_an_index_of_people_names_splits_and_sources(tmp_path: Path) -> None:
    folder = layouts.people_index(tmp_path)
    dataset = tasks.load_task("vww", folder)
    assert dataset.input_shape == (96, 96, 1)
    assert dataset.classes == ("no_person", "person")
    assert [len(split) for split in dataset.splits.values()] == [8, 8, 8]
    assert [set(split.group) for split in dataset.splits.values()] == [{"a"}, {"b"}, {"c"}]  # type: ignore[arg-type]
    assert dataset.test.x[dataset.test.y == 1].min() > dataset.test.x[dataset.test.y == 0].max()
    colour = tasks.load_task("vww", folder, input_shape=(50, 50, 3))
    assert colour.input_shape == (50, 50, 3)


def test_coco_has_a_person_from_half_a_percent_of_the_image(tmp_path: Path) -> None:
    dataset = tasks.load_task("vww", layouts.coco(tmp_path))
    assert dataset.counts()["test"] == {"no_person": 6, "person": 2}
    counts = dataset.counts()
    assert counts["train"]["person"] + counts["validation"]["person"] == 30
    # The list that Visual Wake Words is tested by decides, where it is there.
    tested = tmp_path / "mscoco_minival_ids.txt"
    tested.write_text("1\n2\n3\n", encoding="utf-8")
    assert tasks.load_task("vww", tmp_path).counts()["test"] == {"no_person": 2, "person": 1}


def test_spectra_are_held_out_by_clip_and_anomalies_only_tested(tmp_path: Path) -> None:
    dataset = tasks.load_task("ad", layouts.toycar(tmp_path))
    assert dataset.classes == ("id_01", "id_02")
    assert dataset.input_shape == (32, 32, 1)
    clips = [set(split.clip.tolist()) for split in dataset.splits.values()]  # type: ignore[union-attr]
    assert [len(own) for own in clips] == [10, 2, 14]  # of ten normals 5, 1, 4; 3 anomalies
    assert not clips[0] & clips[1] and not clips[0] & clips[2] and not clips[1] & clips[2]
    assert len(dataset.test) == 14 * 9  # 200 frames: an image of 64 every 16
    assert dataset.train.anomalous is not None and not dataset.train.anomalous.any()
    assert dataset.test.anomalous is not None and dataset.test.anomalous.sum() == 6 * 9


def test_a_folder_of_something_else_says_what_the_task_reads(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        tasks.load_task("kws", tmp_path / "nowhere")
    for name, known in (
        ("kws", "testing_list.txt"),
        ("vww", "instances_"),
        ("ad", "DCASE 2020"),
        ("ic", "data_batch_1.bin"),
    ):
        with pytest.raises(DataError, match=f"no data for the task '{name}' here") as caught:
            tasks.load_task(name, tmp_path)
        assert known in str(caught.value)
    with pytest.raises(DataError, match="unknown task 'asr'"):
        tasks.load_task("asr", tmp_path)
    with pytest.raises(DataError, match="its features have one size"):
        tasks.load_task("kws", tmp_path, input_shape=(96, 96, 1))


def test_missing_parts_of_a_data_set_are_named(tmp_path: Path) -> None:
    pictures = layouts.log_mel_pictures(tmp_path / "pictures")
    (pictures / "logmel_val.tar.xz").unlink()
    commands = tmp_path / "commands"
    for word in kws.SPEECH_COMMANDS_WORDS:
        (commands / word).mkdir(parents=True)
    (commands / "testing_list.txt").write_text("", encoding="utf-8")
    batches = layouts.cifar_batches(tmp_path / "batches")
    (batches / "data_batch_3.bin").unlink()
    index = layouts.people_index(tmp_path / "people")
    (index / "person" / "val2.jpg").unlink()
    images = layouts.coco(tmp_path / "coco")
    (images / "train2017" / "000000000003.jpg").unlink()
    machines = tmp_path / "machines"
    (machines / "fan" / "train").mkdir(parents=True)
    (machines / "pump" / "test").mkdir(parents=True)
    for name, folder, message in (
        ("kws", pictures, "there is no logmel_val"),
        ("kws", commands, "validation_list.txt is missing"),
        ("kws", commands, "_background_noise_/ is missing"),
        ("ic", batches, "data_batch_3.bin is missing"),
        ("vww", index, "person/val2.jpg is missing"),
        ("vww", images, "000000000003.jpg is missing"),
        ("ad", machines, "2 types of machine: fan, pump"),
        ("ad", machines / "fan", "test/ is missing"),
    ):
        with pytest.raises(DataError) as caught:
            tasks.load_task(name, folder)
        assert message in str(caught.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    pictures = layouts.log_mel_pictures(tmp_path / "pictures")
    small = layouts.jpeg(np.zeros((49, 40), np.uint8))
    layouts.tar(pictures / "logmel_val.tar.xz", {"yes/a.jpg": b"no picture", "no/b.jpg": small})
    cut = layouts.cifar_pictures(tmp_path / "cut", each=3)
    archive = cut / "cifar10_train_jpeg.tar.xz"
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    batches = layouts.cifar_batches(tmp_path / "batches")
    (batches / "test_batch.bin").write_bytes(b"\0" * 3000)
    index = layouts.people_index(tmp_path / "people")
    (index / "person" / "val2.jpg").write_bytes(b"no picture")
    images = layouts.coco(tmp_path / "coco")
    (images / "annotations" / "instances_val2017.json").write_text(
        json.dumps({"images": []}), encoding="utf-8"
    )
    spectra = layouts.toycar(tmp_path / "spectra")
    np.savez(spectra / "toycar_logmel.npz", x=np.zeros((3, 4), np.int8))
    for name, folder, parts in (
        ("kws", pictures, ("2 bad files", "yes/a.jpg: not a readable", "no/b.jpg: 40×49 pixels")),
        ("ic", cut, ("not a readable archive",)),
        ("ic", batches, ("3000 bytes", "test_batch.bin")),
        ("vww", index, ("person/val2.jpg: not a readable image",)),
        ("vww", images, ("not COCO's annotations", "instances_val2017.json")),
        ("ad", spectra, ("not a readable archive of spectra",)),
    ):
        with pytest.raises(DataError) as caught:
            tasks.load_task(name, folder)
        for part in parts:
            assert part in str(caught.value)


def test_a_speaker_in_two_splits_is_refused(tmp_path: Path) -> None:
    folder = layouts.log_mel_pictures(tmp_path)
    (folder / "logmel_test_a.tar.xz").unlink()
    (folder / "logmel_val.tar.xz").rename(folder / "logmel_test_b.tar.xz")
    layouts.log_mel_pictures(tmp_path / "other")
    (tmp_path / "other" / "logmel_val.tar.xz").rename(folder / "logmel_val.tar.xz")
    with pytest.raises(DataError, match="1 speakers are in two splits: 1a"):
        tasks.load_task("kws", folder)
