# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The window attention kernel in Triton's interpreter, which `test_window_attention.py` runs in a process of its own.

`TRITON_INTERPRET=1` has to be set before anything imports Triton. A program of the kernel takes about a tenth of a
second here, so maps are small.
"""

import builtins
import random

import pytest
import torch
from triton.runtime import interpreter
from window_attention_reference import check, close, maps, reference
from zoo_models import images, random_model

from hf_vit_family.acceleration.window_attention import attention as attention_module
from hf_vit_family.acceleration.window_attention import window_attention
from hf_vit_family.acceleration.window_attention.interface import window_triton_forward
from hf_vit_family.models.compat import enable_activation_checkpointing

HALF, BRAIN, SINGLE = torch.float16, torch.bfloat16, torch.float32


@pytest.fixture
def calls(monkeypatch) -> list:
    """Shapes of the queries of every call of the kernel."""
    shapes, original = [], attention_module.attend

    def counted(query, *args):
        shapes.append(tuple(query.shape))
        return original(query, *args)

    monkeypatch.setattr(attention_module, "attend", counted)
    return shapes


@pytest.mark.parametrize(
    ("shape", "window", "dtype", "options"),
    [
        ((1, 14, 7, 1, 32), (7, 7), BRAIN, {}),
        ((2, 6, 5, 1, 32), (7, 7), HALF, {}),  # less than a window
        ((1, 9, 7, 1, 32), (7, 7), SINGLE, {}),  # several blocks in fp32
        ((1, 8, 11, 1, 24), (8, 8), BRAIN, {"heads_bias": False}),
        ((1, 12, 10, 1, 32), (12, 12), HALF, {}),  # several blocks
        ((2, 5, 4, 2, 16), (3, 5), SINGLE, {}),
        ((1, 14, 12, 1, 32), (7, 7), HALF, {"shift": (3, 3)}),
        ((1, 4, 5, 2, 24), (3, 5), SINGLE, {"shift": (1, 2)}),
        ((1, 9, 8, 1, 16), (8, 8), BRAIN, {"shift": (0, 4)}),
        ((1, 14, 8, 1, 32), (7, 7), BRAIN, {"layout": "grid"}),
        ((2, 5, 4, 2, 16), (3, 4), SINGLE, {"layout": "grid"}),
        ((1, 3, 9, 1, 24), (2, 8), HALF, {"layout": "grid", "heads_bias": False}),
    ],
)
def test_equals_float64(shape, window, dtype, options):
    check(shape, window, dtype, **options)


@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_masks(kind):
    generator = torch.Generator().manual_seed(5)
    mask = torch.randn(4, 1, 6, 6, generator=generator)  # (batch * windows, heads, N, N)
    if kind == "boolean":
        mask = mask > -0.5
        mask[1, 0, 2] = False  # a query that may see nothing
    check((2, 3, 3, 2, 16), (3, 2), SINGLE, mask=mask)
    check((2, 3, 3, 2, 16), (3, 2), HALF, mask=mask, heads_bias=False)


def test_reads_views_without_copies(monkeypatch):
    """One fused projection, and maps whose memory lies otherwise; only channels that lie apart are copied."""
    fused = torch.randn(2, 3, 4, 3, 1, 16).unbind(3)
    turned = torch.randn(4, 2, 3, 1, 16).permute(1, 2, 0, 3, 4)
    inputs = [fused[0], fused[1], turned, torch.randn(2, 4, 3, 1, 16).transpose(1, 2)]
    copies, original = [], torch.Tensor.contiguous
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda tensor, *_: copies.append(tensor.shape) or original(tensor))
    window_attention(*inputs[:3], window=(3, 2), scaling=0.25)
    assert not copies
    monkeypatch.undo()
    check((2, 3, 4, 1, 16), (3, 2), SINGLE, inputs=inputs)
    channels_first = torch.randn(2, 1, 16, 3, 4).permute(0, 3, 4, 1, 2)
    check((2, 3, 4, 1, 16), (3, 2), SINGLE, inputs=[channels_first, *inputs[1:]])


def run_only(monkeypatch, programs):
    """Launch these programs of the first axis and no other."""
    monkeypatch.setattr(
        interpreter, "range", lambda *limits: programs if limits[0] > max(programs) else builtins.range(*limits),
        raising=False,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1023, 1024, 1025])
def test_more_than_65536_windows(monkeypatch, batch):
    """The numbers of a launch at which fused kernels have failed: up to 65,600 windows, of which a few are computed."""
    inputs = maps((batch, 16, 16, 1, 16), HALF)
    given = [tensor.clone().requires_grad_() for tensor in inputs[:3]]
    windows = batch * 64
    chosen = [0, 65_471, windows - 64, windows - 1]
    run_only(monkeypatch, chosen)
    output = window_attention(*given, window=(2, 2), scaling=0.25)
    output.backward(inputs[3])
    for window in chosen:
        image, (row, column) = window // 64, divmod(window % 64, 8)
        place = (slice(image, image + 1), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
        exact = [tensor[place].double().requires_grad_() for tensor in inputs[:3]]
        expected = reference(*exact, window=(2, 2), scaling=0.25)
        expected.backward(inputs[3][place].double())
        close(output[place].detach(), expected.detach(), HALF)
        for mine, theirs in zip(given, exact, strict=True):
            close(mine.grad[place], theirs.grad, HALF)


def test_offsets_beyond_32_bits():
    """An image that lies 2^31 elements behind the first one; memory that nobody touches takes no room."""
    try:
        memory = torch.empty(2**31 + 2**12, dtype=HALF)
    except RuntimeError:
        pytest.skip("the system promises no 4 GB of memory")
    far = memory.as_strided((2, 2, 3, 1, 16), (2**31, 48, 16, 16, 1))
    near = torch.randn(2, 2, 3, 1, 16).half()
    far.copy_(near)
    output = window_attention(far, far, far, window=(2, 3), scaling=0.25)
    close(output, reference(*(near.double(),) * 3, window=(2, 3), scaling=0.25), HALF)


def test_gradients_of_the_bias_repeat_and_sum_over_many_windows(monkeypatch):
    """Programs that serve several windows each; the sums are the same to the last bit."""
    from hf_vit_family.acceleration.window_attention import attention

    monkeypatch.setattr(attention, "PROGRAMS", 2)
    check((1, 4, 5, 2, 16), (2, 3), SINGLE)  # 4 windows, one program a head
    check((1, 6, 15, 1, 16), (6, 6), SINGLE)  # 3 windows of several blocks, two programs
    query, key, value, gradient = maps((1, 4, 4, 1, 16), SINGLE)
    results = []
    for _ in range(2):
        bias = torch.zeros(1, 6, 6, requires_grad=True)
        window_attention(query, key, value, window=(2, 3), bias=bias, scaling=1.0).backward(gradient)
        results.append(bias.grad)
    assert torch.equal(*results)


TWINS = {"hidden_sizes": (16, 16, 32, 48), "num_attention_heads": (1, 1, 2, 2), "depths": (1, 1, 2, 1)}
MODELS = [
    ("twins", {**TWINS, "window_sizes": (3, 3, 2, 2)}, (40, 56)),
    ("maxvit", {"window_size": (3, 4), "hidden_sizes": (32, 32, 32, 64)}, (40, 48)),
]


def logits_and_gradients(model, pixels):
    model.zero_grad()
    logits = model(pixels).logits
    logits.square().sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def compare_with_eager(family, overrides, size, calls, expected_calls, prepare=lambda model: None, batch=1):
    pixels = images(family, size, batch)
    eager = random_model(family, **overrides, attn_implementation="eager").eval()
    fused = random_model(family, **overrides, attn_implementation="window_triton").eval()
    assert fused.config._attn_implementation == "window_triton"
    prepare(fused)
    logits, gradients = logits_and_gradients(eager, pixels)
    assert not calls
    fused_logits, fused_gradients = logits_and_gradients(fused, pixels)
    assert len(calls) == expected_calls and all(len(shape) == 5 for shape in calls)
    torch.testing.assert_close(fused_logits, logits, rtol=1e-5, atol=1e-5 * logits.abs().max().item())
    largest = max(gradient.abs().max() for gradient in gradients.values()).item()
    assert gradients.keys() == fused_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5 * largest)
    return fused


# a local layer in each stage of Twins; a block of windows and one of grid cells in each stage of MaxViT
@pytest.mark.parametrize(("family", "overrides", "size", "count"), [(*MODELS[0], 4), (*MODELS[1], 8)])
def test_native_models(family, overrides, size, count, calls):
    fused = compare_with_eager(family, overrides, size, calls, count)
    heights = {shape[1] for shape in calls}
    assert max(heights) == size[0] // 4  # maps, not windows
    calls.clear()
    with torch.no_grad():
        outputs = fused(images(family, size, 1), output_attentions=True)
        assert not calls and all(weights is not None for weights in outputs.attentions)


def test_dropout_goes_to_sdpa(calls):
    model = random_model("twins", **MODELS[0][1], attention_dropout=0.1, attn_implementation="window_triton").train()
    model(images("twins", (32, 32), 1))
    assert not calls
    with torch.no_grad():
        model.eval()(images("twins", (32, 32), 1))
    assert len(calls) == 4


def rows(tokens=6, count=4, head_size=16, **changes):
    query, key, value = torch.randn(3, count, 2, tokens, head_size)
    bias = torch.randn(1, 2, tokens, tokens)
    return {"query": query, "key": key, "value": value, "attention_mask": None, "position_bias": bias, **changes}


class Layer(torch.nn.Module):
    is_causal = False


def test_rows_are_windows(calls):
    """Called as any attention function is: with a bias or a mask, each row is a window."""
    sdpa = torch.nn.functional.scaled_dot_product_attention
    for changes in (
        {},
        {"attention_mask": torch.rand(4, 1, 1, 6) > 0.3},
        {"attention_mask": torch.randn(4, 2, 6, 6), "position_bias": None},
        {"attention_mask": torch.randn(1, 2, 6, 6, requires_grad=True), "position_bias": None},  # Swin's bias
    ):
        given = rows(**changes)
        output, weights = window_triton_forward(Layer(), **given)
        mask, bias = given["attention_mask"], given["position_bias"]
        if bias is not None:
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        expected = sdpa(given["query"], given["key"], given["value"], attn_mask=mask).transpose(1, 2)
        torch.testing.assert_close(output, expected)
        assert weights is None and calls.pop() == (4, 1, 6, 2, 16) and not calls
    output.sum().backward()
    assert given["attention_mask"].grad.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"position_bias": None}, {}),
        ({"attention_mask": torch.randn(4, 2, 6, 6, requires_grad=True), "position_bias": None}, {}),
        ({}, {"dropout": 0.5}),
        ({}, {"is_causal": True}),
        ({"position_bias": torch.randn(4, 2, 6, 6)}, {}),
        ({"query": torch.randn(4, 2, 1, 16), "position_bias": torch.randn(1, 2, 1, 6)}, {}),
        ({"head_size": 160}, {}),
        ({"head_size": 8}, {}),
        ({"tokens": 257, "count": 1}, {}),
    ],
)
def test_what_goes_to_sdpa(calls, changes, options):
    given = rows(**changes)
    output, _ = window_triton_forward(Layer(), **given, **options)
    assert not calls and output.shape == given["query"].transpose(1, 2).shape


def test_transformers_swin(calls):
    """Its bias comes as a mask; shifted windows have one mask each, which in training wants a gradient: SDPA's work."""
    overrides = {"embed_dim": 16, "num_heads": [1, 1], "depths": [2, 1], "image_size": 16}
    eager = random_model("swin", **overrides, attn_implementation="eager").eval()
    fused = random_model("swin", **overrides, attn_implementation="window_triton").eval()
    pixels = images("swin", (16, 16), 1)
    expected, gradients = logits_and_gradients(eager, pixels)
    logits, fused_gradients = logits_and_gradients(fused, pixels)
    assert len(calls) == 2
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    largest = max(gradient.abs().max() for gradient in gradients.values()).item()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5 * largest)
    with torch.no_grad():
        torch.testing.assert_close(fused(pixels).logits, expected, rtol=1e-5, atol=1e-5)
    assert len(calls) == 5


