"""Fine-tuning: options, optimiser and model, then whole runs in this process."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_data import CLASSES, own_caches, pictures, write_images, write_parquet  # noqa: F401 - own_caches is a fixture
from training_runs import ROOT, TINY, TINY_SHAPE, figures_of, forget_accelerator, log_of, options, run
from transformers import AutoModelForImageClassification

from hf_vit_family import create_model
from hf_vit_family.training.arguments import RECORD, make_parser, parse_options, read_recipe
from hf_vit_family.training.checkpoints import list_checkpoints
from hf_vit_family.training.configuration import GROUPS, PRESETS, FinetuneSettings, option_fields, option_name
from hf_vit_family.training.job import Job
from hf_vit_family.training.loop import TrainingError
from hf_vit_family.training.model import build_model
from hf_vit_family.training.optimisation import make_schedule, parameter_groups


@pytest.fixture
def accelerate_reset():
    """One process has one accelerator state; a test that makes an accelerator leaves none behind."""
    yield
    forget_accelerator()


class TestArguments:
    def test_every_setting_is_an_option_with_a_help_text_in_its_group(self):
        text = make_parser("finetune.py").format_help()
        for name in option_fields():
            assert re.search(rf"^  {option_name(name)}\b", text, re.MULTILINE), name
        for group in GROUPS:
            assert re.search(rf"^{group}: ", text, re.MULTILINE)

    def test_only_given_options_are_returned_with_their_types(self):
        assert parse_options([]) == {}
        given = parse_options(["--epochs", "3", "--learning-rate", "1e-3", "--no-verify", "--model-config", *TINY])
        assert given == {"epochs": 3, "learning_rate": 1e-3, "verify": False, "model_config": TINY}

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--batch-sizes", "3"], "Unknown option '--batch-sizes'; the nearest known names are '--batch-size'"),
            (["--batchsize=3"], "Unknown option '--batchsize'; the nearest known names are '--batch-size'"),
            (["--epochs", "many"], "invalid int value: 'many'"),
            (["--mixed-precision", "fp8"], "invalid choice: 'fp8'"),
            (["photos"], "'photos' was given where an option was expected"),
        ],
    )
    def test_a_wrong_option_is_told_in_one_sentence(self, capsys, arguments, sentence):
        with pytest.raises(SystemExit) as caught:
            parse_options(arguments)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"epoch": 3}, "Unknown option 'epoch'; the nearest known names are 'epochs'"),
            ({"epochs": 0}, "--epochs is 0; expected at least 1"),
            ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected more than 0"),
            ({"label_smoothing": 1.0}, r"--label-smoothing is 1.0; expected in \[0, 1\)"),
            ({"eval_fraction": 1.0}, "--eval-fraction is 1.0; expected between 0 and 1"),
        ],
    )
    def test_a_wrong_value_is_told_in_one_sentence(self, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            FinetuneSettings.from_options(options)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_a_preset_leaves_nothing_open_that_training_needs(self, preset):
        settings = FinetuneSettings.from_options({"epochs": 7})
        settings.apply_preset(preset)
        options = settings.to_options()
        assert options["epochs"] == 7
        for name in ("batch_size", "learning_rate", "warmup_epochs", "weight_decay", "label_smoothing"):
            assert options[name] is not None


class TestOptimisation:
    @pytest.mark.parametrize(
        "name", ["poolformerv2_s12", "twins_svt_small", "maxvit_tiny_tf_224", "vit-base-patch16-224"]
    )
    def test_only_matrices_and_kernels_decay(self, name):
        with torch.device("meta"):
            model = create_model(name)
        decayed, exempt = parameter_groups(model, 0.05)
        assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.05, 0.0)
        names = {parameter: name for name, parameter in model.named_parameters()}
        assert len(names) == len(decayed["params"]) + len(exempt["params"])
        for parameter in decayed["params"]:
            assert parameter.ndim >= 2 and names[parameter].endswith(".weight")
        for parameter in exempt["params"]:
            flat = sum(side > 1 for side in parameter.shape) < 2
            assert flat or re.search("position|token|table", names[parameter]), names[parameter]

    def test_networks_of_relative_positions_do_not_decay(self):
        with torch.device("meta"):
            model = create_model("maxvit_rmlp_nano_rw_256")
        names = {parameter: name for name, parameter in model.named_parameters()}
        exempt = {names[parameter] for parameter in parameter_groups(model, 0.05)[1]["params"]}
        assert any("relative_position" in name and parameter.ndim == 2 for parameter, name in names.items())
        assert all(name in exempt for name in names.values() if "relative_position" in name)

    def test_the_rate_rises_then_falls_to_zero(self):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule = make_schedule(optimizer, warmup_steps=4, total_steps=20)
        rates = []
        for _ in range(21):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        assert rates[:5] == [0.0, 0.5, 1.0, 1.5, 2.0]
        assert rates[12] == pytest.approx(1.0) and rates[20] == pytest.approx(0.0, abs=1e-9)


class TestModel:
    def test_names_of_classes_and_kind_of_problem_are_pinned(self):
        settings = FinetuneSettings.from_options({"model_config": TINY})
        model, processor, *_ = build_model(settings.model, list(CLASSES), image_size=32)
        assert model.config.id2label == {0: "bird", 1: "cat", 2: "dog"}
        assert model.config.label2id == {"bird": 0, "cat": 1, "dog": 2}
        assert model.config.problem_type == "single_label_classification"
        assert (model.config.image_size, processor.size) == (32, {"height": 32, "width": 32})

    def test_unknown_names_are_answered_with_the_nearest(self):
        settings = FinetuneSettings.from_options({"model": "poolformer_s13"})
        with pytest.raises(ValueError, match="'poolformer_s12'"):
            build_model(settings.model, list(CLASSES))
        settings = FinetuneSettings.from_options({"model_config": ["depth=[1]"]})
        with pytest.raises(ValueError, match="'depths'"):
            build_model(settings.model, list(CLASSES))
        settings = FinetuneSettings.from_options({"model_config": ["depths"]})
        with pytest.raises(ValueError, match="expected KEY=VALUE"):
            build_model(settings.model, list(CLASSES))


@pytest.mark.usefixtures("accelerate_reset")
class TestJob:
    """Whole runs in this process, of a tiny model on three times ten images."""

    @pytest.fixture
    def photos(self, tmp_path):
        return write_images(tmp_path / "photos", 10)

    def test_a_folder_of_photographs_becomes_an_exported_model(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert run(options(photos, output)) == 0
        figures = json.loads((output / "metrics.json").read_text())
        assert figures["evaluation"]["images"] == 3 and figures["data"]["labels"] == list(CLASSES)
        assert figures["training"]["steps"] == 9 and figures["preset"] == "quick start"
        assert {"torch", "transformers", "accelerate", "datasets", "evaluate"} <= set(figures["versions"])
        config = json.loads((output / "model" / "config.json").read_text())
        assert config["id2label"] == {"0": "bird", "1": "cat", "2": "dog"}
        assert config["problem_type"] == "single_label_classification"
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
        assert [line["epoch"] for line in lines if "accuracy" in line] == [1, 2, 3]
        assert [path.name for path in list_checkpoints(output / "checkpoints")] == ["step-00000006", "step-00000009"]
        told = capsys.readouterr().out
        assert f"Written to {output}" in told and "pipeline(" in told

    def test_a_trained_folder_is_the_start_of_another_training(self, photos, tmp_path, capsys):
        assert run(options(photos, tmp_path / "first", "--epochs", "1")) == 0
        others = write_images(tmp_path / "others", 6, classes=["fish", "frog"], seed=5)
        arguments = ["--data", str(others), "--output", str(tmp_path / "second"), "--threads", "1", "--no-verify"]
        assert run([*arguments, "--model", str(tmp_path / "first" / "model"), "--epochs", "1"]) == 0
        figures = json.loads((tmp_path / "second" / "metrics.json").read_text())
        assert figures["preset"] == "pretrained weights" and figures["model"]["image_size"] == [32, 32]
        config = json.loads((tmp_path / "second" / "model" / "config.json").read_text())
        assert (config["id2label"], config["drop_path_rate"]) == ({"0": "fish", "1": "frog"}, 0.3)

    def test_a_family_of_transformers_is_trained_alike(self, photos, tmp_path, capsys):
        sizes = [
            "hidden_size=16",
            "num_hidden_layers=1",
            "num_attention_heads=2",
            "intermediate_size=32",
            "patch_size=8",
        ]
        arguments = options(photos, tmp_path / "run", "--model", "vit-base-patch16-224", "--epochs", "1")
        assert run([*arguments, "--model-config", *sizes]) == 0
        figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert figures["model"]["class"] == "ViTForImageClassification" and figures["preset"] == "random weights"
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
        assert model.config.id2label == {0: "bird", 1: "cat", 2: "dog"}
        assert "trust_remote_code" not in capsys.readouterr().out

    def test_accumulation_gives_the_same_weights_up_to_rounding(self, photos, tmp_path):
        plain = ["--model-config", *TINY_SHAPE, "--augmentation", "none"]
        assert run(options(photos, tmp_path / "once", *plain)) == 0
        assert run(options(photos, tmp_path / "twice", *plain, "--accumulation", "2")) == 0
        once, twice = (
            [json.loads(line).get("loss", 0) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
            for name in ("once", "twice")
        )
        assert once == pytest.approx(twice, abs=1e-5)

    def test_the_rate_is_zero_after_the_last_step_whatever_the_accumulation(self, photos, tmp_path):
        arguments = options(photos, tmp_path / "run", "--accumulation", "4")
        job = Job(FinetuneSettings.from_options(parse_options(arguments)))
        job.set_up()
        job.trainer.train()
        assert job.trainer.progress.step == 9
        assert job.trainer.schedule.get_last_lr()[0] == pytest.approx(0.0, abs=1e-12)

    def test_what_a_resumed_run_cannot_change_is_refused(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert run(options(photos, output)) == 0
        capsys.readouterr()
        assert run(["--resume", "--output", str(output), "--epochs", "5"]) == 2
        assert "--epochs is 5, but the run in" in capsys.readouterr().err
        assert run(["--resume", "--output", str(tmp_path / "other")]) == 2
        assert "holds no run" in capsys.readouterr().err
        (photos / "cat" / "00.png").unlink()
        assert run(["--resume", "--output", str(output)]) == 2
        assert "1 image is gone (cat/00.png)" in capsys.readouterr().err
        (output / RECORD).unlink()
        assert run(["--resume", "--output", str(output)]) == 1
        assert "There are 26 training images, but" in capsys.readouterr().err
        assert run(options(photos, output)) == 2
        assert "is there already and not empty" in capsys.readouterr().err

    def test_batches_that_do_not_fit(self, photos, tmp_path, capsys):
        assert run(options(photos, tmp_path / "a", "--batch-size", "100", "--epochs", "1")) == 0
        assert "27 training images only: the batch size is 27" in capsys.readouterr().out
        assert run(options(photos, tmp_path / "b", "--accumulation", "3")) == 2
        assert "--batch-size is 8; expected a multiple of 3" in capsys.readouterr().err

    def test_a_loss_that_is_not_finite_ends_the_run_with_step_images_and_checkpoint(self, photos, tmp_path, capsys):
        arguments = options(photos, tmp_path / "run", "--learning-rate", "1e30", "--gradient-clip", "0")
        assert run([*arguments, "--checkpoint-every", "1", "--warmup-epochs", "1"]) == 1
        error = capsys.readouterr().err
        assert re.search(r"error: The loss of step \d is (nan|inf), with the images (\w+/\d\d\.png(, )?){8};", error)
        last = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
        assert f"the last checkpoint is {last}. A lower --learning-rate may help." in error
        assert issubclass(TrainingError, RuntimeError)

    @pytest.mark.parametrize(
        ("more", "trained"),
        [
            (["--method", "head"], 51),
            (["--method", "lora", "--lora-rank", "2", "--layer-decay", "0.5"], 51 + 2 * (2 * 8 * 2 + 2 * 16 * 2)),
        ],
    )
    def test_a_method_trains_its_own_parameters_and_exports_a_plain_model(
        self, photos, tmp_path, capsys, more, trained
    ):
        output = tmp_path / "run"
        assert run(options(photos, output, "--seed", "3", *more)) == 0
        assert f"Method: {more[1]}, {trained:,} parameters trained" in capsys.readouterr().out
        weights = load_file(output / "model" / "model.safetensors")
        start, *_ = build_model(FinetuneSettings.from_options({"model_config": TINY}).model, list(CLASSES), 32)
        assert set(weights) == set(start.state_dict())
        assert (output / "adapter" / "adapter_model.safetensors").exists() == (more[1] == "lora")

    @pytest.mark.parametrize("method", ["knn", "ridge"])
    def test_probes_train_nothing_and_tell_colours_apart(self, photos, tmp_path, method):
        output = tmp_path / "run"
        assert run(options(photos, output, "--method", method, "--shots", "5", "--knn-neighbours", "3")) == 0
        figures = figures_of(output)
        assert figures["training"] is None and figures["data"]["training_images"] == 15
        assert figures["evaluation"]["accuracy"] > 0.6
        assert (output / "model").exists() == (method == "ridge")
        assert (output / "report" / "index.html").exists() and not (output / "log.jsonl").exists()

    def test_a_student_learns_from_a_folder(self, photos, tmp_path, capsys):
        assert run(options(photos, tmp_path / "teacher")) == 0
        more = ["--teacher", str(tmp_path / "teacher" / "model"), "--distillation", "soft", "--mixup", "0.8"]
        assert run(options(photos, tmp_path / "student", *more)) == 0
        assert "soft distillation from" in capsys.readouterr().out
        losses = [
            [line["loss"] for line in log_of(tmp_path / name) if "loss" in line] for name in ("teacher", "student")
        ]
        assert losses[0] != losses[1]

    def test_early_stopping_exports_the_best_weights(self, photos, tmp_path, monkeypatch, capsys):
        accuracies = iter([0.3, 0.6, 0.5, 0.4, 0.9])
        kept = []

        def evaluate(job, model):
            kept.append({name: value.clone() for name, value in job.trainer.plain_model.state_dict().items()})
            return {"accuracy": next(accuracies)}

        monkeypatch.setattr(Job, "_evaluate", evaluate)
        output = tmp_path / "run"
        assert run(options(photos, output, "--epochs", "9", "--early-stopping", "2")) == 0
        assert "No better evaluation for 2 times" in capsys.readouterr().out
        assert [line["accuracy"] for line in log_of(output) if "accuracy" in line] == [0.3, 0.6, 0.5, 0.4]
        exported = load_file(output / "model" / "model.safetensors")
        assert all(torch.equal(value, kept[1][name]) for name, value in exported.items())
        assert figures_of(output)["training"]["epochs"] == 4

    def test_classes_of_unequal_size_and_several_classes_an_image(self, tmp_path):
        names = [["red"], ["red", "dark"], [], ["dark"], ["red"], ["dark", "blue"]] * 4
        write_parquet(tmp_path / "data" / "train-0.parquet", {"image": pictures(24), "labels": names})
        write_parquet(tmp_path / "data" / "test-0.parquet", {"image": pictures(6), "labels": names[:6]})
        output = tmp_path / "run"
        assert run(options(tmp_path / "data", output, "--class-balance", "weights", "--label-smoothing", "0")) == 0
        figures = figures_of(output)
        assert "mean_average_precision" in figures["evaluation"]
        config = json.loads((output / "model" / "config.json").read_text())
        assert config["problem_type"] == "multi_label_classification"
        assert all("mean_average_precision" in line for line in log_of(output) if "epoch" in line)

    def test_several_classes_an_image_are_not_smoothed_unasked(self, tmp_path, capsys):
        names = [["red"], ["red", "dark"], ["dark"], ["dark", "blue"]] * 4
        write_parquet(tmp_path / "data" / "train-0.parquet", {"image": pictures(16), "labels": names})
        write_parquet(tmp_path / "data" / "test-0.parquet", {"image": pictures(4), "labels": names[:4]})
        assert run(options(tmp_path / "data", tmp_path / "run", "--epochs", "1")) == 0
        assert figures_of(tmp_path / "run")["settings"]["label_smoothing"] == 0.0

    def test_the_same_command_with_resume_is_taken_although_the_run_filled_in_its_options(self, photos, tmp_path):
        command = options(photos, tmp_path / "run", "--batch-size", "100", "--mixed-precision", "auto")
        assert run(command) == 0
        settings = figures_of(tmp_path / "run")["settings"]
        assert settings["batch_size"] == 27 and settings["mixed_precision"] in ("bf16", "no")
        assert run([*command, "--resume"]) == 0


class TestRecipes:
    def write(self, tmp_path, text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    def test_the_recipes_of_the_checkout_are_read(self):
        found = sorted((ROOT / "scripts" / "recipes").glob("*.yaml"))
        assert len(found) >= 3
        for path in found:
            settings = FinetuneSettings.from_options(read_recipe(path))
            head = path.read_text().split("\nmodel:")[0]
            assert f"--recipe scripts/recipes/{path.name}" in head
            assert re.search(r"\d\d\.\d\d %", head) and "2026" in head, f"{path.name} states no result"
            if settings.model.model is not None:
                build_model(settings.model, [str(label) for label in range(10)], settings.data.image_size)

    def test_groups_types_and_options_beside_it(self, tmp_path, photos):
        text = "model:\n  model_config: {depths: [1, 1], hidden_act: relu}\n"
        text += "optimisation:\n  learning_rate: 1e-3\n  epochs: 2\n"
        recipe = read_recipe(self.write(tmp_path, text))
        assert recipe == {"model_config": ["depths=[1, 1]", 'hidden_act="relu"'], "learning_rate": 1e-3, "epochs": 2}
        path = self.write(tmp_path, "optimisation:\n  epochs: 1\n  label_smoothing: 0\n")
        more = ["--recipe", str(path), "--epochs", "2"]
        assert run([*more, *options(photos, tmp_path / "run", "--epochs", "2")]) == 0
        settings = figures_of(tmp_path / "run")["settings"]
        assert (settings["epochs"], settings["label_smoothing"]) == (2, 0.0)

    @pytest.fixture
    def photos(self, tmp_path):
        return write_images(tmp_path / "photos", 10)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (
                "optimization:\n  epochs: 2\n",
                "Unknown group 'optimization'; the nearest known names",
            ),
            ("optimisation:\n  epoch: 2\n", "Unknown option 'epoch'; the nearest known names are 'epochs'"),
            ("optimisation:\n  epochs: many\n", "epochs is 'many'; expected a whole number or null"),
            ("optimisation:\n  epochs: true\n", "epochs is True; expected a whole number or null"),
            ("optimisation:\n  optimizer: adam\n", "optimizer is 'adam'; expected one of adamw, sgd"),
            ("data:\n  image_size: 3.5\n", "image_size is 3.5; expected a whole number or null"),
            ("- epochs\n", "holds list; expected groups"),
            ("", "is empty; expected groups of options"),
            ("optimisation: 3\n", "the group 'optimisation' holds 3; expected options"),
            ("a: [\n", "is no YAML"),
        ],
    )
    def test_what_is_wrong_is_told_in_one_sentence(self, tmp_path, capsys, text, sentence):
        path = self.write(tmp_path, text)
        assert run(["--recipe", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
        assert str(path) in error

    def test_a_missing_recipe(self, tmp_path, capsys):
        assert run(["--recipe", str(tmp_path / "none.yaml")]) == 2
        assert "none.yaml cannot be read: No such file or directory." in capsys.readouterr().err


def test_bf16_as_yaml_says_no(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("optimisation:\n  mixed_precision: no\naugmentation:\n  augmentation: none\n")
    assert read_recipe(path) == {"mixed_precision": "no", "augmentation": "none"}
