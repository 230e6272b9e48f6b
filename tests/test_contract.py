"""The contract that every native family passes; transformers' own suite of model tests is a job apart.

By default every variant has timm's names and shapes, a small and a large one of each family its outputs, and the small
one its gradients. Under the `slow` marker the others are compared at their true widths with two blocks a stage, and
gradients for a variant of each kind of layers; under `huge` all as a whole, whatever they cost.
"""

import copy
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from families import SPECS, FamilySpec, images, randomise
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from transformers.initialization import no_init_weights

import hf_vit_family as hfvf
from hf_vit_family import to_timm_state_dict
from hf_vit_family.conversion import native_shapes, timm_layout, timm_to_native
from hf_vit_family.models.compat import (
    HFVF_VERSION,
    disable_activation_checkpointing,
    enable_activation_checkpointing,
)
from hf_vit_family.models.layers import DropPath

ALL_SIZES = ((224, 224), (256, 256), (200, 320), (65, 129))


@pytest.fixture(params=list(SPECS), ids=str)
def spec(request) -> FamilySpec:
    return SPECS[request.param]


@pytest.fixture
def attention_spec(spec) -> FamilySpec:
    if not spec.attention:
        pytest.skip("no attention in this family")
    return spec


def variants():
    """(spec, variant) pairs: a small and a large one of each family as they are, all others marked as huge."""
    for spec in SPECS.values():
        for name in spec.variants:
            marks = () if name in (spec.small, spec.large) and name not in spec.huge else pytest.mark.huge
            yield pytest.param(spec, name, id=f"{spec.name}-{name}", marks=marks)


@pytest.fixture
def clean_memory():
    """Large models one after the other: give their memory back before the next."""
    yield
    gc.collect()


def tiny(spec: FamilySpec, depths: tuple[int, ...] = (1, 2), **overrides) -> nn.Module:
    """A model of two stages, the second with two blocks, or of others."""
    return randomise(hfvf.create_model(spec.small, **{**spec.first_stages(*depths), **overrides}))


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest expected value."""
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


# ---------------------------------------------------------------------------------------------- 1. equal to timm


def timm_pair(name: str) -> tuple[nn.Module, nn.Module]:
    """A randomised timm model and its native copy, both in evaluation mode."""
    with no_init_weights():  # every value is drawn by `randomise`
        theirs = timm.create_model(name)
    theirs = randomise(theirs).eval()
    return theirs, hfvf.from_timm(theirs)


def shallow_pair(
    spec: FamilySpec, name: str, dtype: torch.dtype, image_size: int | None = None
) -> tuple[nn.Module, nn.Module]:
    """The same for two blocks a stage, for its own image size or for another."""
    with no_init_weights():
        sized = spec.built_for_size and image_size is not None
        theirs = timm.create_model(
            name, num_classes=10, **(spec.timm_shallow or {}), **({"img_size": image_size} if sized else {})
        )
        ours = hfvf.create_model(name, num_labels=10, **spec.shallow, **({"image_size": image_size} if sized else {}))
    if spec.timm_shallow is None:
        for stage in theirs.stages:
            stage.blocks = stage.blocks[:2]
    theirs = randomise(theirs.to(dtype)).eval()
    ours = ours.to(dtype).eval()
    ours.load_state_dict(timm_to_native(theirs.state_dict(), ours.config))
    return theirs, ours


def kept_names(state_dict: dict[str, torch.Tensor], ours: nn.Module) -> set[str]:
    """timm's names without those that our model has no use for."""
    ignored = timm_layout(ours.config).ignored
    return {key for key in state_dict if not (ignored and key.endswith(ignored))}


