# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Methods of adaptation: head only, LoRA, nearest neighbours, ridge regression, distillation."""

import json

import numpy as np
import pytest
import torch
import torchvision
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState, GradientState
from mobilenet import mobilenet_file
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from transformers import MobileViTImageProcessor, ResNetConfig, ResNetForImageClassification, ViTImageProcessor
from zoo_models import TINY, shown, tiny_model

from hf_vit_family import HfvfImageProcessor, export, load_model
from hf_vit_family.families import labels
from hf_vit_family.pixel_scale import PixelScale
from hf_vit_family.training.configuration import FinetuneSettings, MethodSettings
from hf_vit_family.training.data.augmentation import Preparation
from hf_vit_family.training.data.loading import DataError
from hf_vit_family.training.methods.adaptation import adapt, classifier_heads, lora_targets, merge_lora, train_mode
from hf_vit_family.training.methods.probes import (
    choose_shots,
    extract_features,
    fit_ridge,
    fit_scale,
    knn_scores,
    run_probe,
)
from hf_vit_family.training.methods.teachers import DistillationObjective, load_teacher, match_classes
from hf_vit_family.training.model import build_model
from hf_vit_family.training.optimisation import ClassificationLoss
from hf_vit_family.training.reporting.evaluation import predict

CLASSES = ["bird", "cat", "dog"]
LORA = MethodSettings(method="lora", lora_rank=2)
HEAD = MethodSettings(method="head")


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(split_batches=True))
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def batch_of(pixels, count=2, seed=0):
    return torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))


def loader_of(pixel_values, targets, batch_size=4):
    rows = [
        {"pixel_values": image, "labels": label, "indices": index}
        for index, (image, label) in enumerate(zip(pixel_values, targets, strict=True))
    ]
    return DataLoader(rows, batch_size=batch_size)


def coloured(count, pixels, seed=0, noise=0.3):
    """Normalised images of three classes that differ in their brightest channel, and their classes."""
    targets = torch.arange(count) % 3
    images = noise * batch_of(pixels, count, seed)
    images[torch.arange(count), targets] += 1.5
    return images, targets


class TestHeads:
    @pytest.mark.parametrize("family", TINY)
    def test_features_are_what_the_head_is_given(self, family, accelerator):
        model = tiny_model(family, num_labels=5).eval()
        heads = classifier_heads(model)
        assert len(heads) == (2 if family == "deit" else 1)
        assert all(name.endswith("classifier") for name in heads)
        images = batch_of(TINY[family][2], 3)
        loader = accelerator.prepare(loader_of(images, torch.arange(3), batch_size=2))
        features = extract_features(accelerator, model.train(), loader)
        assert model.training and features.labels.tolist() == [0, 1, 2]
        weight = torch.cat([head.weight for head in heads.values()], dim=1) / len(heads)
        bias = sum(head.bias for head in heads.values()) / len(heads)
        with torch.no_grad():
            expected = model.eval()(pixel_values=images).logits
        torch.testing.assert_close(torch.from_numpy(features.values) @ weight.T + bias, expected, atol=1e-5, rtol=1e-4)

    def test_a_layer_in_front_of_the_head_is_no_head(self):
        assert list(classifier_heads(tiny_model("maxvit", num_labels=512))) == ["classifier"]

    def test_features_stand_in_the_order_of_the_split(self, accelerator):
        model = tiny_model("vit", num_labels=3)
        rows = [
            {"pixel_values": torch.full((3, 32, 32), float(index)), "labels": index % 3, "indices": index}
            for index in (4, 2, 0, 3, 1)
        ]
        features = extract_features(accelerator, model, accelerator.prepare(DataLoader(rows, batch_size=2)))
        assert features.labels.tolist() == [0, 1, 2, 0, 1] and features.values.dtype == np.float32


