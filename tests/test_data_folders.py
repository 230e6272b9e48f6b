# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Folders as people have them: images in equals images used plus images told, whatever else lies there."""

import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from training_data import own_caches, pictures, settings_for, table, write_images, write_shards  # noqa: F401

from hf_vit_family.cli import run
from hf_vit_family.image_files import find_images, image_endings
from hf_vit_family.training import finetune
from hf_vit_family.training.data.loading import DataError, load_images, load_unlabelled

NASTY = ("photos [2024]", "a*b?", "{a,b}", "x::y", "$HOME", "~", "!n", "100%41#1", "zip:", "-x", "a\nb", "train")


def used(images):
    return len(images.train) + len(images.evaluation) + len(images.corrupt)


def zipped(folder):
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))


class TestWhatLiesInAFolder:
    @pytest.mark.parametrize(
        "stray",
        [
            lambda folder: (folder / "labels.csv").write_text("a,b\n1,2\n"),
            lambda folder: (folder / "cat" / "a.json").write_text('{"a": 1}'),
            lambda folder: (folder / "metadata.csv").write_text("file_name,label\ncat/00.png,x\n"),
            lambda folder: (folder / "dataset_info.json").write_text("{}"),
            lambda folder: (folder / "README.md").write_text("---\nconfigs: [1]\n---\n"),
            lambda folder: (folder / "cat" / "Thumbs.db").write_bytes(b"x"),
            lambda folder: table(folder, {"image": pictures(2), "label": [0, 1]}),
            lambda folder: write_shards(folder, "train", [0, 1]),
            zipped,
        ],
        ids=["csv", "json", "metadata", "saved", "card", "thumbs", "parquet", "tar", "zip"],
    )
    @pytest.mark.parametrize("classes", [("cat", "dog"), ("cat", "train", "test tube", "__background__", "v1.0 a")])
    def test_class_folders_count_and_what_is_left_out_is_told(self, tmp_path, stray, classes):
        photos = write_images(tmp_path / "photos", 2, classes)
        stray(photos)
        images = load_images(settings_for(photos), 0)
        assert images.label_names == sorted(classes) and used(images) == 2 * len(classes)
        assert len(images.notes) == 1 and images.notes[0].startswith("1 file is no image by its ending")

    def test_hidden_images_are_told(self, tmp_path):
        photos = write_images(tmp_path / "photos", 2, ("cat", "dog"))
        write_images(photos / "__MACOSX", 1, ("cat",))
        (photos / "cat" / ".00.png").write_bytes((photos / "cat" / "00.png").read_bytes())
        images = load_images(settings_for(photos), 0)
        assert used(images) == 4 and images.label_names == ["cat", "dog"]
        assert images.notes == ["2 hidden images are left out, the first is __MACOSX/cat/00.png."]

    @pytest.mark.parametrize("places", [("",), ("album",), ("seg_train/seg_train", "seg_test/seg_test")])
    def test_folders_around_the_classes(self, tmp_path, places):
        for place in places:
            write_images(tmp_path / "photos" / place, 3, ("cat", "test tube"))
        images = load_images(settings_for(tmp_path / "photos"), 0)
        assert images.label_names == ["cat", "test tube"] and used(images) == 6 * len(places)
        assert (images.evaluation_split == "test") == (len(places) > 1)

    @pytest.mark.parametrize(
        ("places", "sentence"),
        [
            (("train", "extra"), r"in extra/cat/ and in train/dog/; expected the folders of all classes in one place"),
            (("2023", "2024"), r"in 2023/cat/ and in 2024/dog/; expected the folders of all classes in one place"),
        ],
    )
    def test_folders_that_are_no_splits(self, tmp_path, places, sentence):
        """`datasets` alone trains on the folder `train` and leaves the other out."""
        for place in places:
            write_images(tmp_path / "photos" / place, 2, ("cat", "dog"))
        with pytest.raises(DataError, match=sentence):
            load_images(settings_for(tmp_path / "photos"), 0)

    def test_class_folders_that_link_to_each_other(self, tmp_path):
        photos = write_images(tmp_path / "photos", 2, ("cat", "dog"))
        (photos / "cat" / "to dog").symlink_to(photos / "dog")
        (photos / "dog" / "to cat").symlink_to(photos / "cat")
        with pytest.raises(DataError, match="holds images in cat/ and in cat/to dog/; expected all of them"):
            load_images(settings_for(photos), 0)
        assert len(find_images([photos])) == 8

    def test_images_beside_tables_and_without_a_line_in_the_metadata(self, tmp_path):
        table(tmp_path / "tables", {"image": pictures(4), "label": list("abab")})
        pictures(1)[0].save(tmp_path / "tables" / "figure.png")
        (tmp_path / "tables" / "labels.csv").write_text("a\n1\n")
        images = load_images(settings_for(tmp_path / "tables"), 0)
        assert used(images) == 4 and images.notes == ["1 images lie beside the tables and are left out."]
        with pytest.raises(DataError, match=r"holds 1 images and 1 tables \(\.parquet \(1\)\); expected one of both"):
            load_unlabelled(settings_for(tmp_path / "tables"), 0)
        for split in ("train", "test"):
            write_images(tmp_path / "told" / split, 3, ["images"])
            lines = ["file_name,label", "images/00.png,a", "images/02.png,b"]
            (tmp_path / "told" / split / "metadata.csv").write_text("\n".join(lines) + "\n")
        for options in ({}, {"streaming": True}):
            images = load_images(settings_for(tmp_path / "told", **options), 0)
            assert (len(images.train), len(images.evaluation), images.label_names) == (2, 2, ["a", "b"])
            assert images.notes == ["2 of 6 images have no line in the metadata and are left out."]

    def test_an_archive_alone(self, tmp_path):
        photos = write_images(tmp_path / "photos", 2, ("cat", "dog"))
        zipped(photos)
        for name in ("cat", "dog"):
            shutil.rmtree(photos / name)
        with pytest.raises(DataError, match=r"holds no images .* end in \.zip \(1\)\. Unpack the archive first"):
            load_images(settings_for(photos), 0)


