# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Optimised models: the outputs of the model they were made of, which stays as it was."""

import copy
import pickle
import time

import pytest
import torch
from families import randomise
from torch import nn
from transformers.activations import ACT2FN
from transformers.utils import ModelOutput
from zoo_models import TINY, images, shown, tiny_model

from hf_vit_family import create_model, optimize
from hf_vit_family.acceleration.optimization import optimizing, packed
from hf_vit_family.acceleration.optimization.packed import Packed, PackedConv2d, PackedLinear, pack
from hf_vit_family.models.layers import activated

NATIVE = ("poolformer", "twins", "maxvit")
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")


@pytest.fixture(autouse=True)
def small_products_count(monkeypatch):
    """Tiny models multiply too little to be packed otherwise; and their routes must not hang on the clock."""
    monkeypatch.setattr("hf_vit_family.acceleration.optimization.packed.SMALLEST_PRODUCT", 0)
    monkeypatch.setattr(optimizing, "MARGIN", 1e9)


def model_of(family: str, **overrides):
    return randomise(tiny_model(family, **overrides)).eval()


def check_equal(optimised, model, pixel_values, tolerance: float = 1e-5, **kwargs) -> None:
    """Every output of the two, to a share of its largest entry."""
    with torch.inference_mode():
        expected, given = model(pixel_values, **kwargs), optimised(pixel_values, **kwargs)
    assert expected.keys() == given.keys()
    for name, before in expected.items():
        after = given[name]
        pairs = [(before, after)] if isinstance(before, torch.Tensor) else list(zip(before, after, strict=True))
        for one, other in pairs:
            assert one.shape == other.shape and one.dtype == other.dtype, name
            assert (one - other).abs().max() <= tolerance * one.abs().max(), name


@needs_onednn
def test_torch_still_has_what_is_private():
    """Fails when a torch drops an operator or changes its signature: packed layers then fall back, and this is told."""
    assert packed.has_onednn()
    layer = nn.Linear(8, 16)
    pack(layer)
    with torch.inference_mode():
        layer(torch.randn(4, 8))
    assert layer._packed


@pytest.mark.parametrize("family", TINY)
def test_same_outputs_and_the_model_stays(family):
    model = model_of(family).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimised = optimize(model)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimised.training and not any(parameter.requires_grad for parameter in optimised.parameters())
    model.eval()
    check_equal(optimised, model, images(family, batch=1))
    check_equal(optimised, model, images(family, batch=3), output_hidden_states=True)
    assert optimised.optimization.largest_difference < 1e-5
    size = getattr(model.config, "image_size", 224)
    size = size if isinstance(size, int) else size[0]
    assert optimised.optimization.example == (1, 3, size, size)


@pytest.mark.parametrize("family", NATIVE)
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (97, 130)])
def test_other_sizes_than_the_example(family, size):
    model = model_of(family)
    optimised = optimize(model, torch.zeros(2, 3, 64, 64))
    check_equal(optimised, model, images(family, size))


@pytest.mark.parametrize("family", ["twins", "maxvit"])
def test_attentions_are_the_models(family):
    model = model_of(family)
    model.set_attn_implementation("eager")
    check_equal(optimize(model), model, images(family), output_attentions=True)


