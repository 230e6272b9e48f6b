"""Rollout against the dense product of matrices that are filled in token by token, here, for every family."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from zoo_models import TINY, images, random_model, shown, tiny_model

from hf_vit_family import attention_map, attention_rollout, create_model, gradient_rollout, mixing_map
from hf_vit_family.inspection.capture import capture_attention
from hf_vit_family.inspection.reading import find_mixing
from hf_vit_family.inspection.walk import Walk

FAMILIES = [family for family in TINY if family != "poolformer"]
# oblong, and but for Swin's and MobileViT's with windows, reductions or merging that do not divide the map
OBLONG = {"twins": (96, 72), "maxvit": (80, 56), "pvt_v2": (96, 72), "cvt": (96, 72), "beit": (40, 24)}
OBLONG |= {"swin": (96, 64), "mobilevit": (64, 128), "mobilevitv2": (128, 64)}


def captured(model, pixel_values):
    mixing = find_mixing(model)
    weights, _ = capture_attention(model, pixel_values, mixing.layers(model))
    return [mixing.standard(layer).mean(1).double() for layer in weights]


# ------------------------------------------------------------------------------------------- the dense matrices


def normalised(matrix):
    """The rows of `matrix + I`, which looks at tokens of the same place only where it is square."""
    matrix = matrix + np.eye(len(matrix))
    return matrix / matrix.sum(1, keepdims=True)


def convolution(shape, kernel, stride, before, after):
    """Each output looks evenly at the real tokens under its kernel."""
    (height, width), (top, left), (bottom, right) = shape, before, after
    rows, columns = (height + top + bottom - kernel) // stride + 1, (width + left + right - kernel) // stride + 1
    matrix = np.zeros((rows * columns, height * width))
    for row, column in itertools.product(range(rows), range(columns)):
        for y, x in itertools.product(range(kernel), range(kernel)):
            y, x = row * stride + y - top, column * stride + x - left
            if 0 <= y < height and 0 <= x < width:
                matrix[row * columns + column, y * width + x] = 1
    return matrix / matrix.sum(1, keepdims=True), (rows, columns)


def same_size(shape):
    return convolution(shape, 3, 1, (1, 1), (1, 1))[0]


def half(matrix):
    return (matrix + np.eye(len(matrix))) / 2


def windows(weights, shape, size, kind="window", shift=0):
    """weights (windows, N, N) of one image; every pair of tokens is looked up by itself."""
    height, width = shape
    down, right = -(-height // size), -(-width // size)  # windows downwards and to the right
    place = {}
    for y, x in itertools.product(range(height), range(width)):
        row, column = (y - shift) % (down * size), (x - shift) % (right * size)
        if kind == "window":
            place[y, x] = ((row // size) * right + column // size, (row % size) * size + column % size)
        else:
            place[y, x] = ((row % down) * right + column % right, (row // down) * size + column // right)
    matrix = np.zeros((height * width,) * 2)
    for (i, (window, query)), (j, (other, key)) in itertools.product(enumerate(place.values()), repeat=2):
        if window == other:
            matrix[i, j] = weights[window, query, key]
    return normalised(matrix)


def with_class(matrix):
    """A map's matrix beside a class token that hands itself on."""
    grown = np.eye(len(matrix) + 1, matrix.shape[1] + 1)
    grown[1:, 1:] = matrix
    return grown


def dense_rollout(family, model, weights, image, size):
    """The row of the pooled vector, by the product of whole matrices; one image."""
    config = model.config
    layers = iter([layer.numpy().reshape(2, -1, *layer.shape[1:])[image] for layer in weights])
    steps = {"swin": swin, "swinv2": swin, "twins": twins, "maxvit": maxvit, "pvt": pvt, "pvt_v2": pvt, "cvt": cvt}
    steps |= {"mobilevit": mobilevit, "mobilevitv2": mobilevit}
    return steps.get(family, vit)(config, layers, size)


