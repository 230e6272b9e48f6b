"""The views against the models' own hidden states, numpy's SVD, formulas, and weights made by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from zoo_models import TINY, shown, tiny_model

from hf_vit_family import (
    block_names,
    feature_colours,
    hidden_maps,
    layer_similarity,
    linear_cka,
    logit_lens,
    patch_filters,
    position_similarity,
    receptive_field,
    relative_position_bias,
    shown_images,
    token_similarity,
)
from hf_vit_family.inspection.capture import capture_attention
from hf_vit_family.inspection.cka import gram, unbiased_hsic
from hf_vit_family.inspection.reading import find_anatomy
from hf_vit_family.models.relative_position import relative_log_coordinates, relative_position_index

ANY_SIZE = ["poolformer", "twins", "maxvit", "swin", "swinv2", "pvt_v2", "cvt", "mobilevit", "mobilevitv2"]
CLASS_TOKENS = ["vit", "deit", "beit", "pvt", "cvt"]


def random_model(family, **overrides):
    """Weights large enough that no token is like another."""
    torch.manual_seed(0)
    model = tiny_model(family, **overrides)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm) and module.weight is not None:
                module.weight.uniform_(0.5, 1.5)
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return model.eval()


def images(family, size=None, batch=2):
    size = size or (TINY[family][2],) * 2
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


# -------------------------------------------------------------------------------------------------- hidden maps


@torch.no_grad()
def own_hidden_states(family, model, pixel_values):
    """{block: (batch, tokens with the class token, channels)}, as far as the model tells by itself."""
    outputs = model(pixel_values, output_hidden_states=True)
    states = outputs.hidden_states
    if family in ("vit", "deit", "beit"):
        return dict(enumerate(states[1:]))
    if family == "pvt":
        return dict(enumerate(states[:-1]))
    if family in ("swin", "swinv2"):
        return {len(block_names(model)) - 1: states[-1]}
    depths = getattr(model.config, "depths", None) or getattr(model.config, "depth", None) or [1] * 5
    ends = np.cumsum(depths) - 1
    return {int(end): state.flatten(2).mT for end, state in zip(ends, states[-len(ends) :], strict=True)}


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("wide", [False, True])
def test_hidden_maps_are_the_models_own(family, wide):
    if wide and family not in ANY_SIZE:
        pytest.skip("its position embeddings fit one size")
    model, pixel_values = random_model(family), images(family, (64, 96) if wide else None)
    maps = hidden_maps(model, pixel_values)
    assert [hidden.name for hidden in maps] == block_names(model)
    theirs = own_hidden_states(family, model, pixel_values)
    assert len(maps) - 1 in theirs
    for index, state in theirs.items():
        ours, extra = maps[index].tokens, maps[index].class_tokens
        assert ours.dtype == torch.float32
        flat = ours.flatten(1, 2)
        if family == "pvt_v2":  # its states come behind the stage's norm
            flat = model.base_model.encoder.layers[index].layer_norm(flat)
        if family != "cvt":  # which gives its class token apart
            flat = torch.cat([extra, flat], 1)
        torch.testing.assert_close(flat, state, rtol=0, atol=1e-5)
        height, width = ours.shape[1:3]
        assert width * pixel_values.shape[2] == height * pixel_values.shape[3]
    assert (maps[-1].class_tokens.shape[1] > 0) == (family in CLASS_TOKENS)
    (last,) = hidden_maps(model, pixel_values, [-1])
    assert torch.equal(last.tokens, maps[-1].tokens)


@pytest.mark.parametrize("family", TINY)
def test_every_block_hands_on_what_is_shown(family):
    """Whatever is put in a block's place reaches the logits: the hooks sit on the path that counts."""
    model, pixel_values = random_model(family), images(family)
    plain = model(pixel_values).logits

    def other(module, arguments, output):
        tokens = output[0] if isinstance(output, tuple) else output
        # more than a factor, which a norm behind would take away
        moved = tokens + torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2))
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    for block in find_anatomy(model).blocks(model):
        hook = block.module.register_forward_hook(other)
        changed = model(pixel_values).logits
        hook.remove()
        assert (changed - plain).abs().max() > 1e-6, block.name