class TestPaths:
    @pytest.mark.parametrize("name", NASTY)
    def test_no_character_of_the_path_means_anything(self, tmp_path, name):
        """A neighbour that the name as a pattern would find holds other classes."""
        write_images(tmp_path / "photos 2" / "x", 2, ("wrong", "worse"))
        photos = write_images(tmp_path / name / name, 2, ("cat", name))
        for options in ({}, {"streaming": True, "eval_split": "test", "corrupt_images": "fail"}):
            if options:
                photos = tmp_path / name / "splits"
                for split in ("train", "test"):
                    write_images(photos / split, 2, ("cat", name))
            images = load_images(settings_for(photos, **options), 0)
            assert images.label_names == sorted(("cat", name)) and used(images) == (8 if options else 4)
        if options:
            assert len(list(zip(range(4), images.train.read(0, print), strict=False))) == 4

    @pytest.mark.parametrize("name", ["photos [2024]", "x::y $HOME\n*"])
    def test_tables_and_metadata_too(self, tmp_path, name):
        table(tmp_path / "tables", {"image": pictures(4), "label": [0, 1, 0, 1]}, {"label": [1, 0, 1, 0]})
        (tmp_path / name).mkdir()
        shutil.move(tmp_path / "tables", tmp_path / name / name)
        for options in ({}, {"streaming": True, "stream_images": 4}):
            images = load_images(settings_for(tmp_path / name / name, **options), 0)
            assert (len(images.train), images.evaluation_split) == (4, "test")
        assert len(list(zip(range(4), images.train.read(0, print), strict=False))) == 4
        saved = tmp_path / name / "saved"
        datasets.Dataset.from_dict({"image": pictures(4), "label": list("abab")}).save_to_disk(tmp_path / "saved")
        shutil.move(tmp_path / "saved", saved)
        assert used(load_images(settings_for(saved), 0)) == 4
        told = write_images(tmp_path / name / "told", 4, ["images"])
        lines = ["file_name,label", *(f"images/0{number}.png,{'ab'[number % 2]}" for number in range(4))]
        (told / "metadata.csv").write_text("\n".join(lines) + "\n")
        images = load_images(settings_for(told), 0)
        assert used(images) == 4 and images.label_names == ["a", "b"] and not images.corrupt