class TestHeadOnly:
    @pytest.mark.parametrize("family", TINY)
    def test_only_the_head_is_trained(self, family):
        model = adapt(tiny_model(family, num_labels=5), HEAD)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained == {f"{name}.{kind}" for name in classifier_heads(model) for kind in ("weight", "bias")}

    @pytest.mark.parametrize("family", ["maxvit", "mobilevit"])
    def test_a_frozen_body_keeps_its_statistics_and_drops_nothing(self, family):
        model = adapt(tiny_model(family, num_labels=3), HEAD)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        train_mode(model)
        assert model.training and not model.base_model.training
        assert not any(module.training for module in model.base_model.modules())
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.1)
        F.cross_entropy(model(pixel_values=batch_of(TINY[family][2], 2)).logits, torch.tensor([0, 1])).backward()
        optimizer.step()
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"classifier.weight", "classifier.bias"}

    def test_full_fine_tuning_freezes_nothing(self):
        model = adapt(tiny_model("maxvit"), MethodSettings())
        train_mode(model)
        assert all(module.training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())


class TestLora:
    @pytest.mark.parametrize("family", TINY)
    def test_every_family_has_default_targets_in_its_body(self, family):
        model = tiny_model(family, num_labels=5)
        total = sum(parameter.numel() for parameter in model.parameters())
        adapted = adapt(model, MethodSettings(method="lora", lora_rank=1))
        trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
        matrices = [name for name in trained if "lora_" in name]
        assert matrices and set(trained) - set(matrices) == {
            name for name in trained if "classifier.modules_to_save" in name
        }
        assert all("classifier" not in name for name in matrices)
        count = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        assert count < 0.3 * total

    @pytest.mark.parametrize("family", ["twins", "poolformer", "vit", "maxvit"])
    def test_it_trains_and_merges_into_a_plain_model(self, family, tmp_path):
        torch.manual_seed(0)
        # PoolFormer's layer scale starts at 1e-5, which would hide what its MLPs do
        overrides = {"layer_scale_init_value": 1.0} if family == "poolformer" else {}
        model = adapt(tiny_model(family, num_labels=3, **overrides), LORA)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        images, targets = batch_of(TINY[family][2], 4), torch.tensor([0, 1, 2, 0])
        # steps of a size that does not depend on the gradient's, which random weights make tiny
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.1, eps=1e-20)
        train_mode(model)
        for _ in range(3):  # the second matrix starts at zero, so the first has a gradient from the second step on
            optimizer.zero_grad()
            F.cross_entropy(model(pixel_values=images).logits, targets).backward()
            optimizer.step()
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        with torch.no_grad():
            expected = model.eval()(pixel_values=images).logits
            body = model.get_base_model().base_model
            pooled = body(pixel_values=images).last_hidden_state
            with model.disable_adapter():
                assert (body(pixel_values=images).last_hidden_state - pooled).abs().max() > 1e-3
        model.save_pretrained(tmp_path / "adapter")
        plain = merge_lora(model)
        assert type(plain) is type(tiny_model(family)) and all(p.requires_grad for p in plain.parameters())
        with torch.no_grad():
            torch.testing.assert_close(plain.eval()(pixel_values=images).logits, expected, atol=1e-5, rtol=1e-5)
        loaded = load_model(export(plain, tmp_path / "model"))
        with torch.no_grad():
            torch.testing.assert_close(loaded(pixel_values=images).logits, expected, atol=1e-5, rtol=1e-5)
        assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size > 0

    def test_the_adapter_alone_goes_onto_the_model_it_was_made_for(self, tmp_path):
        from peft import PeftModel

        base = tiny_model("twins", num_labels=3)
        state_dict = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        model = adapt(base, LORA)
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.1)
        images = batch_of(64)
        with torch.no_grad():
            expected = model.eval()(pixel_values=images).logits
        model.save_pretrained(tmp_path)
        fresh = tiny_model("twins", num_labels=3)
        fresh.load_state_dict(state_dict)
        with torch.no_grad():
            answer = PeftModel.from_pretrained(fresh, tmp_path).eval()(pixel_values=images).logits
        torch.testing.assert_close(answer, expected)

    def test_named_layers_are_taken_and_unknown_ones_refused(self):
        model = tiny_model("twins", num_labels=3)
        assert lora_targets(model, ["k_proj", "mlp.fc1"]) == ["k_proj", "mlp.fc1"]
        with pytest.raises(ValueError, match="'q_projj'; the nearest known names are 'q_proj'") as error:
            lora_targets(model, ["q_projj"])
        shown(error)
        with pytest.raises(ValueError, match="has no layers that LoRA takes by default; expected --lora-targets"):
            lora_targets(nn.Sequential(nn.Linear(2, 2)), [])


