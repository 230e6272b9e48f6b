"""What is not published: each reason a sentence that names the file, told before anything is asked of a network."""

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from publishing import go_online, publisher, ready_folder, rewrite_card
from safetensors import safe_open
from safetensors.torch import save_file

from hf_vit_family.hub.publishing.checks import (
    checked_model,
    find_local_paths,
    find_tokens,
    folder_content,
    known_paths,
)
from hf_vit_family.remote_code import MODELS_FOLDER

# put together here, so that nothing that looks like a token stands in this file
TOKENS = {
    "a Hugging Face token": "hf_" + "aB3" * 12,
    "an AWS access key": "AKIA" + "ABCD" * 4,
    "a GitHub token": "gh" + "p_" + "a1" * 18,
    "an API key (sk-...)": "sk" + "-proj-" + "a1B2" * 8,
    "a GitLab token": "glpat" + "-" + "a1" * 10,
    "a Google API key": "AIza" + "a" * 35,
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "an address with a password": "https://me:" + "secret" + "@example.org/x",
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return ready_folder(tmp_path_factory.mktemp("ready") / "model")


@pytest.fixture
def folder(ready, tmp_path):
    return shutil.copytree(ready, tmp_path / "model")


class NoHub:
    """An address where nobody is: whoever asks it fails."""

    url = "http://127.0.0.1:9"


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError) as error:
        publisher(NoHub)(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_export_and_card_write_is_taken(folder):
    assert set(checked_model(folder)[0]) == {path.name for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------- what is in the folder


def test_empty_and_incomplete_folders(folder, tmp_path):
    assert "is no folder; expected the one that export has written" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no files to publish" in refusal(tmp_path / "empty")
    (tmp_path / "empty" / ".git").mkdir()
    (tmp_path / "empty" / ".git" / "config").write_text("[core]\n")
    assert "holds no files to publish" in refusal(tmp_path / "empty")
    for name, missing in {
        "config.json": "no config.json",
        "README.md": "no README.md",
        "model.safetensors": "no weights (model.safetensors)",
    }.items():
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        assert f"It holds {missing}." in refusal(folder)
        (folder / name).write_bytes(content)
    checked_model(folder)


def test_hidden_and_compiled_files_are_left_out(folder):
    for name in (
        ".git/config",
        ".env",
        ".DS_Store",
        "__pycache__/layers.cpython-311.pyc",
        "sub/.cache/x",
        "layers.pyc",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a token hf_" + "a" * 34)
    (folder / ".eval_results").mkdir()
    (folder / ".eval_results" / "notes.txt").write_text("measured\n")
    (folder / ".eval_results" / ".hidden").write_text("not this\n")
    paths, left_out = folder_content(folder)
    assert ".eval_results/notes.txt" in paths and not [path for path in paths if "hidden" in path or "cache" in path]
    assert set(left_out) == {
        ".git/", ".env", ".DS_Store", "__pycache__/", "sub/.cache/", "layers.pyc", ".eval_results/.hidden"
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["file", "folder", "nothing", "pipe"])
def test_links_that_lead_out(folder, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("mine\n")
    if kind == "pipe":
        os.mkfifo(folder / "extra")
        assert "extra is no regular file" in refusal(folder)
        return
    target = {"file": outside / "secret.txt", "folder": outside, "nothing": folder / "gone"}[kind]
    (folder / "extra").symlink_to(target)
    expected = {
        "file": "extra is a symbolic link that leaves the folder",
        "folder": "extra is a symbolic link that leaves the folder",
        "nothing": "extra is a symbolic link to nothing",
    }[kind]
    assert expected in refusal(folder)


def test_a_link_inside_the_folder_is_the_file_it_leads_to(folder):
    (folder / "LICENSE").write_text("terms\n")
    (folder / "COPYING").symlink_to("LICENSE")
    found, _ = checked_model(folder)
    assert found["COPYING"].read_text() == "terms\n"


# ----------------------------------------------------------------------------------------------- pickles and weights


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "deep/er/a.pth", "x.PKL", "x.ckpt", "x.joblib"])
def test_pickles_by_name(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("harmless\n")
    assert f"{name} is named like a pickle, which can run code when it is read" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(print, protocol=protocol) for protocol in (0, 1, 2, 4, 5)),
        saved({"weight": torch.zeros(2)}),
        zipped("model/data.pkl"),
    ],
    ids=["0", "1", "2", "4", "5", "torch", "zip"],
)
@pytest.mark.parametrize("name", ["notes.txt", "weights.dat", "model.safetensors"])
def test_pickles_by_content(folder, name, content):
    (folder / name).write_bytes(content)
    message = refusal(folder)
    assert name in message and ("a pickle, which can run code" in message or "pickled weights" in message)


