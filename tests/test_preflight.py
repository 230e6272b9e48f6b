"""Preflight: all is well in a good plan, and each check is broken once."""

import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from training_data import own_caches, write_images  # noqa: F401 - own_caches is a fixture

from hf_vit_family import load_image_processor
from hf_vit_family.training import finetune, preflight
from hf_vit_family.training.configuration import FinetuneSettings
from hf_vit_family.training.job import Job
from hf_vit_family.training.model import build_model

MAXVIT = ["hidden_sizes=[8,16]", "depths=[1,1]", "stem_hidden_sizes=[8,8]", "window_size=2", "attention_head_size=8"]
TINY = ["hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]", "key_reductions=[2,1]"]


@pytest.fixture
def plan(tmp_path):
    """A plan without a fault, to be broken."""
    job = Job(settings(write_images(tmp_path / "photos", 10)))
    yield job.plan
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def settings(photos, **options):
    tiny = {"image_size": 32, "model_config": TINY, "epochs": 2, "batch_size": 24, "threads": 1, "verify": False}
    return FinetuneSettings.from_options({"data": str(photos), "mixed_precision": "no", **tiny, **options})


def messages(plan, check, level):
    found = list(getattr(preflight, f"check_{check}")(plan))
    return " ".join(message for kind, message in found if kind == level)


def test_a_good_plan_has_no_errors_and_no_warnings(plan):
    findings = preflight.run_checks(plan)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert len({finding.check for finding in findings}) == len(preflight.CHECKS)


def test_few_images_and_unequal_classes(plan):
    labels = plan.images.train.labels
    labels[:] = 0
    labels[:2] = (1, 2)
    told = messages(plan, "classes", "warning")
    assert "fewer than 5 training images: cat (1), dog (1)" in told and "25 times as many" in told
    plan.settings.data.class_balance = "sampling"
    assert "times as many" not in messages(plan, "classes", "warning")
    plan.images.evaluation.labels[:] = 0
    assert "Classes without an image to evaluate on: cat, dog." in messages(plan, "classes", "warning")


def test_the_head_against_the_data(plan):
    plan.images.label_names = ["bird", "dog", "cat"]
    assert "The head has the classes bird, cat, dog, the data bird, dog, cat" in messages(plan, "label_order", "error")


def test_the_head_against_the_checkpoint_it_comes_from(plan):
    plan.start_labels = ["dog", "cat", "bird"]
    assert "in another order: dog, cat, bird" in messages(plan, "label_order", "warning")
    plan.start_labels = ["fish", "cat", "bird"]
    assert "as many classes, but others: fish" in messages(plan, "label_order", "warning")
    plan.start_labels = ["bird", "cat", "dog"]
    assert not messages(plan, "label_order", "warning")


def test_preprocessing_against_the_published_checkpoint(plan):
    assert "No published checkpoint" in messages(plan, "preprocessing", "ok")
    plan.settings.model.model = "poolformer_s12.sail_in1k"
    plan.processor = load_image_processor(plan.settings.model.model)
    assert "works as the checkpoint" in messages(plan, "preprocessing", "ok")
    plan.processor = load_image_processor(plan.settings.model.model, image_mean=[0.5] * 3, interpolation="bilinear")
    told = messages(plan, "preprocessing", "warning")
    assert "image_mean is [0.5, 0.5, 0.5], the checkpoint was evaluated with [0.485" in told
    assert "interpolation is bilinear" in told


def test_images_that_the_model_does_not_take(plan):
    plan.image_size = (1, 32)
    assert "Images of 1x32 pixels are too small" in messages(plan, "image_size", "error")
    vit = ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=32"]
    options = {"model": "vit-base-patch16-224", "model_config": vit}
    plan.model = build_model(FinetuneSettings.from_options(options).model, plan.images.label_names).model
    plan.image_size = (100, 100)
    told = messages(plan, "image_size", "error")
    assert "does not take images of 100x100 pixels" in told and "--image-size sets another" in told
    assert [finding.check for finding in preflight.run_checks(plan)][-1] == "image size"


def test_images_that_are_enlarged(plan):
    plan.image_size = (160, 160)
    assert "has 20x24 pixels and is enlarged to 160x160" in messages(plan, "image_size", "warning")


@pytest.mark.parametrize(
    ("group", "option", "value", "several", "level", "sentence"),
    [
        ("optimisation", "loss", "cross-entropy", True, "error", "expected --loss bce"),
        ("method", "distillation", "hard", True, "error", "expected soft"),
        ("optimisation", "label_smoothing", 0.1, True, "warning", "towards a half"),
        ("method", "method", "knn", False, "warning", "--mixup and --cutmix have no effect with --method knn"),
        ("optimisation", "accumulation", 24, False, "error", "Mixing needs two images"),
    ],
)
def test_loss_against_mixing_and_labels(plan, group, option, value, several, level, sentence):
    plan.images.multi_label = several
    plan.model.config.problem_type = "multi_label_classification" if several else "single_label_classification"
    plan.settings.augmentation.mixup = 0.8
    plan.settings.optimisation.label_smoothing = 0.0
    setattr(getattr(plan.settings, group), option, value)
    assert sentence in messages(plan, "loss", level)