class TestWhichFilesAreImages:
    def test_what_pillow_decodes(self):
        endings = image_endings()
        assert {".jpg", ".jpe", ".jp2", ".png", ".webp", ".tif", ".bmp", ".gif", ".mpo", ".dib"} <= endings
        # formats that Pillow writes, recognises or leaves to other programs
        assert not {".pdf", ".h5", ".hdf", ".grib", ".bufr", ".wmf", ".mpg", ".eps", ".palm"} & endings

    def test_every_command_takes_the_same_files(self, tmp_path, capsys):
        photos = write_images(tmp_path / "photos", 2, ("cat", "dog"))
        picture = pictures(1)[0]
        for name in ("a.jpe", "b.JP2", "c.dib", "d.tga", "e.mpo", "f.pcx"):
            picture.save(photos / "cat" / name)
        for name in ("IMG_1.HEIC", "notes.txt", ".hidden.png"):
            (photos / "dog" / name).write_bytes(b"x")
        os.mkfifo(photos / "dog" / "pipe.png")
        (photos / "dog" / "gone.png").symlink_to(photos / "nowhere.png")
        (tmp_path / "elsewhere").mkdir()
        (photos / "cat").rename(tmp_path / "elsewhere" / "cat")
        (photos / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
        found = find_images([photos])
        told = capsys.readouterr().err
        assert len(found) == 11 and told.count("\n") == 1
        for part in ("3 files are no images", ".heic (1)", ".txt (1)", "pip install pillow-heif", "dog/.hidden.png"):
            assert part in told
        images = load_images(settings_for(photos), 0)
        assert used(images) == 11 and len(images.corrupt) == 1 and images.corrupt[0].startswith("dog/gone.png: ")
        assert images.notes[0] in told

    def test_a_folder_without_images_says_what_it_holds(self, tmp_path):
        (tmp_path / "IMG_1.HEIC").touch()
        with pytest.raises(ValueError, match=r"There is no image in .*\.heic \(1\)\. `pip install pillow-heif`"):
            find_images([tmp_path])

    @pytest.mark.parametrize("name", ["photos [1]", "x::y"])
    def test_commands_tell_and_read_the_path_as_it_is(self, tmp_path, capsys, name):
        photos = write_images(tmp_path / name / "photos", 2, ("cat", "dog"))
        (photos / "dog" / "b.heic").touch()
        given = ["--data", str(photos), "--image-size", "32", "--threads", "1", "--check"]
        tiny = ["hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]"]
        assert finetune.main([*given, "--model-config", *tiny, "key_reductions=[2,1]"]) == 0
        told = "1 file is no image by its ending and is left out: .heic (1). `pip install pillow-heif` lets HEIC"
        assert told in capsys.readouterr().err
        model = tmp_path / name / "model"
        assert run(["export", "maxvit_fashion_mnist", str(model)]) == 0
        assert run(["predict", str(photos), "-m", str(model), "--csv", str(tmp_path / name / "t.csv")]) == 0
        assert told in capsys.readouterr().err and len((tmp_path / name / "t.csv").read_text().splitlines()) == 21


# ------------------------------------------------------------------------------------------- any tree of folders

WORDS = ("cat", "dog", "train", "test", "val", "test tube", "__background__", "__MACOSX", ".hidden", "a[1]*", "ü犬")
WORDS += ("x::y", "$HOME", "v1.0", "x.png", "{a,b}", "~", "data", "images", "seg_train", "seg_test", "__pycache__")
NAMES = st.one_of(st.sampled_from(WORDS), st.text("abA.[]*?{}:$~ é犬_-", min_size=1, max_size=6)).filter(
    lambda name: name.strip(".") and len(name.encode()) < 60
)
ENDINGS = (".png", ".PNG", ".jpg", ".Jpeg", ".bmp", ".gif", ".tif", ".webp", ".ppm", ".jp2", ".tga", ".mpo", ".dib")
STRAY = ("labels.csv", "a.json", "photos.zip", "README.md", "Thumbs.db", "notes.txt", "b.heic", "metadata.csv", "x")
STRAY += ("dataset_info.json", "state.json", "dataset_dict.json", "train.parquet", "test.tar", "scan.pdf", "film.mpg")
TABLES = {"metadata.csv", "train.parquet", "test.tar"}
FILES = st.one_of(
    st.tuples(st.just("image"), NAMES, st.sampled_from(ENDINGS)),
    st.tuples(st.just("image"), NAMES, st.sampled_from(ENDINGS)),
    st.tuples(st.sampled_from(("torn", "empty", "gone", "link")), NAMES, st.sampled_from(ENDINGS)),
    st.tuples(st.just("stray"), st.sampled_from(STRAY), st.just("")),
)
FOLDERS = st.lists(FILES, max_size=4)
LAYOUTS = st.one_of(
    st.dictionaries(st.tuples(NAMES), FOLDERS, min_size=1, max_size=4),
    st.dictionaries(st.tuples(st.sampled_from(("train", "test", "Val", "seg_train")), NAMES), FOLDERS, max_size=5),
    st.dictionaries(st.lists(NAMES, max_size=3).map(tuple), FOLDERS, max_size=5),
)
LINKS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), NAMES), max_size=2)