@pytest.mark.slow
def test_compiles_without_a_break(calls):
    """Nothing of the models' route stops torch.compile, and the gradient is there behind it."""
    model = random_model("twins", **MODELS[0][1], attn_implementation="window_triton").eval()
    pixels = images("twins", (32, 32), 1)
    with torch.no_grad():
        expected = model(pixels).logits
    calls.clear()
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend, fullgraph=True)(pixels).logits
    torch.testing.assert_close(compiled.detach(), expected)
    (graph,) = graphs
    attention = [str(node.target) for node in graph.graph.nodes if "hf_vit_family" in str(node.target)]
    assert len(attention) == 4
    compiled.sum().backward()
    assert model.model.stages[0].layers[0].attention.q_proj.weight.grad.abs().max() > 0


def test_operators_are_what_torch_expects():
    query, key, value, _ = maps((1, 3, 4, 1, 16), SINGLE)
    given = [tensor.requires_grad_() for tensor in (query, key, value)]
    bias = torch.randn(1, 6, 6, requires_grad=True)
    torch.library.opcheck(
        torch.ops.hf_vit_family.window_attention.default,
        (*given, bias, None, [3, 2], False, [0, 0], 0.25),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_bad_arguments():
    query, key, value, _ = maps((1, 4, 4, 2, 16), SINGLE)
    good = {"window": (2, 2), "scaling": 1.0}
    for arguments, options, message in (
        ((query[0], key, value), {}, "three equal shapes"),
        ((query, key[:, :2], value), {}, "three equal shapes"),
        ((query, key.half(), value), {}, "one dtype"),
        ((query.double(), key.double(), value.double()), {}, "expected float32, float16 or bfloat16"),
        ((query, key, value), {"window": (16, 17)}, "expected at most 256"),
        ((query[..., :8], key[..., :8], value[..., :8]), {}, "expected 16 to 128"),
        ((query, key, value), {"layout": "rows"}, "expected 'window' or 'grid'"),
        ((query, key, value), {"shift": (2, 0)}, "less than the window"),
        ((query, key, value), {"shift": (1, 0), "layout": "grid"}, "expected no shift"),
        ((query, key, value), {"bias": torch.randn(2, 3, 3)}, "expected (2, 4, 4)"),
        ((query, key, value), {"mask": torch.randn(4, 2, 4, 4, requires_grad=True)}, "expected it as the bias"),
    ):
        with pytest.raises(ValueError) as error:
            window_attention(*arguments, **{**good, **options})
        text = str(error.value)
        assert message in text and text.endswith(".") and "\n" not in text


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_cases(seed):
    draw = random.Random(seed)
    layout = ("window", "shifted", "grid")[seed % 3]
    window = draw.choice([(7, 7), (8, 8), (4, 9), (5, 3), (2, 2)])
    size = [draw.randint(1, 2 * side) for side in window]
    options = {"layout": "grid" if layout == "grid" else "window", "heads_bias": draw.random() < 0.7}
    if layout == "shifted":
        options["shift"] = tuple(draw.randrange(side) for side in window)
    shape = (1, *size, draw.choice([1, 2]), draw.choice([16, 24, 32, 64]))
    check(shape, window, (SINGLE, HALF, BRAIN)[seed // 3 % 3], **options)


@pytest.mark.slow
@pytest.mark.parametrize("head_size", [16, 40, 96, 128])
def test_largest_windows_and_head_sizes(head_size):
    check((1, 16, 13, 1, head_size), (16, 16), BRAIN)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "size", "count"), [("twins", (32, 64), 4), ("maxvit", (64, 32), 8)])
def test_published_windows_under_checkpointing(family, size, count, calls):
    """Windows of 7; a block's forward pass runs twice."""
    overrides = TWINS if family == "twins" else MODELS[1][1] | {"window_size": 7}
    model = random_model(family, **overrides, attn_implementation="window_triton")
    pixels = images(family, size, 1)
    logits, gradients = logits_and_gradients(model.train(), pixels)
    assert len(calls) == count
    enable_activation_checkpointing(model)
    again, recomputed = logits_and_gradients(model.train(), pixels)
    assert len(calls) == 3 * count
    torch.testing.assert_close(again, logits)
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-6)
