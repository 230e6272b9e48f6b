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
from zoo_models import images, random_model

import hf_vit_family
from hf_vit_family.acceleration.window_attention import operators, window_attention
from hf_vit_family.acceleration.window_attention.attention import INTERPRETED, obstacle
from hf_vit_family.acceleration.window_attention.interface import attends_to_maps

ROOT = Path(__file__).parents[1]
SHARED_MEMORY = 99 * 1024  # bytes for a program on the smallest GPU that is served, capability 8.6
POINTERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
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


def compile_kernel(name: str, dtype: torch.dtype, side: int, head_size: int, capability: int, bias=True, mask=None):
    """Compile a kernel for a GPU that need not be there, as a launch by `operators` would.

    Args:
        name: "forward_kernel" or "backward_kernel".
        dtype: of the maps.
        side: of the window, in tokens.
        head_size: channels.
        capability: 80, 90.
        bias: with a bias, and its gradient.
        mask: Triton's name of the mask's dtype, or None.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from hf_vit_family.acceleration.window_attention import kernels

    block, channels, warps = operators.block_sizes(side * side, head_size, dtype)
    constants = {"ROWS": side, "COLUMNS": side, "HEAD_SIZE": head_size, "GRID": False, "SHIFTED": True}
    constants |= {"BLOCK": block, "CHANNELS": channels}
    if not bias:
        constants |= {"bias": None, "bias_gradient": None}
    if mask is None:
        constants["mask"] = None
    if block >= side * side:
        constants["overlap"] = None
    types = {"mask": f"*{mask}", "scaling": "fp32"}
    types |= dict.fromkeys(("logsumexp", "overlap", "bias_gradient"), "*fp32")
    maps = ("query", "key", "value", "output", "bias")
    types |= dict.fromkeys((*maps, *(f"{of}_gradient" for of in maps[:4])), POINTERS[dtype])

    kernel, signature, fixed, facts = getattr(kernels, name), {}, {}, {}
    divisible = [["tt.divisibility", 16]]
    for index, argument in enumerate(kernel.arg_names):
        if argument in constants:
            signature[argument], fixed[(index,)] = "constexpr", constants[argument]
        elif argument.endswith("strides"):
            signature[argument] = ("i32",) * 4
            if argument != "mask_strides":
                facts |= {(index, place): divisible for place in range(4)}
        else:
            signature[argument] = types.get(argument, "i32")
            if signature[argument].startswith("*"):
                facts[(index,)] = divisible
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=facts)
    options = {"num_warps": warps, "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def check_compiled(monkeypatch, tmp_path, *arguments, **options):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiled = compile_kernel(*arguments, **options)
    assert compiled.asm["cubin"][:4] == b"\x7fELF"
    assert compiled.metadata.shared <= SHARED_MEMORY
    if arguments[1] != torch.float32:  # by the tensor cores
        assert "mma.sync" in compiled.asm["ptx"] or "wgmma" in compiled.asm["ptx"]


@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
def test_compiles_for_hopper(monkeypatch, tmp_path, kernel):
    check_compiled(monkeypatch, tmp_path, kernel, torch.bfloat16, 7, 32, 90)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
def test_compiles_for_gpus(monkeypatch, tmp_path, kernel, dtype, side, capability):
    check_compiled(monkeypatch, tmp_path, kernel, dtype, side, 32, capability)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
def test_extremes_compile(monkeypatch, tmp_path, kernel, capability):
    """Nothing that the kernel says it serves is too large for the chip."""
    check_compiled(monkeypatch, tmp_path, kernel, torch.bfloat16, 16, 128, capability, mask="i1")
    check_compiled(monkeypatch, tmp_path, kernel, torch.float32, 12, 128, capability, bias=False, mask="fp32")


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
