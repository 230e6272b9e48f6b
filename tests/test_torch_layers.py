# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models are made of torch's own layers, or of layers that tools can make, trace and replace as they do torch's."""

import ast
import copy
import importlib
import inspect
import io
import math
import pickle
import pkgutil
from pathlib import Path

import pytest
import torch
from families import SPECS, images, randomise
from torch import nn
from torch.nn.utils import prune
from training_data import own_caches, write_images  # noqa: F401
from training_runs import MAXVIT, options, run

import hf_vit_family as hfvf
from hf_vit_family import models
from hf_vit_family.acceleration import optimization
from hf_vit_family.acceleration.optimization import optimizing, packed

TORCH = {kind for kind in vars(nn).values() if inspect.isclass(kind) and issubclass(kind, nn.Module)}
CONTAINERS = {nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Container}
# how to make each kind of torch's layers, and what it is called with
LAYERS = {
    nn.Linear: [((6, 4), {}, (2, 5, 6)), ((6, 4), {"bias": False}, (6,))],
    nn.Conv2d: [
        ((4, 6, 3), {"padding": 1, "groups": 2}, (2, 4, 7, 8)),
        ((4, 6, 1), {"bias": False}, (4, 7, 8)),
        ((4, 6, 3, 2), {"padding": "valid"}, (2, 4, 7, 8)),
        ((4, 6, 3), {"padding": "same", "padding_mode": "reflect"}, (2, 4, 7, 8)),
    ],
    nn.BatchNorm2d: [((4,), {}, (2, 4, 3, 3)), ((4,), {"track_running_stats": False}, (2, 4, 3, 3))],
    nn.LayerNorm: [((4,), {}, (2, 3, 4))],
    nn.GroupNorm: [((2, 4), {}, (2, 4, 3, 3))],
}


def torchs_kind(kind: type) -> type | None:
    """The layer of torch's that a class is or extends."""
    return next((base for base in kind.__mro__ if base in TORCH - CONTAINERS), None)


def own_layers() -> list[type]:
    """Every class of models/ and of the optimised models that extends a layer of torch's."""
    found = set()
    for package in (models, optimization):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            found |= {kind for kind in vars(module).values() if inspect.isclass(kind) and torchs_kind(kind)}
    return sorted(found - TORCH, key=lambda kind: kind.__name__)


OWN = own_layers()


def test_the_models_files_extend_no_layer_of_torchs():
    assert OWN, "the walk finds nothing"
    assert not [kind for kind in OWN if kind.__module__.startswith(models.__name__)]


PRIVATE = {
    name
    for kind in (nn.Module(), nn.Linear(1, 1), torch.zeros(1), torch.autograd.Function)
    for name in dir(kind)
    if name.startswith("_") and not name.startswith("__")
}


def private_names_of_torch(text: str) -> list[str]:
    """Names of torch in a file that begin with an underscore, as attributes, imports and strings."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names = names if isinstance(node, ast.Import) else [f"{node.module}.{name}" for name in names]
            found += [name for name in names if name.startswith("torch.") and "._" in name]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            source = ast.unparse(node)
            if node.attr in PRIVATE or source.partition(".")[0] in ("torch", "nn", "F"):
                found.append(source)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in PRIVATE:
            found.append(node.value)
    return found


def test_the_models_files_use_no_private_name_of_torch():
    for text in ("torch._C._x()", "from torch._C import x", "layer._forward_hooks", 'getattr(layer, "_buffers")'):
        assert private_names_of_torch(text)
    files = list(Path(models.__file__).parent.glob("*.py"))
    assert len(files) > 10
    assert {file.name: names for file in files if (names := private_names_of_torch(file.read_text()))} == {}


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_a_layer_of_ours_is_made_called_and_traced_as_torchs(kind):
    torchs = torchs_kind(kind)
    assert inspect.signature(kind) == inspect.signature(torchs)
    for arguments, keywords, shape in LAYERS[torchs]:
        reference = randomise(torchs(*arguments, **keywords)).eval()
        layer = kind(*arguments, **keywords).eval()
        layer.load_state_dict(reference.state_dict())
        values = torch.randn(shape)
        with torch.no_grad():
            expected = reference(values)
            traced = torch.jit.trace(layer, values)
            for one in (layer, traced, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                torch.testing.assert_close(one(values), expected)


@pytest.mark.parametrize("family", SPECS)
def test_layers_of_a_model_are_exactly_torchs(family):
    """Tools that look a class up, as fusing and static quantisation do, know no subclass."""
    spec = SPECS[family]
    for name, module in hfvf.create_model(spec.small, **spec.tiny).named_modules():
        assert torchs_kind(type(module)) in (None, type(module)), name


class Logits(nn.Module):
    """A classifier that gives its logits alone."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits


def tiny(family: str, **overrides) -> nn.Module:
    spec = SPECS[family]
    return randomise(hfvf.create_model(spec.small, **{**spec.tiny, **overrides})).eval()


