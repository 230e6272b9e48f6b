"""Class-specific explanations against formulas that are written out here."""

from functools import partial

import pytest
import torch
import zoo_models
from torch import nn
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetForImageClassification
from zoo_models import TINY, images, shown, tiny_model

from hf_vit_family import fitting_explanations, grad_cam, input_gradient, legrad, occlusion_map, receptive_field
from hf_vit_family.inspection import EXPLANATIONS
from hf_vit_family.inspection.capture import capture_attention, exact_gradients
from hf_vit_family.inspection.patches import (
    fill_patches,
    first_patches,
    make_filling,
    random_orders,
    rank_patches,
    to_grid,
)
from hf_vit_family.inspection.reading import find_mixing

random_model = partial(zoo_models.random_model, num_labels=5)


def state_of(model):
    """All that an inspection has to leave alone."""
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training) for m in model.modules()
    ]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [(p.requires_grad, p.grad) for p in model.parameters()]
    return model.config._attn_implementation, hooks, gradients, weights


def assert_same_state(before, after):
    assert before[:3] == after[:3]
    assert all(torch.equal(tensor, after[3][name]) for name, tensor in before[3].items())


# ------------------------------------------------------------------------------------------------- every family


@pytest.mark.parametrize("family", TINY)
def test_every_explanation_of_every_family(family):
    """A map for each image that does not depend on the others, and a model that stays as it is."""
    model, pixel_values = random_model(family).train(), images(family)
    model.base_model.eval()
    before = state_of(model)
    names = fitting_explanations(model)
    assert ("legrad" in names) == (family != "poolformer")
    for name in names:
        options = {"grid": (2, 3), "window": 1} if name == "occlusion" else {}
        maps = EXPLANATIONS[name](model, pixel_values, [2, 3], **options)
        assert maps.shape[0] == 2 and maps.ndim == 3 and maps.dtype == torch.float32
        assert maps.isfinite().all() and not maps.requires_grad
        # one image may have no place that speaks for its class
        assert maps.flatten(1).std(1).max() > 0, f"even maps of {name} prove nothing"
        second = EXPLANATIONS[name](model, pixel_values[1:], 3, **options)
        torch.testing.assert_close(maps[1:], second, rtol=1e-3, atol=1e-6 * float(maps.abs().max()) + 1e-7)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("family", ["vit", "twins", "poolformer", "mobilevit"])
@pytest.mark.parametrize("name", ["legrad", "grad_cam", "input_gradient", "occlusion"])
def test_the_model_stays_as_it_is_after_an_exception(family, name):
    if family == "poolformer" and name == "legrad":
        pytest.skip("a PoolFormer has no attention")
    model, pixel_values = random_model(family).train(), images(family)
    before = state_of(model)

    class Broken(nn.Module):
        def forward(self, *args, **kwargs):
            raise KeyError("broken")

    whole, model.classifier = model.classifier, Broken()
    with pytest.raises(KeyError):
        EXPLANATIONS[name](model, pixel_values)
    model.classifier = whole
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("name", ["legrad", "grad_cam", "input_gradient", "gradient_rollout"])
def test_frozen_weights_and_switched_off_gradients(name):
    """Adapters freeze weights, and evaluation runs without gradients."""
    model, pixel_values = random_model("vit"), images("vit")
    expected = EXPLANATIONS[name](model, pixel_values, 2)
    model.requires_grad_(False)
    with torch.no_grad():
        torch.testing.assert_close(EXPLANATIONS[name](model, pixel_values, 2), expected)


@pytest.mark.parametrize("name", ["legrad", "grad_cam", "input_gradient", "occlusion"])
def test_the_class_counts_and_the_predicted_one_is_the_default(name):
    model, pixel_values = random_model("twins"), images("twins")
    explain = EXPLANATIONS[name]
    first, second = explain(model, pixel_values, 1), explain(model, pixel_values, [2, 3])
    assert (first - second).abs().max() > 1e-3 * first.abs().max()
    predicted = model(pixel_values).logits.argmax(1)
    torch.testing.assert_close(explain(model, pixel_values), explain(model, pixel_values, predicted))