class TestNearestNeighbours:
    def test_it_votes_like_a_loop(self):
        generator = np.random.default_rng(0)
        known, asked = generator.normal(size=(40, 6)), generator.normal(size=(9, 6))
        targets = generator.integers(0, 3, 40)
        scores = knn_scores(known.astype(np.float32), targets, asked.astype(np.float32), 5, 0.2, 3)
        for row, image in enumerate(asked):
            similarity = [image @ other / np.linalg.norm(image) / np.linalg.norm(other) for other in known]
            votes = np.zeros(3)
            for index in sorted(range(40), key=lambda index: -similarity[index])[:5]:
                votes[targets[index]] += np.exp(similarity[index] / 0.2)
            np.testing.assert_allclose(scores[row], votes / votes.sum(), atol=1e-5)

    def test_a_neighbour_of_several_classes_votes_for_all_of_them(self):
        known = np.eye(2, dtype=np.float32)
        scores = knn_scores(known, np.array([[1, 1, 0], [0, 0, 1]]), known[:1], 5, 0.01, 3)
        np.testing.assert_allclose(scores, [[1, 1, 0]], atol=1e-6)


class TestRidge:
    @pytest.mark.parametrize("shape", [(30, 5), (8, 20)])
    def test_it_solves_the_normal_equations_with_a_free_bias(self, shape):
        generator = np.random.default_rng(1)
        features = generator.normal(3.0, 2.0, shape).astype(np.float32)
        targets = generator.integers(0, 3, shape[0])
        found = fit_ridge(features, targets, 3, strength=2.5)
        values = features.astype(np.float64)
        standard = (values - values.mean(0)) / values.std(0)
        columns = np.hstack([standard, np.ones((shape[0], 1))])
        penalty = 2.5 * np.diag([1.0] * shape[1] + [0.0])
        solution = np.linalg.solve(columns.T @ columns + penalty, columns.T @ (2 * np.eye(3)[targets] - 1))
        np.testing.assert_allclose(found.scores(features), columns @ solution, atol=1e-5)

    def test_images_and_features_give_the_same_solution(self):
        """A feature more or less than images: the two ways of solving, on the same problem."""
        generator = np.random.default_rng(2)
        features, targets = generator.normal(size=(12, 12)), np.arange(12) % 3
        by_features = fit_ridge(features, targets, 3, 1.0)
        padded = np.hstack([features, np.zeros((12, 1))])  # a feature that says nothing
        by_images = fit_ridge(padded, targets, 3, 1.0)
        np.testing.assert_allclose(by_images.weight[:, :12], by_features.weight, atol=1e-10)
        np.testing.assert_allclose(by_images.held_out, by_features.held_out, atol=1e-10)

    @pytest.mark.parametrize("shape", [(15, 4), (6, 9)])
    def test_held_out_scores_are_those_of_the_fit_to_the_others(self, shape):
        generator = np.random.default_rng(3)
        features, targets = generator.normal(size=shape), np.arange(shape[0]) % 2
        held_out = fit_ridge(features, targets, 2, 0.7).held_out
        standard = (features - features.mean(0)) / features.std(0)
        columns = np.hstack([standard, np.ones((shape[0], 1))])
        penalty = 0.7 * np.diag([1.0] * shape[1] + [0.0])
        for row in range(shape[0]):
            others = np.delete(np.arange(shape[0]), row)
            rest = columns[others]
            solution = np.linalg.solve(rest.T @ rest + penalty, rest.T @ (2 * np.eye(2)[targets[others]] - 1))
            np.testing.assert_allclose(held_out[row], columns[row] @ solution, atol=1e-8)

    @pytest.mark.parametrize("several", [False, True])
    def test_the_scale_makes_the_loss_least(self, several):
        generator = np.random.default_rng(4)
        classes = generator.integers(0, 4, 200)
        scores = 0.01 * (np.eye(4)[classes] + generator.normal(0, 1, (200, 4)))
        targets = np.eye(4, dtype=np.int64)[classes] if several else classes
        found = fit_scale(scores, targets)

        def loss(factor):
            logits = torch.from_numpy(scores * factor)
            if several:
                return F.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets).double()).item()
            return F.cross_entropy(logits, torch.from_numpy(targets)).item()

        assert all(loss(found) < loss(found * factor) for factor in (0.9, 1.1))

    def test_scores_without_mistakes_get_a_finite_scale(self):
        assert 1 < fit_scale(np.eye(3) * 2 - 1, np.arange(3)) < 100


