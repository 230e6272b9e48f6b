# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What people really have: photographs in odd places, torn files, slips of the pen. One plain sentence, or it works."""

import os
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from training_data import own_caches, pictures, settings_for, table, write_images, write_parquet, write_shards  # noqa: F401

from hf_vit_family.training import finetune, pretrain
from hf_vit_family.training.arguments import create_folder, read_recipe, read_settings, tell
from hf_vit_family.training.configuration import FinetuneSettings, ModelSettings
from hf_vit_family.training.data.loading import DataError, load_images, load_unlabelled
from hf_vit_family.training.loop import Trainer
from hf_vit_family.training.model import build_model
from hf_vit_family.training.optimisation import make_schedule
from hf_vit_family.training.pretraining.configuration import PretrainSettings

TINY = ["hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]", "key_reductions=[2,1]"]


@pytest.fixture
def reset():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def options(photos, *more):
    return ["--data", str(photos), "--image-size", "32", "--model-config", *TINY, "--threads", "1", *more]


class TestFolders:
    def test_folders_of_classes_may_be_links(self, tmp_path):
        write_images(tmp_path / "elsewhere", 4)
        (tmp_path / "photos").mkdir()
        for name in ("bird", "cat", "dog"):
            (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere" / name)
        images = load_images(settings_for(tmp_path / "photos"), 0)
        assert len(images.train) + len(images.evaluation) == 12 and images.label_names == ["bird", "cat", "dog"]

    def test_a_link_back_is_not_followed(self, tmp_path):
        photos = write_images(tmp_path / "photos", 4)
        (photos / "dog" / "again").symlink_to(photos)
        images = load_images(settings_for(photos), 0)
        assert len(images.train) + len(images.evaluation) == 12 and not images.notes

    def test_names_with_the_letters_of_patterns(self, tmp_path):
        photos = write_images(tmp_path / "photos", 3, ["a[1]*?", "größe mit leer", "<b>", "*"])
        images = load_images(settings_for(photos), 0)
        assert images.label_names == sorted(["a[1]*?", "größe mit leer", "<b>", "*"])
        assert len(images.train) + len(images.evaluation) == 12

    @pytest.mark.parametrize(("place", "told"), [("dog/2023", "in dog/2023/"), ("", "in no folder of its own")])
    def test_images_at_unequal_depth(self, tmp_path, place, told):
        photos = write_images(tmp_path / "photos", 3)
        (photos / place).mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(photos / place / "x.png")
        with pytest.raises(DataError, match=f"holds images .*{told}.*expected all of them directly in the folder of"):
            load_images(settings_for(photos), 0)

    def test_splits_without_classes(self, tmp_path):
        photos = write_images(tmp_path / "photos", 3, ["train", "test"])
        with pytest.raises(DataError, match="has folders of splits, test, train, with images in them; expected a"):
            load_images(settings_for(photos), 0)

    @pytest.mark.parametrize("kind", ["folder", "table", "stream", "unlabelled"])
    def test_no_split_to_train_on(self, tmp_path, kind):
        if kind == "folder":
            write_images(tmp_path / "test", 2)
        elif kind == "table":
            write_parquet(tmp_path / "test-0.parquet", {"image": pictures(4), "label": list("abab")})
        else:
            write_shards(tmp_path, "test", [0, 1])
        given = settings_for(tmp_path, **({"streaming": True, "stream_images": 2} if kind == "stream" else {}))
        with pytest.raises(
            DataError, match=r"has no split 'train' to train on, but 'test'; --train-split names another"
        ):
            (load_unlabelled if kind == "unlabelled" else load_images)(given, 0)

    @pytest.mark.parametrize("name", ["test", "val"])
    def test_images_to_evaluate_on_alone(self, tmp_path, name):
        write_images(tmp_path / name, 3)
        (tmp_path / name / "cat" / "01.png").write_bytes(b"torn")
        images = load_images(settings_for(tmp_path, eval_images=7), 0, evaluation_only=True)
        assert len(images.train) == 0 and images.label_names == ["bird", "cat", "dog"]
        assert len(images.evaluation) + len(images.corrupt) == 7
        assert images.evaluation_split == {"test": "test", "val": "validation"}[name]
        with pytest.raises(DataError, match="has no split 'trian' to train on"):
            load_images(settings_for(tmp_path, train_split="trian"), 0, evaluation_only=True)

    def test_no_name_at_all(self):
        with pytest.raises(DataError, match="--data is empty"):
            load_images(settings_for(""), 0)


class TestTables:
    def test_an_image_that_is_null(self, tmp_path):
        table(tmp_path, {"image": [None, *pictures(5)], "label": list("ababab")})
        images = load_images(settings_for(tmp_path, eval_fraction=0.4), 0)
        assert images.corrupt == ["row 0 of train: there is none"]

    def test_a_torn_shard_of_a_stream(self, tmp_path):
        for split in ("train", "test"):
            write_shards(tmp_path / "good", split, [0, 1] * 4)
        for torn in ("train", "test"):
            folder = tmp_path / torn
            shutil.copytree(tmp_path / "good", folder)
            shard = folder / f"{torn}-0.tar"
            shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 3])
            with pytest.raises(DataError, match=r"could not be read: unexpected end|cannot be read on: unexpected end"):
                images = load_images(settings_for(folder, streaming=True, stream_images=8), 0)
                list(zip(range(8), images.train.read(0, print), strict=False))