def test_machine_code(folder):
    (folder / "kernel.so").write_bytes(b"\x7fELF")
    assert "kernel.so is compiled machine code" in refusal(folder)
    (folder / "kernel.so").write_bytes(b"text")
    assert "kernel.so is named like machine code" in refusal(folder)


def test_broken_weights(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert "model.safetensors" in refusal(folder) and "corrupt or cut off" in refusal(folder)
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "the pointer of a file in Git LFS" in refusal(folder)
    weights.write_bytes(whole)
    (folder / "extra.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    assert "extra.safetensors" in refusal(folder)
    (folder / "extra.safetensors").unlink()
    weights.unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    assert "lacks model-00001-of-00001.safetensors" in refusal(folder)


# ------------------------------------------------------------------------------------------------ tokens and paths


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("name", ["README.md", "config.json", "notes.txt"])
def test_tokens(folder, kind, name):
    path = folder / name
    lines = path.read_text().count("\n") if path.exists() else 0
    with path.open("a") as file:
        file.write(f"first\nand {TOKENS[kind]}\n")
    message = refusal(folder)
    assert f"{name}:{lines + 2} holds what looks like {kind}; take it out and revoke it." in message
    assert TOKENS[kind] not in message


def test_tokens_in_binary_files_and_in_the_header_of_weights(folder):
    (folder / "picture.dat").write_bytes(b"\0\1\2" + TOKENS["a Hugging Face token"].encode() + b"\0")
    assert "picture.dat:1 holds what looks like a Hugging Face token" in refusal(folder)
    (folder / "picture.dat").write_text(TOKENS["a GitHub token"], encoding="utf-16")
    assert "picture.dat:1 holds what looks like a GitHub token" in refusal(folder)
    (folder / "picture.dat").write_text(TOKENS["a GitHub token"] + " of /home/anna", encoding="utf-16-le")
    message = refusal(folder)
    assert "a GitHub token" in message and "picture.dat:1 names the local path /home/anna." in message
    (folder / "picture.dat").unlink()
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"format": "pt", "from": "/home/me/run", "by": TOKENS["a Hugging Face token"]})
    message = refusal(folder)
    assert "model.safetensors (its header) holds what looks like a Hugging Face token" in message
    assert "model.safetensors (its header) names the local path /home/me/run." in message


def test_a_token_as_a_name(folder):
    (folder / f"{TOKENS['a Hugging Face token']}.txt").write_text("x")
    message = refusal(folder)
    assert "holds what looks like a Hugging Face token; rename it" in message
    assert TOKENS["a Hugging Face token"] not in message


def test_a_link_to_itself(folder):
    (folder / "x.txt").symlink_to("x.txt")
    assert "x.txt is a symbolic link to nothing" in refusal(folder)


NO_TOKENS = """
hf_vit_family hf_hub_download hf_xxx sk-learn task-specific-representation-learning-of-images AKIA ghp_ AIzaSy
https://example.org:8080/x?a=b@c https://user@example.org/ mailto:me@example.org git@github.com:a/b.git
sha256:8aabd7c27bb6c77648a75afe277ea0a5e94bc07d7f7d94df62eb544b4bd2d795 -----BEGIN PUBLIC KEY-----
"""