class TestProbes:
    @pytest.mark.parametrize("method", ["knn", "ridge"])
    @pytest.mark.parametrize("family", ["twins", "deit"])
    def test_separable_classes_are_told_apart(self, method, family, accelerator):
        torch.manual_seed(0)
        model = tiny_model(family, num_labels=3)
        pixels = TINY[family][2]
        train = accelerator.prepare(loader_of(*coloured(30, pixels), batch_size=8))
        images, targets = coloured(14, pixels, seed=1)
        evaluation = accelerator.prepare(loader_of(images, targets, batch_size=8))
        settings = MethodSettings(method=method, knn_neighbours=5, ridge_strength=1.0)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        predictions = run_probe(settings, accelerator, model, train, evaluation, CLASSES)
        assert (predictions.logits.argmax(1) == targets.numpy()).all() and len(predictions.logits) == 14
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        if method == "knn":
            assert not changed
        else:
            assert changed == {f"{name}.{kind}" for name in classifier_heads(model) for kind in ("weight", "bias")}
            own = predict(accelerator, model, evaluation).logits
            np.testing.assert_allclose(own, predictions.logits, atol=1e-2, rtol=1e-3)

    def test_several_classes_an_image(self, accelerator):
        model = tiny_model("twins", num_labels=3)
        images, targets = coloured(24, 64)
        several = torch.eye(3)[targets]
        several[:, 0] = 1 - several[:, 0]
        train = accelerator.prepare(loader_of(images, several))
        for method in ("knn", "ridge"):
            settings = MethodSettings(method=method, knn_neighbours=3, ridge_strength=1.0)
            predictions = run_probe(settings, accelerator, model, train, train, CLASSES)
            assert ((predictions.logits > 0) == several.numpy().astype(bool)).all()

    def test_shots_are_drawn_by_the_seed_from_every_class(self):
        targets = np.array([0] * 5 + [1] * 9 + [2] * 4)
        rows = choose_shots(targets, CLASSES, 4, seed=0)
        assert np.bincount(targets[rows]).tolist() == [4, 4, 4] and (np.diff(rows) > 0).all()
        assert rows.tolist() == choose_shots(targets, CLASSES, 4, seed=0).tolist()
        assert rows.tolist() != choose_shots(targets, CLASSES, 4, seed=1).tolist()
        with pytest.raises(DataError, match=r"class 'dog' has 4 training images; expected at least 5, --shots\."):
            choose_shots(targets, CLASSES, 5, seed=0)


