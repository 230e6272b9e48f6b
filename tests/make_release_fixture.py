"""Keeps what this release exports, for the releases to come: `python tests/make_release_fixture.py`.

Writes `tests/data/releases/<version>/<family>/`: a tiny exported model with random weights and `example.safetensors`
with `pixel_values` and the `logits` that this release gave for them. `test_folders_of_earlier_releases_still_load` in
test_contract.py reads every such folder. Card and remote-code files are left out: the code is that of the release's
tag, and loading with the package does not read it.
"""

import argparse
from pathlib import Path

import torch
from exports import LABELS, tiny
from families import SPECS, images
from safetensors.torch import save_file

from hf_vit_family import export
from hf_vit_family.models.compat import HFVF_VERSION

RELEASES = Path(__file__).parent / "data" / "releases"
# what makes a tiny model smaller still
SMALLER = {
    "twins": {"hidden_sizes": (8, 8, 16, 16), "depths": (2, 2, 1, 1)},
    "maxvit": {
        "hidden_sizes": (8, 8, 16, 16),
        "depths": (1, 1, 1, 1),
        "stem_hidden_sizes": (8, 8),
        "attention_head_size": 8,
        "head_hidden_size": 16,
    },
}
LARGEST_FOLDER = 200_000  # bytes: these folders stay in the repository for good


def make_fixture(family: str, folder: Path) -> Path:
    """Export a tiny model of a family with an example of its outputs, in evaluation mode and fp32."""
    model = tiny(family, **SMALLER.get(family, {}))
    export(model, folder)
    for path in (*folder.glob("*.py"), folder / "README.md"):
        path.unlink()
    pixel_values = images(1, SPECS[family].tiny_size)
    with torch.inference_mode():
        logits = model(pixel_values).logits
    assert logits.shape == (1, len(LABELS))
    save_file({"pixel_values": pixel_values, "logits": logits}, folder / "example.safetensors")
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST_FOLDER:
        raise SystemExit(
            f"{folder} takes {size} bytes; expected at most {LARGEST_FOLDER}: make the tiny model smaller."
        )
    return folder


def main() -> None:
    """Write the fixture of this release, once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replace", action="store_true", help="overwrite the fixture while the release is not out")
    arguments = parser.parse_args()
    release = RELEASES / HFVF_VERSION
    if release.exists() and not arguments.replace:
        raise SystemExit(f"{release} exists; a fixture is written once. Before the release is out, say --replace.")
    for family in SPECS:
        print(make_fixture(family, release / family))


if __name__ == "__main__":
    main()