def test_what_is_no_token():
    assert list(find_tokens(NO_TOKENS.encode())) == []


PATHS = r"""
/home/me/data/x.csv
"data_dir": "/Users/me/Pictures"
cached in /tmp/pytest-0/x.
--output_dir=/root
ran in (/home/jo/runs/1)
C:\Users\me\x.png
"C:\\Users\\me\\x.png"
d:/Projects/vit
file:///etc/x
escaped: "\/home\/me"
PATH=/usr/bin:/opt/conda/bin
host:/scratch/me/x
/mnt/c/x /kaggle/input/x
<path>/home/me/x</path>
D:\anna\vit\x.png
/app/models/x
/builds/me/x /dev/shm/x /usr/local/share/x /data2/x
"""
NO_PATHS = r"""
24/7 and/or 1/2 w/o km/h n/a I/O 3/4 client/server (batch, height/2, width/2)
https://example.org/home/x http://127.0.0.1:8000/tmp/x s3://bucket/data/x hf://datasets/a/b
./data/x ../work/x ~/data/x $HOME/data/x ${ROOT}/data/x data/home/x docs/tmp/x zalando-datasets/fashion_mnist
/m/01g317 /rooted r"\d:\w" a:\n b: /usr/bin/env /dev/null #!/bin/sh /api/models/x
[a](https://huggingface.co/data/x) ![b](figures/tmp/confusion.png) <img src="assets/home/x.png"/>
"""


@pytest.mark.parametrize("line", PATHS.strip().splitlines())
def test_local_paths(line):
    assert list(find_local_paths(line.encode()))


@pytest.mark.parametrize("line", NO_PATHS.strip().splitlines())
def test_what_is_no_local_path(line):
    assert list(find_local_paths(line.encode())) == []


def test_lines_are_counted_where_slashes_are_escaped():
    text = rb'{"a": "https:\/\/example.org\/a\/b",' + b"\n" + rb' "b": "\/home\/anna\/x"}'
    assert list(find_local_paths(text)) == [(2, b"/home/anna/x")]


def test_the_package_itself_names_no_local_path():
    for path in MODELS_FOLDER.glob("*.py"):
        assert list(find_local_paths(path.read_bytes(), known_paths(Path("x")))) == []


def test_paths_of_this_machine(tmp_path, monkeypatch):
    """Wherever the folders of a machine are called something else: those that it works in are known."""
    monkeypatch.setattr(Path, "home", lambda: Path("/people/anna"))
    known = known_paths(tmp_path / "model")
    assert list(find_local_paths(b"trained on /people/anna/x", known)) == [(1, b"/people/anna/x")]
    assert list(find_local_paths(b"trained on /people/annabel", known)) == []
    assert list(find_local_paths(f"{tmp_path}/model".encode(), known))