def compare_forward(theirs: nn.Module, ours: nn.Module, *sizes: tuple[int, int]) -> None:
    """Equal logits at the model's own size and at others; the weights go back bit for bit."""
    for size in (ours.config.image_height_width, *sizes):
        pixel_values = images(1, size)
        with torch.inference_mode():
            assert relative_difference(ours(pixel_values).logits, theirs(pixel_values)) < 1e-5, size
    there, back = theirs.state_dict(), to_timm_state_dict(ours)
    assert set(back) == kept_names(there, ours)
    for key, tensor in back.items():
        assert torch.equal(tensor, there[key]), key


@pytest.mark.parametrize(
    ("spec", "name"),
    [pytest.param(spec, name, id=f"{spec.name}-{name}") for spec in SPECS.values() for name in spec.variants],
)
def test_names_and_shapes_equal_timm(spec, name):
    """Of every variant, in both directions, without memory for its weights."""
    with torch.device("meta"), no_init_weights():
        theirs, ours = timm.create_model(name), hfvf.create_model(name)
    there = theirs.state_dict()

    def shapes(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
        return {key: tensor.shape for key, tensor in state_dict.items()}

    assert shapes(timm_to_native(there, ours.config)) == shapes(ours.state_dict())
    assert shapes(to_timm_state_dict(ours)) == {key: there[key].shape for key in kept_names(there, ours)}
    assert ours.config.image_height_width == tuple(theirs.pretrained_cfg["input_size"][1:])
    assert ours.num_parameters() < 150e6 or name in spec.huge


@pytest.mark.parametrize(("spec", "name"), variants())
def test_forward_equals_timm(spec, name, clean_memory):
    theirs, ours = timm_pair(name)
    compare_forward(theirs, ours, *(spec.timm_sizes if name == spec.small else ()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param(spec, name, id=f"{spec.name}-{name}")
        for spec in SPECS.values()
        for name in spec.variants
        if name not in (spec.small, spec.large, *spec.huge)
    ],
)
def test_true_widths_equal_timm(spec, name):
    """Two blocks a stage at the variant's own image size, so with its own windows."""
    compare_forward(*shallow_pair(spec, name, torch.float32))


def compare_gradients(theirs: nn.Module, ours: nn.Module, pixel_values: torch.Tensor, tolerance: float) -> None:
    """One backward pass of both in training mode; gradients against the largest of the model, statistics exactly."""
    theirs.train()
    ours.train()
    torch.manual_seed(0)  # timm's rmlp variants have dropout in the network of their biases
    expected = theirs(pixel_values)
    target = images(1, (1, expected[0].numel()), seed=1, dtype=expected.dtype)[0, 0, 0]
    (expected * target).sum().backward()
    torch.manual_seed(0)
    (ours(pixel_values).logits * target).sum().backward()
    theirs_gradients = {
        name: tensor.grad if isinstance(tensor, nn.Parameter) else torch.zeros_like(tensor)
        for name, tensor in theirs.state_dict(keep_vars=True).items()
    }
    gradients = timm_to_native(theirs_gradients, ours.config)
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        difference = (parameter.grad - gradients[name]).abs().max() / largest
        assert difference < tolerance, f"{name}: {difference:.1e}"
    statistics = timm_to_native(theirs.state_dict(), ours.config)
    for name, buffer in ours.named_buffers():
        if name in statistics and buffer.is_floating_point():
            assert relative_difference(buffer, statistics[name]) < tolerance, name


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param(spec, name, id=f"{spec.name}-{name}", marks=() if name == spec.small else pytest.mark.slow)
        for spec in SPECS.values()
        for name in dict.fromkeys((spec.small, *spec.kinds))
    ],
)
def test_gradients_and_statistics_equal_timm_in_float64(spec, name):
    theirs, ours = shallow_pair(spec, name, torch.float64, image_size=spec.shallow_size[0])
    pixel_values = images(2, spec.shallow_size, dtype=torch.float64)
    compare_gradients(theirs, ours, pixel_values, tolerance=1e-8)


@pytest.mark.slow
def test_gradients_equal_timm_in_float32_on_a_full_model(spec, clean_memory):
    theirs, ours = timm_pair(spec.small)
    compare_gradients(theirs, ours, images(2, ours.config.image_height_width), tolerance=1e-4)


