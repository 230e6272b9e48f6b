"""A resumed run notices that its data changed, and says what differs."""

import os
import shutil

import datasets
import pytest
from PIL import Image
from training_data import (  # noqa: F401 - own_caches is a fixture
    own_caches,
    pictures,
    settings_for,
    write_images,
    write_parquet,
    write_shards,
)
from training_runs import TINY_SHAPE, figures_of, forget_accelerator, options, run

from hf_vit_family.training import pretrain
from hf_vit_family.training.arguments import RECORD
from hf_vit_family.training.data import record
from hf_vit_family.training.data.loading import load_images, load_unlabelled
from hf_vit_family.training.data.record import DataRecord, describe_difference, make_record


def kept_time(path, change):
    """Change a file as a tool does that sets its time stamp back."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(one, other):
    place = one.with_name("between")
    one.rename(place)
    other.rename(one)
    place.rename(other)


def compare(data, change, load=load_images, where=None, **given):
    """How the data differs after a change, as a record that was written and read again says."""
    before = make_record(load(settings_for(data, **given), 0))
    before.save(data.parent / RECORD)
    change()
    images = load(settings_for(where or data, **given), 0)
    return describe_difference(DataRecord.load(data.parent / RECORD), make_record(images), images.corrupt)


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos", 5)


@pytest.fixture
def parted(tmp_path):
    write_images(tmp_path / "photos" / "train", 5)
    write_images(tmp_path / "photos" / "val", 3, seed=1)
    return tmp_path / "photos"


def place(folder, number, colour=7):
    Image.new("RGB", (9, 8), (colour, 0, 0)).save(folder / f"{number:02d}.png")


class TestFolders:
    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (
                lambda p: [(p / split / "bird").rename(p / split / "zebra") for split in ("train", "val")],
                "the class 'bird' is called 'zebra' now",
            ),
            (
                lambda p: swap(p / "train" / "bird", p / "train" / "dog"),
                "10 images have other labels (first train/dog/00.png: 'dog', was 'bird')",
            ),
            (
                lambda p: swap(p / "train" / "bird" / "00.png", p / "train" / "dog" / "03.png"),
                "2 images have other labels (first train/dog/03.png: 'dog', was 'bird')",
            ),
            (
                lambda p: (p / "train" / "bird" / "04.png").rename(p / "train" / "cat" / "04a.png"),
                "1 image has another label (train/cat/04a.png: 'cat', was 'bird')",
            ),
            (
                lambda p: swap(p / "train" / "bird" / "04.png", p / "val" / "bird" / "00.png"),
                "2 images are in other splits (first val/bird/00.png is for evaluation, was for training)",
            ),
            (
                lambda p: (p / "train" / "cat" / "00.png").rename(p / "train" / "cat" / "zz.png"),
                "the images are in another order (train/cat/01.png is where train/cat/00.png was)",
            ),
            (
                lambda p: [(p / "train" / "cat" / "04.png").unlink(), place(p / "train" / "cat", 9)],
                "1 image is new (train/cat/09.png), 1 image is gone (train/cat/04.png)",
            ),
            (lambda p: (p / "val" / "dog" / "01.png").unlink(), "1 image is gone (val/dog/01.png)"),
            (lambda p: place(p / "train" / "dog", 0), "1 image has other pixels (train/dog/00.png)"),
            (
                lambda p: kept_time(p / "val" / "dog" / "02.png", lambda: place(p / "val" / "dog", 2)),
                "1 image has other pixels (val/dog/02.png)",
            ),
            (
                lambda p: (p / "train" / "dog" / "02.png").write_bytes(b"torn"),
                "1 image cannot be read any more (train/dog/02.png)",
            ),
            (lambda p: (p / "val").rename(p / "test"), None),
            (lambda p: (p / "train" / "cat" / "04.png").rename(p / "train" / "cat" / "zz.png"), None),
        ],
    )
    def test_each_change_is_told(self, parted, change, sentence):
        assert compare(parted, lambda: change(parted)) == sentence

    def test_a_new_split_and_its_name_are_told(self, photos, tmp_path):
        def change():
            write_images(tmp_path / "val", 2, seed=1)
            (tmp_path / "photos").rename(tmp_path / "train")
            for name in ("train", "val"):
                (tmp_path / "photos").mkdir(exist_ok=True)
                (tmp_path / name).rename(tmp_path / "photos" / name)

        told = compare(photos, change)
        assert "6 images are new (first val/bird/00.png)" in told and "3 images are in other splits" in told
        assert told.endswith("it is evaluated on validation, not on 10% of train")

    @pytest.mark.parametrize("given", [{}, {"train_images": 9, "eval_images": 3}, {"eval_fraction": 0.4}])
    def test_a_label_that_changes_who_is_held_out_and_drawn_is_told_as_a_label(self, photos, given):
        def change():
            (photos / "bird" / "00.png").rename(photos / "cat" / "00a.png")

        told = compare(photos, change, **given)
        if "train_images" not in given:  # else it may not have been among those that were drawn
            assert "1 image has another label (cat/00a.png: 'cat', was 'bird')" in told
        assert told

    def test_a_folder_that_moved_is_the_same_data(self, photos, tmp_path):
        assert compare(photos, lambda: photos.rename(tmp_path / "moved"), where=tmp_path / "moved") is None

    def test_a_renamed_class_is_found_wherever_its_name_sorts(self, tmp_path):
        photos = write_images(tmp_path / "photos", 6, ("apple", "banana", "cherry", "date"))

        def change():
            for old, new in (("apple", "zebra"), ("date", "dates")):
                (photos / old).rename(photos / new)
            shutil.rmtree(photos / "banana")

        told = compare(photos, change)
        assert "the class 'apple' is called 'zebra' now" in told and "the class 'date' is called 'dates' now" in told
        assert told.endswith("the class 'banana' is gone")

    def test_another_decoder_does_not_count_but_names_and_labels_do(self, photos, monkeypatch):
        codecs = iter(["Pillow 1", "Pillow 2", "Pillow 1", "Pillow 2"])
        monkeypatch.setattr(record, "decoder", lambda: next(codecs))
        assert compare(photos, lambda: place(photos / "dog", 0)) is None
        told = compare(photos, lambda: (photos / "dog" / "00.png").rename(photos / "dog" / "05.png"), eval_fraction=0.2)
        assert "1 image is new (dog/05.png), 1 image is gone (dog/00.png)" in told


class TestTables:
    names = ("red", "green", "blue")

    def write(self, folder, rows, names=names, test=(0, 1, 2)):
        kind = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
        shutil.rmtree(folder, ignore_errors=True)
        images = pictures(12)
        for split, chosen in (("train", rows), ("test", [(9 + place, label) for place, label in enumerate(test)])):
            (folder).mkdir(parents=True, exist_ok=True)
            columns = {"image": [images[place] for place, _ in chosen], "label": [label for _, label in chosen]}
            datasets.Dataset.from_dict(columns, features=kind).to_parquet(folder / f"{split}-0.parquet")
        return folder

    rows = tuple((place, place % 3) for place in range(9))

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"names": ("red", "yellow", "blue")}, "the class 'green' is called 'yellow' now"),
            (
                {"names": ("green", "red", "blue")},
                "the classes are in another order (in place 0 is 'green', not 'red')",
            ),
            (
                {"rows": ((0, 1), *rows[1:])},
                "1 image has another label (row 0 of train: 'green', was 'red')",
            ),
            (
                {"rows": (rows[3], *rows[1:3], rows[0], *rows[4:])},
                "the images are in another order (row 0 of train is where row 0 of train was)",
            ),
            ({"test": (0, 1, 1)}, "1 image has another label (row 2 of test: 'green', was 'blue')"),
            ({"rows": rows[:8]}, "1 image is gone (row 8 of train)"),
            ({}, None),
        ],
    )
    def test_rows_have_no_names(self, tmp_path, changed, sentence):
        folder = self.write(tmp_path / "data", self.rows)
        told = compare(folder, lambda: self.write(folder, **{"rows": self.rows, **changed}))
        assert told == sentence

    def test_several_classes_an_image(self, tmp_path):
        folder = tmp_path / "data"
        labels = [["red"], ["red", "dark"], [], ["dark"], ["red"], ["dark", "red"]]

        def write(first=labels[0]):
            shutil.rmtree(folder, ignore_errors=True)
            write_parquet(folder / "train-0.parquet", {"image": pictures(6), "labels": [first, *labels[1:]]})
            write_parquet(folder / "test-0.parquet", {"image": pictures(6), "labels": labels})

        write()
        assert compare(folder, write) is None
        told = compare(folder, lambda: write(["dark", "red"]))
        assert told == "1 image has another label (row 0 of train: 'dark' and 'red', was 'red')"
        assert compare(folder, lambda: write([])).endswith("(row 0 of train: none, was 'dark' and 'red')")

    def test_a_stream_is_compared_by_what_is_known_of_it(self, tmp_path):
        folder = tmp_path / "data"

        def write(first=0, test=(0, 1, 2, 0), shards=2):
            shutil.rmtree(folder, ignore_errors=True)
            write_shards(folder, "train", [first, 1, 2] * 4, shards=shards)
            write_shards(folder, "test", list(test))

        write()
        given = {"streaming": True, "stream_images": 12}
        assert compare(folder, write, **given) is None
        assert "1 image has another label (" in compare(folder, lambda: write(test=(1, 1, 2, 0)), **given)
        assert compare(folder, lambda: write(shards=3), **given).startswith("the stream has 3 shards, not 2")
        assert compare(folder, lambda: write(test=(0, 1, 2, 5)), **given) == "the class '5' is new"
        write()
        before = make_record(load_images(settings_for(folder, **given), 0))
        now = make_record(load_images(settings_for(folder, streaming=True, stream_images=10), 0))
        assert describe_difference(before, now) == "the stream has 10 images an epoch, not 12"


def test_images_without_labels(photos):
    assert compare(photos, lambda: (photos / "bird").rename(photos / "birds"), load_unlabelled) is None
    told = compare(photos, lambda: place(photos / "cat", 3), load_unlabelled)
    assert told == "1 image has other pixels (cat/03.png)"


def test_a_record_that_is_torn_is_told(tmp_path):
    for content in (b"", b"PAR1 and no more"):
        (tmp_path / RECORD).write_bytes(content)
        with pytest.raises(ValueError, match=r"data.parquet says which data the run was begun with, but cannot be"):
            DataRecord.load(tmp_path / RECORD)
    write_parquet(tmp_path / RECORD, {"split": ["train"]})
    with pytest.raises(ValueError, match="cannot be read"):
        DataRecord.load(tmp_path / RECORD)


class TestCommand:
    def test_a_renamed_class_ends_the_run_and_nothing_is_lost(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert run(options(photos, output, "--epochs", "1")) == 0
        before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
        (photos / "cat").rename(photos / "zebra")
        for more in ([], ["--check"]):
            capsys.readouterr()
            assert run(["--resume", "--output", str(output), *more]) == 2
            assert capsys.readouterr().err == (
                f"error: The data is not what the run in {output} was begun with: the class 'cat' is called 'zebra' "
                "now; a resumed run needs the same data.\n"
            )
        assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*")}

    def test_a_run_of_the_first_release_goes_on_uncompared_and_says_so(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert run(options(photos, output, "--epochs", "1")) == 0
        (output / RECORD).unlink()
        capsys.readouterr()
        assert run(["--resume", "--output", str(output)]) == 0
        told = f"The run in {output} does not say which data it was begun with, as those of version 0.1.0"
        assert told in capsys.readouterr().out
        assert not (output / RECORD).exists()
        assert run(["--resume", "--output", str(output), "--data", str(tmp_path)]) == 2
        assert "--data is" in capsys.readouterr().err

    def test_the_same_data_elsewhere(self, photos, tmp_path, capsys):
        output, moved = tmp_path / "run", tmp_path / "moved"
        assert run(options(photos, output, "--epochs", "1", "--method", "ridge", "--shots", "3")) == 0
        photos.rename(moved)
        assert run(["--resume", "--output", str(output), "--data", str(moved)]) == 0
        assert figures_of(output)["data"]["name"] == str(moved)
        place(moved / "dog", 0)
        place(moved / "dog", 1)
        place(moved / "dog", 2)
        capsys.readouterr()
        assert run(["--resume", "--output", str(output), "--data", str(moved)]) == 2
        assert "The data is not what the run in" in capsys.readouterr().err

    def test_pretraining(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        command = [
            *("--data", str(photos), "--output", str(output), "--image-size", "32", "--model-config", *TINY_SHAPE),
            *("--epochs", "1", "--batch-size", "4", "--threads", "1", "--mixed-precision", "no"),
        ]

        def run_it(arguments):
            try:
                return pretrain.main(arguments)
            finally:
                forget_accelerator()

        assert run_it([*command, "--resume"]) == 0
        assert f"There is nothing to go on from, as {output} holds no run: a new one begins." in capsys.readouterr().out
        assert run_it([*command, "--resume"]) == 0
        place(photos / "dog", 0)
        capsys.readouterr()
        assert run_it([*command, "--resume"]) == 2
        assert "was begun with: 1 image has other pixels (dog/00.png); a" in capsys.readouterr().err