def test_an_account_without_a_home_and_a_name_that_is_no_text(tmp_path, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert os.fsencode(tmp_path) + b"/m\xff" in known_paths(tmp_path / os.fsdecode(b"m\xff"))


@pytest.mark.parametrize("name", [b"a\nb.txt", b"\xff.txt", b"\x1b[2J.txt"])
def test_names_that_are_no_text(folder, name):
    (folder / os.fsdecode(name)).write_text("x")
    assert "is no name for a file of the Hub" in refusal(folder)


@pytest.mark.parametrize("name", ["README.md", "config.json", "preprocessor_config.json", "notes.txt", "sub/a.yaml"])
def test_local_paths_in_a_folder(folder, name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".json"):
        content = json.loads(path.read_text()) | {"zzz": "/home/anna/run"}
        path.write_text(json.dumps(content, indent=2) + "\n")
        line = path.read_text().splitlines().index('  "zzz": "/home/anna/run"') + 1
    else:
        old = path.read_text() if path.exists() else ""
        path.write_text(old + "\ntrained in /home/anna/run\n")
        line = old.count("\n") + 2
    assert f"{name}:{line} names the local path /home/anna/run." in refusal(folder)


def test_many_problems_are_counted(folder):
    (folder / "notes.txt").write_text("".join(f"/home/anna/{index}\n" for index in range(10)))
    message = refusal(folder)
    assert message.count("names the local path") == 3 and message.endswith("(and 7 more)")


# -------------------------------------------------------------------------------------------------- code and card


def test_code_that_differs(folder):
    path = folder / "modeling_twins.py"
    path.write_text(path.read_text() + "# one line more\n")
    assert "modeling_twins.py differs from the file of this package." in refusal(folder)
    path.write_bytes((MODELS_FOLDER / path.name).read_bytes().replace(b"\n", b"\r\n"))
    alone = "differs from the file of this package in line ends or a byte-order mark alone; export the model again."
    assert f"modeling_twins.py {alone}" in refusal(folder)
    shutil.copyfile(MODELS_FOLDER / path.name, path)
    (folder / "evil.py").write_text("import os\n")
    assert "evil.py is no file of this package" in refusal(folder)
    (folder / "evil.py").unlink()
    (folder / "sub").mkdir()
    shutil.copyfile(path, folder / "sub" / path.name)
    assert "sub/modeling_twins.py is no file of this package" in refusal(folder)


def test_code_of_another_release_is_told_as_such(folder, monkeypatch, tmp_path):
    from hf_vit_family import remote_code

    code = {path.name: path.read_bytes() + b"# earlier\n" for path in folder.glob("*.py")}
    hashes = {name: remote_code.sha256(data) for name, data in code.items()}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"releases": [{"version": "0.0.9", "date": "2026-01-01", "files": hashes}]}))
    read, told = remote_code.read_manifest, remote_code.released_code
    monkeypatch.setattr(remote_code, "read_manifest", lambda given=path: read(path))
    monkeypatch.setattr("hf_vit_family.hub.publishing.checks.released_code", lambda files: told(files, path))
    for name, data in code.items():
        (folder / name).write_bytes(data)
    assert "The Python files are those of release 0.0.9, not of this one; export the model again." in refusal(folder)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("processor_config.json", {"auto_map": {"AutoProcessor": "evil/x--y.Z"}}, "names evil/x--y.Z, which is no"),
        ("config.json", {"sub": {"auto_map": {"AutoModel": "evil/x--y.Z"}}}, "names evil/x--y.Z, which is no"),
        ("config.json", {"custom_pipelines": {"p": {"impl": "missing.P"}}}, "The remote code needs missing.py"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "fetch code from the Hub"),
        ("config.json", {"auto_map": ["a/../b.C"]}, "which is no module of this folder"),
    ],
)
def test_code_named_in_other_places(folder, name, values, message):
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))
    assert message in refusal(folder)


def test_python_in_capitals_and_broken_json(folder):
    (folder / "SETUP.PY").write_text("import os")
    (folder / "x.json").write_text("{")
    message = refusal(folder)
    assert "SETUP.PY is no file of this package" in message and "x.json is no JSON." in message


def test_missing_code(folder):
    (folder / "layers.py").unlink()
    assert "layers.py, but there is no such file in the folder" in refusal(folder)
    shutil.copyfile(MODELS_FOLDER / "layers.py", folder / "layers.py")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "someone/else--modeling.Model"
    (folder / "config.json").write_text(json.dumps(config))
    assert "auto_map of config.json names someone/else--modeling.Model" in refusal(folder)


def test_a_card_that_names_another_repository(folder, monkeypatch):
    go_online(monkeypatch)
    rewrite_card(folder, repo_id="someone/else")
    assert "its card tells readers to load someone/else, but it goes to someone/model" in refusal(folder)
    rewrite_card(folder, repo_id="someone/model")
    with pytest.raises(OSError):  # of the network, which is asked next
        publisher(NoHub)(folder, "model")


def test_a_card_that_fails_its_check(folder):
    path = folder / "README.md"
    path.write_text(path.read_text().replace("license: apache-2.0\n", ""))
    assert "is not published:" in refusal(folder) and "license" in refusal(folder)
