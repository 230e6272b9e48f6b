"""What is special to MaxViT: masked windows and grids, TensorFlow's padding, its two kinds of bias, its BatchNorm."""

import copy

import pytest
import timm
import torch
from families import SPECS, images, randomise
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import hf_vit_family as hfvf
from hf_vit_family.models.attention import (
    grid_partition,
    grid_reverse,
    padding_mask,
    window_partition,
    window_reverse,
)
from hf_vit_family.models.modeling_maxvit import HfvfMaxVitPreTrainedModel
from hf_vit_family.models.relative_position import relative_log_coordinates, relative_position_index

SPEC = SPECS["maxvit"]
WINDOW = (4, 4)
KINDS = ("maxvit_tiny_tf_224", "maxvit_nano_rw_256", "maxvit_rmlp_pico_rw_256")


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def transformer_layers(name: str):
    """The two attentions of a block, with windows of 4x4 tokens, and the bias's positions."""
    model = randomise(
        hfvf.create_model(name, hidden_sizes=(32,), depths=(1,), window_size=4, attn_implementation="eager")
    )
    layer = model.model.stages[0].layers[0]
    positions = (
        relative_position_index(WINDOW),
        relative_log_coordinates(WINDOW) if model.config.relative_position == "mlp" else None,
    )
    return layer.transformers, positions


def attend_without_padding(attention, tokens: torch.Tensor, positions: tuple, rows: list[int], columns: list[int]):
    """One window or grid cell by itself: its real tokens (n, C), and the part of the bias that is theirs.

    `rows` and `columns` are the places in the map of the window's rows and columns; those beyond the map do not exist.
    """
    height, width, channels = tokens.shape
    places = [
        (place, row, column)
        for place, (row, column) in enumerate((row, column) for row in rows for column in columns)
        if row < height and column < width
    ]
    kept = torch.tensor([place for place, _, _ in places])
    own = torch.stack([tokens[row, column] for _, row, column in places])
    query, key, value = (
        projection(own).view(len(places), -1, attention.head_size).transpose(0, 1)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    bias = attention.relative_position(*positions)[0][:, kept][:, :, kept]
    weights = (query @ key.transpose(1, 2) * attention.scaling + bias).softmax(-1)
    output = attention.o_proj((weights @ value).transpose(0, 1).reshape(len(places), channels))
    return [(row, column) for _, row, column in places], output


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(8, 8), (10, 9), (5, 12), (3, 2)], ids=str)
def test_padded_windows_and_grids_equal_their_real_tokens_alone(name, size):
    """A reference without any padding, window by window and cell by cell."""
    transformers, positions = transformer_layers(name)
    height, width = size
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, height, width, 32, generator=generator)
    steps = (-(-height // 4), -(-width // 4))  # windows along each side, or the stride of a grid
    for transformer, partition in zip(transformers, (window_partition, grid_partition), strict=True):
        (axis,) = transformer.axes
        mask = padding_mask(height, width, WINDOW, 1, partition)
        with torch.inference_mode():
            output = transformer.attention[axis](tokens, positions, mask)[0][0]
            expected = torch.full_like(output, float("nan"))
            for i in range(steps[0]):
                for j in range(steps[1]):
                    if axis == "window":
                        rows, columns = [4 * i + k for k in range(4)], [4 * j + k for k in range(4)]
                    else:
                        rows, columns = [i + k * steps[0] for k in range(4)], [j + k * steps[1] for k in range(4)]
                    places, values = attend_without_padding(
                        transformer.attention[axis], tokens[0], positions, rows, columns
                    )
                    for (row, column), value in zip(places, values, strict=True):
                        expected[row, column] = value
        assert not expected.isnan().any(), "every token belongs to one window"
        assert relative_difference(output, expected) < 1e-5


def test_partitions_and_their_reverse():
    tokens = torch.arange(2 * 6 * 4).view(2, 6, 4, 1)
    for partition, reverse in ((window_partition, window_reverse), (grid_partition, grid_reverse)):
        windows = partition(tokens, (3, 2))
        assert windows.shape == (2 * 4, 6, 1)
        assert torch.equal(reverse(windows, (3, 2), 6, 4), tokens)
    assert window_partition(tokens, (3, 2))[0].flatten().tolist() == [0, 1, 4, 5, 8, 9]
    assert grid_partition(tokens, (3, 2))[0].flatten().tolist() == [0, 2, 8, 10, 16, 18]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("maxvit_tiny_tf_224", ((223, 224), (221, 222), (222, 447))),
        ("maxvit_tiny_rw_224", ((223, 224), (224, 447))),  # timm's shortcut fails where a later map has an odd side
    ],
)
def test_odd_sides_are_padded_as_in_timm(name, sizes):
    """TensorFlow's SAME in tf variants, one pixel on each side in the others; no window is padded at these sizes."""
    theirs = randomise(timm.create_model(name, depths=(1, 1, 1, 1))).eval()
    ours = hfvf.from_timm(theirs, depths=(1, 1, 1, 1))
    for size in sizes:
        pixel_values = images(1, size)
        with torch.inference_mode():
            assert relative_difference(ours(pixel_values).logits, theirs(pixel_values)) < 1e-5, size


