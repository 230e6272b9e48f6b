"""From labelled images to a Hub repository and back, by the commands that a user types, each in its own process."""

import json
import subprocess
import sys

import pytest
from datasets import load_dataset
from fresh_process import run as run_elsewhere
from hub_server import serve
from publishing import ROOT, command, environment
from training_runs import TINY

from hf_vit_family import load_model


def call(hub, place, *words):
    """Run a command in `place`; give what it said."""
    process = subprocess.run(
        list(map(str, words)),
        cwd=place,
        env=environment(hub, place / "home") | {"HF_HUB_OFFLINE": "0", "HF_DATASETS_CACHE": str(place / "data")},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert process.returncode == 0, f"{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process.stdout


@pytest.mark.slow
def test_fine_tune_evaluate_card_publish_load_classify(tmp_path):
    small = ["--train-images", "200", "--eval-images", "100", "--image-size", "32", "--threads", "1"]
    with serve() as hub:
        call(
            hub,
            tmp_path,
            *command("finetune", *small, "--epochs", "2", "--batch-size", "32", "--model-config", *TINY),
            *("--output", "run", "--no-open-report"),
        )
        script = ROOT / "scripts" / "evaluate_checkpoint.py"
        call(
            hub,
            tmp_path,
            *(sys.executable, script, "--model", "run/model", "--data", "fashion_mnist", "--eval-split", "test"),
            *("--eval-images", "100", "--output", "evaluation", "--threads", "1", "--no-open-report"),
        )
        trained = json.loads((tmp_path / "run" / "metrics.json").read_text())
        evaluated = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
        assert evaluated["evaluation"]["accuracy"] == pytest.approx(trained["evaluation"]["accuracy"], abs=0.011)

        # a card is refused before its license is known, and publishing refuses a folder without a checked card
        refused = subprocess.run(
            command("publish", "run/model", "someone/fashion", "--public"),
            cwd=tmp_path,
            env=environment(hub, tmp_path / "home"),
            capture_output=True,
            text=True,
        )
        assert refused.returncode == 1 and "license" in refused.stderr and not hub.repositories
        card = ("card", "write", "run", "--license", "apache-2.0", "--data-license", "mit", "--no-speed")
        call(hub, tmp_path, *command(*card))
        assert "in order" in call(hub, tmp_path, *command("card", "check", "run/model"))
        listed = call(hub, tmp_path, *command("publish", "run/model", "someone/fashion", "--dry-run"))
        assert "added: model.safetensors" in listed and not hub.repositories
        said = call(hub, tmp_path, *command("publish", "run/model", "someone/fashion", "--public", "--tag", "v1.0"))
        (commit,) = hub.repositories["someone/fashion"].tags.values()
        assert f'revision="{commit}"' in said

        image = tmp_path / "image.png"
        files = str(ROOT / "hf_vit_family" / "assets" / "fashion_mnist" / "test-*.parquet")
        load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))[0]["image"].save(image)
        verdict = call(hub, tmp_path, *command("verify", "someone/fashion@v1.0"))
        assert "this installation" in verdict or "0.1.0" in verdict
        source = {"name": "published", "source": "someone/fashion", "revision": commit}
        (tmp_path / "tensors").mkdir()
        loaded = run_elsewhere(
            "load_sources",
            tmp_path / "elsewhere",
            hub=hub.url,
            sources=[source],
            image=str(image),
            tensor_folder=str(tmp_path / "tensors"),
            backbones=False,
        )["published"]
        assert loaded["classes"]["classifier"].startswith("transformers_modules.someone.fashion.")
        ours = call(
            hub, tmp_path, *command("predict", image, "--model", "someone/fashion", "--top-k", "1", "--csv", "-")
        )
    best = loaded["pipeline"][0]
    label, score = ours.strip().splitlines()[1].split(",")[-2:]
    assert label == best["label"] and float(score) == pytest.approx(best["score"], abs=1e-4)
    assert load_model(tmp_path / "run" / "model").config.id2label[0] == "T-shirt/top"
