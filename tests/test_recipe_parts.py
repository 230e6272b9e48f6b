"""The parts of a recipe one by one: losses, mixing, averages, rates by layer, frozen statistics, resolution, memory."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hf_vit_family import create_model
from hf_vit_family.models.compat import enable_activation_checkpointing
from hf_vit_family.training.configuration import AugmentationSettings, OptimisationSettings
from hf_vit_family.training.data.sampling import Mixing
from hf_vit_family.training.job import compile_blocks
from hf_vit_family.training.model import change_resolution
from hf_vit_family.training.optimisation import (
    ClassificationLoss,
    ClassificationObjective,
    freeze_batch_norm,
    layer_depths,
    make_average,
    make_optimizer,
    parameter_groups,
    synchronise_batch_norm,
)
from hf_vit_family.training.preflight import bytes_of_state, bytes_per_image, needed_chunks

SMALL = {"hidden_sizes": [16, 32], "depths": [1, 2]}
TINY_MAXVIT = {**SMALL, "stem_hidden_sizes": [8, 8], "window_size": 4, "attention_head_size": 8, "head_hidden_size": 16}
TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ONE_OF_EACH = [
    *("poolformerv2_s12", "twins_svt_small", "maxvit_nano_rw_256", "vit-base-patch16-224", "beit-base-patch16-224"),
    *("deit-tiny-distilled-patch16-224", "swin-tiny-patch4-window7-224", "swinv2-tiny-patch4-window8-256", "cvt-13"),
    *("pvt-tiny-224", "pvt_v2_b0", "mobilevit-xx-small", "mobilevitv2-0.5-imagenet1k-256"),
]


class TestLosses:
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])

    def test_labels_and_their_one_hot_shares_cost_the_same(self):
        labels = torch.tensor([0, 1])
        for kind in ("cross-entropy", "bce"):
            loss = ClassificationLoss(kind, 0.1)
            assert torch.isclose(loss(self.logits, labels), loss(self.logits, F.one_hot(labels, 3).float()))

    def test_mixed_labels_cost_the_mixed_loss(self):
        loss = ClassificationLoss("cross-entropy")
        first, second = torch.tensor([0, 1]), torch.tensor([2, 2])
        mixed = 0.3 * F.one_hot(first, 3) + 0.7 * F.one_hot(second, 3)
        expected = 0.3 * F.cross_entropy(self.logits, first) + 0.7 * F.cross_entropy(self.logits, second)
        assert torch.isclose(loss(self.logits, mixed), expected)

    def test_smoothing_and_weights_by_hand(self):
        weights = torch.tensor([0.5, 2.0, 1.0])
        loss = ClassificationLoss("cross-entropy", 0.3, weights)(self.logits, torch.tensor([0, 1]))
        logs = self.logits.log_softmax(1)
        shares = 0.7 * F.one_hot(torch.tensor([0, 1]), 3) + 0.1
        assert torch.isclose(loss, -(shares * weights * logs).sum(1).mean(), atol=1e-6)

    def test_halves_of_a_weighted_batch_average_to_the_whole(self):
        loss = ClassificationLoss("cross-entropy", 0.1, torch.tensor([0.1, 3.0, 1.0]))
        labels = torch.tensor([0, 1])
        halves = [loss(self.logits[[row]], labels[[row]]) for row in (0, 1)]
        assert torch.isclose(torch.stack(halves).mean(), loss(self.logits, labels))

    def test_several_classes_an_image(self):
        targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        positive = torch.tensor([3.0, 1.0, 2.0])
        loss = ClassificationLoss("bce", class_weights=positive)(self.logits, targets)
        expected = -(positive * targets * F.logsigmoid(self.logits) + (1 - targets) * F.logsigmoid(-self.logits))
        assert torch.isclose(loss, expected.mean())


class TestMixing:
    @property
    def batch(self):
        pixels = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return {"pixel_values": pixels, "labels": torch.arange(6) % 4, "indices": torch.arange(6)}

    def mixing(self, **options):
        return Mixing(AugmentationSettings(**options), 4, seed=5)

    @pytest.mark.parametrize("kind", ["mixup", "cutmix"])
    def test_images_and_labels_are_mixed_in_the_same_proportion(self, kind):
        for step in range(20):
            mixed = self.mixing(**{kind: 1.0})(self.batch, step, 0)
            assert torch.allclose(mixed["labels"].sum(1), torch.ones(6))
            share = mixed["labels"][0, 0].item()  # the other image of the pair is the one before, of another class
            own, other = self.batch["pixel_values"], self.batch["pixel_values"].roll(1, 0)
            if kind == "mixup":
                assert torch.allclose(mixed["pixel_values"], share * own + (1 - share) * other, atol=1e-6)
            else:
                kept = (mixed["pixel_values"] == own).all(1).float().mean((1, 2))
                assert torch.allclose(kept, torch.full((6,), share), atol=1e-6)

    def test_a_draw_belongs_to_step_and_part_and_leaves_the_generator_alone(self):
        mixing = self.mixing(mixup=0.8, cutmix=1.0)
        first = mixing(self.batch, 3, 1)["pixel_values"]
        state = torch.get_rng_state()
        again = mixing(self.batch, 3, 1)["pixel_values"]
        assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(first, mixing(self.batch, 4, 1)["pixel_values"])
        assert not torch.equal(first, mixing(self.batch, 3, 2)["pixel_values"])

    def test_a_share_of_the_steps_is_mixed(self):
        mixing = self.mixing(mixup=0.8, mix_probability=0.25)
        mixed = [mixing(self.batch, step, 0)["labels"].ndim == 2 for step in range(400)]
        assert 70 < sum(mixed) < 130

    def test_labels_of_several_classes_are_mixed_too(self):
        labels = (torch.rand(6, 4) > 0.5).float()
        mixed = self.mixing(mixup=1.0)({**self.batch, "labels": labels}, 0, 0)["labels"]
        assert mixed.shape == (6, 4) and not torch.equal(mixed, labels)

    def test_nothing_is_mixed_by_default(self):
        assert not self.mixing()


def test_an_average_follows_with_a_decay_that_warms_up():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = make_average(model, 0.9)
    expected, weights = None, []
    for step in range(40):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
            model[1].running_mean.fill_(float(step))
            model[1].num_batches_tracked.fill_(step)
        average.update_parameters(model)
        if expected is None:
            expected = float(step)  # the first one is taken as it is
        else:
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * step
        weights.append(expected)
    for tensor in (average.module[0].weight, average.module[1].running_mean):
        assert torch.allclose(tensor, torch.full_like(tensor, weights[-1]), rtol=1e-4)
    assert average.module[1].num_batches_tracked == 39
    assert not any(parameter.requires_grad for parameter in average.parameters())


class TestLayers:
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_depth_grows_with_the_network_in_every_family(self, name):
        model = create_model(name, num_labels=3)
        size = getattr(model.config, "image_size", 224)
        size = tuple(size) if isinstance(size, list | tuple) else (size, size)
        training = [module.training for module in model.modules()]
        depths = layer_depths(model, size)
        assert set(depths) == {name for name, _ in model.named_parameters()}
        values = sorted(set(depths.values()))
        assert values == list(range(len(values))) and len(values) >= 10
        deepest = [name for name, depth in depths.items() if depth == values[-1]]
        assert all("classifier" in name or "layernorm" in name for name in deepest)
        outputs = [name for name, parameter in model.named_parameters() if parameter.shape[0] == 3 and "class" in name]
        assert outputs and all(depths[name] == values[-1] for name in outputs)
        first = [name for name, depth in depths.items() if depth == 0]
        assert any("embed" in name or "stem" in name for name in first)
        assert [module.training for module in model.modules()] == training
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_rates_fall_by_the_factor_from_layer_to_layer(self):
        model = create_model("vit-base-patch16-224", **TINY_VIT, num_labels=3)
        groups = parameter_groups(model, 0.05, learning_rate=1.0, layer_decay=0.5, image_size=(224, 224))
        rates = {}
        for group in groups:
            for parameter in group["params"]:
                rates[parameter] = group["lr"]
        named = {name: rates[parameter] for name, parameter in model.named_parameters()}
        assert named["classifier.weight"] == 1.0
        assert named["vit.layers.1.mlp.fc1.weight"] == 0.5 and named["vit.layers.0.mlp.fc1.weight"] == 0.25
        assert named["vit.embeddings.cls_token"] == 0.125
        assert len(named) == len(rates) == sum(len(group["params"]) for group in groups)
        assert all(group["weight_decay"] in (0.0, 0.05) for group in groups)

    def test_sgd_has_momentum(self):
        model = nn.Linear(2, 2)
        settings = OptimisationSettings(optimizer="sgd", momentum=0.8, learning_rate=0.1, weight_decay=0.0)
        optimizer = make_optimizer(model, settings)
        assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0.8


class TestBatchNorm:
    def test_frozen_statistics_stay(self):
        model = create_model("maxvit_tiny_tf_224", image_size=32, **TINY_MAXVIT, num_labels=3).train()
        before = {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
        assert before
        freeze_batch_norm(model)
        model(torch.randn(4, 3, 32, 32))
        assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers() if name in before)
        assert model.model.training

    def test_a_synchronised_model_answers_as_before(self):
        model = create_model("maxvit_tiny_tf_224", image_size=32, **TINY_MAXVIT, num_labels=3).eval()
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        images = torch.randn(2, 3, 32, 32)
        expected = model(images).logits
        names = set(model.state_dict())
        changed = synchronise_batch_norm(copy.deepcopy(model))
        assert sum(isinstance(module, nn.SyncBatchNorm) for module in changed.modules()) > 3
        assert set(changed.state_dict()) == names
        assert torch.allclose(changed(images).logits, expected, atol=1e-6)


class TestResolution:
    @pytest.mark.parametrize(
        "name", ["vit-base-patch16-224", "deit-tiny-distilled-patch16-224", "beit-base-patch16-224"]
    )
    def test_positions_are_interpolated_and_all_else_is_kept(self, name):
        model = create_model(name, **TINY_VIT, image_size=32, patch_size=8, num_labels=3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.5, 0.5)
        larger = change_resolution(model, 64)
        assert larger.config.image_size == 64 and model.config.image_size == 32
        assert larger(torch.randn(2, 3, 64, 64)).logits.shape == (2, 3)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        changed = {key for key, value in larger.state_dict().items() if value.shape != shapes[key]}
        assert changed and all("position" in key for key in changed)
        for key, value in larger.state_dict().items():
            assert key in changed or torch.equal(value, model.state_dict()[key])

    def test_embeddings_are_resized_as_an_image(self):
        model = create_model("vit-base-patch16-224", **TINY_VIT, image_size=32, patch_size=8, num_labels=3)
        old = torch.randn_like(model.vit.embeddings.position_embeddings)
        model.vit.embeddings.position_embeddings.data.copy_(old)
        new = change_resolution(model, 64).vit.embeddings.position_embeddings
        assert torch.equal(new[:, 0], old[:, 0])
        grid = old[:, 1:].reshape(1, 4, 4, 16).permute(0, 3, 1, 2)
        expected = F.interpolate(grid, (8, 8), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 64, 16)
        assert torch.allclose(new[:, 1:], expected, atol=1e-6)

    def test_models_without_a_size_stay(self):
        model = create_model("pvt_v2_b0", num_labels=3)
        assert change_resolution(model, 160).config.num_labels == 3


class TestMemory:
    def objective(self):
        return ClassificationObjective(ClassificationLoss("cross-entropy"))

    def batch(self, count=2):
        return {"pixel_values": torch.zeros(count, 3, 32, 32), "labels": torch.zeros(count, dtype=torch.int64)}

    def test_an_estimate_grows_with_depth_and_shrinks_with_checkpointing_and_changes_nothing(self):
        def model(depth):
            sizes = {**TINY_MAXVIT, "depths": [1, depth]}
            return create_model("maxvit_tiny_tf_224", image_size=32, **sizes, num_labels=3).eval()

        shallow, deep = model(1), model(5)
        before = {name: value.clone() for name, value in deep.state_dict().items()}
        state = torch.get_rng_state()
        small, large = (bytes_per_image(kind, self.objective(), self.batch()) for kind in (shallow, deep))
        assert large > 1.5 * small > 0
        assert all(torch.equal(value, before[name]) for name, value in deep.state_dict().items())
        assert not deep.training and torch.equal(torch.get_rng_state(), state)
        enable_activation_checkpointing(deep)
        assert bytes_per_image(deep, self.objective(), self.batch()) < large

    def test_an_estimate_counts_what_a_linear_layer_keeps(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(3 * 32 * 32, 4)

            def forward(self, pixel_values):
                return type("Output", (), {"logits": self.layer(pixel_values.flatten(1))})

        kept = bytes_per_image(Model(), self.objective(), self.batch())
        assert 3 * 32 * 32 * 4 <= kept <= 3 * 32 * 32 * 4 + 200

    def test_chunks_are_halved_until_they_fit(self):
        assert needed_chunks(64, 10, 100, 100_000) == 1
        assert needed_chunks(64, 1000, 1000, 1000 + 1.3 * 16 * 1000) == 4
        assert needed_chunks(6, 1000, 0, 1300) == 6
        assert needed_chunks(6, 1000, 0, 1299) is None

    def test_state_of_weights_gradients_optimiser_and_average(self):
        model = nn.Linear(10, 10, bias=False)
        assert bytes_of_state(model, states=2, average=False) == 400 * 4
        assert bytes_of_state(model, states=2, average=True) == 400 * 5
        model.requires_grad_(False)
        assert bytes_of_state(model, states=2, average=False) == 400


@pytest.mark.slow
@pytest.mark.parametrize("name", ["twins_svt_small", "vit-base-patch16-224", "cvt-13"])
def test_compiled_blocks_give_the_same_loss_and_gradients(name):
    sizes = {"twins_svt_small": {"depths": [2, 1, 1, 1]}, "vit-base-patch16-224": TINY_VIT, "cvt-13": {}}[name]
    model = create_model(name, num_labels=3, **sizes)
    names = set(model.state_dict())
    images = torch.randn(2, 3, 224, 224)
    results = []
    for _ in range(2):
        model.zero_grad()
        loss = F.cross_entropy(model(images).logits, torch.tensor([0, 2]))
        loss.backward()
        results.append((loss.item(), next(model.parameters()).grad.clone()))
        compile_blocks(model)
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-4)
    assert np.allclose(results[0][1], results[1][1], atol=1e-3)
    assert set(model.state_dict()) == names