class TestClassMapping:
    def write(self, folder, lists):
        file = folder / "classes.json"
        file.write_text(json.dumps(lists))
        return str(file)

    def test_the_same_names_in_another_order(self):
        classes = match_classes(CLASSES, ["dog", "bird", "cat"], 3, None)
        assert classes(torch.tensor([[3.0, 1.0, 2.0]])).tolist() == [[1.0, 2.0, 3.0]]

    def test_classes_among_the_teachers_share_its_probabilities(self):
        classes = match_classes(CLASSES, ["fish", "dog", "bird", "cat"], 4, None)
        answer = classes(torch.tensor([[5.0, 3.0, 1.0, 2.0]]))
        torch.testing.assert_close(answer, torch.tensor([[1.0, 2.0, 3.0]]).log_softmax(1))

    def test_lists_add_up_by_name_or_index_and_may_be_empty(self, tmp_path):
        file = self.write(tmp_path, {"bird": ["owl", 0], "cat": ["lynx"], "dog": []})
        classes = match_classes(CLASSES, ["hen", "owl", "lynx", "car"], 4, file)
        shares = classes(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()).exp()
        torch.testing.assert_close(shares, torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("lists", "names", "sentence"),
        [
            ({"bird": [0], "cat": [1]}, None, "lacks the class 'dog'"),
            ({"bird": [0], "cat": [1], "dig": [2]}, None, "Unknown class 'dig'; the nearest known names are 'dog'"),
            ({"bird": ["owll"], "cat": [1], "dog": [2]}, ["owl", "lynx", "wolf", "car"], "'owll', which .* are 'owl'"),
            ({"bird": [0], "cat": [1], "dog": [4]}, None, "names the teacher's class 4; expected 0 to 3"),
            ({"bird": [0], "cat": ["lynx"], "dog": [4]}, None, "'lynx'; expected an index"),
            ({"bird": [], "cat": [], "dog": []}, None, "names none of the teacher's classes"),
            (["bird"], None, "is no table of lists"),
            (None, ["hen", "owl", "lynx", "car"], "4 classes, and the class 'bird' is none of the teacher's"),
            (None, None, "its classes have no names; expected --teacher-classes, or --teacher-head ridge"),
        ],
    )
    def test_what_does_not_fit_is_told_in_one_sentence(self, tmp_path, lists, names, sentence):
        file = None if lists is None else self.write(tmp_path, lists)
        with pytest.raises(ValueError, match=sentence) as error:
            match_classes(CLASSES, names, 4, file)
        shown(error)


@pytest.fixture(scope="module")
def mobilenet_weights():
    """The file of torchvision's MobileNetV2, trained on ImageNet."""
    return str(mobilenet_file())


def quick_student(pixels=32, **options):
    settings = FinetuneSettings.from_options(
        {
            "model_config": [
                *("hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]"),
                *("key_reductions=[2,1]", "drop_path_rate=0.0"),
            ],
            **options,
        }
    )
    start = build_model(settings.model, CLASSES, image_size=pixels)
    return start.model, start.processor


