"""Keeps what fine-tuning and pretraining leave for transformers' families: `python tests/make_runs_fixture.py FOLDER`.

Writes into FOLDER, for release 0.1.0 tests/data/releases/0.1.0, for each family

* `<family>/`: what `finetune` exported, from a folder whose weights are far from zeros and ones;
* `<family>/lora/`: the adapter that `finetune --method lora` made of that folder;
* `<family>/simmim/`: the encoder that `pretrain` made of it, where the family can be pretrained;
* `<family>/run/`: a run from random weights that broke off in the middle of its last epoch; of ViT also `lora_run/` and
  `simmim_run/`, whose checkpoints have other names of the weights;
* `<family>_<kind>/`: a fine-tuned folder of a configuration that takes another way through the family's code;

each with `example.safetensors`: an input and the logits for it. test_release_folders.py reads them. Cards, reports and
metrics.json are left out, and the pickles of a checkpoint: `pack_run` writes their content as safetensors and JSON,
`unpack_run` makes a folder of it that `--resume` takes. Of the pickles only the states of random generators are lost,
which a resumed run does not need.

Of these families the classes were transformers' own in release 0.1.0, so this is the record of what must still load.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from training_data import write_images

from hf_vit_family import create_model, export, load_image_processor, load_model
from hf_vit_family.models.compat import HFVF_VERSION
from hf_vit_family.training import finetune, pretrain
from hf_vit_family.training.hardware import describe_versions, find_commit
from hf_vit_family.training.methods.adaptation import classifier_heads

LABELS = {0: "bird", 1: "cat", 2: "dog"}
STEP = 3  # of 4: where the recorded runs broke off

TOKENS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
SWIN = {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "window_size": 4, "patch_size": 2, "mlp_ratio": 2.0}
PYRAMID = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 2]}
PVT = {**PYRAMID, "sequence_reduction_ratios": [4, 2, 2, 1], "mlp_ratios": [2, 2, 2, 2]}
PVT_V2 = {**PYRAMID, "strides": [2, 2, 2, 2], "sr_ratios": [4, 2, 2, 1], "mlp_ratios": [2, 2, 2, 2]}
MOBILEVIT = {"hidden_sizes": [8, 8, 12], "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 12], "mlp_ratio": 1.0}
MOBILEVITV2 = {
    "width_multiplier": 0.1,
    "base_attn_unit_dims": [40, 40, 80],
    "n_attn_blocks": [1, 1, 1],
    "expand_ratio": 1.0,
}
CVT = {"embed_dim": [8, 8, 16], "depth": [1, 2, 3], "num_heads": [1, 2, 2], "mlp_ratio": [2.0, 2.0, 2.0]}
# family: variant, overrides for a model of about ten thousand parameters, pixels of a side
FAMILIES = {
    "vit": ("vit-base-patch16-224", TOKENS, 32),
    "deit": ("deit-tiny-distilled-patch16-224", TOKENS, 32),
    "beit": ("beit-base-patch16-224", TOKENS, 32),
    "swin": ("swin-tiny-patch4-window7-224", SWIN, 32),
    "swinv2": ("swinv2-tiny-patch4-window8-256", SWIN, 32),
    "cvt": ("cvt-13", CVT, 32),
    "pvt": ("pvt-tiny-224", PVT, 64),
    "pvt_v2": ("pvt_v2_b0", PVT_V2, 32),
    "mobilevit": ("mobilevit-xx-small", MOBILEVIT, 64),
    "mobilevitv2": ("mobilevitv2-0.5-imagenet1k-256", MOBILEVITV2, 64),
}
OTHER_WAYS = {
    # maps of 20, 10 and 5 tokens in windows of 4
    "swin_padded": ("swin-tiny-patch4-window7-224", {**SWIN, "depths": [1, 2, 2], "num_heads": [1, 2, 2]}, 40),
    "swinv2_padded": ("swinv2-tiny-patch4-window8-256", SWIN, 40),
    "pvt_v2_linear": ("pvt_v2_b2_linear", PVT_V2, 32),
    "mobilevitv2_odd": ("mobilevitv2-0.5-imagenet1k-256", MOBILEVITV2, 48),  # a map of 3 in patches of 2
}
PRETRAINED = ("vit", "deit", "beit", "swin", "swinv2")
# What begins the stream of tokens or adds to it, and the norms that it begins with: small, so that no norm's epsilon is
# lost beside the variance of what it norms, and alike, so that no branch is lost beside the stream.
SMALL = re.compile(
    r"(o_proj|output\.dense|fc2|dense2|out_proj|attention\.proj(ection)?|conv2\.convolution|reduction|conv_1x1\.convolution"
    r"|embed\w*\.proj(ection)?|convolution_embeddings\.projection|(sequence|spatial)_reduction)\.weight$"
)
BEGINNINGS = re.compile(r"embed.*norm|downsample\.norm")


# ------------------------------------------------------------------------------ weights and inputs


def scatter(model: nn.Module, size: int) -> nn.Module:
    """Random values for everything, so that attention is far from even and epsilons show in the logits."""
    generator = torch.Generator().manual_seed(0)

    def normal(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator)

    norms = {f"{name}." for name, module in model.named_modules() if "Norm" in type(module).__name__}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            owner, leaf = name[: name.rfind(".") + 1], name.rpartition(".")[2]
            if owner in norms:
                gain = 0.05 if BEGINNINGS.search(owner) else 1.0
                parameter.copy_(gain * (1 + 0.3 * normal(parameter) if leaf == "weight" else 0.1 * normal(parameter)))
            elif leaf in ("lambda_1", "lambda_2"):
                parameter.copy_(0.5 + 0.2 * normal(parameter))
            elif leaf == "logit_scale":
                parameter.copy_(2.3 + 0.3 * normal(parameter))
            elif "relative_position" in name or "continuous_position" in name:
                parameter.copy_(normal(parameter) * (1.0 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5))
            elif leaf == "weight":
                gain = 0.05 if SMALL.search(name) else 1.5
                parameter.copy_(gain * normal(parameter) * parameter[0].numel() ** -0.5)
            else:  # biases, tokens, positions
                parameter.copy_(0.02 * normal(parameter))
        batch_norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        if batch_norms:  # statistics near those of images, or the signal would die out
            momentum = batch_norms[0].momentum
            for module in batch_norms:
                module.momentum = 1.0
            model.train()(torch.randn(8, 3, size, size, generator=generator))
            for module in batch_norms:
                module.momentum = momentum
                module.running_mean += 0.1 * module.running_var.sqrt() * normal(module.running_mean)
                module.running_var *= 1 + 0.2 * normal(module.running_var).abs()
    return model.eval()


def pixels(size: int) -> torch.Tensor:
    """Normalised images: noise of several scales, (1 or 2, 3, size, size)."""
    generator = torch.Generator().manual_seed(1)
    batch = 2 if size <= 32 else 1
    parts = [
        nn.functional.interpolate(torch.randn(batch, 3, side, side, generator=generator), (size, size), mode="nearest")
        for side in (2, size // 4, size)
    ]
    return (parts[0] + parts[1] + parts[2]) / 3**0.5


def photo() -> torch.Tensor:
    """A picture as it comes from a file: (30, 44, 3) uint8."""
    small = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(2))
    large = nn.functional.interpolate(small.permute(2, 0, 1)[None], (30, 44), mode="bilinear")[0]
    return (large.permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous()


def answers(model: nn.Module, folder: Path, picture: torch.Tensor) -> torch.Tensor:
    """The logits for a picture, prepared by the folder's own processor."""
    with torch.no_grad():
        inputs = load_image_processor(folder)(Image.fromarray(picture.numpy()), return_tensors="pt")
        return model.eval()(inputs["pixel_values"]).logits