def grow(top, layout, links):
    """Make the tree; the paths of all its files with an image's ending, through links to files but not to folders."""
    number = 0
    for parts, files in layout.items():
        folder = top.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            continue
        for kind, name, ending in files:
            path = folder / f"{name}{ending}"
            if os.path.lexists(path):
                continue
            number += 1
            if kind == "stray":
                path.write_text("file_name,label\nx.png,1\n")
            elif kind == "gone":
                path.symlink_to(top / "nowhere")
            elif kind == "link":
                Image.new("RGB", (9, 8), (number, 7, 7)).save(top.parent / f"{number}.png")
                path.symlink_to(top.parent / f"{number}.png")
            else:
                Image.new("RGB", (9, 8), (number, 7, 7)).save(path)
                size = {"image": None, "torn": 20, "empty": 0}[kind]
                if size is not None:
                    os.truncate(path, size)
    folders = sorted(path for path in top.rglob("*") if path.is_dir())
    for source, target, name in links:
        if folders:
            link, leads = folders[source % len(folders)] / name, [top, *folders][target % (len(folders) + 1)]
            if not os.path.lexists(link):
                link.symlink_to(leads)


def images_below(place, above=()):
    """Paths of all files with an image's ending, hidden ones too; a folder is not entered from below itself."""
    for name in sorted(os.listdir(place)):
        path = os.path.join(place, name)
        if os.path.isdir(path):
            if os.path.realpath(path) not in (*above, os.path.realpath(place)):
                yield from images_below(path, (*above, os.path.realpath(place)))
        elif os.path.splitext(name)[1].lower() in image_endings():
            yield path


def told_of(notes):
    """How many images the notes say are left out."""
    counts = (
        r"^(\d+) images (?:lie beside|of the split)",
        r"(\d+) hidden images are left out",
        r"^(\d+) of \d+ images have no line",
    )
    return sum(int(count) for note in notes for pattern in counts for count in re.findall(pattern, note))


def check_tree(layout, links, name):
    top = Path(tempfile.mkdtemp()) / name
    try:
        top.mkdir()
        grow(top, layout, links)
        there = list(images_below(top))
        for load in (load_images, load_unlabelled):
            try:
                images = load(settings_for(top, find_duplicates=False), 0)
            except DataError as error:
                sentence = str(error)
                assert len(sentence) > 30 and "Error" not in sentence and "\n" not in sentence, sentence
                # what is called a table, or metadata, holds a line of text here
                names = {file[1] for files in layout.values() for file in files}
                assert "could not be read" not in sentence or TABLES & names, sentence
            else:
                assert used(images) + told_of(images.notes) == len(there), (images.notes, images.corrupt)
                if load is load_images:
                    for split in (images.train, images.evaluation):
                        names = [Path(split.name_of(row)).parent.name for row in range(len(split))]
                        assert names == [images.label_names[label] for label in split.labels]
        hidden = sum(
            any(part.startswith(".") or part == "__MACOSX" for part in Path(path).relative_to(top).parts)
            for path in there
        )
        try:
            assert len(find_images([top])) == len(there) - hidden
        except ValueError as error:
            assert len(there) == hidden and "There is no image in" in str(error)
    finally:
        shutil.rmtree(top.parent)


@settings(
    max_examples=int(os.environ.get("HFVF_TREES", "60")),
    derandomize="HFVF_TREES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate] if "HFVF_TREES" not in os.environ else list(Phase),
)
@given(LAYOUTS, LINKS, NAMES)
def test_images_in_equals_images_used_plus_images_told(layout, links, name):
    """HFVF_TREES=1000 tries as many trees, other ones each time."""
    check_tree(layout, links, name)