class TestUnlabelled:
    def test_images_of_any_folders(self, tmp_path):
        photos = write_images(tmp_path / "photos", 3)
        (photos / "dog" / "sub" / "deep").mkdir(parents=True)
        for place in ("a.png", "dog/sub/deep/b.png"):
            Image.new("RGB", (9, 9)).save(photos / place)
        images = load_unlabelled(settings_for(photos), 0)
        assert len(images.train) + len(images.evaluation) == 11 and len(images.evaluation) == 1
        assert not np.any(images.train.labels) and images.label_names == ["image"]

    def test_splits_and_tables(self, tmp_path):
        write_images(tmp_path / "photos", 3, ["train", "test"])
        images = load_unlabelled(settings_for(tmp_path / "photos"), 0)
        assert (len(images.train), len(images.evaluation), images.evaluation_split) == (3, 3, "test")
        table(tmp_path / "tables", {"image": pictures(6), "label": [None] * 6})
        assert len(load_unlabelled(settings_for(tmp_path / "tables"), 0).train) == 5

    @pytest.mark.usefixtures("reset")
    def test_pretraining_needs_no_labels(self, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        for number, picture in enumerate(pictures(8)):
            picture.save(folder / f"{number}.png")
        given = options(folder, "--epochs", "1", "--output", str(tmp_path / "run"))
        assert pretrain.main(given) == 0
        model = build_model(ModelSettings(model=str(tmp_path / "run" / "model")), ["a", "b", "c"]).model
        assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


class TestCommands:
    @pytest.mark.usefixtures("reset")
    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            (["--model-config", "depths=hello"], "--model-config cannot be used: Field 'depths' with value 'hello'"),
            (["--output", "file/run"], "--output file/run cannot be created: Not a directory."),
        ],
    )
    def test_one_sentence(self, tmp_path, monkeypatch, capsys, more, sentence):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_text("no folder")
        assert finetune.main([*options(write_images(tmp_path / "photos", 4), "--epochs", "1"), *more]) == 2
        error = capsys.readouterr().err
        assert f"error: {sentence}" in error and error.count("\n") == 1

    def test_a_place_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        (tmp_path / "runs").write_text("a file")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=r"photos-001 cannot be created here: Not a directory; --output names"):
            create_folder(None, "photos")

    @pytest.mark.parametrize("left", [None, "nothing", ".unfinished.settings.json", "settings.json"])
    def test_resume_begins_anew_where_there_is_nothing_to_go_on_from(self, tmp_path, capsys, left):
        folder = tmp_path / "run"
        if left is not None:
            folder.mkdir()
        if left not in (None, "nothing"):
            (folder / left).write_text("")
        for kind in (FinetuneSettings, PretrainSettings):
            settings = read_settings({"resume": True, "output": str(folder), "epochs": 3}, kind)
            assert not settings.run.resume and settings.optimisation.epochs == 3 and "resume" not in settings.given
            told = f"There is nothing to go on from, as {folder} holds no run: a new one begins.\n"
            assert capsys.readouterr().out == told
        assert create_folder(str(folder), "photos") == folder

    def test_resume_without_a_folder_begins_the_first_run(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert not read_settings({"resume": True, "data": "photos"}).run.resume
        assert "There is nothing to go on from, as there is no run under runs/" in capsys.readouterr().out
        with pytest.raises(ValueError, match="there is no run under runs/, and no option says what a new one would be"):
            read_settings({"resume": True})

    @pytest.mark.parametrize("name", ["thesis.txt", "data.parquet", "settings.json.bak", "checkpoints/step-1/x"])
    def test_resume_leaves_a_folder_of_other_files_alone(self, tmp_path, name):
        (tmp_path / "run" / name).parent.mkdir(parents=True)
        (tmp_path / "run" / name).write_text("mine")
        with pytest.raises(ValueError, match=r"holds no run: it has no settings.json, and is not empty"):
            read_settings({"resume": True, "output": str(tmp_path / "run"), "epochs": 3})
        with pytest.raises(ValueError, match="is there already and not empty"):
            create_folder(str(tmp_path / "run"), "photos")
        with pytest.raises(ValueError, match="holds no run"):
            read_settings({"resume": True, "output": str(tmp_path / "run" / name), "epochs": 3})

    def test_settings_and_recipes_that_are_torn(self, tmp_path):
        (tmp_path / "settings.json").write_text('{"epochs": ')
        with pytest.raises(ValueError, match=r"settings.json cannot be read as JSON: .*; the run cannot be resumed"):
            read_settings({"resume": True, "output": str(tmp_path)})
        (tmp_path / "recipe.yaml").write_text("# nothing yet\n")
        with pytest.raises(ValueError, match=r"recipe.yaml is empty; expected groups of options"):
            read_recipe(tmp_path / "recipe.yaml")

    def test_the_error_of_a_worker_is_one_sentence(self, capsys):
        told = "Caught DataError in worker 0.\n  File ...\nhf_vit_family.training.data.splits.DataError: It\nis so."
        assert tell(told, 3) == 3
        assert capsys.readouterr().err == "error: It is so.\n"

    @pytest.mark.usefixtures("reset")
    def test_pretraining_that_is_interrupted(self, tmp_path, monkeypatch, capsys):
        def interrupt(*given):
            raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "_finish_step", interrupt)
        given = options(write_images(tmp_path / "photos", 4), "--epochs", "1", "--output", str(tmp_path / "run"))
        assert pretrain.main(given) == 130
        told = f"error: interrupted before the first checkpoint; --resume --output {tmp_path / 'run'} begins anew.\n"
        assert told in capsys.readouterr().err

    def test_a_run_of_few_steps_learns_something(self):
        rates = []
        for warmup, steps in ((1, 1), (2, 2), (50, 3)):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = make_schedule(optimizer, warmup, steps)
            rates.append(0.0)
            for _ in range(steps):
                rates[-1] = max(rates[-1], schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
        assert rates == [1.0, 1.0, 1.0]


def test_weights_of_another_teacher_are_told_in_a_sentence(tmp_path):
    from hf_vit_family.training.methods.teachers import build_teacher

    torch.save({"fc.weight": torch.zeros(1000, 512)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"do not fit resnet18: \d+ names or shapes differ, 'conv1.weight' first\.$"):
        build_teacher("torchvision:resnet18", os.fspath(tmp_path / "weights.pth"))
