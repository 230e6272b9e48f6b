# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The window attention kernel: in Triton's interpreter, compiled for GPUs that are not here, and what stands in for it.

The interpreter needs a process of its own: `window_attention_interpreted.py` holds those tests.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from window_attention_reference import check
from zoo_models import images, random_model

import hf_vit_family
from hf_vit_family.acceleration.window_attention import attention, window_attention
from hf_vit_family.acceleration.window_attention.attention import INTERPRETED, obstacle
from hf_vit_family.acceleration.window_attention.interface import attends_to_maps

ROOT = Path(__file__).parents[1]
SHARED_MEMORY = 99 * 1024  # bytes for a program on the smallest GPU that is served, capability 8.6
pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter has a test file of its own")


def interpreted(marks: str) -> str:
    """The summary of the tests in the interpreter."""
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-m", marks]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    file = Path(__file__).with_name("window_attention_interpreted.py")
    result = subprocess.run([*command, str(file)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    return result.stdout.splitlines()[-1]


def test_in_the_interpreter():
    assert " passed" in interpreted("not slow")


@pytest.mark.slow
def test_more_in_the_interpreter():
    assert " passed" in interpreted("slow")


class AbsentGpu:
    """A driver of Triton's that compiles for a GPU which is not there."""

    def __init__(self, capability: int):
        self.capability = capability

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _) -> int:
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A function that calls the operators, forward and backward, and gives the kernels they would have launched."""
    pytest.importorskip("triton")
    from triton.runtime import driver, jit

    from hf_vit_family.acceleration.window_attention import kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found, launch = [], jit.JITFunction.run

    def compile_only(kernel, *args, grid, warmup, **kwargs):
        found.append(launch(kernel, *args, grid=grid, warmup=True, **kwargs))

    monkeypatch.setattr(jit.JITFunction, "run", compile_only)

    def call(capability, shape, window, dtype, layout="window", shift=(0, 0), bias=True, mask=None, inputs=None):
        monkeypatch.setattr(driver, "_active", AbsentGpu(capability))
        for kernel in (kernels.forward_kernel, kernels.backward_kernel):
            kernel.device_caches.clear()  # they keep a target for each device
        query, key, value = inputs or torch.zeros(3, *shape, dtype=dtype)
        tokens = window[0] * window[1]
        table = torch.zeros(shape[3], tokens, tokens, dtype=dtype) if bias else None
        arguments = (window, layout == "grid", shift, 0.1)
        output, logsumexp = attention.attend(query, key, value, table, mask, *arguments)
        attention.attend_backward(output, query, key, value, table, mask, output, logsumexp, *arguments, bias)
        for kernel in (kernels.forward_kernel, kernels.backward_kernel):
            kernel.device_caches.clear()
        for kernel in found:
            assert kernel.asm["cubin"][:4] == b"\x7fELF"
            assert kernel.metadata.shared <= SHARED_MEMORY
            if dtype != torch.float32:  # by the tensor cores
                assert "mma.sync" in kernel.asm["ptx"] or "wgmma" in kernel.asm["ptx"]
        return found

    return call


def test_compiles_for_hopper(compiled):
    names = [kernel.name for kernel in compiled(90, (2, 14, 14, 3, 32), (7, 7), torch.bfloat16)]
    assert names == ["forward_kernel", "backward_kernel"]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_compiles_for_gpus(compiled, dtype, side, capability):
    compiled(capability, (2, 14, 14, 3, 32), (side, side), dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"layout": "grid", "bias": False},
        {"shift": (1, 3), "mask": torch.zeros(1, 1, 1, 49, dtype=torch.bool).expand(8, 3, 49, 49)},
        {"shape": (2, 14, 14, 1, 24), "mask": torch.zeros(8, 1, 49, 49)},
        {"shape": (5, 1, 50, 2, 40), "window": (1, 50)},  # rows as windows
        {"shape": (1, 1, 1, 1, 16), "window": (1, 2), "bias": False},
        {"inputs": torch.zeros(2, 14, 14, 3, 3, 32, dtype=torch.bfloat16).unbind(3)},
        {"inputs": [torch.zeros(2, 14, 14, 3, 32, dtype=torch.bfloat16).transpose(1, 2)] * 3},
    ],
)
def test_every_kind_of_launch_compiles(compiled, options):
    """Numbers of 1 are constants to the compiler, missing tensors too, and tensors of numbers it may load at once."""
    compiled(90, **{"shape": (2, 14, 14, 3, 32), "window": (7, 7), "dtype": torch.bfloat16, **options})


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_extremes_compile(compiled, capability):
    """Nothing that the kernel says it serves is too large for the chip."""
    compiled(capability, (1, 16, 16, 1, 128), (16, 16), torch.bfloat16, mask=torch.zeros(1, 1, 256, 256).bool())
    compiled(capability, (1, 16, 16, 1, 128), (16, 16), torch.float32, bias=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"shift": (3, 2)}, {"layout": "grid"}, {"heads_bias": False}])
@pytest.mark.parametrize("window", [(7, 7), (8, 8), (5, 3), (12, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype, window, options):
    check((3, 20, 15, 2, 32), window, dtype, device="cuda", **options)
    check((1025, 8, 8, 1, 24), window, dtype, device="cuda", **options)


@pytest.mark.parametrize("family", ["twins", "maxvit", "swin"])
def test_on_a_cpu_it_is_sdpa(family):
    overrides = {"hidden_sizes": (16, 32, 48, 64)} if family == "twins" else {}
    pixels = images(family, (64, 72))
    results = []
    for implementation in ("sdpa", "window_triton"):
        model = random_model(family, **overrides, attn_implementation=implementation).eval()
        assert model.config._attn_implementation == implementation
        logits = model(pixels).logits
        logits.sum().backward()
        results.append((logits, [p.grad for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_chosen_when_loading(tmp_path):
    """By name at every door, and forgotten in what is saved, as transformers has it."""
    model = random_model("maxvit")
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, attn_implementation="window_triton")
    assert loaded.config._attn_implementation == "window_triton"
    assert hf_vit_family.load_model(tmp_path, attn_implementation="window_triton").config._attn_implementation == (
        "window_triton"
    )
    loaded.set_attn_implementation("sdpa")
    loaded.set_attn_implementation("window_triton")
    function = ALL_ATTENTION_FUNCTIONS["window_triton"]
    assert function.attends_to_maps is attends_to_maps
    loaded.save_pretrained(tmp_path / "again")
    assert "window_triton" not in (tmp_path / "again" / "config.json").read_text()


def test_says_why_it_cannot_run():
    tokens = torch.randn(1, 7, 7, 1, 32)
    with pytest.raises(
        ValueError, match=r"^Window attention (was given tensors on 'cpu'; expected an NVIDIA|needs Tr)"
    ):
        window_attention(tokens, tokens, tokens, window=(7, 7), scaling=1.0)
    assert obstacle(torch.device("cpu"), torch.float32, 49, 32) is not None
    assert not attends_to_maps(tokens.flatten(3), (7, 7), 32, 0.0)


@pytest.mark.slow
def test_importing_the_package_imports_no_kernel():
    code = "import hf_vit_family, sys; assert 'hf_vit_family.acceleration.window_attention.kernels' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would measure")
def test_benchmark_needs_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_window_attention.py"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "scripts/benchmark_window_attention.py"), run_name="__main__")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "No CUDA device is here; expected an NVIDIA GPU to measure on.\n"
