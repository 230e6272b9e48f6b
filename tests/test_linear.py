"""The linear layer with two routes, and the MLP that takes large inputs in parts."""

import copy

import pytest
import torch
from families import randomise
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from hf_vit_family.models import linear
from hf_vit_family.models.layers import Mlp
from hf_vit_family.models.linear import ChannelsLinear

LARGE = (2, 40, 40, 96)  # times 384 outputs: more than ChannelsLinear.smallest_product
onednn_only = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="this build of torch has no oneDNN",
)


@pytest.fixture
def layer(monkeypatch) -> ChannelsLinear:
    """A layer that would take oneDNN on any processor."""
    monkeypatch.setattr(ChannelsLinear, "onednn", True)
    return randomise(ChannelsLinear(96, 384))


@pytest.fixture
def calls(monkeypatch) -> list:
    """Shapes that `F.linear` was called with."""
    shapes, original = [], F.linear

    def counted(tokens, weight, bias=None):
        shapes.append(tuple(tokens.shape))
        return original(tokens, weight, bias)

    monkeypatch.setattr(nn.modules.linear.F, "linear", counted)
    return shapes


@onednn_only
def test_both_routes_agree(layer, calls):
    tokens = torch.randn(LARGE)
    expected = F.linear(tokens, layer.weight, layer.bias).detach()
    calls.clear()
    with torch.inference_mode():
        torch.testing.assert_close(layer(tokens), expected)
        strided = tokens.transpose(1, 2).contiguous().transpose(1, 2)
        torch.testing.assert_close(layer(strided), expected)
        layer.bias = None
        torch.testing.assert_close(layer(tokens), tokens @ layer.weight.t())
    assert not calls


@onednn_only
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_inside_the_product(layer, calls, approximate):
    tokens, gelu = torch.randn(LARGE), nn.GELU(approximate)
    expected = gelu(F.linear(tokens, layer.weight, layer.bias)).detach()
    calls.clear()
    with torch.inference_mode():
        torch.testing.assert_close(layer.then_gelu(tokens, gelu, approximate), expected)
        assert not calls
        seen = []
        handle = layer.register_forward_hook(lambda module, given, output: seen.append(output))
        torch.testing.assert_close(layer.then_gelu(tokens, gelu, approximate), expected)
        handle.remove()
        torch.testing.assert_close(gelu(seen[0]), expected)
    gradient = torch.autograd.grad(layer.then_gelu(tokens, gelu, approximate).sum(), layer.weight)[0]
    assert gradient.abs().max() > 0 and calls


@onednn_only
@pytest.mark.parametrize("act", ["gelu", "gelu_pytorch_tanh", "relu"])
def test_mlp_with_the_activation_inside_the_product(monkeypatch, act):
    monkeypatch.setattr(ChannelsLinear, "onednn", True)
    mlp = randomise(Mlp(96, 384, act)).eval()
    tokens = torch.randn(LARGE)
    expected = mlp.fc2(mlp.activation(mlp.fc1(tokens))).detach()
    monkeypatch.setattr(mlp.activation, "forward", lambda values: pytest.fail("the activation ran by itself"))
    with torch.inference_mode():
        if act == "relu":
            with pytest.raises(pytest.fail.Exception):
                mlp(tokens)
        else:
            torch.testing.assert_close(mlp(tokens), expected, rtol=1e-5, atol=1e-5)


@onednn_only
def test_where_plain_linear_is_taken(layer, calls):
    tokens = torch.randn(LARGE)

    def plain(function) -> bool:
        calls.clear()
        function()
        return bool(calls)

    with torch.no_grad():
        assert not plain(lambda: layer(tokens))
        assert plain(lambda: layer(tokens[:1, :2])), "small products"
        assert plain(lambda: copy.deepcopy(layer).double()(tokens.double())), "other dtypes"
        with torch.autocast("cpu", torch.bfloat16):
            assert plain(lambda: layer(tokens))
            assert layer(tokens).dtype == torch.bfloat16
        with torch.backends.mkldnn.flags(enabled=False):
            assert plain(lambda: layer(tokens))
        with FlopCounterMode(display=False) as counter:
            assert plain(lambda: layer(tokens))
        assert counter.get_total_flops() == 2 * tokens.numel() * 384
        assert plain(lambda: torch.jit.trace(layer, tokens)), "traces keep to public operations"
        assert plain(lambda: torch.func.vmap(layer)(tokens))
        tangents = torch.ones_like(tokens)
        _, derivative = torch.func.jvp(layer, (tokens,), (tangents,))
        torch.testing.assert_close(derivative, tangents @ layer.weight.t())
        with forward_ad.dual_level():
            derivative = forward_ad.unpack_dual(layer(forward_ad.make_dual(tokens, tangents))).tangent
        torch.testing.assert_close(derivative, tangents @ layer.weight.t())
    assert plain(lambda: layer(tokens)), "gradients"
    layer(tokens).sum().backward()
    assert layer.weight.grad is not None
    layer.onednn = False
    with torch.no_grad():
        assert plain(lambda: layer(tokens))


@onednn_only
def test_a_quantised_weight_is_used(layer):
    torchao = pytest.importorskip("torchao.quantization")
    tokens = torch.randn(LARGE)
    with torch.inference_mode():
        before = layer(tokens)
        model = nn.Sequential(layer)
        torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
        assert type(model[0].weight) is not nn.Parameter
        difference = (model(tokens) - before).abs().max() / before.abs().max()
    assert 0 < difference < 0.1


@onednn_only
def test_changed_weights_count_at_once(layer):
    """Nothing is kept between calls."""
    tokens = torch.randn(LARGE)
    with torch.inference_mode():
        layer(tokens)
    layer.weight.data.mul_(2)
    layer.bias.data.zero_()
    with torch.inference_mode():
        torch.testing.assert_close(layer(tokens), tokens @ layer.weight.t())


def test_the_route_is_chosen_by_processor(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name, expected in (("AMD EPYC 9654", True), ("Intel(R) Xeon(R) Platinum", False), (None, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {} if name is None else {"cpu_name": name})
        assert linear.onednn_linear_pays() == (expected and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


@pytest.mark.parametrize("shape", [(3, 11, 7, 16), (231, 16), (1, 1, 1, 16)], ids=str)
def test_mlp_in_parts_equals_mlp_in_one_go(monkeypatch, shape):
    mlp = randomise(Mlp(16, 64, "gelu")).eval()
    tokens = torch.randn(shape)
    sizes = []
    mlp.fc1.register_forward_hook(lambda module, args, output: sizes.append(args[0].numel() // 16))
    monkeypatch.setattr(Mlp, "bytes_at_once", 50 * 64 * 4)
    whole = mlp(tokens)
    rows = tokens.numel() // 16
    assert sizes == [rows], "with gradients in one go"
    sizes.clear()
    with torch.inference_mode():
        torch.testing.assert_close(mlp(tokens), whole)
    assert sum(sizes) == rows and max(sizes) <= 50


def test_mlp_in_parts_compiles_and_exports_whole(monkeypatch):
    monkeypatch.setattr(Mlp, "bytes_at_once", 1)
    mlp = randomise(Mlp(16, 64, "gelu")).eval()
    tokens = torch.randn(2, 3, 3, 16)
    with torch.no_grad():
        expected = mlp.transform(tokens)
        program = torch.export.export(mlp, (tokens,), strict=False)
        assert sum(node.target is torch.ops.aten.linear.default for node in program.graph.nodes) == 2
        torch._dynamo.reset()
        compiled = torch.compile(mlp, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(tokens), expected)