# ------------------------------------------------------------------------------------------- 2. save, load, equal


@pytest.fixture
def saved(spec, tmp_path):
    """(model, its logits, pixel_values, folder) of a tiny model."""
    model = tiny(spec)
    pixel_values = images(2, spec.tiny_size)
    model.save_pretrained(tmp_path)
    return model, logits_of(model, pixel_values), pixel_values, tmp_path


def reload(spec: FamilySpec, folder: Path, **kwargs) -> nn.Module:
    return spec.class_of("classification").from_pretrained(folder, **kwargs).eval()


def assert_same_model(loaded: nn.Module, model: nn.Module, pixel_values: torch.Tensor, logits: torch.Tensor) -> None:
    """Every tensor to the bit. Logits to rounding: a file's tensors may lie at addresses that other kernels serve."""
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert relative_difference(logits_of(loaded, pixel_values), logits) < 1e-5


@torch.inference_mode()
def logits_of(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    return model(pixel_values).logits


def test_saved_model_gives_equal_logits(spec, saved):
    model, logits, pixel_values, folder = saved
    loaded = reload(spec, folder)
    assert_same_model(loaded, model, pixel_values, logits)
    assert loaded.config.hfvf_version == HFVF_VERSION
    changed = ("dtype", "architectures", "_name_or_path")
    ours, theirs = (
        {key: value for key, value in config.to_dict().items() if key not in changed}
        for config in (model.config, loaded.config)
    )
    assert ours == theirs


def test_sharded_checkpoint(spec, saved, tmp_path):
    model, logits, pixel_values, _ = saved
    folder = tmp_path / "sharded"
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert_same_model(reload(spec, folder), model, pixel_values, logits)


def test_bfloat16_checkpoint(spec, saved, tmp_path):
    model, logits, pixel_values, _ = saved
    folder = tmp_path / "bf16"
    model.to(torch.bfloat16).save_pretrained(folder)
    loaded = reload(spec, folder, dtype=torch.bfloat16)
    assert next(loaded.parameters()).dtype == torch.bfloat16
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert relative_difference(logits_of(loaded, pixel_values), logits_of(model, pixel_values)) < 1e-2
    assert relative_difference(logits_of(loaded, pixel_values).float(), logits) < 0.1


def test_loading_does_not_depend_on_what_the_heap_held(spec, saved):
    """Models are built on the meta device; buffers that no checkpoint holds must be computed, not left as they were."""
    model, logits, pixel_values, folder = saved
    for _ in range(3):
        dirt = [torch.full((size,), float("nan")) for size in (16, 49, 256, 2401, 4096) for _ in range(40)]
        del dirt
        assert_same_model(reload(spec, folder), model, pixel_values, logits)


def test_non_persistent_buffers_survive_the_meta_device(spec, saved):
    model, _, _, folder = saved
    loaded = dict(reload(spec, folder).named_buffers())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, loaded[name]), name


def test_model_checkpoint_loads_into_classifier_and_backbone(spec, saved, tmp_path):
    model, _, pixel_values, folder = saved
    base = spec.class_of("model").from_pretrained(folder).eval()
    pooled = base(pixel_values).pooler_output
    assert relative_difference(pooled, model.model(pixel_values).pooler_output) < 1e-5
    backbone = spec.class_of("backbone").from_pretrained(folder, out_features=["stem", "stage1", "stage2"]).eval()
    expected = model(pixel_values, output_hidden_states=True).hidden_states
    maps = backbone(pixel_values).feature_maps
    assert len(maps) == 3
    for ours, index in zip(maps, (0, 1, 2), strict=True):
        assert relative_difference(ours, expected[index]) < 1e-5
    assert [m.shape[1] for m in maps] == backbone.channels


RELEASES = Path(__file__).parent / "data" / "releases"