class TestTeachers:
    @pytest.mark.parametrize(
        "processor",
        [
            HfvfImageProcessor(size=16, crop_pct=1.0, image_mean=(0.4, 0.5, 0.6), image_std=(0.2, 0.3, 0.4)),
            MobileViTImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
            ViTImageProcessor(size={"height": 16, "width": 16}, do_rescale=False, do_normalize=False),
        ],
    )
    def test_the_image_behind_pixel_values_is_found_and_scaled_again(self, processor):
        preparation = Preparation(processor)
        pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
        values = preparation.scale(pixels)
        scale = PixelScale.of(preparation.processor)
        torch.testing.assert_close(scale.undo(values), pixels / 255, atol=1e-6, rtol=0)
        torch.testing.assert_close(scale.apply(pixels / 255), values, atol=1e-5, rtol=1e-5)

    def test_torchvision_answers_as_it_does_itself(self, mobilenet_weights, tmp_path):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
        network = torchvision.models.mobilenet_v2(weights=None).eval()
        network.load_state_dict(torch.load(mobilenet_weights, weights_only=True))
        own = v2.Compose(
            [
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )
        with torch.no_grad():
            expected = network(own(image)[None])
        preparation = Preparation(HfvfImageProcessor(size=224, crop_pct=1.0, image_mean=(0.5,) * 3))
        settings = MethodSettings(teacher="torchvision:mobilenet_v2", teacher_weights=mobilenet_weights)
        teacher = load_teacher(settings, labels("imagenet-1k"), preparation)
        pixel_values = preparation.scale(preparation.resize([image]))
        torch.testing.assert_close(teacher(pixel_values), expected, atol=1e-4, rtol=1e-4)
        assert teacher(pixel_values[..., :56, :56]).shape == (1, 1000)  # resized to its own 224
        assert not teacher.train().training and not any(p.requires_grad for p in teacher.parameters())

    def test_timm_answers_as_it_does_itself(self, tmp_path):
        timm = pytest.importorskip("timm")
        network = timm.create_model("test_resnet", num_classes=3).eval()
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        size = network.pretrained_cfg["input_size"][1]
        images = torch.rand(2, 3, size, size)
        normalise = v2.Normalize(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
        with torch.no_grad():
            expected = network(normalise(images))
        (tmp_path / "classes.json").write_text(json.dumps({"bird": [2], "cat": [0], "dog": [1]}))
        settings = MethodSettings(
            teacher="timm:test_resnet",
            teacher_weights=str(tmp_path / "weights.pt"),
            teacher_classes=str(tmp_path / "classes.json"),
        )
        preparation = Preparation(HfvfImageProcessor(size=size, crop_pct=1.0))
        teacher = load_teacher(settings, CLASSES, preparation)
        answer = teacher(PixelScale.of(preparation.processor).apply(images))
        torch.testing.assert_close(answer, expected[:, [2, 0, 1]].log_softmax(1), atol=1e-4, rtol=1e-4)

    def test_ridge_fits_both_heads_of_a_distilled_teacher_of_timm(self, tmp_path, accelerator):
        timm = pytest.importorskip("timm")
        from safetensors.torch import save_file

        network = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5).eval()
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        settings = MethodSettings(
            teacher="timm:deit_tiny_distilled_patch16_224",
            teacher_weights=str(tmp_path / "weights.safetensors"),
            teacher_head="ridge",
        )
        _, processor = quick_student(32)
        teacher = load_teacher(settings, CLASSES, Preparation(processor))
        assert list(teacher.heads) == ["head", "head_dist"]
        images, targets = coloured(9, 32)
        loader = accelerator.prepare(loader_of(images, targets))
        teacher.fit_head(accelerator, loader, 3, 1.0)
        assert (teacher(images).argmax(1) == targets).all()

    def test_a_teacher_may_be_given_smaller_images(self, mobilenet_weights):
        settings = MethodSettings(
            teacher="torchvision:mobilenet_v2", teacher_weights=mobilenet_weights, teacher_image_size=96
        )
        _, processor = quick_student(32)
        teacher = load_teacher(settings, labels("imagenet-1k"), Preparation(processor))
        seen = []
        hook = teacher.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
        teacher(batch_of(32))
        hook.remove()
        assert seen == [(2, 3, 96, 96)]

    def test_a_pickle_of_more_than_tensors_is_refused(self, tmp_path):
        torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
        settings = MethodSettings(teacher="torchvision:resnet18", teacher_weights=str(tmp_path / "model.pth"))
        _, processor = quick_student()
        with pytest.raises(ValueError, match="holds more than tensors; expected a state_dict alone") as error:
            load_teacher(settings, CLASSES, Preparation(processor))
        shown(error)

    @pytest.mark.parametrize("kind", ["ours", "transformers"])
    def test_a_folder_is_a_teacher_with_the_names_of_its_classes(self, tmp_path, kind):
        names = {"id2label": {0: "dog", 1: "cat", 2: "bird"}, "label2id": {"dog": 0, "cat": 1, "bird": 2}}
        if kind == "ours":
            model = tiny_model("poolformer", image_size=64, **names)
            processor = HfvfImageProcessor(size=64, crop_pct=1.0)
            export(model, tmp_path / "teacher", processor=processor)
        else:
            config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **names)
            model = ResNetForImageClassification(config)
            processor = ViTImageProcessor(size={"height": 64, "width": 64})
            model.save_pretrained(tmp_path / "teacher")
            processor.save_pretrained(tmp_path / "teacher")
        _, student_processor = quick_student(64)
        preparation = Preparation(student_processor)
        teacher = load_teacher(MethodSettings(teacher=str(tmp_path / "teacher")), CLASSES, preparation)
        pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        with torch.no_grad():
            expected = model.eval()(pixel_values=Preparation(processor).scale(pixels)).logits[:, [2, 1, 0]]
        torch.testing.assert_close(teacher(preparation.scale(pixels)), expected, atol=1e-5, rtol=1e-4)

    def test_ridge_gives_a_teacher_a_head_for_other_classes(self, mobilenet_weights, tmp_path, accelerator):
        _, processor = quick_student(32)
        settings = MethodSettings(
            teacher="torchvision:mobilenet_v2",
            teacher_weights=mobilenet_weights,
            teacher_head="ridge",
            teacher_image_size=96,
        )
        images, targets = coloured(18, 32)
        loader = accelerator.prepare(loader_of(images, targets, batch_size=6))
        answers = []
        for _ in range(2):  # the second time from the file
            teacher = load_teacher(settings, CLASSES, Preparation(processor))
            assert torch.equal(teacher(images[:2]), torch.zeros(2, 3))  # all classes alike until it has learned them
            teacher.fit_head(accelerator, loader, 3, 1024.0, tmp_path / "head.safetensors")
            answers.append(teacher(images))
            loader = None
        assert torch.equal(*answers) and (answers[0].argmax(1) == targets).all()
        assert F.cross_entropy(answers[0], targets) < 0.1
        with pytest.raises(ValueError, match=r"has the tensors .*; expected \{'weight': \(4, 1280\)") as error:
            load_teacher(settings, CLASSES, Preparation(processor)).fit_head(
                accelerator, loader, 4, 1.0, tmp_path / "head.safetensors"
            )
        shown(error)

    @pytest.mark.parametrize(
        ("name", "weights", "sentence"),
        [
            ("torchvision:mobilenet_v2", None, "without --teacher-weights; a random teacher teaches nothing"),
            ("timm:resnet18", None, "without --teacher-weights"),
            ("torchvision:mobilenet_v4", "a.pth", "model of torchvision 'mobilenet_v4'; the nearest .*mobilenet_v2"),
            ("timm:resnet_18", "a.pth", "model of timm 'resnet_18'; the nearest known names are"),
            ("torchvision:resnet18", "a.pth", "--teacher-weights a.pth cannot be read: .*No such file"),
            ("torchvision:resnet18", "a.bin", "'a.bin'; expected a file ending with .safetensors, .pth or .pt"),
            ("torchvision:resnet18", "MOBILENET", "do not fit resnet18: "),
            ("timm:resnet18.nobody", "MOBILENET", "timm cannot build 'resnet18.nobody': Invalid pretrained tag"),
            ("torchvision:squeezenet1_0", "MOBILENET", "SqueezeNet has no linear layer"),
            ("vit-base-patch16-224", "a.pth", "given for 'vit-base-patch16-224'; expected it with timm:NAME"),
            ("vit-base-patch16-225", None, "Unknown model 'vit-base-patch16-225'; the nearest known names are"),
        ],
    )
    def test_a_teacher_that_cannot_be_had(self, name, weights, sentence, mobilenet_weights):
        if weights == "MOBILENET":
            weights = mobilenet_weights
        _, processor = quick_student()
        with pytest.raises(ValueError, match=sentence) as error:
            load_teacher(MethodSettings(teacher=name, teacher_weights=weights), CLASSES, Preparation(processor))
        shown(error)

    def test_several_classes_an_image_are_refused(self):
        _, processor = quick_student()
        with pytest.raises(ValueError, match="images of several classes; expected one class an image"):
            load_teacher(MethodSettings(teacher="x"), CLASSES, Preparation(processor), multi_label=True)

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"teacher_head": "ridge"}, "--teacher-head was given, but no --teacher was named"),
            ({"teacher": "x", "teacher_head": "ridge", "teacher_classes": "y"}, "--teacher-classes was given beside"),
            ({"teacher": "x", "method": "knn"}, "--teacher was named with --method knn"),
            ({"shots": 3}, "--shots was given with --method full; expected it with knn or ridge"),
            ({"ridge_strength": 0.0}, "--ridge-strength is 0.0; expected more than 0"),
        ],
    )
    def test_options_that_do_not_go_together(self, options, sentence):
        with pytest.raises(ValueError, match=sentence) as error:
            FinetuneSettings.from_options(options)
        shown(error)