# -------------------------------------------------------------------------------------------------- the formulas


@pytest.mark.parametrize("family", ["mobilevit", "mobilevitv2", "swin", "twins"])
def test_grad_cam_is_the_class_activation_map_of_a_pooled_linear_head(family):
    """Zhou et al. (2016): the classifier's weights over the channels of the last map; no norm stands between."""
    model, pixel_values = random_model(family), images(family)
    if family == "swin":
        model.base_model.layernorm = nn.Identity()
    if family == "twins":
        model.base_model.norm = nn.Identity()
    with torch.no_grad():
        last = model.base_model(pixel_values).last_hidden_state
    last = last.unflatten(1, (2, 2)) if last.ndim == 3 else last.permute(0, 2, 3, 1)
    activation = torch.einsum("bhwc,c->bhw", last, model.classifier.weight[3].detach()).clamp(min=0)
    cam = grad_cam(model, pixel_values, 3)
    places = last.shape[1] * last.shape[2]
    assert activation.max() > 0
    torch.testing.assert_close(cam, activation / places)


def test_grad_cam_of_a_class_token_takes_what_the_last_block_is_given():
    model, pixel_values = random_model("vit"), images("vit")
    outputs = model(pixel_values, output_hidden_states=True)
    tokens = outputs.hidden_states[-2]
    (gradient,) = torch.autograd.grad(outputs.logits[:, 2].sum(), tokens)
    tokens, gradient = tokens[:, 1:].detach(), gradient[:, 1:]
    expected = (tokens * gradient.mean(1, keepdim=True)).sum(-1).clamp(min=0).view(2, 4, 4)
    torch.testing.assert_close(grad_cam(model, pixel_values, 2), expected)


def test_grad_cam_goes_back_to_the_last_map_with_several_places():
    """32 pixels are a single token in the last of four stages, 2x2 in the third."""
    for family in ("poolformer", "twins"):
        model = random_model(family)
        assert grad_cam(model, images(family, (32, 32))).shape == (2, 2, 2)
    model = random_model("poolformer")
    with pytest.raises(ValueError, match="expected more pixels") as error:
        grad_cam(model, images("poolformer", (4, 4)))
    shown(error)


