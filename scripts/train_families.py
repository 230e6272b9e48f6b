# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Train a small model of each family by one recipe, for comparisons such as scripts/compare_explanations.py.

    python scripts/train_families.py --output runs/families
    python scripts/train_families.py --output runs/families --families vit swin --epochs 10

Every model sees the same images of 64 pixels, in the same order, for the same number of steps; sizes are chosen so that
each has about half a million parameters. A family whose run is there already is left alone.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the help does not wait for torch

from hf_vit_family.programs import as_program

VIT = ["hidden_size=96", "intermediate_size=192", "num_hidden_layers=6", "num_attention_heads=3", "patch_size=8"]
SWIN = ["embed_dim=32", "depths=[2,2,2]", "num_heads=[2,4,8]", "window_size=4", "mlp_ratio=2.0"]
PYRAMID = ["hidden_sizes=[32,48,96,128]", "depths=[1,1,2,1]", "num_attention_heads=[1,2,4,4]"]
# CvT's depths grow, as transformers looks up the drop path rate of stage i among the rates of its blocks.
# variant and overrides; PoolFormer has no attention and is left out where explanations of attention are compared
FAMILIES = {
    "vit": ("vit-base-patch16-224", VIT),
    "deit": ("deit-tiny-distilled-patch16-224", VIT),
    "beit": ("beit-base-patch16-224", VIT),
    "swin": ("swin-tiny-patch4-window7-224", SWIN),
    "swinv2": ("swinv2-tiny-patch4-window8-256", SWIN),
    "cvt": ("cvt-13", ["embed_dim=[32,64,128]", "depth=[1,2,3]", "num_heads=[1,2,4]", "mlp_ratio=[2.0,2.0,2.0]"]),
    "pvt": ("pvt-tiny-224", [*PYRAMID, "mlp_ratios=[2,2,2,2]"]),
    "pvt_v2": ("pvt_v2_b0", [*PYRAMID, "mlp_ratios=[2,2,2,2]"]),
    "mobilevit": ("mobilevit-xx-small", ["neck_hidden_sizes=[16,16,24,48,64,80,160]"]),
    "mobilevitv2": ("mobilevitv2-0.5-imagenet1k-256", ["width_multiplier=0.375"]),
    "twins": (
        "twins_svt_small",
        [
            *("hidden_sizes=[32,64,128]", "depths=[2,2,2]", "num_attention_heads=[1,2,4]", "mlp_ratios=[2,2,2]"),
            *("window_sizes=[4,4,4]", "key_reductions=[4,2,1]"),
        ],
    ),
    "maxvit": (
        "maxvit_tiny_tf_224",
        [
            *("hidden_sizes=[32,64,96]", "depths=[1,1,1]", "stem_hidden_sizes=[16,16]", "window_size=4"),
            *("attention_head_size=16", "head_hidden_size=null", "expand_output=false", "initializer_range=0.08"),
        ],
    ),
    "poolformer": ("poolformer_s12", ["hidden_sizes=[48,96,160]", "depths=[2,2,2]"]),
}


@as_program
def main() -> int:
    """The exit status: 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs, one for each family")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="only these")
    parser.add_argument("--data", default="fashion_mnist", help="as scripts/finetune.py takes it")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    failed = []
    for family in arguments.families:
        run = arguments.output / family
        if (run / "metrics.json").is_file():
            print(f"{family}: {run} is there.", flush=True)
            continue
        variant, config = FAMILIES[family]
        options = ["--model", variant, "--model-config", *config, "--data", arguments.data, "--image-size", "64"]
        options += ["--epochs", str(arguments.epochs), "--batch-size", "32", "--learning-rate", "1e-3"]
        options += ["--augmentation", "crop-flip", "--no-open-report", "--no-verify", "--output", str(run)]
        options += ["--threads", str(arguments.threads)] if arguments.threads else []
        begun = time.perf_counter()
        status = subprocess.run([sys.executable, "-m", "hf_vit_family_cli", "finetune", *options]).returncode
        print(f"{family}: exit status {status} after {time.perf_counter() - begun:.0f} s.", flush=True)
        if status:
            failed.append(family)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
