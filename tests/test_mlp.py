"""The MLP that takes large inputs in parts."""

import pytest
import torch
from families import randomise

from hf_vit_family.models.layers import Mlp


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