@pytest.mark.parametrize("overrides", [{}, {"conv_padding": "symmetric"}], ids=["same", "symmetric"])
@pytest.mark.parametrize("family", SPECS)
@pytest.mark.filterwarnings("ignore")
def test_torchscripts_onnx_exporter(family, overrides):
    """Also with another number of images than it was traced with, and where windows are padded."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if overrides and family != "maxvit":
        pytest.skip("only MaxViT has this choice")
    model = Logits(tiny(family, **overrides)).eval()
    for size in ((64, 64), (70, 93)):
        file = io.BytesIO()
        axes = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}
        names = {"input_names": ["pixel_values"], "output_names": ["logits"], "dynamic_axes": axes}
        torch.onnx.export(model, (images(2, size),), file, dynamo=False, **names)
        session = onnxruntime.InferenceSession(file.getvalue())
        for batch in (2, 3):
            pixel_values = images(batch, size)
            (logits,) = session.run(None, {"pixel_values": pixel_values.numpy()})
            with torch.no_grad():
                torch.testing.assert_close(torch.from_numpy(logits), model(pixel_values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize(
    ("family", "target"),
    [
        *(("maxvit", target) for target in ("conv1", "conv2", "conv3", "expand", "q_proj")),
        *(("twins", target) for target in ("convolution", "reduction", "fc2")),
        *(("poolformer", target) for target in ("convolution", "fc1")),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_adapters_on_every_layer_merge_into_it(family, target, optimised, monkeypatch):
    """LoRA's own layers are made by the class and the arguments of the layer they stand beside."""
    peft = pytest.importorskip("peft")
    monkeypatch.setattr(packed, "SMALLEST_PRODUCT", 0)  # weights of tiny models are packed too,
    monkeypatch.setattr(optimizing, "MARGIN", 1e9)  # all of them
    model = tiny(family)
    model = hfvf.optimize(model) if optimised else model
    groups = [
        module.groups for name, module in model.named_modules() if name.endswith(target) and hasattr(module, "groups")
    ]
    rank = math.lcm(2, *groups)
    adapted = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(target_modules=[target], r=rank)).eval()
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter.data, std=2 / rank**0.5)
    sizes = ((64, 64), (70, 93))
    with torch.no_grad():
        given = [adapted(images(2, size)).logits for size in sizes]
        before = [model(images(2, size)).logits for size in sizes]
        assert all((one - other).abs().max() > 1e-4 for one, other in zip(given, before, strict=True))
        if max(groups, default=1) == 1:  # peft merges no grouped convolutions
            merged = adapted.merge_and_unload()
            for size, logits in zip(sizes, given, strict=True):
                torch.testing.assert_close(merged(images(2, size)).logits, logits, rtol=1e-4, atol=1e-5)


def test_batch_norms_become_synchronised_ones():
    model, pixel_values = tiny("maxvit"), images(2, (64, 64))
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert not any(type(module) is nn.BatchNorm2d for module in synchronised.modules())
    torch.testing.assert_close(synchronised(pixel_values).logits, model(pixel_values).logits)


def test_parametrisations_pruning_and_hooks_are_used():
    """Whatever changes a weight on the way, or looks at a layer, keeps the model from going around that layer."""
    model, pixel_values = tiny("maxvit"), images(2, (64, 64))
    depthwise = model.model.stages[0].layers[0].convs[0].conv2
    with torch.inference_mode():
        expected, seen = model(pixel_values).logits, []
        depthwise.register_forward_hook(lambda module, given, output: seen.append(output))
        torch.testing.assert_close(model(pixel_values).logits, expected)
        assert len(seen) == 1
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            nn.utils.parametrizations.weight_norm(module)
    with torch.inference_mode():
        torch.testing.assert_close(model(pixel_values).logits, expected, rtol=1e-4, atol=1e-5)
    prune.l1_unstructured(model.model.stages[1].layers[0].convs[0].squeeze_excitation.fc1, "weight", 0.9)
    with torch.inference_mode():
        assert (model(pixel_values).logits - expected).abs().max() > 1e-5


@pytest.mark.filterwarnings("ignore")
def test_the_command_adapts_maxvits_stem(tmp_path, capsys):
    write_images(tmp_path / "data", 6)
    arguments = options(tmp_path / "data", tmp_path / "run", "--model", "maxvit_tiny_tf_224", "--epochs", "1")
    start = arguments.index("--model-config")
    arguments[start + 1 : arguments.index("--epochs")] = MAXVIT
    status = run([*arguments, "--method", "lora", "--lora-targets", "conv1"])
    told = capsys.readouterr()
    assert status == 0, told.err
    (config,) = (tmp_path / "run").rglob("config.json")
    assert type(hfvf.load_model(config.parent).model.stem.conv1) is nn.Conv2d
