"""Fine-tuning: its parts one by one, then the real job, launched, killed and resumed."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch import nn
from training_data import CLASSES, own_caches, settings_for, write_images  # noqa: F401 - own_caches is a fixture
from transformers import AutoModelForImageClassification

from hf_vit_family.training import finetune
from hf_vit_family.training.arguments import make_parser, parse_options
from hf_vit_family.training.checkpoints import list_checkpoints
from hf_vit_family.training.configuration import GROUPS, PRESETS, FinetuneSettings, option_fields, option_name
from hf_vit_family.training.job import Job
from hf_vit_family.training.loop import Trainer, TrainingError
from hf_vit_family.training.model import build_model
from hf_vit_family.training.optimisation import make_schedule, parameter_groups
from hf_vit_family.zoo import create_model

ROOT = Path(__file__).resolve().parent.parent
TINY_SHAPE = [
    "hidden_sizes=[8,16]",
    "depths=[1,1]",
    "num_attention_heads=[1,2]",
    "mlp_ratios=[2,2]",
    "key_reductions=[2,1]",
]
TINY = [*TINY_SHAPE, "drop_path_rate=0.3"]


@pytest.fixture
def accelerate_reset():
    """One process has one accelerator state; a test that makes an accelerator leaves none behind."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


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
        model, processor, _ = build_model(settings.model, list(CLASSES), image_size=32)
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

    def options(self, photos, output, *more):
        return [
            *("--data", str(photos), "--output", str(output), "--image-size", "32", "--model-config", *TINY),
            *("--epochs", "3", "--batch-size", "8", "--threads", "1", "--mixed-precision", "no", "--no-verify", *more),
        ]

    def run(self, arguments):
        status = finetune.main(arguments)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        return status

    def test_a_folder_of_photographs_becomes_an_exported_model(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert self.run(self.options(photos, output)) == 0
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
        assert self.run(self.options(photos, tmp_path / "first", "--epochs", "1")) == 0
        others = write_images(tmp_path / "others", 6, classes=["fish", "frog"], seed=5)
        arguments = ["--data", str(others), "--output", str(tmp_path / "second"), "--threads", "1", "--no-verify"]
        assert self.run([*arguments, "--model", str(tmp_path / "first" / "model"), "--epochs", "1"]) == 0
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
        arguments = self.options(photos, tmp_path / "run", "--model", "vit-base-patch16-224", "--epochs", "1")
        assert self.run([*arguments, "--model-config", *sizes]) == 0
        figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert figures["model"]["class"] == "ViTForImageClassification" and figures["preset"] == "random weights"
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
        assert model.config.id2label == {0: "bird", 1: "cat", 2: "dog"}
        assert "trust_remote_code" not in capsys.readouterr().out

    @pytest.mark.parametrize("more", [[], ["--accumulation", "2", "--augmentation", "resized-crop", "--workers", "2"]])
    def test_a_run_that_broke_off_goes_on_to_the_same_bits(self, photos, tmp_path, monkeypatch, more):
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        assert self.run(self.options(photos, whole, *more)) == 0
        finish = Trainer._finish_step

        def break_off(trainer, *results):
            finish(trainer, *results)
            if trainer.progress.step == 5:
                raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "_finish_step", break_off)
        assert self.run(self.options(photos, broken, "--checkpoint-every", "2", *more)) == 130
        monkeypatch.setattr(Trainer, "_finish_step", finish)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        assert list_checkpoints(broken / "checkpoints")[-1].name == "step-00000004"

        assert self.run(["--resume", "--output", str(broken)]) == 0
        assert_same_run(whole, broken)

    def test_accumulation_gives_the_same_weights_up_to_rounding(self, photos, tmp_path):
        plain = ["--model-config", *TINY_SHAPE, "--augmentation", "none"]
        assert self.run(self.options(photos, tmp_path / "once", *plain)) == 0
        assert self.run(self.options(photos, tmp_path / "twice", *plain, "--accumulation", "2")) == 0
        once, twice = (
            [json.loads(line).get("loss", 0) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
            for name in ("once", "twice")
        )
        assert once == pytest.approx(twice, abs=1e-5)

    def test_the_rate_is_zero_after_the_last_step_whatever_the_accumulation(self, photos, tmp_path):
        arguments = self.options(photos, tmp_path / "run", "--accumulation", "4")
        job = Job(FinetuneSettings.from_options(parse_options(arguments)))
        job.set_up()
        job.trainer.train()
        assert job.trainer.progress.step == 9
        assert job.trainer.schedule.get_last_lr()[0] == pytest.approx(0.0, abs=1e-12)

    def test_what_a_resumed_run_cannot_change_is_refused(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert self.run(self.options(photos, output)) == 0
        capsys.readouterr()
        assert self.run(["--resume", "--output", str(output), "--epochs", "5"]) == 2
        assert "--epochs is 5, but the run in" in capsys.readouterr().err
        assert self.run(["--resume", "--output", str(tmp_path / "other")]) == 2
        assert "holds no run" in capsys.readouterr().err
        (photos / "cat" / "00.png").unlink()
        assert self.run(["--resume", "--output", str(output)]) == 1
        assert "There are 26 training images, but" in capsys.readouterr().err
        assert self.run(self.options(photos, output)) == 2
        assert "is there already and not empty" in capsys.readouterr().err

    def test_batches_that_do_not_fit(self, photos, tmp_path, capsys):
        assert self.run(self.options(photos, tmp_path / "a", "--batch-size", "100", "--epochs", "1")) == 0
        assert "27 training images only: the batch size is 27" in capsys.readouterr().out
        assert self.run(self.options(photos, tmp_path / "b", "--accumulation", "3")) == 2
        assert "--batch-size is 8; expected a multiple of 3" in capsys.readouterr().err

    def test_a_loss_that_is_not_finite_ends_the_run_with_step_images_and_checkpoint(self, photos, tmp_path, capsys):
        arguments = self.options(photos, tmp_path / "run", "--learning-rate", "1e30", "--gradient-clip", "0")
        assert self.run([*arguments, "--checkpoint-every", "1", "--warmup-epochs", "1"]) == 1
        error = capsys.readouterr().err
        assert re.search(r"error: The loss of step \d is (nan|inf), with the images (\w+/\d\d\.png(, )?){8};", error)
        last = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
        assert f"the last checkpoint is {last}. A lower --learning-rate may help." in error
        assert issubclass(TrainingError, RuntimeError)


def assert_same_run(first, second):
    """Weights to the bit, and each step once in the log, with the same figures."""
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]
    assert (first / "log.jsonl").read_text() == (second / "log.jsonl").read_text()
    evaluations = [json.loads((folder / "metrics.json").read_text())["evaluation"] for folder in (first, second)]
    assert evaluations[0] == evaluations[1]


class TestLaunch:
    """The script as a user starts it: `accelerate launch`, in processes of its own."""

    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory):
        return tmp_path_factory.mktemp("launch")

    def launch(self, place, *arguments, launcher=("-m", "accelerate.commands.launch", "--num_processes", "1")):
        """Start the script from a folder that is not the checkout, without the package on the path."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"HF_DATASETS_CACHE": str(place / "cache"), "ACCELERATE_USE_CPU": "true"}
        return subprocess.Popen(
            [sys.executable, *launcher, str(ROOT / "scripts" / "finetune.py"), *arguments],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def options(self):
        return [
            *("--train-images", "160", "--eval-images", "50", "--epochs", "3", "--batch-size", "4", "--threads", "1"),
            *("--model-config", *TINY),
        ]

    @pytest.fixture(scope="class")
    def whole(self, place):
        process = self.launch(place, *self.options())
        told, _ = process.communicate(timeout=500)
        assert process.returncode == 0, told
        return place / "runs" / "fashion_mnist-001", told

    def test_it_trains_exports_and_loads_back(self, whole):
        output, told = whole
        figures = json.loads((output / "metrics.json").read_text())
        assert figures["evaluation"]["images"] == 50 and figures["data"]["evaluation_split"] == "test"
        check = figures["loaded_back"]
        assert check["equal"] and check["images"] == 50
        assert check["class"].startswith("transformers_modules.")
        assert figures["command"].startswith("accelerate launch: python ")
        assert "img/s" in told and "the same answers on 50 images" in told
        assert (output / "model" / "modeling_twins.py").exists()

    def test_a_killed_run_goes_on_to_the_same_bits(self, place, whole):
        process = self.launch(place, *self.options(), "--output", "killed", "--checkpoint-every", "7")
        checkpoints = place / "killed" / "checkpoints"
        deadline = time.monotonic() + 400
        while not (checkpoints.is_dir() and list_checkpoints(checkpoints)):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (place / "killed" / "metrics.json").exists(), "the run was over before it was killed"

        process = self.launch(place, "--resume", "--output", "killed", "--no-verify")
        told, _ = process.communicate(timeout=500)
        assert process.returncode == 0, told
        assert "going on after step" in told
        assert_same_run(whole[0], place / "killed")

    def test_no_script_shadows_a_library(self, place):
        """Scripts stand first on the path of a launched script: none may have the name of a library."""
        program = (
            "import importlib.util, sys; sys.path.insert(0, sys.argv[1])\n"
            "for name in ('accelerate', 'datasets', 'evaluate', 'torch', 'transformers'):\n"
            "    print(importlib.util.find_spec(name).origin)"
        )
        command = [sys.executable, "-c", program, str(ROOT / "scripts")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place).stdout
        libraries = {Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib")}
        assert len(printed.split()) == 5
        for line in printed.split():
            assert any(library in Path(line).resolve().parents for library in libraries), line
        for script in (ROOT / "scripts").glob("*.py"):
            assert script.stem not in sys.stdlib_module_names

    @pytest.mark.slow
    def test_two_processes_give_the_figures_of_one(self, place):
        """The same global batch: losses within 1e-5, and every image evaluated once although 51 is odd."""
        options = [
            *("--train-images", "83", "--eval-images", "51", "--epochs", "2", "--batch-size", "10", "--threads", "1"),
            *("--model-config", *TINY_SHAPE, "--augmentation", "crop-flip", "--mixed-precision", "no", "--no-verify"),
        ]
        process = self.launch(place, *options, "--output", "one")
        told, _ = process.communicate(timeout=250)
        assert process.returncode == 0, told
        # accelerate's launcher starts one process whatever it is told, unless there are GPUs or MPI
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        for attempt in range(2):  # gloo processes sometimes end by a signal after all is done, or hang
            process = self.launch(place, *options, "--output", f"two-{attempt}", launcher=launcher)
            try:
                told, _ = process.communicate(timeout=250)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                told, _ = process.communicate()
            if (place / f"two-{attempt}" / "metrics.json").exists():
                break
        one, two = (json.loads((place / name / "metrics.json").read_text()) for name in ("one", f"two-{attempt}"))
        assert (one["machine"]["processes"], two["machine"]["processes"]) == (1, 2), told
        assert one["evaluation"]["images"] == two["evaluation"]["images"] == 51
        assert one["evaluation"]["loss"] == pytest.approx(two["evaluation"]["loss"], abs=1e-5)
        losses = [
            [json.loads(line).get("loss", 0) for line in (place / name / "log.jsonl").read_text().splitlines()]
            for name in ("one", f"two-{attempt}")
        ]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) == 18