@pytest.mark.parametrize("family", TINY)
def test_nothing_of_the_model_changes(family):
    model, pixel_values = random_model(family).train(), images(family)
    model.base_model.eval()
    before = (model.config._attn_implementation, [module.training for module in model.modules()])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    calls = (hidden_maps, logit_lens, feature_colours, token_similarity, receptive_field, layer_similarity)
    for call in calls:
        call(model, pixel_values)
    last = list(model.modules())[-1]
    breaking = last.register_forward_pre_hook(lambda *arguments: 1 / 0)
    if hasattr(model, "classifier"):
        for call in calls:
            with pytest.raises(ZeroDivisionError):
                call(model, pixel_values)
    breaking.remove()
    assert (model.config._attn_implementation, [module.training for module in model.modules()]) == before
    assert [dict(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not pixel_values.requires_grad


def test_refusals_say_what_fits():
    model, pixel_values = random_model("vit"), images("vit")
    cases = [
        (lambda: hidden_maps(model, pixel_values, [2]), "blocks 0 to 1"),
        (lambda: hidden_maps(model, pixel_values, [-3]), "blocks 0 to 1"),
        (lambda: hidden_maps(model, pixel_values, [0.5]), "blocks 0 to 1"),
        (lambda: hidden_maps(model, pixel_values[0]), "expected a batch"),
        (lambda: hidden_maps(model, images("vit", (32, 40))), "its own 32x32 alone"),
        (lambda: logit_lens(random_model("pvt"), images("pvt", (96, 96))), "its own 64x64 alone"),
        (lambda: hidden_maps(model, pixel_values[:, :1]), "has 1 channels; expected 3"),
        (lambda: hidden_maps(random_model("swin"), images("swin", (32, 64))), "takes at least 33x33"),
        (lambda: hidden_maps(random_model("pvt_v2"), images("pvt_v2", (64, 28))), "takes at least 29x29"),
        (lambda: hidden_maps(random_model("mobilevitv2"), images("mobilevitv2", (32, 32))), "takes at least 33x33"),
        (lambda: hidden_maps(model.base_model, pixel_values), "expected an image classifier of one of twins"),
        (lambda: logit_lens(random_model("swin"), images("swin"), [0]), "the last stage alone, blocks 3 to 3"),
        (lambda: receptive_field(model, pixel_values, [0], (4, 0)), "block 0 has 4 x 4 tokens"),
        (lambda: position_similarity(random_model("twins")), "ViT, DeiT and PVT have them"),
        (lambda: position_similarity(random_model("pvt"), 4), "stages 0 to 3"),
        (lambda: relative_position_bias(model), "Swin, Swin V2, MaxViT and most BEiT have"),
        (lambda: relative_position_bias(random_model("swin"), [4]), "layers 0 to 3"),
        (lambda: patch_filters(random_model("maxvit")), "several convolutions; expected a family"),
        (lambda: patch_filters(model, 0), "at least 1"),
        (lambda: feature_colours(random_model("twins"), images("twins", (32, 32), 1)), "1x1 tokens"),
        (lambda: layer_similarity(model, pixel_values[:1]), "expected several"),
        (lambda: layer_similarity(model, pixel_values, batch_size=3), "expected 4 to 2"),
        (lambda: layer_similarity(model, pixel_values, model, pixel_values[:1]), "the same images"),
        (lambda: layer_similarity(nn.Conv2d(3, 4, 3), pixel_values), "expected names of its modules"),
        (lambda: layer_similarity(model, pixel_values, layers=["stem"]), "no module 'stem'"),
        (lambda: linear_cka(torch.ones(3, 2), torch.ones(4, 2)), "expected \\(n, d\\) and \\(n, e\\)"),
    ]
    for call, expected in cases:
        with pytest.raises(ValueError, match=expected) as error:
            call()
        shown(error)


@pytest.mark.parametrize(("family", "least"), [("swin", 33), ("pvt_v2", 29), ("mobilevitv2", 33)])
def test_the_least_size_does(family, least):
    assert hidden_maps(random_model(family), images(family, (least, least)))[-1].tokens.isfinite().all()


# -------------------------------------------------------------------------------------------- positions, biases


@pytest.mark.parametrize(
    ("family", "overrides", "stage", "grid"),
    [
        ("vit", {"image_size": (32, 48)}, 0, (4, 6)),
        ("deit", {}, 0, (4, 4)),
        ("beit", {"use_absolute_position_embeddings": True}, 0, (4, 4)),
        ("pvt", {}, 0, (16, 16)),
        ("pvt", {}, 3, (2, 2)),
        ("swin", {"use_absolute_embeddings": True}, 0, (16, 16)),
    ],
)
def test_similarity_of_position_embeddings(family, overrides, stage, grid):
    model = random_model(family, **overrides)
    (name,) = [
        name
        for name, _ in model.named_parameters()
        if name.endswith("position_embeddings") and (family != "pvt" or f"patch_embeddings.{stage}." in name)
    ]
    parameter = model.get_parameter(name)
    height, width = grid
    extra = parameter.shape[1] - height * width
    assert extra == {"vit": 1, "deit": 2, "beit": 1, "pvt": int(stage == 3), "swin": 0}[family]
    similarity = position_similarity(model, stage).numpy()
    assert similarity.shape == (height * width, height, width)
    rows = parameter.detach().numpy()[0, extra:].astype(np.float64)
    for (y, x), (row, column) in itertools.islice(itertools.product(np.ndindex(grid), repeat=2), 0, None, 7):
        one, two = rows[y * width + x], rows[row * width + column]
        cosine = one @ two / (np.linalg.norm(one) * np.linalg.norm(two))
        assert similarity[y * width + x, row, column] == pytest.approx(cosine, abs=1e-5)


def at_offsets(values, bias, side):
    """Whether maps (heads, 2s - 1, 2s - 1) and biases (heads, N, N) of query and key say the same."""
    for query, key in itertools.product(range(side * side), repeat=2):
        down, right = key // side - query // side, key % side - query % side
        expected = bias[:, query, key]
        torch.testing.assert_close(values[:, down + side - 1, right + side - 1], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_biases_of_swin_are_those_that_attention_adds():
    model = random_model("swin", window_size=4, depths=[2, 1, 1, 1], image_size=128)
    tables = relative_position_bias(model, [1, -1])
    blocks = [block for stage in model.base_model.encoder.layers for block in stage.blocks]
    assert [table.name for table in tables] == ["layer 1", "layer 4"]
    for table, block in zip(tables, (blocks[1], blocks[-1]), strict=True):
        bias = block.attention.relative_position_bias()[0]
        at_offsets(table.values, bias, math.isqrt(bias.shape[1]))
    assert len(relative_position_bias(model)) == 5


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
def test_biases_of_beit_are_those_that_attention_adds(shared):
    options = {"use_shared_relative_position_bias": shared, "use_relative_position_bias": not shared}
    model = random_model("beit", **options)
    tables = relative_position_bias(model)
    base = model.base_model
    modules = [base.shared_position_bias] if shared else [layer.relative_position_bias for layer in base.layers]
    assert [table.name for table in tables] == (["all layers"] if shared else ["layer 0", "layer 1"])
    for table, module in zip(tables, modules, strict=True):
        at_offsets(table.values, module((4, 4))[0, :, 1:, 1:], 4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["table", "flat_table", "mlp"])
def test_biases_of_maxvit_are_those_that_attention_adds(kind):
    model = random_model("maxvit", relative_position=kind)
    tables = relative_position_bias(model)
    window = model.config.window_height_width
    transformers = [
        layer for stage in model.base_model.stages for block in stage.layers for layer in block.transformers
    ]
    attentions = [attention for layer in transformers for attention in layer.attention.values()]
    assert [table.name for table in tables[:2]] == ["layer 0 (window)", "layer 1 (grid)"]
    coordinates = relative_log_coordinates(window) if kind == "mlp" else None
    for table, attention in list(zip(tables, attentions, strict=True))[::3]:
        bias = attention.relative_position(relative_position_index(window), coordinates)[0]
        at_offsets(table.values, bias, window[0])


@torch.no_grad()
def test_biases_of_swin_v2_are_those_that_attention_adds():
    """Without queries the softmax is of the biases alone, up to a constant a row."""
    model = random_model("swinv2", window_size=4, image_size=128)
    block = model.base_model.encoder.layers[0].blocks[0].attention.self
    block.query.weight.zero_()
    block.query.bias.zero_()
    (weights,), _ = capture_attention(model, images("swinv2", (128, 128), 1), [block])
    (table,) = relative_position_bias(model, [0])
    assert (table.values.shape[1:], table.values.min() > 0, table.values.max() < 16) == ((7, 7), True, True)
    log = weights[0].log()
    differences = log - log.diagonal(dim1=1, dim2=2)[..., None]
    at_offsets(table.values - table.values[:, 3:4, 3:4], differences, 4)


# ---------------------------------------------------------------------------------------------------- components


@pytest.mark.parametrize("family", [family for family in TINY if family not in ("maxvit", "mobilevit", "mobilevitv2")])
def test_filters_are_numpys_principal_components(family):
    model = random_model(family)
    found = patch_filters(model, 5)
    (weight,) = [
        parameter for name, parameter in model.named_parameters() if parameter.ndim == 4 and parameter.shape[1] == 3
    ]
    rows = weight.detach().numpy().reshape(len(weight), -1).astype(np.float64)
    _, values, components = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert found.components.shape == (5, *weight.shape[1:])
    flat = found.components.flatten(1).numpy()
    np.testing.assert_allclose(np.abs((flat * components[:5]).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.explained.numpy(), (values**2 / (values**2).sum())[:5], atol=1e-6)
    assert all(row[np.abs(row).argmax()] > 0 for row in flat)
    assert len(patch_filters(model, 500).components) == min(len(rows) - 1, rows.shape[1])


def test_filters_that_differ_in_one_direction_have_one_component():
    model = random_model("vit")
    direction = torch.linspace(-1, 1, 3 * 8 * 8).view(3, 8, 8)
    with torch.no_grad():
        weight = model.base_model.embeddings.patch_embeddings.projection.weight
        weight.copy_(torch.arange(16.0).view(-1, 1, 1, 1) * direction + 0.3)
    found = patch_filters(model)
    torch.testing.assert_close(found.explained[0], torch.tensor(1.0))
    torch.testing.assert_close(found.components[0].abs(), (direction / direction.norm()).abs(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", TINY)
def test_feature_colours_are_components_of_the_whole_batch(family):
    model, pixel_values = random_model(family), images(family, batch=4)
    found = feature_colours(model, pixel_values, -1)
    (hidden,) = hidden_maps(model, pixel_values, [-1])
    tokens = hidden.tokens.flatten(0, 2).double().numpy()
    _, values, components = np.linalg.svd(tokens - tokens.mean(0), full_matrices=False)
    np.testing.assert_allclose(found.explained.numpy(), (values**2 / (values**2).sum())[:3], atol=1e-5)
    for index in range(3):
        component = components[index] * np.sign(components[index][np.abs(components[index]).argmax()])
        scores = tokens @ component
        expected = (scores - scores.min()) / (scores.max() - scores.min())
        np.testing.assert_allclose(found.colours[..., index].flatten().numpy(), expected, atol=2e-3)
    assert found.colours.shape == (*hidden.tokens.shape[:3], 3)
    assert torch.equal(feature_colours(model, pixel_values, -1).colours, found.colours)


# ------------------------------------------------------------------------------------- similarity and logit lens


@pytest.mark.parametrize("family", TINY)
def test_similarity_to_the_class_token_or_the_mean(family):
    model, pixel_values = random_model(family), images(family)
    found = token_similarity(model, pixel_values)
    for block, hidden in zip(found, hidden_maps(model, pixel_values), strict=True):
        tokens = hidden.tokens.numpy()
        with_class = hidden.class_tokens.shape[1] > 0
        assert block.reference == ("class token" if with_class else "mean of the tokens")
        reference = hidden.class_tokens[:, 0].numpy() if with_class else tokens.reshape(2, -1, tokens.shape[-1]).mean(1)
        products = np.einsum("bhwc,bc->bhw", tokens, reference)
        lengths = np.linalg.norm(tokens, axis=-1) * np.linalg.norm(reference, axis=-1)[:, None, None]
        np.testing.assert_allclose(block.values.numpy(), products / lengths, atol=1e-5)
    references = {block.reference for block in found}
    assert len(references) == (2 if family in ("pvt", "cvt") else 1)


@pytest.mark.parametrize("family", TINY)
def test_the_lens_of_the_last_block_gives_the_models_logits(family):
    model, pixel_values = random_model(family), images(family)
    found = logit_lens(model, pixel_values)
    with torch.no_grad():
        logits = model(pixel_values).logits
    last = found[-1]
    assert logits.std() > 1e-3, "even logits prove nothing"
    expected = {"beit": None, "poolformer": None, "maxvit": None}.get(
        family, "class" if family in CLASS_TOKENS else "mean"
    )
    if family == "poolformer" and model.config.final_norm == "group_norm":
        expected = "mean"
    assert last.exact == expected
    own = last.class_logits if expected == "class" else last.logits.mean((1, 2))
    if expected is None:
        assert (own - logits).abs().max() > 1e-3
    else:
        torch.testing.assert_close(own, logits, rtol=1e-4, atol=1e-4)
    assert all(block.exact is None for block in found[:-1])
    names = block_names(model)
    fitting = [name for name in names if name.partition("(")[2] == names[-1].partition("(")[2]]
    assert [block.name for block in found] == fitting
    assert [block.name for block in logit_lens(model, pixel_values, [-1])] == names[-1:]


@pytest.mark.parametrize(
    ("family", "overrides", "exact"),
    [
        ("poolformer", {"final_norm": "group_norm"}, "mean"),
        ("poolformer", {"final_norm": "pooled_layer_norm"}, None),
        ("maxvit", {"head_hidden_size": None}, "mean"),
        ("beit", {"use_mean_pooling": False}, "class"),
    ],
)
def test_other_heads_of_a_family(family, overrides, exact):
    model, pixel_values = random_model(family, **overrides), images(family)
    last = logit_lens(model, pixel_values)[-1]
    assert last.exact == exact
    with torch.no_grad():
        logits = model(pixel_values).logits
    if exact is not None:
        own = last.class_logits if exact == "class" else last.logits.mean((1, 2))
        torch.testing.assert_close(own, logits, rtol=1e-4, atol=1e-4)


def test_the_lens_of_earlier_blocks_is_norm_and_classifier():
    model, pixel_values = random_model("beit"), images("beit")
    first = logit_lens(model, pixel_values, [0])[0]
    tokens = hidden_maps(model, pixel_values, [0])[0].tokens.numpy().astype(np.float64)
    norm = model.base_model.pooler.layernorm
    centred = tokens - tokens.mean(-1, keepdims=True)
    normed = centred / np.sqrt(tokens.var(-1, keepdims=True) + norm.eps)
    normed = normed * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    expected = normed @ model.classifier.weight.detach().numpy().T + model.classifier.bias.detach().numpy()
    np.testing.assert_allclose(first.logits.numpy(), expected, atol=1e-4)


# ------------------------------------------------------------------------------------------------ receptive field


@pytest.mark.parametrize("family", TINY)
def test_receptive_fields_are_distributions_over_the_pixels(family):
    model, pixel_values = random_model(family), images(family)
    fields = receptive_field(model, pixel_values)
    assert [field.name for field in fields] == block_names(model)
    for field, hidden in zip(fields, hidden_maps(model, pixel_values), strict=True):
        assert field.grid == tuple(hidden.tokens.shape[1:3])
        assert field.token == (field.grid[0] // 2, field.grid[1] // 2)
        assert field.values.shape == pixel_values.shape[2:] and field.values.min() >= 0
        torch.testing.assert_close(field.values.sum(), torch.tensor(1.0))


def test_a_window_sees_its_own_pixels_alone():
    """Swin's first block: windows of 2x2 tokens of 4x4 pixels, and of the next stage no more than 16x16."""
    model, pixel_values = random_model("swin"), images("swin")
    first, second = receptive_field(model, pixel_values, [0, 1], (5, 2))
    seen = (first.values > 0).nonzero()
    assert (seen.amin(0).tolist(), seen.amax(0).tolist()) == ([16, 8], [23, 15])
    seen = (second.values > 0).nonzero()
    assert (seen.amin(0).tolist(), seen.amax(0).tolist()) == ([32, 16], [47, 31])


def test_receptive_fields_are_what_moving_a_pixel_does():
    model, pixel_values = random_model("cvt").double(), images("cvt").double()
    (field,) = receptive_field(model, pixel_values, [1], (3, 2))
    step = 1e-2

    def token(pixels):
        values = hidden_maps(model, pixels, [1])[0].tokens[:, 3, 2].double()
        return values[:, ::2].sum(-1) - values[:, 1::2].sum(-1)

    sizes = []
    places = [(24, 16), (20, 20), (30, 12), (27, 22)]
    for row, column in places:
        total = 0.0
        for channel in range(3):
            moved = torch.zeros_like(pixel_values)
            moved[:, channel, row, column] = step
            difference = (token(pixel_values + moved) - token(pixel_values - moved)) / (2 * step)
            total += difference.abs().mean()
        sizes.append(total)
    sizes = torch.stack(sizes).float()
    found = torch.stack([field.values[place] for place in places])
    torch.testing.assert_close(found / found.sum(), sizes / sizes.sum(), rtol=0.02, atol=1e-3)


# ------------------------------------------------------------------------------------------------------------ CKA


def test_cka_does_not_mind_turns_factors_and_shifts():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(20, 6, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    assert linear_cka(first, first) == pytest.approx(1)
    assert linear_cka(first, 3 * first @ turn + 5) == pytest.approx(1)
    assert linear_cka(first, first @ torch.diag(torch.tensor([9.0, 1, 1, 1, 1, 1]))) < 0.95
    second = torch.randn(20, 9, generator=generator)
    # Kornblith et al., with the centring matrix written out
    centre = np.eye(20) - np.ones((20, 20)) / 20
    one, two = (centre @ rows.double().numpy() for rows in (first, second))
    expected = np.linalg.norm(two.T @ one) ** 2 / (np.linalg.norm(one.T @ one) * np.linalg.norm(two.T @ two))
    assert linear_cka(first, second) == pytest.approx(expected)


def test_the_minibatch_estimate_is_the_mean_over_all_quadruples():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(6, 4, generator=generator).double(), torch.randn(6, 3, generator=generator).double()
    one, two = first @ first.T + 7, second @ second.T - 2
    total, count = 0.0, 0
    for i, j, q, r in itertools.permutations(range(6), 4):
        total += one[i, j] * two[i, j] + one[i, j] * two[q, r] - 2 * one[i, j] * two[i, q]
        count += 1
    torch.testing.assert_close(unbiased_hsic(gram(first), gram(second)), total / count)


@pytest.mark.parametrize("family", ["twins", "vit", "cvt", "mobilevitv2"])
def test_similarity_of_layers(family):
    model, pixel_values = random_model(family), images(family, batch=6)
    found = layer_similarity(model, pixel_values)
    maps = hidden_maps(model, pixel_values)
    rows = [torch.cat([hidden.tokens.flatten(1), hidden.class_tokens.flatten(1)], 1) for hidden in maps]
    for one, two in itertools.product(range(len(maps)), repeat=2):
        assert found.values[one, two] == pytest.approx(linear_cka(rows[one], rows[two]), abs=1e-5)
    assert (found.rows, found.columns, found.images) == (block_names(model), block_names(model), 6)
    batched = layer_similarity(model, pixel_values, batch_size=6)
    torch.testing.assert_close(batched.values.diagonal(), torch.ones(len(maps)))
    expected = unbiased_hsic(gram(rows[0]), gram(rows[-1]))
    scale = unbiased_hsic(gram(rows[0]), gram(rows[0])) * unbiased_hsic(gram(rows[-1]), gram(rows[-1]))
    assert batched.values[0, -1] == pytest.approx(float(expected / scale.sqrt()), abs=1e-5)


def test_independent_features_are_unlike_only_without_bias():
    """Few images and many features: the plain estimate is near 1, the one over minibatches near 0."""
    torch.manual_seed(0)
    first, second = nn.Flatten(), nn.Sequential(nn.Flatten())
    one, two = torch.randn(64, 3, 16, 16), torch.randn(64, 3, 16, 16)
    layers = {"layers": [""], "other_layers": [""]}
    assert layer_similarity(first, one, second, two, **layers).values.item() > 0.8
    assert abs(layer_similarity(first, one, second, two, **layers, batch_size=32).values.item()) < 0.2


def test_a_transformer_against_a_convolutional_network():
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).train()
    model, pixel_values = random_model("twins"), images("twins", batch=5)
    names = ["features.0.1", "features.4", "features.18"]
    found = layer_similarity(model, pixel_values, network, pixel_values[:, :, ::2, ::2], other_layers=names)
    assert (found.columns, found.values.shape) == (names, (5, 3))
    assert found.values.min() >= 0 and found.values.max() <= 1 + 1e-5
    # an activation that writes into its input comes behind the first layer
    network.eval()
    with torch.no_grad():
        normed = network.features[0][1](network.features[0][0](pixel_values[:, :, ::2, ::2]))
    tokens = hidden_maps(model, pixel_values, [2])[0].tokens
    assert found.values[2, 0] == pytest.approx(linear_cka(tokens.flatten(1), normed.flatten(1)), abs=1e-5)
    assert (normed < 0).any()


# -------------------------------------------------------------------------------------------------- shown images


def test_shown_images_are_what_the_processor_was_given():
    from transformers import MobileViTImageProcessor, ViTImageProcessor

    from hf_vit_family.models.image_processing_hfvf import HfvfImageProcessor

    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for processor in (
        ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]),
        MobileViTImageProcessor(do_resize=False, do_center_crop=False, do_flip_channel_order=True),
        HfvfImageProcessor(size={"height": 32, "width": 32}, crop_pct=1.0),
    ):
        pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
        images = shown_images(pixel_values, processor)
        np.testing.assert_allclose(images[0].numpy(), picture / 255, atol=1e-6)