def logits_of(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    """In evaluation mode, without inference mode, which transformers' BEiT could not be trained after."""
    with torch.no_grad():
        return model.eval()(pixel_values).logits


# ------------------------------------------------------------------------------ runs without pickles


def pack_run(run: Path, target: Path, example: dict[str, torch.Tensor]) -> None:
    """What a run that broke off at STEP leaves, without pickles, and an example beside it."""
    checkpoint = run / "checkpoints" / f"step-{STEP:08d}"
    packed = target / "checkpoints" / checkpoint.name
    packed.mkdir(parents=True)
    shutil.copyfile(run / "settings.json", target / "settings.json")
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    (target / "log.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= STEP))
    shutil.copyfile(checkpoint / "model.safetensors", packed / "model.safetensors")
    optimizer = torch.load(checkpoint / "optimizer.bin", weights_only=True)
    tensors = {
        f"{number}.{name}": tensor.contiguous()
        for number, values in optimizer["state"].items()
        for name, tensor in values.items()
        if tensor is not None
    }
    save_file(tensors, packed / "optimizer.safetensors")
    registered = sorted(checkpoint.glob("custom_checkpoint_*.pkl"))  # the schedule, then the progress
    rest = {
        "param_groups": optimizer["param_groups"],
        "registered": [torch.load(path, weights_only=True) for path in registered],
    }
    (packed / "state.json").write_text(json.dumps(rest, indent=1) + "\n")
    save_file(example, target / "example.safetensors")


def unpack_run(recorded: Path, run: Path) -> Path:
    """A folder that `--resume` takes, from a recorded one."""
    from safetensors.torch import load_file

    shutil.copytree(recorded, run, ignore=shutil.ignore_patterns("example.safetensors"))
    for checkpoint in (run / "checkpoints").iterdir():
        rest = json.loads((checkpoint / "state.json").read_text())
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(checkpoint / "optimizer.safetensors").items():
            number, _, name = key.partition(".")
            state.setdefault(int(number), {})[name] = tensor
        torch.save({"state": state, "param_groups": rest["param_groups"]}, checkpoint / "optimizer.bin")
        for number, values in enumerate(rest["registered"]):
            torch.save(values, checkpoint / f"custom_checkpoint_{number}.pkl")
        for name in ("state.json", "optimizer.safetensors"):
            (checkpoint / name).unlink()
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(checkpoint.iterdir())}
        (checkpoint / "sha256.json").write_text(json.dumps(sums, indent=2) + "\n")
    return run


# ------------------------------------------------------------------------------ the commands


def write_photos(folder: Path) -> Path:
    """Twelve images of three classes, nine to train on: what every recorded run was given."""
    return write_images(folder, 4, classes=tuple(LABELS.values()))


def command(main: Callable[[list[str]], int], *options: str) -> None:
    """One run in this process, as from the command line."""
    status = main(
        [
            *("--data", "photos", "--eval-fraction", "0.25", "--epochs", "2", "--batch-size", "4", "--threads", "1"),
            *("--mixed-precision", "no", "--warmup-epochs", "0", "--checkpoint-every", str(STEP), "--workers", "0"),
            *("--log-every", "1", *options),
        ]
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    if status:
        raise SystemExit(f"The run with {' '.join(options)} ended with status {status}.")


def pairs(config: dict) -> list[str]:
    """Overrides as --model-config takes them."""
    return [f"{key}={json.dumps(value)}" for key, value in config.items()]


def keep(folder: Path, target: Path) -> None:
    """A folder without its card."""
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name != "README.md":
            shutil.copyfile(path, target / path.name)


def record_finetuned(name: str, release: Path) -> None:
    """`finetune` from a folder; its exported folder. Leaves a copy in the working folder for what builds on it."""
    variant, config, size = (FAMILIES | OTHER_WAYS)[name]
    sized = {} if name == "cvt" else {"image_size": size}
    torch.manual_seed(0)
    base = create_model(variant, id2label=LABELS, **config, **sized)
    export(scatter(base, size), "base")
    options = ("--model", "base", "--image-size", str(size), "--learning-rate", "1e-3", "--no-verify")
    command(finetune.main, "--output", "finetuned", *options)
    keep(Path("finetuned/model"), Path(name))
    model, pixel_values = load_model(f"./{name}"), pixels(size)
    example = {"pixel_values": pixel_values, "logits": logits_of(model, pixel_values)}
    example |= {"photo": photo(), "photo_logits": answers(model, Path(name), photo())}
    keep(Path(name), release / name)
    save_file(example, release / name / "example.safetensors")
    logits = torch.cat([example["logits"], example["photo_logits"]])
    print(f"{name}: logits {logits.tolist()}", *insensitive(model, pixel_values), sep="\n  ")


def insensitive(model: nn.Module, pixel_values: torch.Tensor) -> Iterator[str]:
    """The epsilons and weights that the logits hardly depend on, and with what relative change they answer another."""
    logits = logits_of(model, pixel_values)

    def change() -> float:
        return ((logits_of(model, pixel_values) - logits).norm() / logits.norm()).item()

    for name, module in model.named_modules():
        if hasattr(module, "eps"):
            eps, module.eps = module.eps, 1e-6 if module.eps != 1e-6 else 1e-5
            if change() < 3e-5:
                yield f"epsilon {eps} of {name}: {change():.1e}"
            module.eps = eps
    for name, parameter in model.named_parameters():
        values = parameter.detach().clone()
        parameter.data = values.flatten().roll(1).reshape(values.shape) if values.numel() > 1 else values * 1.1
        if change() < 1e-3:
            yield f"{name}: {change():.1e}"
        parameter.data = values


def record_lora(name: str, release: Path) -> None:
    """`finetune --method lora` on the fine-tuned folder: the adapter and the merged model's logits."""
    size = FAMILIES[name][2]
    options = ("--method", "lora", "--lora-rank", "2", "--learning-rate", "0.05", "--no-verify")
    command(finetune.main, "--output", "lora", "--model", f"./{name}", "--image-size", str(size), *options)
    pixel_values = pixels(size)
    example = {"logits": logits_of(load_model("lora/model"), pixel_values)}
    change = (example["logits"] - logits_of(load_model(f"./{name}"), pixel_values)).abs().max()
    print(f"  lora: logits changed by {change:.3f}")
    keep(Path("lora/adapter"), release / name / "lora")
    save_file(example, release / name / "lora" / "example.safetensors")
    if name == "vit":
        pack_run(Path("lora"), release / name / "lora_run", example)


def record_simmim(name: str, release: Path) -> None:
    """`pretrain` on the fine-tuned folder: the encoder, and the logits with heads of known weights."""
    size = FAMILIES[name][2]
    options = ("--model", f"./{name}", "--image-size", str(size), "--learning-rate", "1e-3", "--mask-patch-size", "8")
    command(pretrain.main, "--output", "simmim", *options)
    keep(Path("simmim/model"), release / name / "simmim")
    classifier = load_model("simmim/model", num_labels=len(LABELS))
    generator = torch.Generator().manual_seed(3)
    example = {}
    with torch.no_grad():
        for head, layer in classifier_heads(classifier).items():
            for leaf, parameter in layer.named_parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                example[f"{head}.{leaf}"] = parameter.detach().clone()
    example["logits"] = logits_of(classifier, pixels(size))
    save_file(example, release / name / "simmim" / "example.safetensors")
    if name == "vit":
        pack_run(Path("simmim"), release / name / "simmim_run", {"logits": example["logits"]})


def record_run(name: str, release: Path) -> None:
    """A run from random weights that broke off at STEP, and the logits of what it would have become.

    SGD without momentum has no state; those of AdamW, twice the size of the weights, are in the runs of ViT alone.
    """
    variant, config, size = FAMILIES[name]
    options = (
        "--optimizer",
        "sgd",
        "--momentum",
        "0",
        "--learning-rate",
        "0.1",
        "--no-verify",
        "--image-size",
        str(size),
    )
    command(finetune.main, "--output", "run", "--model", variant, "--model-config", *pairs(config), *options)
    pack_run(Path("run"), release / name / "run", {"logits": logits_of(load_model("run/model"), pixels(size))})


def main() -> None:
    """Write the fixtures of the families named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the release's folders lie")
    parser.add_argument("names", nargs="*", default=[*FAMILIES, *OTHER_WAYS], help="families (default: all)")
    parser.add_argument("--replace", action="store_true", help="overwrite folders while the release is not out")
    arguments = parser.parse_args()
    release = arguments.folder.resolve()
    for name in arguments.names:
        if name not in FAMILIES | OTHER_WAYS:
            parser.error(f"{name!r} was given; expected some of {', '.join(FAMILIES | OTHER_WAYS)}.")
        if (release / name).exists() and not arguments.replace:
            parser.error(f"{release / name} exists and is written once; before the release is out, say --replace.")
    release.mkdir(parents=True, exist_ok=True)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    for name in arguments.names:
        shutil.rmtree(release / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as place:
            os.chdir(place)  # relative paths alone get into the files
            datasets.config.HF_DATASETS_CACHE = Path(place, "cache")
            write_photos(Path("photos"))
            record_finetuned(name, release)
            if name in FAMILIES:
                record_lora(name, release)
                record_run(name, release)
            if name in PRETRAINED:
                record_simmim(name, release)
            os.chdir(release)
        size = sum(path.stat().st_size for path in (release / name).rglob("*") if path.is_file())
        print(f"{name}: {size:,} bytes")
    made = {"release": HFVF_VERSION, "commit": find_commit(), "versions": describe_versions(), "command": sys.argv[1:]}
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