def written_out_vit(model, pixel_values):
    """Attention weights of a ViT as leaves, and the class token's logits behind each layer."""
    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    tokens = model.vit.embeddings(pixel_values)
    found, logits = [], []
    for layer in model.vit.layers:
        normed, attention = layer.layernorm_before(tokens), layer.attention
        query, key, value = (
            projection(normed).unflatten(-1, (heads, width)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        weights = (query @ key.transpose(2, 3) / width**0.5).softmax(-1)
        found.append(weights)
        tokens = tokens + attention.o_proj((weights @ value).transpose(1, 2).flatten(2))
        tokens = tokens + layer.mlp.fc2(F.gelu(layer.mlp.fc1(layer.layernorm_after(tokens))))
        logits.append(model.classifier(model.vit.layernorm(tokens)[:, 0]))
    return found, logits


@pytest.mark.parametrize("layers", [1, 3])
def test_legrad_of_a_vit_by_hand(layers):
    model, pixel_values = random_model("vit", num_hidden_layers=layers), images("vit")
    found, logits = written_out_vit(model, pixel_values)
    torch.testing.assert_close(logits[-1], model(pixel_values).logits)
    expected = torch.zeros(2, 4, 4)
    for weights, of_layer in zip(found, logits, strict=True):
        (gradient,) = torch.autograd.grad(of_layer[:, 3].sum(), weights, retain_graph=True)
        expected += gradient.clamp(min=0).mean(1).sum(1)[:, 1:].view(2, 4, 4) / layers
    torch.testing.assert_close(legrad(model, pixel_values, 3), expected, rtol=1e-4, atol=1e-7)


def test_legrad_of_windows_by_hand():
    """One stage of two blocks with windows of 3 on 4x4 tokens: padded, and shifted in the second block."""
    model = random_model("swin", embed_dim=8, depths=[2], num_heads=[2], window_size=3, image_size=16)
    pixel_values = images("swin", (16, 16))
    modules = find_mixing(model).layers(model)
    expected = torch.zeros(2, 4, 4)
    for layer, shift in ((0, 0), (1, 1)):
        kept = {}
        block = model.base_model.encoder.layers[0].blocks[layer]
        handle = block.register_forward_hook(lambda module, given, output, kept=kept: kept.update(tokens=output))
        weights, _ = capture_attention(model, pixel_values, modules, gradients=True)
        handle.remove()
        tokens = kept["tokens"][0] if isinstance(kept["tokens"], tuple) else kept["tokens"]
        logits = model.classifier(model.base_model.layernorm(tokens).mean(1))
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), weights[layer])
        matrix = gradient.clamp(min=0).mean(1).view(2, 4, 9, 9)  # (images, windows, queries, keys)
        places = {}
        for row in range(6):
            for column in range(6):
                window, inside = (row // 3) * 2 + column // 3, (row % 3) * 3 + column % 3
                places[window, inside] = ((row + shift) % 6, (column + shift) % 6)
        real = {place: token for place, token in places.items() if max(token) < 4}
        for (window, query), _ in real.items():
            for (other, key), (row, column) in real.items():
                if window == other:
                    expected[:, row, column] += matrix[:, window, query, key] / 2
    torch.testing.assert_close(legrad(model, pixel_values, 0), expected, rtol=1e-4, atol=1e-7)


def test_legrad_of_reduced_keys_shares_them_out():
    """PVT's first stage, read from the model's own logit: 16 keys, each of 4x4 tokens; the sum over queries is kept."""
    model, pixel_values = random_model("pvt"), images("pvt")
    modules = find_mixing(model).layers(model)
    weights, outputs = capture_attention(model, pixel_values, modules, gradients=True)
    gradients = torch.autograd.grad(outputs.logits[:, 1].sum(), weights)
    reductions, sides = model.config.sequence_reduction_ratios, (16, 8, 4, 2)
    expected = torch.zeros(2, 16, 16)
    for gradient, reduction, side in zip(gradients, reductions, sides, strict=True):
        received = gradient.clamp(min=0).mean(1).sum(1)
        received = received[:, -((side // reduction) ** 2) :].view(2, side // reduction, side // reduction)
        size = 16 // (side // reduction)
        expected += received.repeat_interleave(size, 1).repeat_interleave(size, 2) / size**2 / 4
    # the last stage has one block, whose logit is the model's own
    torch.testing.assert_close(legrad(model, pixel_values, 1), expected, rtol=1e-4, atol=1e-8)


def test_legrad_counts_a_row_that_queries_share_once():
    """MobileViTV2: one weight a key, whose gradient is already that of all queries.

    The last block's logit is the model's own, and so are those of the blocks before, which are in earlier stages.
    """
    model, pixel_values = random_model("mobilevitv2"), images("mobilevitv2")
    modules = find_mixing(model).layers(model)
    weights, outputs = capture_attention(model, pixel_values, modules, gradients=True)
    gradients = torch.autograd.grad(outputs.logits[:, 1].sum(), weights)
    expected = sum(gradient.clamp(min=0).flatten(1).sum(1) for gradient in gradients) / len(weights)
    torch.testing.assert_close(legrad(model, pixel_values, 1).sum((1, 2)), expected, rtol=1e-3, atol=1e-7)


def test_input_gradients_are_finite_differences():
    model, pixel_values = random_model("vit").double(), images("vit", batch=1).double()
    found = input_gradient(model, pixel_values, 2)
    for row, column in ((0, 0), (13, 7), (31, 20)):
        slopes = []
        for channel in range(3):
            step = torch.zeros_like(pixel_values)
            step[0, channel, row, column] = 1e-5
            with torch.no_grad():
                up, down = (model(pixel_values + sign * step).logits[0, 2] for sign in (1, -1))
            slopes.append(abs(float(up - down)) / 2e-5)
        assert found[0, row, column].item() == pytest.approx(max(slopes), rel=1e-4)


def test_gradients_of_a_single_image_of_cvt():
    """torch's batch norms get them wrong where a single image's gradient was permuted; found by differences here."""
    model, pixel_values = random_model("cvt").double(), images("cvt", batch=1).double()
    step = torch.zeros_like(pixel_values)
    step[0, 1, 30, 30] = 1e-6
    with torch.no_grad():
        slope = float(model(pixel_values + step).logits[0, 4] - model(pixel_values - step).logits[0, 4]) / 2e-6
    (field,) = receptive_field(model, pixel_values, [-1])
    (together,) = receptive_field(model, pixel_values.repeat(2, 1, 1, 1), [-1])
    torch.testing.assert_close(field.values, together.values)
    with exact_gradients(model), torch.enable_grad():
        pixels = pixel_values.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(pixels).logits[0, 4], pixels)
    assert gradient[0, 1, 30, 30].item() == pytest.approx(slope, rel=1e-4)
    torch.testing.assert_close(input_gradient(model, pixel_values, 4)[0], gradient[0].abs().amax(0).float())


def test_occlusion_covers_every_patch_equally_often():
    """The logits are linear in the patches, here told by a model of one weight a patch."""
    model, pixel_values = random_model("vit"), images("vit", batch=3)
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    spread = weight.repeat_interleave(8, 0).repeat_interleave(8, 1) / 64

    def forward(pixel_values):
        score = (pixel_values.mean(1) * spread).sum((1, 2))
        return type("Output", (), {"logits": torch.stack([score, -score], 1)})

    model.forward = forward
    for window in (1, 2):
        found = occlusion_map(model, pixel_values, 0, (4, 4), window, "zero", batch_size=7)
        whole = forward(pixel_values).logits.softmax(1)[:, 0]
        for row, column in ((0, 0), (1, 2), (3, 3)):
            falls = []
            for top in range(row - window + 1, row + 1):
                for left in range(column - window + 1, column + 1):
                    covered = pixel_values.clone()
                    down, right = (
                        slice(max(top, 0) * 8, (top + window) * 8),
                        slice(max(left, 0) * 8, (left + window) * 8),
                    )
                    covered[:, :, down, right] = 0
                    falls.append(whole - forward(covered).logits.softmax(1)[:, 0])
            torch.testing.assert_close(found[:, row, column], torch.stack(falls).mean(0), atol=1e-6, rtol=1e-4)


def test_baselines_know_the_image_alone():
    model, pixel_values = random_model("vit"), images("vit", batch=4)
    random = EXPLANATIONS["random"](model, pixel_values)
    assert torch.equal(random[2:3], EXPLANATIONS["random"](model, pixel_values[2:3], 1))
    assert (random[0] - random[1]).abs().mean() > 0.2
    assert not torch.equal(random, EXPLANATIONS["random"](model, pixel_values, seed=1))
    centre = EXPLANATIONS["centre_gaussian"](model, pixel_values)
    torch.testing.assert_close(centre, centre.flip(1))
    torch.testing.assert_close(centre, centre.transpose(1, 2))
    # one standard deviation, a quarter of 32 pixels, away from the middle
    assert float(centre[0, 24, 16] / centre[0, 16, 16]) == pytest.approx(
        torch.exp(torch.tensor(-0.5 * (8.5**2 - 0.5**2) / 64)).item()
    )


# ------------------------------------------------------------------------------------------------------- patches


@pytest.mark.parametrize(
    ("source", "target"), [((3, 5), (7, 7)), ((28, 28), (7, 4)), ((7, 7), (7, 7)), ((1, 1), (2, 3))]
)
def test_maps_are_shared_out_by_area(source, target):
    maps = torch.randn(2, *source, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = to_grid(maps, target)
    fine = maps.repeat_interleave(target[0], 1).repeat_interleave(target[1], 2) / (target[0] * target[1])
    expected = fine.unflatten(2, (target[1], source[1])).unflatten(1, (target[0], source[0])).sum((2, 4))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum((1, 2)), maps.sum((1, 2)))


def test_patches_are_ranked_and_equal_ones_shuffled():
    maps = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]])
    assert rank_patches(maps, (2, 2), random_orders(1, 4, 0)).tolist() == [[1, 2, 3, 0]]
    even = torch.full((300, 4, 4), 0.1)
    order = rank_patches(even, (2, 2), random_orders(300, 4, 0))
    assert torch.equal(order, random_orders(300, 4, 0))
    assert torch.bincount(order[:, 0], minlength=4).min() > 50
    order = rank_patches(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]).expand(300, 2, 2), (2, 2), random_orders(300, 4, 1))
    assert (order[:, 0] == 1).all() and torch.bincount(order[:, 1], minlength=4).tolist()[1] == 0
    assert torch.bincount(order[:, 1], minlength=4)[[0, 2, 3]].min() > 60