def vit(config, layers, size):
    product = None
    for (weights,) in layers:
        product = normalised(weights) if product is None else normalised(weights) @ product
    extra = 2 if config.model_type == "deit" else 1
    if config.model_type == "beit":
        row = product[extra:].mean(0)
    else:
        row = product[:extra].mean(0)
    return row[extra:].reshape(size[0] // config.patch_size, size[1] // config.patch_size)


def swin(config, layers, size):
    shape = first = (size[0] // config.patch_size, size[1] // config.patch_size)
    product = np.eye(shape[0] * shape[1])
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            # Swin V2 goes by the halved sides that its configuration has, Swin by the map's own
            side = min(shape) if config.model_type == "swin" else first[0] // 2**stage
            window = min(config.window_size, side)
            shift = 0 if index % 2 == 0 or side <= config.window_size else config.window_size // 2
            product = windows(next(layers), shape, window, shift=shift) @ product
        if stage < len(config.depths) - 1:
            merging, shape = convolution(shape, 2, 2, (0, 0), (shape[0] % 2, shape[1] % 2))
            product = merging @ product
    return product.mean(0).reshape(first)


def twins(config, layers, size):
    shape = first = (size[0] // config.patch_size, size[1] // config.patch_size)
    product = np.eye(shape[0] * shape[1])
    for stage, depth in enumerate(config.depths):
        if stage > 0:
            step, shape = convolution(shape, 2, 2, (0, 0), (0, 0))
            product = step @ product
        for index in range(depth):
            weights = next(layers)
            if config.window_sizes is not None and index % 2 == 0:
                product = windows(weights, shape, config.window_sizes[stage]) @ product
            else:
                reduction = config.key_reductions[stage]
                keys, _ = convolution(shape, reduction, reduction, (0, 0), (0, 0))
                product = normalised(weights[0] @ keys) @ product
            if index == 0:
                product = half(same_size(shape)) @ product
    return product.mean(0).reshape(first)


def maxvit(config, layers, size):
    shape = first = (-(-size[0] // 4), -(-size[1] // 4))
    product = np.eye(shape[0] * shape[1])
    window = config.window_height_width[0]
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            if index > 0:
                product = half(same_size(shape)) @ product
            elif stage > 0:
                odd = (shape[0] % 2, shape[1] % 2)
                pooled, _ = convolution(shape, 2, 2, (0, 0), odd)
                convolved, after = convolution(shape, 3, 2, odd, (1, 1))  # TensorFlow's padding
                product, shape = (pooled + convolved) / 2 @ product, after
            for kind in ("window", "grid"):
                product = windows(next(layers), shape, window, kind) @ product
    return product.mean(0).reshape(first)


def pvt(config, layers, size):
    second = config.model_type == "pvt_v2"
    shape = size
    product, first = None, None
    for stage, depth in enumerate(config.depths):
        kernel, stride = (config.patch_sizes[stage], config.strides[stage]) if second else (config.strides[stage],) * 2
        pad = (kernel // 2,) * 2 if second else (0, 0)
        step, shape = convolution(shape, kernel, stride, pad, pad)
        if product is None:
            product, first = np.eye(len(step)), shape
        else:
            product = step @ product
        last = not second and stage == len(config.depths) - 1
        if last:
            product = with_class(product)
        for _ in range(depth):
            reduction = (config.sr_ratios if second else config.sequence_reduction_ratios)[stage]
            keys = np.eye(len(product)) if last else convolution(shape, reduction, reduction, (0, 0), (0, 0))[0]
            product = normalised(next(layers)[0] @ keys) @ product
            if second:
                product = half(same_size(shape)) @ product
    return (product[0, 1:] if last else product.mean(0)).reshape(first)


def cvt(config, layers, size):
    shape, product, first = size, None, None
    for stage, depth in enumerate(config.depth):
        pad = (config.patch_padding[stage],) * 2
        step, shape = convolution(shape, config.patch_sizes[stage], config.patch_stride[stage], pad, pad)
        if product is None:
            product, first = np.eye(len(step)), shape
        else:
            product = step @ product
        if config.cls_token[stage]:
            product = with_class(product)
        for _ in range(depth):
            keys, _ = convolution(shape, 3, config.stride_kv[stage], (1, 1), (1, 1))
            keys = with_class(keys) if config.cls_token[stage] else keys
            product = normalised(next(layers)[0] @ keys) @ product
    return product[0, 1:].reshape(first)


def mobilevit(config, layers, size):
    """Tokens of the same place in their 2x2 patch attend to one another."""
    second = config.model_type == "mobilevitv2"
    shape = first = (-(-size[0] // 8), -(-size[1] // 8))
    product = np.eye(shape[0] * shape[1])
    for block, depth in enumerate((2, 4, 3)):
        if block > 0:
            step, shape = convolution(shape, 3, 2, (1, 1), (1, 1))
            product = step @ product
        before, product = product, same_size(shape) @ product
        height, width = shape
        for _ in range(depth):
            weights, matrix = next(layers), np.zeros((height * width,) * 2)
            for (y, x), (row, column) in itertools.product(np.ndindex(shape), repeat=2):
                if (y % 2, x % 2) == (row % 2, column % 2):
                    query, key = (y // 2) * (width // 2) + x // 2, (row // 2) * (width // 2) + column // 2
                    place = (y % 2) * 2 + x % 2
                    matrix[y * width + x, row * width + column] = weights[place, 0 if second else query, key]
            product = normalised(matrix) @ product
        if not second:
            product = same_size(shape) @ ((before + product) / 2)
    return product.mean(0).reshape(first)


# ---------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("family", FAMILIES)
def test_rollout_is_the_product_of_the_dense_matrices(family):
    model, pixel_values = random_model(family), images(family)
    rollout = attention_rollout(model, pixel_values)
    weights = captured(model, pixel_values)
    for image in range(2):
        expected = dense_rollout(family, model, weights, image, tuple(pixel_values.shape[2:]))
        expected = torch.from_numpy(expected / expected.sum()).float()
        torch.testing.assert_close(rollout[image], expected, rtol=0, atol=1e-6)
    assert rollout.std() > 1e-6, "an even map proves nothing"


@pytest.mark.parametrize(("family", "size"), OBLONG.items())
def test_other_sizes_and_padded_windows_too(family, size):
    model, pixel_values = random_model(family), images(family, size)
    weights = captured(model, pixel_values)
    rollout = attention_rollout(model, pixel_values)
    expected = dense_rollout(family, model, weights, 1, size)
    torch.testing.assert_close(rollout[1], torch.from_numpy(expected / expected.sum()).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_distributions_over_the_image(family):
    model, pixel_values = random_model(family), images(family)
    for rollout in (attention_rollout(model, pixel_values), gradient_rollout(model, pixel_values)):
        assert rollout.dtype == torch.float32 and rollout.min() >= 0
        torch.testing.assert_close(rollout.sum((1, 2)), torch.ones(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_has_rows_that_sum_to_one(family):
    """A constant goes through all of the model as it is; -1 stands for whatever a class token carries."""
    model, pixel_values = random_model(family), images(family)
    mixing = find_mixing(model)
    matrices = [matrix.float() for matrix in captured(model, pixel_values)]
    grid = mixing.grid(model, tuple(pixel_values.shape[2:]))
    constant = mixing.mix(model, Walk(matrices), torch.full((2, *grid), -1.0), -1.0)
    torch.testing.assert_close(constant, torch.full((2,), -1.0))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_does_not_depend_on_the_others(family):
    model, pixel_values = random_model(family), images(family)
    together = attention_rollout(model, pixel_values)
    torch.testing.assert_close(together[1:], attention_rollout(model, pixel_values[1:]), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("family", "size"), [("swin", (80, 80)), ("swin", (96, 80)), ("swinv2", (80, 80))])
def test_padding_gets_nothing_and_shifts_are_undone(family, size):
    """Windows of 3 on maps of 20, 10, 5 and 3 tokens: padded but for the last, shifted in every other block."""
    model = random_model(family, window_size=3, depths=[2, 2, 2, 1], image_size=80)
    pixel_values = images(family, size)
    weights = captured(model, pixel_values)
    expected = dense_rollout(family, model, weights, 0, size)
    rollout = attention_rollout(model, pixel_values)
    torch.testing.assert_close(rollout[0], torch.from_numpy(expected / expected.sum()).float(), rtol=0, atol=1e-6)


def test_even_attention_reaches_the_known_receptive_field():
    """One window of 2x2 in each of three stages: the pooled vector sees all tokens evenly."""
    model = tiny_model("swin")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_proj" in name or "relative_position_bias" in name:
                parameter.zero_()
    pixel_values = images("swin")
    torch.testing.assert_close(attention_rollout(model, pixel_values), torch.full((2, 16, 16), 1 / 256))
    looked = attention_map(model, pixel_values, 0, (5, 8))
    expected = torch.zeros(16, 16)
    expected[4:6, 8:10] = 0.25
    torch.testing.assert_close(looked, expected.expand(2, -1, -1))


@pytest.mark.parametrize(
    ("family", "layer", "rows", "columns"),
    [
        # 16x16 tokens: windows of 7 begin at 0, 7 and 14; a grid of 7 takes every third of 21, with padding
        ("maxvit", 0, range(0, 7), range(7, 14)),
        ("maxvit", 1, range(2, 16, 3), range(2, 16, 3)),
        ("twins", 0, range(0, 7), range(7, 14)),
        ("pvt", 0, range(16), range(16)),
        ("pvt_v2", 0, range(16), range(16)),
    ],
)
def test_a_token_with_even_attention_sees_what_the_layer_connects(family, layer, rows, columns):
    """Evenly: its window, its grid, or the whole map where keys are a reduced map."""
    model = tiny_model(family)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("q_proj", "query", "relative_position")):
                parameter.zero_()
    expected = torch.zeros(16, 16)
    expected[rows[0] : rows[-1] + 1 : rows.step, columns[0] : columns[-1] + 1 : columns.step] = 1.0
    looked = attention_map(model, images(family), layer, (5, 8))
    torch.testing.assert_close(looked, (expected / expected.sum()).expand(2, -1, -1))


@pytest.mark.parametrize("family", ["vit", "deit", "beit"])
@pytest.mark.parametrize(("fusion", "ratio"), [("max", 0.0), ("min", 0.0), ("mean", 0.5), ("max", 0.9)])
def test_the_published_variants(family, fusion, ratio):
    model, pixel_values = random_model(family), images(family)
    mixing = find_mixing(model)
    weights, _ = capture_attention(model, pixel_values, mixing.layers(model))
    extra = 2 if family == "deit" else 1
    product = None
    for layer in weights:
        matrix = {"max": layer[0].amax(0), "min": layer[0].amin(0), "mean": layer[0].mean(0)}[fusion].double().numpy()
        order = np.argsort(matrix.ravel(), kind="stable")[: int(matrix.size * ratio)]
        dropped = matrix.ravel().copy()
        dropped[order] = 0
        dropped = dropped.reshape(matrix.shape)
        dropped[:extra, :extra] = matrix[:extra, :extra]
        product = normalised(dropped) if product is None else normalised(dropped) @ product
    row = product[extra:].mean(0) if family == "beit" else product[:extra].mean(0)
    expected = row[extra:] / row[extra:].sum()
    rollout = attention_rollout(model, pixel_values, head_fusion=fusion, discard_ratio=ratio)
    torch.testing.assert_close(rollout[0].flatten(), torch.from_numpy(expected).float(), rtol=0, atol=1e-6)


def test_gradient_rollout_speaks_for_the_class():
    model, pixel_values = random_model("maxvit"), images("maxvit")
    first, second = (gradient_rollout(model, pixel_values, target) for target in (1, [3, 4]))
    assert (first - second).abs().max() > 1e-5
    predicted = model(pixel_values).logits.argmax(1).tolist()
    torch.testing.assert_close(gradient_rollout(model, pixel_values), gradient_rollout(model, pixel_values, predicted))
    for target in (-1, model.config.num_labels, [0, 1, 2], 0.5):
        with pytest.raises(ValueError, match="expected a class from 0") as error:
            gradient_rollout(model, pixel_values, target)
        shown(error)


# ------------------------------------------------------------------------------------- the model stays as it is


@pytest.mark.parametrize("family", ["twins", "maxvit", "vit", "deit", "swin", "beit", "pvt", "pvt_v2", "swinv2"])
def test_the_numbers_are_the_models_own(family):
    model, pixel_values = random_model(family), images(family)
    mixing = find_mixing(model)
    found, _ = capture_attention(model, pixel_values, mixing.layers(model))
    if hasattr(model, "set_attn_implementation") and family not in ("pvt", "pvt_v2", "swinv2"):
        model.set_attn_implementation("eager")
    with torch.no_grad():
        theirs = model(pixel_values, output_attentions=True).attentions
    theirs = [layer for stage in theirs for layer in (stage if isinstance(stage, tuple) else (stage,))]
    if family == "swin":  # transformers' Swin gives the last block's of each stage
        assert len(found) == sum(model.config.depths)
        ends = np.cumsum(model.config.depths) - 1
        found = [found[end] for end in ends]
    assert len(found) == len(theirs)
    assert all(torch.equal(ours, other) for ours, other in zip(found, theirs, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_the_model_changes(family):
    model, pixel_values = random_model(family).train(), images(family)
    model.base_model.eval()
    before = (model.config._attn_implementation, [module.training for module in model.modules()])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [(dict(module._forward_hooks), dict(module._forward_pre_hooks)) for module in model.modules()]
    attention_rollout(model, pixel_values)
    gradient_rollout(model, pixel_values)

    class Broken(nn.Module):
        def forward(self, *args, **kwargs):
            raise KeyError("broken")

    whole, model.classifier = getattr(model, "classifier", None), Broken()
    if family == "deit":
        teacher, model.cls_classifier = model.cls_classifier, Broken()
    with pytest.raises(KeyError):
        attention_rollout(model, pixel_values)
    if family == "deit":
        model.cls_classifier = teacher
        del model.classifier
    else:
        model.classifier = whole
    assert (model.config._attn_implementation, [module.training for module in model.modules()]) == before
    assert [(dict(module._forward_hooks), dict(module._forward_pre_hooks)) for module in model.modules()] == hooks
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_beit_after_inference_mode():
    """transformers keeps a tensor of the first pass for all models of the process."""
    model, pixel_values = random_model("beit"), images("beit")
    index = next(module for module in model.modules() if hasattr(module, "generate_relative_position_index"))
    before = type(index).generate_relative_position_index
    with torch.inference_mode():
        model(pixel_values)
    assert gradient_rollout(model, pixel_values).shape == (2, 4, 4)
    assert type(index).generate_relative_position_index is before


# ---------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_is_told():
    twins, pixel_values = random_model("twins"), images("twins")
    wrong = [
        (lambda: attention_rollout(tiny_model("poolformer"), pixel_values), "mixing_map"),
        (lambda: mixing_map(twins, (64, 64)), "attention_rollout"),
        (lambda: mixing_map(tiny_model("poolformer"), (1, 64)), "expected at least"),
        (lambda: attention_rollout(nn.Linear(2, 2), pixel_values), "expected an image classifier"),
        (lambda: attention_rollout(twins.base_model, pixel_values), "expected an image classifier"),
        (lambda: attention_rollout(twins, pixel_values[0]), "expected a batch"),
        (lambda: attention_rollout(twins, [1, 2]), "expected a batch"),
        (lambda: attention_rollout(twins, pixel_values, head_fusion="sum"), "mean, max, min"),
        (lambda: attention_rollout(twins, pixel_values, head_fusion="max"), "do not all attend to one another"),
        (lambda: attention_rollout(twins, pixel_values, discard_ratio=0.5), "do not all attend to one another"),
        (lambda: attention_rollout(twins, pixel_values, discard_ratio=1.0), "less than 1"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)


def test_mixing_map_is_the_same_for_every_image_and_a_distribution():
    model = create_model("poolformer_s12", hidden_sizes=(8, 16), depths=(1, 1))
    found = mixing_map(model, (64, 96))
    assert found.shape == (16, 24) and found.min() >= 0
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    block = half(same_size((16, 24)))
    step, after = convolution((16, 24), 3, 2, (1, 1), (1, 1))
    expected = (half(same_size(after)) @ step @ block).mean(0).reshape(16, 24)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=0, atol=1e-6)