def test_relative_positions():
    index = relative_position_index((2, 3)).view(6, 6)
    assert index.unique().numel() == 3 * 5
    assert (index.diagonal() == 7).all()  # a token's place from itself is the centre
    assert torch.equal(index + index.t(), torch.full((6, 6), 14))
    assert relative_log_coordinates((2, 3)).shape == (15, 2)
    assert relative_log_coordinates((2, 3))[7].tolist() == [0, 0]


@pytest.mark.parametrize("way", ["transformers", "reentrant", "wrapped"])
def test_a_checkpointed_batch_counts_once_in_the_statistics(way):
    """By transformers' switch, both of torch's implementations, and the wrapper that FSDP puts around layers."""
    model = randomise(hfvf.create_model(SPEC.small, **SPEC.tiny)).train()
    twin, pixel_values = copy.deepcopy(model), images(2, SPEC.tiny_size)
    if way == "wrapped":
        for module in (twin.model, *(stage.layers for stage in twin.model.stages)):
            for name in ("stem",) if module is twin.model else list(dict(module.named_children())):
                setattr(module, name, checkpoint_wrapper(getattr(module, name)))
    else:
        getattr(twin, "activation_checkpointing_enable", twin.gradient_checkpointing_enable)(
            {"use_reentrant": way == "reentrant"}
        )
    repeated = []
    count = twin.model.stages[0].layers[0].convs[0].norm1.register_forward_hook(lambda *call: repeated.append(call))
    model(pixel_values).logits.sum().backward()
    twin(pixel_values).logits.sum().backward()
    count.remove()
    assert len(repeated) == 2, "the layer was not recomputed"
    for (name, one), (_, other) in zip(model.named_buffers(), twin.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)  # without gradients GELU is computed in another way
    for (name, one), (_, other) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    assert all(
        module.momentum == model.config.batch_norm_momentum
        for module in twin.modules()
        if isinstance(module, nn.BatchNorm2d)
    )


def test_windows_follow_the_image_size_at_construction():
    assert hfvf.create_model("maxvit_tiny_tf_224", **{**SPEC.tiny, "image_size": 384}).config.window_height_width == (
        12,
        12,
    )
    wide = hfvf.create_model(SPEC.small, **{**SPEC.tiny, "image_size": (64, 128)})
    assert wide.config.window_height_width == (2, 4)
    assert torch.isfinite(wide(images(1, (64, 128))).logits).all()


def test_implementations_are_declared():
    assert HfvfMaxVitPreTrainedModel._supports_sdpa and HfvfMaxVitPreTrainedModel._supports_flex_attn
    assert not HfvfMaxVitPreTrainedModel._supports_flash_attn
    text = " ".join(hfvf.model_info(SPEC.small).supports)
    for implementation in SPEC.attention_implementations:
        assert implementation in text
    model = hfvf.create_model(SPEC.small, **SPEC.tiny)
    with pytest.raises((ValueError, ImportError)):
        model.set_attn_implementation("flash_attention_2")
        model(images(1, SPEC.tiny_size))


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "size"), [(2, (224, 224)), (1, (256, 256))], ids=str)
def test_flex_attention_equals_sdpa_on_a_cpu(batch, size):
    """Windows of 7x7, without and with padding; layers that need a mask run in sdpa.

    torch 2.15's compiler makes faulty C++ of some other CPU shapes (2x2 windows of one 64-pixel image), and says so.
    """
    model = randomise(hfvf.create_model(SPEC.small, **{**SPEC.tiny, "image_size": 224}))
    torch._dynamo.reset()
    with torch.inference_mode():
        expected = model(images(batch, size)).logits
        model.set_attn_implementation("flex_attention")
        assert relative_difference(model(images(batch, size)).logits, expected) < 1e-5