class FixedTeacher(nn.Module):
    """Answers the same for every image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, pixel_values):
        return self.logits.expand(len(pixel_values), -1)


class TestDistillation:
    def test_hard_and_soft_follow_their_formulas(self):
        base, answers = ClassificationLoss("cross-entropy"), [0.5, 2.0, -1.0]
        model = tiny_model("vit", num_labels=3).eval()
        batch = {"pixel_values": batch_of(32), "labels": torch.tensor([0, 2])}
        with torch.no_grad():
            logits = model(pixel_values=batch["pixel_values"]).logits
            hard = DistillationObjective(base, FixedTeacher(answers), "hard", 0.25)(model, batch, 0)
            soft = DistillationObjective(base, FixedTeacher(answers), "soft", 0.25, 2.0)(model, batch, 0)
        labelled = F.cross_entropy(logits, batch["labels"])
        expected = 0.75 * labelled + 0.25 * F.cross_entropy(logits, torch.tensor([1, 1]))
        torch.testing.assert_close(hard, expected)
        teacher, student = (torch.tensor([answers] * 2) / 2).softmax(1), (logits / 2).softmax(1)
        divergence = (teacher * (teacher / student).log()).sum(1).mean()
        torch.testing.assert_close(soft, 0.75 * labelled + 0.25 * 4 * divergence)

    def test_a_distilled_deit_learns_labels_and_teacher_with_different_heads(self):
        model = tiny_model("deit", id2label=dict(enumerate(CLASSES)), label2id={n: i for i, n in enumerate(CLASSES)})
        assert type(model).__name__ == "DeiTForImageClassificationWithTeacher"
        assert [head.out_features for head in classifier_heads(model).values()] == [3, 3]
        batch = {"pixel_values": batch_of(32), "labels": torch.tensor([0, 2])}
        for weight, untouched in ((0.0, "distillation_classifier"), (1.0, "cls_classifier")):
            model.zero_grad()
            objective = DistillationObjective(
                ClassificationLoss("cross-entropy"), FixedTeacher([0.0, 3.0, 0.0]), "hard", weight
            )
            objective(model, batch, 0).backward()
            for name, head in classifier_heads(model).items():
                assert (head.weight.grad.abs().sum() == 0) == (name == untouched)

    def test_the_settings_build_a_distilled_deit_with_the_names_of_the_classes(self):
        shape = ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=32"]
        settings = FinetuneSettings.from_options({"model": "deit-tiny-distilled-patch16-224", "model_config": shape})
        model = build_model(settings.model, CLASSES, image_size=32).model
        assert [head.out_features for head in classifier_heads(model).values()] == [3, 3]
        assert model.config.id2label == dict(enumerate(CLASSES))
        assert model(pixel_values=batch_of(32)).distillation_logits.shape == (2, 3)

    @pytest.mark.parametrize("kind", ["hard", "soft"])
    def test_a_student_comes_to_agree_with_a_real_network(self, kind, mobilenet_weights, tmp_path):
        """Without labels in the loss: what it learns is the MobileNetV2's opinion of ImageNet classes."""
        torch.manual_seed(0)
        lists = {"bird": list(range(7, 25)), "cat": list(range(281, 294)), "dog": list(range(151, 269))}
        (tmp_path / "classes.json").write_text(json.dumps(lists))
        settings = MethodSettings(
            teacher="torchvision:mobilenet_v2",
            teacher_weights=mobilenet_weights,
            teacher_classes=str(tmp_path / "classes.json"),
            teacher_image_size=96,
        )
        model, processor = quick_student(32)
        teacher = load_teacher(settings, CLASSES, Preparation(processor))
        objective = DistillationObjective(ClassificationLoss("cross-entropy"), teacher, kind, 1.0, 2.0)
        images, targets = coloured(9, 32)
        batch = {"pixel_values": images, "labels": targets}
        optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
        losses = []
        for step in range(12):
            optimizer.zero_grad()
            loss = objective(model, batch, step)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