def test_patches_are_filled():
    pixel_values = images("vit", (8, 12))
    chosen = first_patches(torch.tensor([[5, 0, 1, 2, 3, 4], [2, 3, 4, 5, 0, 1]]), 1)
    filled = fill_patches(pixel_values, torch.zeros_like(pixel_values), chosen, (2, 3))
    expected = pixel_values.clone()
    expected[0, :, 4:, 8:] = 0
    expected[1, :, :4, 8:] = 0
    assert torch.equal(filled, expected)
    mean = make_filling(pixel_values, "mean")
    torch.testing.assert_close(mean[1, 2], torch.full((8, 12), float(pixel_values[1, 2].mean())))
    even = torch.full((1, 3, 40, 40), 0.7)
    torch.testing.assert_close(make_filling(even, "blur"), even)
    dot = torch.zeros(1, 1, 41, 41)
    dot[0, 0, 20, 20] = 1
    blurred = make_filling(dot, "blur")[0, 0]
    assert float(blurred[20, 20] / blurred[20, 24]) == pytest.approx(2.71828 ** (16 / (2 * 4.1**2)), rel=1e-3)


# ----------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_is_told():
    vit, pixel_values = random_model("vit"), images("vit")
    poolformer = tiny_model("poolformer")
    wrong = [
        (lambda: legrad(poolformer, images("poolformer")), "no attention"),
        (lambda: grad_cam(nn.Linear(2, 2), pixel_values), "expected an image classifier"),
        (lambda: input_gradient(vit.vit, pixel_values), "expected an image classifier"),
        (lambda: make_filling(pixel_values, "black"), "blur, mean, zero"),
        (lambda: occlusion_map(vit, pixel_values, grid=(0, 7)), "expected .rows, columns. of patches"),
        (lambda: occlusion_map(vit, pixel_values, grid=(7, 64)), "expected .rows, columns. of patches"),
        (lambda: occlusion_map(vit, pixel_values, grid=7), "expected .rows, columns. of patches"),
        (lambda: occlusion_map(vit, pixel_values, window=8), "at most 7"),
        (lambda: occlusion_map(vit, pixel_values, window=0), "at least 1"),
        (lambda: occlusion_map(vit, pixel_values, batch_size=0), "at least 1"),
    ]
    for explain in (legrad, grad_cam, input_gradient, occlusion_map):
        wrong += [
            (lambda explain=explain: explain(vit, pixel_values[0]), "expected a batch"),
            (lambda explain=explain: explain(vit, images("vit", (40, 40))), "32x32 alone"),
            (lambda explain=explain: explain(vit, pixel_values, 5), "expected a class from 0 to 4"),
            (lambda explain=explain: explain(vit, pixel_values, [1, 2, 3]), "one for each of 2 images"),
        ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)


def test_a_model_of_another_family_has_no_attention_to_explain():
    names = fitting_explanations(ResNetForImageClassification(ResNetConfig(hidden_sizes=[8, 8, 8, 8], depths=[1] * 4)))
    assert "occlusion" in names and "attention_rollout" not in names
