# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The ways that models take on a CPU alone: the same numbers, and nothing of them with the switch off."""

import runpy

import pytest
import torch
from families import SPECS, images, randomise
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

import hf_vit_family as hfvf
from hf_vit_family.models import cpu
from hf_vit_family.models.layers import Mlp, activated

TANH_GELU = ACT2FN["gelu_pytorch_tanh"]


@pytest.mark.parametrize("family", SPECS)
def test_off_a_model_is_its_text_and_on_its_numbers_are_the_same(family, monkeypatch):
    """The text is what torch.compile reads, which runs torch's own kernels here and never sees the paths."""
    monkeypatch.setattr(cpu, "BYTES_AT_ONCE", 2**12)
    spec = SPECS[family]
    model, pixel_values = randomise(hfvf.create_model(spec.small, **spec.tiny)).eval(), images(2, (70, 93))
    torch._dynamo.reset()
    with torch.inference_mode():
        expected = torch.compile(model, backend="eager", fullgraph=True)(pixel_values).logits
        with cpu.cpu_paths(False):
            assert torch.equal(model(pixel_values).logits, expected)
        logits = model(pixel_values).logits
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(logits, expected) == (family == "poolformer"), "PoolFormer has no layer that takes a path"


@pytest.mark.parametrize("family", SPECS)
def test_a_step_of_training_is_the_same(family):
    spec = SPECS[family]
    model, gradients = randomise(hfvf.create_model(spec.small, **spec.tiny)).train(), []
    for enabled in (True, False):
        torch.manual_seed(0)
        model.zero_grad()
        with cpu.cpu_paths(enabled):
            model(images(2, spec.tiny_size)).logits.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_environment_switches_all_off(monkeypatch):
    """The file is executed anew, as each process and each copy in a repository's remote code does."""
    for value, expected in (("0", False), ("1", True)):
        monkeypatch.setenv("HFVF_CPU_PATHS", value)
        assert runpy.run_path(cpu.__file__)["serves"](torch.zeros(1)) is expected
    monkeypatch.setenv("HFVF_CPU_PATHS", "no")
    with pytest.raises(ValueError, match=r"^HFVF_CPU_PATHS is .no.; expected 0 or 1\.$"):
        runpy.run_path(cpu.__file__)


@pytest.mark.parametrize("shape", [(3, 11, 7, 16), (231, 16), (1, 1, 1, 16)], ids=str)
def test_mlp_in_parts_equals_mlp_in_one_go(monkeypatch, shape):
    mlp = randomise(Mlp(16, 64, "gelu")).eval()
    tokens = torch.randn(shape)
    sizes = []
    mlp.fc1.register_forward_hook(lambda module, args, output: sizes.append(args[0].numel() // 16))
    monkeypatch.setattr(cpu, "BYTES_AT_ONCE", 50 * 64 * 4)
    whole = mlp(tokens)
    rows = tokens.numel() // 16
    assert sizes == [rows], "with gradients in one go"
    sizes.clear()
    with torch.inference_mode():
        torch.testing.assert_close(mlp(tokens), whole)
    assert sum(sizes) == rows and max(sizes) <= 50


def test_mlp_in_parts_compiles_and_exports_whole(monkeypatch):
    monkeypatch.setattr(cpu, "BYTES_AT_ONCE", 1)
    mlp = randomise(Mlp(16, 64, "gelu")).eval()
    tokens = torch.randn(2, 3, 3, 16)
    with torch.no_grad():
        expected = mlp(tokens)
        program = torch.export.export(mlp, (tokens,), strict=False)
        assert sum(node.target is torch.ops.aten.linear.default for node in program.graph.nodes) == 2
        torch._dynamo.reset()
        compiled = torch.compile(mlp, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(tokens), expected)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tanh_gelu_equals_torchs(dtype, fresh):
    tokens = torch.linspace(-8, 8, 4001, dtype=torch.float64).to(dtype)
    expected = F.gelu(tokens, approximate="tanh")
    with torch.inference_mode():
        torch.testing.assert_close(cpu.activate(TANH_GELU, tokens.clone(), fresh=fresh), expected)
        assert torch.equal(cpu.activate(TANH_GELU, tokens), cpu.activate(TANH_GELU, tokens.clone(), fresh=fresh))
    tokens.requires_grad_()
    (gradient,) = torch.autograd.grad(cpu.activate(TANH_GELU, tokens, fresh=fresh).sum(), tokens)
    (reference,) = torch.autograd.grad(F.gelu(tokens, approximate="tanh").sum(), tokens)
    torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d(4)], ids=["convolution", "norm"])
@pytest.mark.parametrize("hooked", [False, True])
def test_activation_in_place_leaves_alone_what_others_see(hooked, norm):
    convolution = nn.Conv2d(4, 4, 1)
    last = randomise(norm or convolution).eval()
    hidden_states = torch.randn(2, 4, 5, 5).to(memory_format=torch.channels_last)
    before, seen = hidden_states.clone(), []
    if hooked:
        last.register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.inference_mode():
        given = activated(convolution, hidden_states, TANH_GELU, norm)
        expected = convolution(hidden_states) if norm is None else norm(convolution(hidden_states))
    assert torch.equal(hidden_states, before)
    torch.testing.assert_close(given, F.gelu(expected, approximate="tanh"))
    if hooked:
        assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 9), (7, 11)], ids=str)
def test_a_padded_kernel_equals_a_padded_map(size):
    """TensorFlow pads 8 rows by one at their end, and 9 at both."""
    convolution = nn.Conv2d(6, 6, 3, stride=2, groups=6)
    hidden_states = torch.randn(2, 6, *size)
    rows, columns = (side % 2 for side in size)
    expected = convolution(F.pad(hidden_states, (columns, 1, rows, 1)))
    torch.testing.assert_close(cpu.convolve(convolution, hidden_states, same=True), expected)


@pytest.mark.parametrize("same", [False, True])
def test_depthwise_convolutions_train_in_float32_under_autocast(same):
    convolution = nn.Conv2d(6, 6, 3, stride=2, padding=0 if same else 1, groups=6)
    hidden_states = torch.randn(2, 6, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cpu.convolve(convolution, hidden_states, same).dtype == torch.float32
        assert cpu.convolve(nn.Conv2d(6, 6, 3, stride=2), hidden_states).dtype == torch.bfloat16
        with cpu.cpu_paths(False):
            assert cpu.convolve(convolution, hidden_states, same).dtype == torch.bfloat16
        with torch.no_grad():
            assert cpu.convolve(convolution, hidden_states, same).dtype == torch.bfloat16
