"""What other people's processes do with an exported model: run as a script, with one task and its arguments as JSON.

`run` starts such a process: fresh Hugging Face caches, another working directory, no PYTHONPATH, standard input closed.
Unless the task is one "with the package", importing hf_vit_family is made impossible there even where it is installed.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

AUTO_CLASSES = ("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoImageProcessor", "AutoBackbone")


def run(task: str, home: Path, hub: str | None = None, package: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run a task in a process of its own and return its result.

    Args:
        task: name of a function below.
        home: a folder for its caches and working directory, made if need be.
        hub: address of a Hub; without one it is offline.
        package: whether the package may be imported.
        **arguments: for the task, as JSON holds them.
    """
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTHON", "TRANSFORMERS_"))}
    environment = kept | {
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        **({"HF_HUB_OFFLINE": "1"} if hub is None else {"HF_ENDPOINT": hub, "HF_TOKEN": "hf_secret"}),
    }
    result = work / f"{task}.json"
    arguments = {"task": task, "package": package, "result": str(result), **arguments}
    process = subprocess.run(
        [sys.executable, "-P", __file__, json.dumps(arguments, default=str)],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert process.returncode == 0, f"{process.stdout[-2000:]}\n{process.stderr[-8000:]}"
    return json.loads(result.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------- inside the process


def describe(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__name__}"


def attempt(action) -> dict[str, str]:
    """What came of it: the class that was loaded, or the error."""
    try:
        loaded = action()
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"loaded": describe(loaded)}


def load_all(source: str, image: str, tensors: dict, **kwargs) -> dict[str, Any]:
    """Load a folder or repository with every Auto class and the pipeline; outputs go into `tensors`."""
    import torch
    import transformers

    kwargs = {"trust_remote_code": True, **kwargs}
    config = transformers.AutoConfig.from_pretrained(source, **kwargs)
    processor = transformers.AutoImageProcessor.from_pretrained(source, **kwargs)
    model = transformers.AutoModel.from_pretrained(source, **kwargs)
    classifier = transformers.AutoModelForImageClassification.from_pretrained(source, **kwargs)
    pixel_values = processor(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        outputs = model(pixel_values)
        tensors |= {
            "pixel_values": pixel_values,
            "last_hidden_state": outputs.last_hidden_state.contiguous(),
            "pooler_output": outputs.pooler_output,
            "logits": classifier(pixel_values).logits,
        }
    pipeline = transformers.pipeline("image-classification", model=source, device="cpu", **kwargs)
    things = {"config": config, "processor": processor, "model": model, "classifier": classifier}
    return {
        "classes": {name: describe(thing) for name, thing in things.items()},
        "pipeline": pipeline(image),
        "pipeline_classes": [describe(pipeline.model), describe(pipeline.image_processor)],
        "id2label": {str(key): value for key, value in config.id2label.items()},
        "dtype": str(classifier.dtype),
        "code_marker": getattr(sys.modules[type(classifier).__module__], "CODE_MARKER", None),
    }


def load_backbone(source: str, tensors: dict, **kwargs) -> dict[str, Any]:
    import torch
    import transformers

    features = {"out_features": ["stem", "stage2"]}
    backbone = transformers.AutoBackbone.from_pretrained(source, **{"trust_remote_code": True, **features, **kwargs})
    with torch.inference_mode():
        maps = backbone(tensors["pixel_values"]).feature_maps
    tensors |= {f"feature_map_{index}": feature.contiguous() for index, feature in enumerate(maps)}
    return {"class": describe(backbone)}


def load_sources(sources: list[dict], image: str, tensor_folder: str, backbones: bool) -> dict[str, Any]:
    """Load each source; its tensors are saved as `<name>.safetensors`."""
    from safetensors.torch import save_file

    results = {}
    for source in sources:
        name, tensors = source.pop("name"), {}
        results[name] = load_all(image=image, tensors=tensors, **source)
        if backbones:
            results[name]["backbone"] = load_backbone(tensors=tensors, **source)
        save_file(tensors, Path(tensor_folder) / f"{name}.safetensors")
    return results


def load_untrusted(folders: list[str], repositories: list[str]) -> dict[str, Any]:
    """Try every Auto class without trust."""
    import transformers

    def load(auto_class: str, source: str, **kwargs):
        if auto_class == "pipeline":
            return transformers.pipeline("image-classification", model=source, **kwargs)
        return getattr(transformers, auto_class).from_pretrained(source, **kwargs)

    results = {}
    for source in [*folders, *repositories]:
        for auto_class in (*AUTO_CLASSES, "pipeline"):
            if auto_class == "AutoBackbone" and source in folders:
                continue  # it takes no folders, with or without trust
            for trust in (False, None):
                kwargs = {} if trust is None else {"trust_remote_code": trust}
                results[f"{source} {auto_class} {trust}"] = attempt(partial(load, auto_class, source, **kwargs))
    return results


def logits_of_ones(path: str, size: int) -> list[float]:
    """A classifier's answer to an image of ones, with the remote code of its folder."""
    import torch
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path, trust_remote_code=True)
    with torch.inference_mode():
        return model(torch.ones(1, 3, size, size)).logits[0].tolist()


def run_poisoned(folder: str) -> dict[str, str]:
    """Load a folder whose remote code must not be run, trusting it: it is run here."""
    import transformers

    load = transformers.AutoModelForImageClassification.from_pretrained
    return attempt(lambda: load(folder, trust_remote_code=True))


def load_with_package(package_root: str, sources: list[dict], **arguments) -> dict[str, Any]:
    """Import the package, then load with trust and without."""
    sys.path.insert(0, package_root)
    import hf_vit_family  # noqa: F401 - the import is what decides

    return load_sources(sources, **arguments)


def main() -> None:
    arguments = json.loads(sys.argv[1])
    task, package, result = (arguments.pop(key) for key in ("task", "package", "result"))
    if not package:
        sys.modules["hf_vit_family"] = None  # an import fails from here on, even where the package is installed
    outcome = globals()[task](**arguments)
    if not package:
        assert not [name for name in sys.modules if name.startswith("hf_vit_family.")]
    Path(result).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main()
