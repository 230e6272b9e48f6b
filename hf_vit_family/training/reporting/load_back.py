# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Load an exported folder as somebody would who does not have hf_vit_family, and write down what it says.

Run as a program of its own: `python -P load_back.py FOLDER IMAGES RESULT`. It refuses to import hf_vit_family, so that
the folder's own code has to do.
"""

import sys
from pathlib import Path

HIDDEN = "hf_vit_family"


class Hidden:
    """Makes Python behave as if the package were not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse the package and leave every other module to Python."""
        if name.split(".")[0] == HIDDEN:
            raise ModuleNotFoundError(f"{name} is hidden from this process.", name=name)


def main(folder: str, images: str, result: str, threads: str) -> None:
    """Write the logits of all images in a parquet file, the class of the model and its labels."""
    sys.meta_path.insert(0, Hidden())

    import torch
    from datasets import Dataset
    from pyarrow import parquet
    from safetensors.torch import save_file
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    torch.set_num_threads(int(threads))
    model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True).eval()
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    with Path(images).open("rb") as file:  # `load_dataset` takes a path for a pattern
        table = Dataset(parquet.read_table(file))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(table), 100):
            batch = [image.convert("RGB") for image in table[start : start + 100]["image"]]
            parts.append(model(**processor(batch, return_tensors="pt")).logits)
    names = "\n".join(model.config.id2label[index] for index in range(model.config.num_labels))
    metadata = {"class": f"{type(model).__module__}.{type(model).__name__}", "labels": names}
    save_file({"logits": torch.cat(parts)}, result, metadata=metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