def test_the_kind_of_problem(plan):
    plan.model.config.problem_type = "multi_label_classification"
    assert "expected 'single_label_classification'" in messages(plan, "loss", "error")


def test_batch_norm_wants_images(plan):
    assert "has no BatchNorm" in messages(plan, "batch_norm", "ok")
    options = {"model": "maxvit_tiny_tf_224", "model_config": MAXVIT}
    plan.model = build_model(FinetuneSettings.from_options(options).model, plan.images.label_names, 32).model
    assert not messages(plan, "batch_norm", "warning")
    plan.settings.optimisation.batch_size = 8
    assert "BatchNorm sees 8 images at a time" in messages(plan, "batch_norm", "warning")
    plan.settings.optimisation.freeze_batch_norm = True
    assert not messages(plan, "batch_norm", "warning")
    plan.settings.optimisation.sync_batch_norm = True
    assert "--sync-batch-norm needs GPUs" in messages(plan, "batch_norm", "error")


def test_precision_compiler_trackers_and_warm_up(plan, monkeypatch):
    optimisation = plan.settings.optimisation
    optimisation.mixed_precision = "fp16"
    assert "fp16, which needs a GPU" in messages(plan, "device", "error")
    optimisation.mixed_precision, optimisation.compile = "no", True
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None)
    assert "needs a C++ compiler" in messages(plan, "device", "error")
    optimisation.compile, plan.settings.run.trackers = False, ["wandb"]
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    assert "wandb, which is not installed: pip install wandb" in messages(plan, "device", "error")
    plan.sharded, optimisation.ema_decay = True, 0.99
    assert "--ema-decay, --early-stopping and every --method but full" in messages(plan, "device", "error")
    optimisation.warmup_epochs = 2.0
    assert "rises in half of the steps only" in messages(plan, "device", "warning")


def test_memory_for_one_step(plan, monkeypatch):
    needed = {}
    estimate = preflight.bytes_per_image
    monkeypatch.setattr(preflight, "bytes_per_image", lambda *given: needed.setdefault("image", estimate(*given)))
    messages(plan, "memory", "ok")
    state = preflight.bytes_of_state(plan.model, 2, False)
    monkeypatch.setattr(preflight, "free_memory", lambda device: state + 1.3 * 8 * needed["image"])
    assert "6 images are computed at once" in messages(plan, "memory", "warning") and plan.chunks == 4
    monkeypatch.setattr(preflight, "free_memory", lambda device: state)
    assert "One image does not fit into memory" in messages(plan, "memory", "error")


def test_disk_for_the_checkpoints(plan, monkeypatch):
    monkeypatch.setattr(preflight, "free_disk", lambda folder: 1000)
    told = messages(plan, "disk", "error")
    assert "The disk is too small: 3 checkpoints" in told and "1000 bytes are free" in told


@pytest.fixture
def reset():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.usefixtures("reset")
def test_corrupt_images_and_duplicates(tmp_path, capsys):
    photos = write_images(tmp_path / "photos" / "train", 10).parent
    write_images(photos / "test", 3, seed=1)
    (photos / "test" / "cat" / "00.png").write_bytes((photos / "train" / "cat" / "05.png").read_bytes())
    (photos / "train" / "dog" / "03.png").write_text("no image")
    Image.new("L", (4, 4)).save(photos / "train" / "bird" / "last.png")
    plan = Job(settings(photos)).plan
    told = messages(plan, "data", "warning")
    assert "1 images cannot be read and are left out" in told and "dog/03.png" in told
    assert "1 images of the evaluation split are also in the training split" in told and "cat/05.png" in told


@pytest.mark.usefixtures("reset")
def test_check_alone_tells_all_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = write_images(tmp_path / "photos", 10)
    options = ["--data", str(photos), "--image-size", "32", "--model-config", *TINY, "--threads", "1", "--check"]
    assert finetune.main(options) == 0
    told = capsys.readouterr().out
    for check in preflight.CHECKS:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        assert f"ok  {name}: " in told
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("reset")
def test_an_error_ends_the_run_before_it_has_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = write_images(tmp_path / "photos", 10)
    options = ["--data", str(photos), "--image-size", "32", "--model-config", *TINY, "--threads", "1"]
    assert finetune.main([*options, "--sync-batch-norm"]) == 2
    assert "error: --sync-batch-norm needs GPUs" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
