"""What is special to Twins: masked windows, where it differs from timm, and its attention implementations."""

from contextlib import contextmanager

import pytest
import timm
import torch
from families import SPECS, images, randomise, tiny
from test_contract import relative_difference
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import hf_vit_family as hfvf
from hf_vit_family import HfvfTwinsConfig
from hf_vit_family.conversion import timm_to_native
from hf_vit_family.models import modeling_twins
from hf_vit_family.models.attention import attention_implementation, padding_mask
from hf_vit_family.models.modeling_twins import HfvfTwinsLocalAttention

SPEC = SPECS["twins"]
PADDED, UNPADDED = (65, 129), (224, 224)


def local_attention() -> HfvfTwinsLocalAttention:
    config = HfvfTwinsConfig(hidden_sizes=(24,) * 4, num_attention_heads=(3,) * 4)
    config._attn_implementation = "eager"
    return randomise(HfvfTwinsLocalAttention(config, 0)).eval()


def each_window_alone(attention: HfvfTwinsLocalAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Every window of every image by itself, cut off where the map ends: no padding, no mask."""
    rows, columns = attention.window
    output = torch.full_like(tokens, float("nan"))
    for image in range(tokens.shape[0]):
        for top in range(0, tokens.shape[1], rows):
            for left in range(0, tokens.shape[2], columns):
                where = (image, slice(top, top + rows), slice(left, left + columns))
                window = tokens[where].flatten(0, 1)
                heads = [
                    projection(window).unflatten(1, (-1, attention.head_size)).transpose(0, 1)
                    for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
                ]
                weights = (heads[0] @ heads[1].transpose(1, 2) / attention.head_size**0.5).softmax(-1)
                attended = attention.o_proj((weights @ heads[2]).transpose(0, 1).flatten(1))
                output[where] = attended.view(tokens[where].shape)
    return output


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("size", [(7, 7), (14, 21), (10, 17), (3, 5), (1, 1), (8, 7), (7, 8)], ids=str)
def test_masked_windows_equal_windows_without_padding(size, implementation):
    attention = local_attention()
    attention.config._attn_implementation = implementation
    tokens = torch.randn(3, *size, 24, generator=torch.Generator().manual_seed(0))
    mask = padding_mask(*size, attention.window, batch=3)
    with torch.inference_mode():
        output, weights = attention(tokens, mask)
        torch.testing.assert_close(output, each_window_alone(attention, tokens))
    assert (weights is None) == (implementation == "sdpa")
    if mask is not None and weights is not None:
        assert weights.masked_select(~mask.expand_as(weights)).eq(0).all(), "padded keys get no weight"


def test_an_image_keeps_its_windows_in_any_batch():
    """The mask has a row for every window of every image: order must be the windows' own."""
    attention = local_attention()
    tokens = torch.randn(4, 10, 17, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, _ = attention(tokens, padding_mask(10, 17, attention.window, batch=4))
        for image in range(4):
            alone, _ = attention(tokens[image : image + 1], padding_mask(10, 17, attention.window, batch=1))
            torch.testing.assert_close(together[image : image + 1], alone)


def shallow_pair(name: str):
    """timm's model with one or two blocks a stage and its native copy."""
    depths = (2, 1, 2, 1)
    theirs = randomise(timm.create_model(name, depths=depths, num_classes=10)).eval()
    ours = hfvf.create_model(name, depths=depths, num_labels=10)
    ours.load_state_dict(timm_to_native(theirs.state_dict(), ours.config))
    return theirs, ours


def test_pcpvt_equals_timm_at_every_size():
    theirs, ours = shallow_pair("twins_pcpvt_small")
    for size in (UNPADDED, (256, 256), (200, 320), PADDED):
        with torch.inference_mode():
            assert relative_difference(ours(images(2, size)).logits, theirs(images(2, size))) < 1e-5, size


def test_svt_differs_from_timm_only_where_windows_are_padded():
    """The documented difference: timm's zeros take part in the attention, ours are masked."""
    theirs, ours = shallow_pair("twins_svt_small")
    for size, padded in (
        (UNPADDED, False),
        ((225, 227), False),
        ((224, 448), False),
        ((256, 256), True),
        (PADDED, True),
    ):
        with torch.inference_mode():
            difference = relative_difference(ours(images(2, size)).logits, theirs(images(2, size)))
        assert (difference > 1e-3) if padded else (difference < 1e-5), (size, difference)


@contextmanager
def registered(name: str, function):
    """An attention function under a name of transformers' interface, for a while."""
    ALL_ATTENTION_FUNCTIONS.register(name, function)
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS._global_mapping.pop(name)


def recording(calls: list, refuse_masks: bool = False):
    def attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        assert query.ndim == key.ndim == value.ndim == 4
        assert not module.is_causal
        calls.append((type(module).__name__, attention_mask))
        if refuse_masks:
            assert attention_mask is None
        output = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scaling)
        return output.transpose(1, 2), None

    return attention


def test_no_mask_without_padding_and_one_mask_a_stage_with_it(monkeypatch):
    """A mask keeps sdpa off the flash kernel, so at 224 there is none; with padding it is computed once a stage."""
    masks = []

    def counted(*args, **kwargs):
        masks.append(padding_mask(*args, **kwargs))
        return masks[-1]

    monkeypatch.setattr(modeling_twins, "padding_mask", counted)
    model = tiny(SPEC)
    calls = []
    with registered("spy", recording(calls)), torch.inference_mode():
        model.set_attn_implementation("spy")
        model(images(2, UNPADDED))
        assert len(calls) == sum(model.config.depths)
        assert all(mask is None for _, mask in calls)
        assert masks == [None] * 4
        calls.clear()
        masks.clear()
        model(images(2, PADDED))
    assert len(masks) == 4
    for kind, mask in calls:
        assert (mask is None) == (kind == "HfvfTwinsGlobalAttention")
        if mask is not None:
            assert mask.dtype == torch.bool and mask.ndim == 4
            assert any(mask is computed for computed in masks)


def test_flash_runs_where_no_mask_is_needed_and_falls_back_to_sdpa_elsewhere():
    """A stand-in for the flash kernels, which need a GPU: same name, same refusal of masks."""
    model = tiny(SPEC)
    for size, flash_layers in (
        (UNPADDED, {"HfvfTwinsLocalAttention", "HfvfTwinsGlobalAttention"}),
        (PADDED, {"HfvfTwinsGlobalAttention"}),
    ):
        with torch.inference_mode():
            model.set_attn_implementation("sdpa")
            expected = model(images(2, size)).logits
            calls = []
            with registered("flash_stand_in", recording(calls, refuse_masks=True)):
                # not `set_attn_implementation`, which would look for the kernel of that name
                model.config._attn_implementation = "flash_stand_in"
                assert relative_difference(model(images(2, size)).logits, expected) < 1e-6
        assert {kind for kind, _ in calls} == flash_layers


@torch.no_grad()
def test_which_implementation_serves_a_call():
    config, keys = HfvfTwinsConfig(), torch.zeros(1, 49, 64)
    for implementation, masked, output_attentions, expected in (
        ("sdpa", False, False, "sdpa"),
        ("sdpa", True, False, "sdpa"),
        ("sdpa", False, True, "eager"),
        ("eager", True, False, "eager"),
        ("flash_attention_2", False, False, "flash_attention_2"),
        ("flash_attention_2", True, False, "sdpa"),
        ("flash_attention_3", False, True, "eager"),
        ("flex_attention", False, False, "flex_attention"),
        ("flex_attention", True, False, "sdpa"),
    ):
        config._attn_implementation = implementation
        assert attention_implementation(config, {"output_attentions": output_attentions}, keys, masked) == expected
    config = HfvfTwinsConfig(attn_implementation="eager", output_attentions=True)
    assert attention_implementation(config, {}, keys) == "eager"


def test_short_rows_train_in_half_precision_with_eager_attention():
    """On a CPU alone, where the backward pass of torch's fused attention is slow in bf16."""
    config = HfvfTwinsConfig()
    config._attn_implementation = "sdpa"
    keys = torch.zeros(1, 49, 64)
    assert attention_implementation(config, {}, keys) == "sdpa"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attention_implementation(config, {}, keys) == "eager"
        assert attention_implementation(config, {}, torch.zeros(1, 257, 64)) == "sdpa"
        with torch.no_grad():
            assert attention_implementation(config, {}, keys) == "sdpa"
    for dtype, device, expected in (
        (torch.bfloat16, "cpu", "eager"),
        (torch.float64, "cpu", "sdpa"),
        (torch.bfloat16, "meta", "sdpa"),
    ):
        assert attention_implementation(config, {}, keys.to(device, dtype)) == expected
    config._attn_implementation = "flex_attention"
    assert attention_implementation(config, {}, keys.bfloat16()) == "flex_attention"


def test_implementations_are_declared():
    model_class = modeling_twins.HfvfTwinsPreTrainedModel
    assert model_class._supports_sdpa and model_class._supports_flash_attn and model_class._supports_flex_attn
    text = " ".join(hfvf.model_info("twins_svt_small").supports)
    for implementation in SPEC.attention_implementations:
        assert implementation in text


def test_attentions_have_a_row_for_every_window():
    model = tiny(SPEC)
    heads = model.config.num_attention_heads[0]
    attentions = model(images(2, PADDED), output_attentions=True).attentions
    # 65x129 pixels give maps of 16x32, 8x16, 4x8 and 2x4 tokens; windows of 7, keys reduced by 8, 4, 2 and 1
    expected = [
        (2 * 3 * 5, heads, 49, 49),
        (2, heads, 16 * 32, 2 * 4),
        (2 * 2 * 3, heads, 49, 49),
        (2, heads, 8 * 16, 2 * 4),
        (2 * 1 * 2, heads, 49, 49),
        (2, heads, 4 * 8, 2 * 4),
        (2 * 1 * 1, heads, 49, 49),
    ]
    assert [tuple(attention.shape) for attention in attentions] == expected


def test_last_hidden_state_is_normalised_and_averages_to_the_pooled_vector():
    model = tiny(SPEC).model
    with torch.no_grad():
        outputs = model(images(2, PADDED), output_hidden_states=True)
    assert outputs.last_hidden_state.shape == outputs.hidden_states[-1].shape
    torch.testing.assert_close(outputs.last_hidden_state.mean((2, 3)), outputs.pooler_output)
    tokens = outputs.hidden_states[-1].permute(0, 2, 3, 1)
    torch.testing.assert_close(model.norm(tokens).permute(0, 3, 1, 2), outputs.last_hidden_state)


def test_tokens_stay_channels_last_from_stage_to_stage():
    with torch.inference_mode():
        states = tiny(SPEC).model(images(2, PADDED), output_hidden_states=True).hidden_states
    assert all(state.is_contiguous(memory_format=torch.channels_last) for state in states)


def test_convolutions_start_normal_by_fan_out():
    model = hfvf.create_model("twins_svt_small", num_labels=5)
    stage = model.model.stages[0]
    for convolution, fan_out in (
        (model.model.stem.convolution, 4 * 4 * 64),
        (stage.layers[1].attention.reduction, 8 * 8 * 64),
        (stage.position_encoding.convolution, 3 * 3 * 1),
    ):
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        assert (convolution.bias == 0).all()
    assert stage.layers[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_smallest_size_follows_the_key_reductions():
    assert hfvf.create_model("twins_svt_small").minimum_image_size == (32, 32)
    assert hfvf.create_model("twins_svt_small", key_reductions=(1, 2, 1, 1)).minimum_image_size == (32, 32)
    assert hfvf.create_model("twins_svt_small", key_reductions=(16, 4, 2, 1)).minimum_image_size == (64, 64)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"num_attention_heads": (2, 4, 7, 16)},
            r"num_attention_heads is \[2, 4, 7, 16\]; expected numbers that divide",
        ),
        ({"window_sizes": (7, 7)}, r"window_sizes is \[7, 7\]; expected 4 values"),
        ({"window_sizes": (7, 7, 7, 0)}, "window_sizes is .*; expected positive numbers"),
        ({"key_reductions": (8, 4, 2)}, "key_reductions is .*; expected 4 values"),
        ({"mlp_ratios": (4, 4, 4, -1)}, "mlp_ratios is .*; expected positive numbers"),
        ({"patch_size": 0}, "patch_size is 0; expected a positive number of pixels"),
        ({"attention_dropout": 1.0}, r"attention_dropout is 1.0; expected a rate in \[0, 1\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_configurations(bad, message):
    with pytest.raises(ValueError, match=message):
        HfvfTwinsConfig(**bad)


@pytest.mark.slow
def test_flex_attention_equals_sdpa_on_a_cpu():
    """Compiles a kernel for each shape; layers that need a mask run in sdpa."""
    model = tiny(SPEC)
    for size in (UNPADDED, PADDED):
        with torch.inference_mode():
            model.set_attn_implementation("sdpa")
            expected = model(images(1, size)).logits
            model.set_attn_implementation("flex_attention")
            assert relative_difference(model(images(1, size)).logits, expected) < 1e-5


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", ["twins_svt_small", "twins_pcpvt_small"])
def test_flash_kernel_alone_serves_224_in_bf16(name):
    """Under `sdpa_kernel(FLASH_ATTENTION)` torch raises if any layer needs another kernel."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model = randomise(hfvf.create_model(name, attn_implementation="sdpa")).to("cuda", torch.bfloat16)
    pixel_values = images(2, UNPADDED).to("cuda", torch.bfloat16)
    with torch.inference_mode():
        with sdpa_kernel(SDPBackend.MATH):
            expected = model(pixel_values).logits.float()
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            logits = model(pixel_values).logits.float()
    assert relative_difference(logits, expected) < 5e-2


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("implementation", ["eager", "sdpa", "flex_attention"])
def test_masked_windows_on_cuda(implementation):
    """256 pixels need padding in every stage: the fallback gives the numbers of the CPU."""
    model = tiny(SPEC, hidden_sizes=(32, 64, 96, 128), num_attention_heads=(2, 4, 6, 8))
    with torch.inference_mode():
        expected = model(images(2, (256, 256))).logits
        model = model.cuda()
        model.set_attn_implementation(implementation)
        logits = model(images(2, (256, 256)).cuda()).logits.cpu()
    assert relative_difference(logits, expected) < 1e-3