VARIANTS = {
    "maxvit_rmlp_pico_rw_256": {"hidden_sizes": (32, 32, 32, 64), "depths": (1, 1, 1, 1)},
    "maxvit_rmlp_base_rw_224": {"hidden_sizes": (32, 32, 32, 64), "depths": (1, 1, 1, 1), "stem_hidden_sizes": (8, 16)},
    "poolformerv2_s12": {"hidden_sizes": (8, 16, 24, 32), "depths": (1, 1, 1, 1)},
    "twins_pcpvt_small": {
        "hidden_sizes": (8, 16, 24, 32),
        "num_attention_heads": (1, 2, 2, 4),
        "depths": (1, 1, 2, 1),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_variants(variant):
    model = randomise(create_model(variant, **VARIANTS[variant])).eval()
    check_equal(optimize(model), model, images("maxvit"), output_hidden_states=True)


def test_parallel_attention_and_layer_scale():
    model = model_of("maxvit", parallel_attention=True, layer_scale_init_value=0.5)
    optimised = optimize(model)
    assert optimised.optimization.layer_scales == 8
    check_equal(optimised, model, images("maxvit"))


def test_what_is_folded():
    """Nothing is left of what was folded, and the counts are those of the model."""
    model = model_of("maxvit", layer_scale_init_value=0.5)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    done = optimize(model).optimization
    assert done.batch_norms == norms > 0 and done.layer_scales == 16 and done.position_biases == 8
    assert not any(isinstance(module, nn.BatchNorm2d) for module in optimize(model).modules())
    assert not any("layer_scale" in name for name, _ in optimize(model).named_parameters())
    assert "batch norms" in str(done) and "64x64" not in str(optimize(model, torch.zeros(1, 3, 96, 64)).optimization)
    poolformer = optimize(model_of("poolformer"))
    assert poolformer.optimization.layer_scales == 4
    twins = optimize(model_of("twins"))
    assert twins.optimization.residuals == 4


@pytest.mark.parametrize("kind", ["model", "backbone"])
@pytest.mark.parametrize("family", NATIVE)
def test_without_a_head(family, kind):
    from transformers import AutoBackbone, AutoModel

    auto = {"model": AutoModel, "backbone": AutoBackbone}[kind]
    model = randomise(auto.from_config(tiny_model(family).config)).eval()
    check_equal(optimize(model), model, images(family))


@needs_onednn
def test_layers_are_torchs_and_packed():
    model = model_of("maxvit")
    optimised = optimize(model)
    linears = [module for module in optimised.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == sum(isinstance(module, nn.Linear) for module in model.modules())
    assert all(type(module) is PackedLinear for module in linears)
    with torch.inference_mode():
        optimised(images("maxvit", batch=1))
    packed = [module for module in optimised.modules() if isinstance(module, Packed)]
    assert optimised.optimization.packed == len(packed) and all(module._packed for module in packed)
    assert optimised.optimization.unpacked == 0


def test_where_a_torch_lacks_the_operators(monkeypatch):
    monkeypatch.setattr(optimizing, "has_onednn", lambda: False)
    model = model_of("maxvit")
    optimised = optimize(model)
    assert not any(isinstance(module, Packed) for module in optimised.modules())
    assert optimised.optimization.packed == 0 and optimised.optimization.batch_norms > 0
    check_equal(optimised, model, images("maxvit"))


@needs_onednn
@pytest.mark.parametrize("kind", ["linear", "pointwise", "strided", "depthwise"])
@pytest.mark.parametrize(
    "activation",
    [nn.Identity(), nn.ReLU(), nn.GELU(), ACT2FN["gelu_pytorch_tanh"], nn.SiLU(), nn.Hardtanh()],
    ids=lambda one: type(one).__name__,
)
def test_activation_inside_the_product(kind, activation):
    torch.manual_seed(0)
    layer, values = {
        "linear": lambda: (nn.Linear(24, 40), torch.randn(2, 50, 24)),
        "pointwise": lambda: (nn.Conv2d(24, 40, 1), torch.randn(2, 24, 9, 7)),
        "strided": lambda: (nn.Conv2d(24, 40, 3, stride=2, padding=1, bias=False), torch.randn(2, 24, 9, 7)),
        "depthwise": lambda: (nn.Conv2d(24, 24, 3, padding=1, groups=24), torch.randn(2, 24, 9, 7)),
    }[kind]()
    if values.ndim == 4:
        values = values.to(memory_format=torch.channels_last)
    expected = activation(layer(values)).detach()
    pack(layer)
    if kind != "linear":
        layer.known_size = tuple(values.shape)
    with torch.inference_mode():
        given = activated(layer, values, activation)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    assert layer._packed, "the product did not go through a packed weight"


@needs_onednn
def test_hooks_see_what_lies_between_layer_and_activation():
    layer, seen = nn.Linear(8, 8), []
    pack(layer)
    layer.register_forward_hook(lambda module, given, output: seen.append(output))
    values = torch.randn(3, 8)
    with torch.inference_mode():
        torch.testing.assert_close(activated(layer, values, nn.ReLU()), seen[0].relu())
    assert (seen[0] < 0).any()


@needs_onednn
def test_a_changed_weight_is_packed_anew():
    layer = nn.Linear(8, 16)
    pack(layer)
    values = torch.randn(4, 8)
    with torch.no_grad():
        before = layer(values)
        layer.weight.mul_(2)
        layer.bias.mul_(2)
        torch.testing.assert_close(layer(values), 2 * before)
        # torch counts no change by `.data`, with which adapters are merged
        layer.weight.data += 1
        torch.testing.assert_close(layer(values), nn.functional.linear(values, layer.weight, layer.bias))
        layer.weight.data = layer.weight + 1
        torch.testing.assert_close(layer(values), nn.functional.linear(values, layer.weight, layer.bias))
        layer.weight = nn.Parameter(torch.zeros(16, 8))
        torch.testing.assert_close(layer(values), layer.bias.expand(4, -1))


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_changed_kernel_is_packed_anew(kernel, dtype):
    if not packed.onednn_computes(dtype):
        pytest.skip("this processor does not compute in it")
    layer = nn.Conv2d(8, 16, kernel, padding=kernel // 2).to(dtype, memory_format=torch.channels_last)
    pack(layer)
    values = torch.randn(2, 8, 9, 9).to(dtype, memory_format=torch.channels_last)
    layer.known_size = tuple(values.shape)
    with torch.no_grad():
        for change in (lambda weight: weight, lambda weight: weight + 0.5, lambda weight: weight.flip(0, 1)):
            layer.weight.data = change(layer.weight.data)
            torch.testing.assert_close(layer(values), layer.plainly(values), rtol=2e-2, atol=2e-2)
            layer.weight.data.add_(change(layer.weight.data))
            torch.testing.assert_close(layer(values), layer.plainly(values), rtol=2e-2, atol=2e-2)
        assert layer._packed


@needs_onednn
def test_what_is_no_plain_inference_takes_torchs_route():
    layer = nn.Linear(8, 16)
    pack(layer)
    values = torch.randn(4, 8, requires_grad=True)
    layer(values).sum().backward()
    assert values.grad is not None and layer.weight.grad is not None and not layer._packed
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(values.detach()).dtype == torch.bfloat16
    with torch.no_grad():
        torch.vmap(layer)(values.detach())
        assert not layer._packed
        layer(values.detach())
        assert layer._packed


@pytest.mark.parametrize("family", ["maxvit", "twins", "vit"])
def test_copies_and_pickles(family):
    model = model_of(family)
    optimised = optimize(model)
    for twin in (copy.deepcopy(optimised), pickle.loads(pickle.dumps(optimised))):
        check_equal(twin, model, images(family))


def test_bf16():
    model = model_of("maxvit")
    optimised = optimize(model, dtype=torch.bfloat16)
    assert optimised.dtype == torch.bfloat16 and model.dtype == torch.float32
    with torch.inference_mode():
        expected = model(images("maxvit")).logits
        given = optimised(images("maxvit").bfloat16()).logits.float()
    difference = (given - expected).abs().max() / expected.abs().max()
    assert 1e-5 < difference < 0.1


def test_adapters_of_peft_on_an_optimised_model():
    """LoRA wraps the packed layers: the same adapter changes both models alike."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["q_proj", "fc1", "fc2"], r=4, lora_alpha=8)
    model = model_of("twins")
    with_adapter = peft.get_peft_model(copy.deepcopy(model), config)
    randomise(nn.ModuleList(module for name, module in with_adapter.named_modules() if name.endswith("lora_B.default")))
    optimised = peft.get_peft_model(optimize(model), config)
    peft.set_peft_model_state_dict(optimised, peft.get_peft_model_state_dict(with_adapter))
    check_equal(optimised.eval(), with_adapter.eval(), images("twins"))
    with torch.inference_mode():
        changed = with_adapter(images("twins")).logits - model(images("twins")).logits
    assert changed.abs().max() > 1e-3


def test_eight_bit_weights_on_an_optimised_model():
    torchao = pytest.importorskip("torchao.quantization")
    model = model_of("twins")
    optimised = optimize(model)
    torchao.quantize_(optimised, torchao.Int8WeightOnlyConfig())
    with torch.inference_mode():
        expected, given = model(images("twins")).logits, optimised(images("twins")).logits
    difference = (given - expected).abs().max() / expected.abs().max()
    assert 1e-5 < difference < 0.1


@needs_onednn
def test_the_slower_route_is_not_taken(monkeypatch):
    """The choice is a measurement: with oneDNN's product held up, torch's own is chosen, and the other way round."""
    monkeypatch.setattr(optimizing, "MARGIN", 1.1)
    model, product = model_of("twins"), packed.linear

    def held_up(*arguments):
        time.sleep(0.01)
        return product(*arguments)

    monkeypatch.setattr(packed, "linear", held_up)
    done = optimize(model).optimization
    linears = sum(isinstance(module, nn.Linear) for module in model.modules())
    assert done.unpacked >= linears
    monkeypatch.setattr(packed, "linear", product)
    plainly = PackedLinear.plainly

    def plainly_held_up(*arguments):
        time.sleep(0.01)
        return plainly(*arguments)

    monkeypatch.setattr(PackedLinear, "plainly", plainly_held_up)
    layers = [module for module in optimize(model).modules() if isinstance(module, PackedLinear)]
    assert layers and all(layer.onednn for layer in layers)


@needs_onednn
def test_a_kernel_serves_the_size_that_it_was_packed_for_alone(monkeypatch):
    sizes, original = [], packed.pack_convolution
    monkeypatch.setattr(
        packed, "pack_convolution", lambda *arguments: sizes.append(arguments[-1]) or original(*arguments)
    )
    layer = nn.Conv2d(4, 8, 3, padding=1)
    pack(layer)
    layer.known_size = (1, 4, 8, 8)
    assert isinstance(layer, PackedConv2d)
    with torch.inference_mode():
        for shape in ((1, 4, 8, 8), (1, 4, 8, 8), (1, 4, 9, 9), (2, 4, 8, 8)):
            values = torch.randn(shape)
            torch.testing.assert_close(layer(values), layer.plainly(values), rtol=1e-5, atol=1e-5)
    assert sizes == [(1, 4, 8, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["twins", "maxvit"])
def test_compiled(family):
    model = model_of(family)
    compiled = torch.compile(optimize(model))
    check_equal(compiled, model, images(family))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["poolformer", "twins", "maxvit"])
def test_compiled_by_optimize(family):
    model = model_of(family)
    compiled = optimize(model, images(family), compile=True)
    assert "ompiled with frozen weights" in str(compiled.optimization) and compiled.optimization.packed == 0
    check_equal(compiled, model, images(family))  # in inference mode, where torch by itself does not freeze
    if family == "poolformer":  # of what it packs the compiler has its own copy, so its weights are frozen
        compiled.model.stem.convolution.weight.data.zero_()
        check_equal(compiled, model, images(family))
    check_equal(optimize(model, images(family), compile=True), model, images(family, batch=3))
    for copied in (copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))):
        check_equal(copied(optimize(model, images(family), compile=True)), model, images(family))


def test_a_model_that_cannot_be_compiled(monkeypatch):
    def without_compiler(model):
        def fail(*arguments):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found.\nmore")

        monkeypatch.setattr(type(model), "__call__", fail)

    monkeypatch.setattr("hf_vit_family.acceleration.optimization.optimizing.compile_frozen", without_compiler)
    with pytest.raises(ValueError) as error:
        optimize(model_of("poolformer"), compile=True)
    assert "No working C++ compiler found" in shown(error) and "compile=False" in str(error.value)


def test_outputs_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr("hf_vit_family.acceleration.optimization.folding.fold_residual", lambda convolution: None)
    with pytest.raises(ValueError) as error:
        optimize(model_of("twins"))
    assert "differ by" in shown(error)


def test_bad_input(tmp_path):
    model = tiny_model("poolformer")
    with pytest.raises(TypeError) as error:
        optimize(nn.Linear(2, 2))
    assert "Linear" in shown(error)
    for example in (torch.zeros(3, 64, 64), torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "picture.png"):
        with pytest.raises(ValueError) as error:
            optimize(model, example)
        assert "expected floating point images" in shown(error)
    with pytest.raises(ValueError) as error:
        optimize(model, torch.zeros(1, 4, 64, 64))
    assert "4 channels" in shown(error)
    optimised = optimize(model)
    for wrong in (lambda: optimize(optimised), lambda: optimised.save_pretrained(tmp_path / "out")):
        with pytest.raises(ValueError) as error:
            wrong()
        assert "the model that it was made of" in shown(error)
    assert not (tmp_path / "out").exists()
    assert isinstance(optimised(images("poolformer")), ModelOutput)