@pytest.mark.parametrize("folder", sorted(RELEASES.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_folders_of_earlier_releases_still_load(folder):
    """Each release leaves a tiny exported folder of every family, with the logits it gave."""
    from safetensors.torch import load_file

    example = load_file(folder / "example.safetensors")
    model = hfvf.load_model(folder)
    with torch.inference_mode():
        assert relative_difference(model(example["pixel_values"]).logits, example["logits"]) < 1e-5


def test_a_newer_release_is_told(spec, caplog):
    from transformers.utils import logging

    logging.enable_propagation()
    try:
        spec.class_of("config")(hfvf_version="99.0.0")
    finally:
        logging.disable_propagation()
    assert "99.0.0" in caplog.text and HFVF_VERSION in caplog.text


# ------------------------------------------------------------------------------ 3. attention, outputs, export


def test_eager_equals_sdpa(attention_spec):
    model = tiny(attention_spec)
    for size in (attention_spec.tiny_size, (65, 129)):
        pixel_values = images(2, size)
        outputs = {}
        for implementation in ("eager", "sdpa"):
            model.set_attn_implementation(implementation)
            assert model.config._attn_implementation == implementation
            with torch.inference_mode():
                outputs[implementation] = model(pixel_values).logits
        assert relative_difference(outputs["sdpa"], outputs["eager"]) < 1e-5


def test_attentions_are_recorded_under_every_implementation(attention_spec):
    model = tiny(attention_spec)
    pixel_values = images(2, (65, 129))
    recorded = {}
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        recorded[implementation] = model(pixel_values, output_attentions=True).attentions
        assert len(recorded[implementation]) == sum(
            1 for module in model.modules() if type(module).__name__.endswith("Attention")
        )
        for attention in recorded[implementation]:
            batch_times_windows, _, queries, keys = attention.shape
            assert batch_times_windows % 2 == 0 and queries > 0 and keys > 0
            torch.testing.assert_close(attention.sum(-1), torch.ones_like(attention[..., 0]))
    for eager, sdpa in zip(recorded["eager"], recorded["sdpa"], strict=True):
        assert torch.equal(eager, sdpa)
    assert not model(pixel_values).attentions


def test_a_family_without_attention_records_none(spec):
    if spec.attention:
        pytest.skip("this family has attention")
    assert not tiny(spec)(images(1, spec.tiny_size), output_attentions=True).attentions


def test_every_model_is_made_of_the_same_parts(spec):
    model = tiny(spec)
    names = [name for name, _ in model.named_children()]
    assert names[0] == "model" and names[-1] == "classifier"
    assert [name for name, _ in model.model.named_children()] == ["stem", "stages", "norm"]
    assert [len(stage.layers) for stage in model.model.stages] == list(model.config.depths)
    assert all(hasattr(stage, "downsample") for stage in model.model.stages)


def seen_from(mixer: nn.Module, height: int, width: int, row: int, column: int) -> torch.Tensor:
    """Which tokens of a map see one, by the attributes of the layer: (H, W), boolean."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    if mixer.layout in ("global", "reduced"):
        seen = torch.ones(height, width, dtype=torch.bool)
        if mixer.reduction is not None:  # a strided convolution leaves out what it does not reach
            steps = mixer.reduction.stride
            seen &= row < height // steps[0] * steps[0] and column < width // steps[1] * steps[1]
            seen[row, column] = True  # as its own query
        return seen
    vertical, horizontal = mixer.window
    if mixer.layout == "window":
        return (rows // vertical == row // vertical) & (columns // horizontal == column // horizontal)
    if mixer.layout == "grid":
        steps = (-(-height // vertical), -(-width // horizontal))
        return (rows % steps[0] == row % steps[0]) & (columns % steps[1] == column % steps[1])
    assert mixer.layout == "pooling"
    return ((rows - row).abs() <= vertical // 2) & ((columns - column).abs() <= horizontal // 2)


@torch.no_grad()
def test_layers_mix_the_tokens_that_they_state(spec):
    """One token of each layer's input is changed: outputs change where the layer's attributes say, and only there."""
    model = tiny(spec).double().eval()
    mixers = [module for module in model.modules() if hasattr(module, "layout")]
    assert len(mixers) >= sum(model.config.depths)
    calls, handles = {}, []
    for mixer in mixers:
        assert mixer.shift == 0 and (mixer.reduction is None) == (mixer.layout != "reduced")
        keep = lambda layer, args, kwargs, output: calls.update({layer: (args, kwargs, output)})  # noqa: E731
        handles.append(mixer.register_forward_hook(keep, with_kwargs=True))
    model(images(1, (72, 104)).double(), output_attentions=spec.attention)
    for handle in handles:
        handle.remove()
    assert len(calls) == len(mixers)
    for mixer, ((tokens, *rest), kwargs, output) in calls.items():
        last = mixer.layout != "pooling"  # channels come last in attention, and second in the maps of pooling
        height, width = tokens.shape[1:3] if last else tokens.shape[2:]
        row, column = height // 2, width - 1
        changed = tokens.clone()
        (changed[0, row, column] if last else changed[0, :, row, column]).add_(1.5).mul_(-3)
        other = mixer(changed, *rest, **kwargs)
        difference = other[0] - output[0] if last else other - output
        moved = difference[0].abs().amax(-1 if last else 0) > 1e-12
        assert torch.equal(moved, seen_from(mixer, height, width, row, column)), mixer


def test_hidden_states(spec):
    model = tiny(spec)
    config = model.config
    outputs = model(images(2, spec.tiny_size), output_hidden_states=True)
    assert len(outputs.hidden_states) == 1 + len(config.depths)
    sides = [state.shape[-1] for state in outputs.hidden_states]
    assert sides == sorted(sides, reverse=True)
    for state, channels in zip(outputs.hidden_states[1:], config.hidden_sizes, strict=True):
        assert state.shape[:2] == (2, channels) and state.ndim == 4
    assert model(images(2, spec.tiny_size)).hidden_states is None
    as_tuple = model(images(2, spec.tiny_size), return_dict=False)
    assert isinstance(as_tuple, tuple) and torch.equal(as_tuple[0], outputs.logits)


def test_activation_checkpointing_gives_the_same_gradients_and_statistics(spec):
    reference = tiny(spec, drop_path_rate=0.2).train()
    checkpointed = copy.deepcopy(reference)
    enable_activation_checkpointing(checkpointed)
    assert checkpointed.is_gradient_checkpointing
    pixel_values = images(4, spec.tiny_size)
    for model in (reference, checkpointed):
        torch.manual_seed(0)
        model(pixel_values, labels=torch.tensor([0, 1, 2, 3])).loss.backward()
    ours = dict(checkpointed.named_parameters())
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, msg=lambda text, name=name: f"{name}: {text}")
    buffers = dict(checkpointed.named_buffers())
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(buffers[name], buffer, msg=lambda text, name=name: f"{name}: {text}")
    disable_activation_checkpointing(checkpointed)
    assert not checkpointed.is_gradient_checkpointing


def test_activation_checkpointing_is_per_block(spec):
    """Fewer tensors are kept for the backward pass, and every block is recomputed by itself."""
    model = tiny(spec).train()
    blocks = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
    assert len(blocks) >= sum(model.config.depths)

    def kept() -> int:
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(images(2, spec.tiny_size))
        return sum(sizes)

    without = kept()
    enable_activation_checkpointing(model)
    assert kept() < 0.7 * without


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("single_label_classification", torch.tensor([1, 3])),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 1, 0]])),
        ("regression", torch.randn(2, 5)),
    ],
)
def test_losses(spec, problem_type, labels):
    model = tiny(spec, problem_type=problem_type)
    outputs = model(images(2, spec.tiny_size), labels=labels)
    functional = torch.nn.functional
    expected = {
        "single_label_classification": functional.cross_entropy,
        "multi_label_classification": functional.binary_cross_entropy_with_logits,
        "regression": functional.mse_loss,
    }[problem_type](outputs.logits, labels)
    torch.testing.assert_close(outputs.loss, expected)
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_compile_fullgraph(spec):
    """At a size where maps and windows are padded; that of the others is compiled under `slow`."""
    model = tiny(spec, depths=(1, 1))  # a graph costs seconds a block
    pixel_values = images(2, (65, 97))
    with torch.inference_mode():
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert relative_difference(compiled(pixel_values).logits, model(pixel_values).logits) < 1e-5


@pytest.mark.slow
def test_compile_fullgraph_with_inductor(spec):
    model = tiny(spec, depths=(1,))  # a block of MaxViT takes the compiler half a minute
    pixel_values = images(2, spec.tiny_size)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True)
    with torch.inference_mode():
        assert relative_difference(compiled(pixel_values).logits, model(pixel_values).logits) < 1e-4


@pytest.mark.slow
def test_compile_for_each_size(spec):
    """What README says of several sizes: one graph for each, which serves it again."""
    model = tiny(spec, depths=(1, 1))
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend=graphs)
    sizes = (spec.tiny_size, (80, 112), (65, 97))
    with torch.inference_mode():
        for size in (*sizes, *sizes):
            pixel_values = images(1, size)
            assert relative_difference(compiled(pixel_values).logits, model(pixel_values).logits) < 1e-4
    assert graphs.frame_count == len(sizes)


class LogitsOnly(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits


def exported(model: nn.Module, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """A graph for any number of images, which gives the model's logits."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images(2, size),), dynamic_shapes={"pixel_values": {0: batch}}, strict=False)
    for number in (1, 5):
        pixel_values = images(number, size, seed=number)
        with torch.inference_mode():
            assert relative_difference(program.module()(pixel_values), model(pixel_values)) < 1e-5
    return program


def test_torch_export_with_dynamic_batch(spec):
    exported(LogitsOnly(tiny(spec, depths=(1, 1))).eval(), (65, 97))


@pytest.mark.slow
def test_torch_export_and_onnx_with_dynamic_batch(spec, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = LogitsOnly(tiny(spec, depths=(1, 1))).eval()
    path = tmp_path / "model.onnx"
    program = exported(model, spec.tiny_size)
    torch.onnx.export(
        program, f=path, dynamo=True, input_names=["pixel_values"], output_names=["logits"], verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for number in (1, 5):
        pixel_values = images(number, spec.tiny_size, seed=number)
        (logits,) = session.run(None, {"pixel_values": pixel_values.numpy()})
        with torch.inference_mode():
            assert relative_difference(torch.from_numpy(logits), model(pixel_values)) < 1e-4


def test_lora_adapter_changes_the_output_and_gets_gradient(spec):
    peft = pytest.importorskip("peft")
    model = tiny(spec)
    pixel_values = images(2, spec.tiny_size)
    before = model(pixel_values).logits.detach()
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=list(spec.lora_targets), init_lora_weights=False)
    )
    assert relative_difference(adapted(pixel_values=pixel_values).logits.detach(), before) > 1e-3
    adapted(pixel_values=pixel_values, labels=torch.tensor([0, 1])).loss.backward()
    trained = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    targets = [name for name, _ in model.named_modules() if name.endswith(spec.lora_targets)]
    assert len(trained) == 2 * len(targets) and targets
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in trained.values())
    with adapted.disable_adapter():
        torch.testing.assert_close(adapted(pixel_values=pixel_values).logits, before)


class Counted(nn.Module):
    """Stands in for a quantised linear layer: it has no `weight`, and counts its calls."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.hidden = [linear]
        self.calls = 0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.hidden[0](tokens)


def test_every_projection_is_called_and_none_is_read(spec):
    """A quantised projection is really used: no block reads `weight` by itself."""
    model = tiny(spec)
    pixel_values = images(2, spec.tiny_size)
    expected = model(pixel_values).logits
    replaced = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Counted(child))
                replaced.append(getattr(parent, name))
    assert replaced
    assert torch.equal(model(pixel_values).logits, expected)
    assert all(module.calls == 1 for module in replaced)


def test_quantised_projections(spec):
    """Eight-bit weights of torchao replace every linear layer and are used."""
    torchao = pytest.importorskip("torchao.quantization")
    model = tiny(spec)
    pixel_values = images(2, spec.tiny_size)
    with torch.inference_mode():
        before = model(pixel_values).logits
        torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
        linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
        assert linears and all(type(module.weight) is not nn.Parameter for module in linears)
        difference = relative_difference(model(pixel_values).logits, before)
    assert 0 < difference < 0.1


# ------------------------------------------------------------------------------------------------- 4. any size


def test_any_size_in_one_instance_without_a_state(spec):
    model = tiny(spec)
    with torch.inference_mode():
        first = {size: model(images(1, size)).logits for size in ALL_SIZES}
        for size in reversed(ALL_SIZES):
            assert torch.isfinite(first[size]).all()
            assert torch.equal(model(images(1, size)).logits, first[size]), size
        fresh = tiny(spec)
        assert torch.equal(fresh(images(1, ALL_SIZES[-1])).logits, first[ALL_SIZES[-1]])


def test_an_image_does_not_depend_on_the_others_of_its_batch(spec):
    model = tiny(spec)
    for size in (spec.tiny_size, (65, 129)):
        batch = images(3, size)
        with torch.inference_mode():
            together = model(batch).logits
            others = batch.clone()
            others[1:] = 100.0
            assert relative_difference(model(others).logits[:1], together[:1]) < 1e-5
            assert relative_difference(model(batch[2:]).logits, together[2:]) < 1e-5


def test_smallest_size(spec):
    model = tiny(spec)
    height, width = model.minimum_image_size
    with torch.inference_mode():
        assert torch.isfinite(model(images(1, (height, width))).logits).all()
        for size in ((height - 1, width), (height, width - 1)):
            with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels; expected at least {height}x{width}"):
                model(images(1, size))


# -------------------------------------------------------------------------------- 5. stochastic depth, initialisation


def test_stochastic_depth_grows_linearly_and_sits_on_every_branch(spec):
    model = hfvf.create_model(spec.small, **{**spec.tiny, "drop_path_rate": 0.4})
    rates = []
    for stage in model.model.stages:
        for layer in stage.layers:
            drops = {module.rate for module in layer.modules() if isinstance(module, DropPath)}
            assert len(drops) == 1, "every branch of a block has the block's rate"
            rates.append(drops.pop())
    expected = torch.linspace(0, 0.4, len(rates)).tolist()
    assert rates == pytest.approx(expected)


def test_stochastic_depth_drops_whole_samples():
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    outputs = drop(torch.ones(4000, 3, 2, 2))
    per_sample = outputs.flatten(1)
    assert torch.equal(per_sample.min(1).values, per_sample.max(1).values)
    values = per_sample[:, 0]
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (values == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(drop.eval()(torch.ones(5, 3)), torch.ones(5, 3))


def test_dropped_branches_leave_the_residual(spec):
    """With a rate near one every branch of the last block is dropped: what stays is its shortcut."""
    model = tiny(spec, drop_path_rate=0.5).train()
    # not a stage's first block, whose shortcut may change the map's size
    layer = [stage.layers[-1] for stage in model.model.stages if len(stage.layers) > 1][-1]
    for module in layer.modules():
        if isinstance(module, DropPath):
            module.rate = 1 - 1e-7
    captured = {}
    layer.register_forward_hook(lambda module, args, output: captured.update(given=args[0], returned=output))
    model(images(2, spec.tiny_size))
    torch.testing.assert_close(captured["returned"], captured["given"])


def test_initialisation(spec):
    """Norms one, biases zero, and every parameter set: two seeds agree only where a constant was meant."""
    model = hfvf.create_model(spec.small, **spec.first_stages(1, 2))
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            assert (module.weight == 1).all(), name
            assert module.bias is None or (module.bias == 0).all(), name
        elif isinstance(module, nn.Linear) and module.bias is not None:
            assert (module.bias == 0).all(), name
            assert 0 < module.weight.std() < 0.1, name


# ------------------------------------------------------------------------------------------------- 6. bad input


def test_bad_pixel_values(spec):
    model = tiny(spec)
    height, width = spec.tiny_size
    for bad, message in (
        (torch.randn(3, height, width), r"has shape \(3, .*expected four dimensions"),
        (torch.randn(1, 1, height, width), "has 1 channels .*; expected 3"),
        (torch.zeros(1, 3, height, width, dtype=torch.uint8), "dtype torch.uint8; expected floating point"),
        (None, "pixel_values is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            model(bad)


def test_bad_configurations(spec):
    for bad, message in (
        ({"depths": (2, 2)}, "expected"),
        ({"drop_path_rate": 1.5}, r"drop_path_rate is 1.5; expected a rate in \[0, 1\)"),
        ({"num_channels": 0}, "num_channels is 0; expected a positive number"),
        ({"hidden_sizes": (0, 1, 2, 3)}, "hidden_sizes"),
        ({"image_size": -1}, "image_size is -1"),
        ({"hidden_act": "geluu"}, "Unknown hidden_act 'geluu'; the nearest known names are .*'gelu'"),
    ):
        with pytest.raises(ValueError, match=message):
            spec.class_of("config")(**bad)


def test_unknown_names_and_keys(spec):
    with pytest.raises(ValueError, match=f"(?i)unknown model '{spec.small}x'.*{spec.small}"):
        hfvf.create_model(f"{spec.small}x")
    for function in (hfvf.create_model, lambda name, **keys: hfvf.from_timm(name, pretrained=False, **keys)):
        with pytest.raises(ValueError, match=r"drop_path_rates.*drop_path_rate"):
            function(spec.small, drop_path_rates=0.1)


def test_timm_weights_of_another_model_are_refused(spec):
    model = tiny(spec)
    state_dict = to_timm_state_dict(model)
    removed = next(iter(state_dict))
    with pytest.raises(ValueError, match="missing"):
        timm_to_native({name: tensor for name, tensor in state_dict.items() if name != removed}, model.config)
    with pytest.raises(ValueError, match=r"1 unexpected \(foreign.weight\)"):
        timm_to_native({**state_dict, "foreign.weight": torch.zeros(1)}, model.config)


def test_native_shapes_allocate_nothing(spec):
    config = tiny(spec).config
    assert native_shapes(config) == {name: t.shape for name, t in tiny(spec).state_dict().items()}


def test_importing_the_package_stays_light():
    """No training, space or export dependency and no timm, beyond what transformers itself imports."""
    heavy = ("accelerate", "datasets", "evaluate", "streamlit", "timm", "peft", "onnx", "matplotlib")
    code = f"""
import sys, torch, torchvision, transformers, transformers.modeling_utils, transformers.backbone_utils
from transformers import AutoModelForImageClassification, AutoImageProcessor, AutoBackbone
before = {{name for name in {heavy!r} if name in sys.modules}}
import hf_vit_family
print(sorted({{name for name in {heavy!r} if name in sys.modules}} - before))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# the device's own kernels


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(spec):
    model = tiny(spec)
    pixel_values = images(2, (65, 129))
    with torch.inference_mode():
        expected = model(pixel_values).logits
        assert relative_difference(model.cuda()(pixel_values.cuda()).logits.cpu(), expected) < 1e-3
