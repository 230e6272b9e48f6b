"""A reader that others wrote: olah, a mirror of the Hub, in front of the double that was published to.

It gets an environment of its own, as it asks for releases that others here do not. Installing it asks the package
index; an environment that is there already is named by HFVF_OLAH, its folder.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
import torch
from exports import content, tiny
from fresh_process import run
from hub_server import serve
from PIL import Image
from publishing import environment, go_online, publisher, ready_folder
from safetensors.torch import load_file

OLAH = "olah==0.5.4"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The program `olah-cli`."""
    given = os.environ.get("HFVF_OLAH")
    folder = Path(given) if given else tmp_path_factory.mktemp("olah") / "venv"
    if not given:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        python = folder / "bin" / "python"
        uv = shutil.which("uv")  # takes seconds where pip takes minutes
        pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run([*pip, "--quiet", OLAH], check=True, timeout=500)
    return folder / "bin" / "olah-cli"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ready_folder(tmp_path_factory.mktemp("ready") / "twins")


@pytest.fixture(scope="module")
def hub(folder):
    with pytest.MonkeyPatch.context() as monkeypatch, serve() as hub:
        go_online(monkeypatch)
        publisher(hub)(folder, "someone/twins", private=False, tag="v1")
        yield hub


@pytest.fixture(scope="module")
def mirror(program, hub, tmp_path_factory):
    """Address of olah, which knows nothing but the double."""
    work = tmp_path_factory.mktemp("mirror")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    upstream, mine = urlsplit(hub.url), f"127.0.0.1:{port}"
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--hf-scheme": "http",
        "--hf-netloc": upstream.netloc,
        "--hf-lfs-netloc": f"localhost:{upstream.port}",
        "--mirror-scheme": "http",
        "--mirror-netloc": mine,
        "--mirror-lfs-netloc": mine,
        "--repos-path": work / "repos",
        "--log-path": work / "logs",
    }
    arguments = [str(part) for option in options.items() for part in option]
    with (work / "output").open("w") as output:
        process = subprocess.Popen([program, *arguments], cwd=work, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (work / "output").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://{mine}/api/models/someone/twins/revision/v1", timeout=10).read()
                break
            except (URLError, OSError):
                time.sleep(0.2)
        yield f"http://{mine}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_snapshot_through_the_mirror(mirror, hub, folder, tmp_path):
    code = "import huggingface_hub as h; print(h.snapshot_download('someone/twins', revision='v1'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(hub, tmp_path / "home", token=None) | {"HF_ENDPOINT": mirror},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    snapshot = Path(done.stdout.strip())
    assert snapshot.name == hub.repositories["someone/twins"].tags["v1"]
    found = content(snapshot)
    assert found.pop(".gitattributes") and found == content(folder)


def test_model_through_the_mirror(mirror, folder, tmp_path):
    """By its id through the mirror and from the folder, in one process without the package: bit for bit the same."""
    pixels = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = tmp_path / "picture.png"
    Image.fromarray(pixels.numpy()).save(picture)
    sources = [
        {"name": "mirrored", "source": "someone/twins", "revision": "v1"},
        {"name": "local", "source": str(folder)},
    ]
    home = tmp_path / "elsewhere"
    results = run("load_sources", home, hub=mirror, sources=sources, image=picture, tensor_folder=home, backbones=False)
    assert results["mirrored"]["pipeline"] == results["local"]["pipeline"]
    mirrored, local = (load_file(home / f"{name}.safetensors") for name in ("mirrored", "local"))
    assert mirrored.keys() == local.keys() and all(torch.equal(mirrored[key], local[key]) for key in local)
    with torch.inference_mode():
        logits = tiny("twins")(local["pixel_values"]).logits
    assert torch.allclose(mirrored["logits"], logits, atol=1e-5)
