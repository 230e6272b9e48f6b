"""`verify`: folders, repositories over HTTP and cached ones; nothing of what is looked at may run."""

import ast
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from exports import content, processor_of, tiny
from fresh_process import run as run_process
from hub_cache import HubCache
from hub_server import Handler, serve
from zoo_models import shown, tiny_model

import hf_vit_family as hfvf
from hf_vit_family import remote_code
from hf_vit_family.cli import run
from hf_vit_family.hub.verification import CODE_LIMIT, verify
from hf_vit_family.repositories import HEAD_BYTES, content_kind

REPO = "someone/model"
EVIL = b"import pathlib, requests\npathlib.Path('%s').touch()\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, bytes]:
    """Files of an exported Twins."""
    folder = tmp_path_factory.mktemp("export") / "twins"
    return content(hfvf.export(tiny("twins"), folder, processor=processor_of("twins")))


@pytest.fixture
def folder(tmp_path, exported) -> Path:
    return lay(tmp_path / "model", exported)


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def reasons(folder: Path) -> str:
    """All reasons of a folder that must not be trusted, each one plain sentence."""
    report = verify(folder)
    assert not report.trusted and report.reasons
    for reason in report.reasons:
        assert reason.endswith((".", ").")) and "\n" not in reason and reason.isprintable(), reason
    json.dumps(report.to_dict())
    return " | ".join(report.reasons)


def with_json(folder: Path, name: str, **values) -> None:
    path = folder / name
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**stored, **values}))


# ------------------------------------------------------------------------------------------------ what is trusted


def test_an_exported_folder_is_trusted(folder):
    report = verify(folder)
    assert report.trusted and report.commit is None and not report.offline
    assert report.release is not None and (report.model_type, report.hfvf_version) == ("hfvf_twins", hfvf.__version__)
    assert {file.name for file in report.code} == {path.name for path in folder.glob("*.py")}
    assert all(file.runs and report.release in file.releases for file in report.code)
    assert report.auto_map["config.json: AutoModel"] == "modeling_twins.HfvfTwinsModel"
    assert [(file.name, file.kind) for file in report.weights] == [("model.safetensors", "safetensors")]
    assert report.size == sum(path.stat().st_size for path in folder.iterdir())
    assert not any("holds no safetensors" in note for note in report.notes)
    (folder / "model.safetensors").unlink()
    assert "It holds no safetensors file." in verify(folder).notes


def test_a_repository_of_transformers_own_classes_has_no_code(tmp_path):
    report = verify(hfvf.export(tiny_model("vit"), tmp_path / "vit"))
    assert report.trusted and report.code == () and report.release is None
    assert "No Python file" in report.notes[0]


def test_shards_are_looked_into(tmp_path):
    folder = hfvf.export(tiny("poolformer"), tmp_path / "shards", max_shard_size="20KB")
    assert len([file for file in verify(folder).weights if file.kind == "safetensors"]) > 1
    index = folder / "model.safetensors.index.json"
    shards = json.loads(index.read_text())
    name = next(iter(shards["weight_map"]))
    for target in ("../elsewhere.safetensors", "pytorch_model.bin"):
        shards["weight_map"][name] = target
        index.write_text(json.dumps(shards))
        assert f"names {target}; expected a safetensors file of this repository" in reasons(folder)


# ---------------------------------------------------------------------------------------------------------- code


def test_a_changed_byte_is_told(folder):
    path = folder / "layers.py"
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    assert "layers.py is of no known release: read it (loading with trust_remote_code=True executes it)." in reasons(
        folder
    )
    report = verify(folder)
    assert report.release is None and [file.name for file in report.code if not file.releases] == ["layers.py"]


@pytest.mark.parametrize(
    ("rewrite", "difference"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), "line ends"),
        (lambda data: data.replace(b"\n", b"\r"), "line ends"),
        (lambda data: data.replace(b"\n", b"\r\n", 3), "line ends"),
        (lambda data: b"\xef\xbb\xbf" + data, "a byte-order mark"),
        (lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), "line ends and a byte-order mark"),
    ],
)
def test_line_ends_and_a_byte_order_mark_alone_are_told_and_change_no_code(folder, rewrite, difference, capsys):
    release = verify(folder).release
    for path in folder.glob("*.py"):
        whole = path.read_bytes()
        path.write_bytes(rewrite(whole))
        assert ast.dump(ast.parse(path.read_bytes())) == ast.dump(ast.parse(whole))
    report = verify(folder)
    assert report.trusted and report.release == release
    assert all(file.runs and file.written_otherwise == difference for file in report.code)
    assert run(["verify", str(folder)]) == 0
    text = capsys.readouterr().out
    assert f"{release} in {difference} alone, which Python reads as the same code" in text
    assert ("transformers refuses to load" in text) == ("mark" in difference)
    assert f"but for {difference}" in text and "unknown" not in text


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda data: data.replace(b"\n", b" \r\n", 1),  # a space at a line's end
        lambda data: data.replace(b"\n", b"\n\r", 1),  # two ends
        lambda data: b"\xef\xbb\xbf" * 2 + data,
        lambda data: data.rstrip(b"\n"),
        lambda data: data.decode().encode("utf-16"),
    ],
)
def test_other_changes_of_white_space_are_unknown_code(folder, rewrite):
    path = folder / "layers.py"
    path.write_bytes(rewrite(path.read_bytes()))
    assert "layers.py is of no known release" in reasons(folder)


def test_neighbours_are_found_behind_line_ends_of_any_kind(folder):
    (folder / "modeling_twins.py").write_bytes(b"# a comment\rfrom .evil import x\r")
    (folder / "evil.py").write_bytes(b"x = 1\n")
    assert {file.name: file.runs for file in verify(folder).code}["evil.py"]


def test_files_of_two_releases_are_told(folder, tmp_path, monkeypatch):
    old = remote_code.installed_files() | {"layers.py": remote_code.sha256(b"# older\n")}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"releases": [{"version": "0.0.9", "date": "2026-01-01", "files": old}]}))
    # the default of an argument is set when the function is made
    monkeypatch.setattr(remote_code.released_code, "__defaults__", (path,))
    assert verify(folder).release == remote_code.INSTALLED and verify(folder).trusted
    (folder / "layers.py").write_bytes(b"# older\n")
    other = folder / "modeling_base.py"
    old_base = {**old, "modeling_base.py": remote_code.sha256(b"# old\n")}
    path.write_text(json.dumps({"releases": [{"version": "0.0.9", "date": "2026-01-01", "files": old_base}]}))
    text = reasons(folder)
    assert (
        "The code is mixed" in text
        and "layers.py of 0.0.9" in text
        and f"modeling_base.py of {remote_code.INSTALLED}" in text
    )
    other.write_bytes(b"# old\n")
    assert verify(folder).release == "0.0.9" and verify(folder).trusted


def test_poisoned_code_is_told_and_never_runs(folder, tmp_path):
    marker = tmp_path / "it_ran"
    evil = EVIL % os.fsencode(marker)
    (folder / "modeling_twins.py").write_bytes(evil + (folder / "modeling_twins.py").read_bytes())
    lay(folder, {"setup.py": evil, "conftest.py": evil, "custom_generate/generate.py": evil, "__init__.py": evil})
    lay(folder, {"requirements.txt": b"evil-package\n", "sitecustomize.py": evil})
    before = set(sys.modules)
    text = reasons(folder)
    assert "modeling_twins.py is of no known release, and it imports requests" in text
    assert "setup.py is of no known release" in text and "loading does not execute it" in text
    assert "custom_generate/generate.py is code of its own for generate()" in text
    assert "requirements.txt asks for other packages" in text
    found = {file.name: file for file in verify(folder).code}["modeling_twins.py"]
    assert {"pathlib", "requests"} <= set(found.imports) and found.runs
    process = subprocess.run(
        [sys.executable, "-m", "hf_vit_family_cli", "verify", str(folder)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert process.returncode == 1 and "NOT TRUSTED" in process.stdout, process.stderr
    assert not marker.exists() and not list(folder.rglob("__pycache__"))
    assert not {name for name in set(sys.modules) - before if "twins" in name and "hf_vit_family" not in name}


def test_the_poison_works(folder, tmp_path):
    """The marker of the test above is made once the code does run."""
    marker = tmp_path / "it_ran"
    evil = (EVIL % os.fsencode(marker)).replace(b", requests", b"")
    for name in ("modeling_twins.py", "configuration_twins.py"):
        (folder / name).write_bytes(evil + (folder / name).read_bytes())
    outcome = run_process("run_poisoned", tmp_path / "home", folder=str(folder))
    assert marker.exists(), outcome


def test_code_of_another_repository_is_told_loudly(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with_json(folder, "config.json", auto_map={**config["auto_map"], "AutoModel": "evil/other--modeling_x.X"})
    text = reasons(folder)
    assert "runs code of ANOTHER repository, evil/other" in text and "config.json: AutoModel" in text


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"auto_map": {"AutoModel": "missing.X"}}, "names missing.X, which is no file"),
        ("config.json", {"auto_map": {"AutoModel": "../layers.X"}}, "names ../layers.X, which is no file"),
        ("config.json", {"auto_map": {"AutoModel": 7}}, "names 7, which is no file"),
        ("config.json", {"auto_map": "a--b.C"}, "ANOTHER repository, a"),
        ("config.json", {"custom_pipelines": {"x": {"impl": "evil/p--pipe.P"}}}, "ANOTHER repository, evil/p"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "fetch code from the Hub"),
        ("config.json", {"text_config": {"_attn_implementation": "evil/kernel:f"}}, "fetch code from the Hub"),
        ("config.json", {"transformers_weights": "pytorch_model.bin"}, "transformers_weights in config.json names"),
        ("processor_config.json", {"image_processor": {"auto_map": {"A": ["x--y.Z", None]}}}, "ANOTHER repository, x"),
        ("adapter_config.json", {"base_model_name_or_path": "a/b"}, "an adapter on another model (a/b)"),
    ],
)
def test_what_else_would_bring_code_is_told(folder, name, values, message):
    with_json(folder, name, **values)
    assert message in reasons(folder)


def test_a_missing_neighbour_is_told(folder):
    (folder / "modeling_base.py").unlink()
    assert "imports modeling_base.py, which the repository does not hold" in reasons(folder)


def test_known_files_that_nothing_refers_to_are_no_danger(folder):
    (folder / "modeling_maxvit.py").write_bytes(
        (remote_code.MANIFEST_PATH.parents[1] / "models/modeling_maxvit.py").read_bytes()
    )
    report = verify(folder)
    assert report.trusted and not {file.name: file.runs for file in report.code}["modeling_maxvit.py"]


# ------------------------------------------------------------------------------------------------------- weights


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/nowhere/at/all",)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    return buffer.getvalue()


def test_pickles_are_found_under_any_name(folder):
    files = {
        "pytorch_model.bin": b"anything",
        "notes.txt": pickle.dumps(Evil(), protocol=0),
        "LICENSE": pickle.dumps(Evil(), protocol=1),
        "picture.png": pickle.dumps(Evil(), protocol=4),
        "deep/er.dat": zipped(),
        "tool.so": b"\x7fELF" + bytes(60),
        "tf_model.h5": b"\x89HDF\r\n\x1a\n",
        "weights.msgpack": b"\x81",
        "data.gz": b"\x1f\x8b\x08",
    }
    text = reasons(lay(folder, files))
    for name, kind in (
        ("pytorch_model.bin", "named like a pickle"),
        ("notes.txt", "a pickle"),
        ("LICENSE", "a pickle"),
        ("picture.png", "a pickle"),
        ("deep/er.dat", "a zip archive"),
        ("tool.so", "compiled machine code"),
        ("tf_model.h5", "an HDF5 file"),
        ("weights.msgpack", "weights in another format"),
        ("data.gz", "a compressed archive"),
    ):
        assert f"{name} is {kind}" in text, (name, text)
    assert {file.name for file in verify(folder).weights} == {*files, "model.safetensors"}


def test_text_is_no_pickle():
    for text in (b"cat\ndog\nemu\n", b"(c) 2026 The authors.\n", b"import os\n", b"# Card\n", b"", b"MZ", b"BM"):
        assert content_kind(text) is None, text
    root = Path(__file__).parents[1]
    for path in (*root.glob("*"), *root.glob("hf_vit_family/**/*.py"), *root.glob("hf_vit_family/assets/**/*")):
        if path.is_file():
            assert content_kind(path.read_bytes()[:65_536]) is None, path


def test_safetensors_that_are_none(folder, exported):
    good = exported["model.safetensors"]
    length = struct.unpack("<Q", good[:8])[0]
    for data, message in (
        (zipped(), "model.safetensors is a zip archive"),
        (pickle.dumps(Evil()), "model.safetensors is a pickle"),
        (good[:-4], "cut off or has something behind its tensors"),
        (good + zipped(), "cut off or has something behind its tensors"),
        (good[:8] + b"x" * length + good[8 + length :], "its header cannot be read"),
        (b"\xff" * 100, "it starts with no header"),
        (b"123", "it starts with no header"),
        (b"", "it starts with no header"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "the pointer of a file in Git LFS"),
        (struct.pack("<Q", 4) + b"[[]]", "its header cannot be read"),
    ):
        (folder / "model.safetensors").write_bytes(data)
        assert message in reasons(folder), message


def test_a_header_longer_than_the_first_bytes_is_read(folder, exported):
    good = exported["model.safetensors"]
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    header["__metadata__"] = {"long": "x" * 200_000}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + good[8 + length :])
    assert verify(folder).trusted


# -------------------------------------------------------------------------------------------- folders and bad input


def test_odd_files_of_a_folder_are_told(folder, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text("x = 1\n")
    (folder / "link.py").symlink_to(outside)
    (folder / "nothing").symlink_to("nowhere")
    (folder / "inside.md").symlink_to("README.md")
    os.mkfifo(folder / "pipe")
    (folder / "huge.py").write_bytes(b"#" * (CODE_LIMIT + 1))
    (folder / "latin.py").write_bytes("# caf\xe9\n".encode("latin-1"))
    (folder / "nested.py").write_bytes(b"(" * 50_000)
    (folder / "new\nline\x1b[31m.md").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "hook.py").write_text("x = 1\n")
    text = reasons(folder)
    assert "link.py is a symbolic link that leaves the folder" in text and "outside.py" in text
    assert "nothing is a symbolic link" in text and "pipe is no regular file" in text
    assert f"huge.py has {CODE_LIMIT + 1:,} bytes and was not read" in text
    assert "latin.py is of no known release" in text and "nested.py is of no known release" in text
    assert "inside.md" not in text and "hook.py" not in text
    with os.fdopen(os.open(os.fsencode(folder) + b"/caf\xe9.py", os.O_CREAT | os.O_WRONLY), "w") as file:
        file.write("x = 1\n")
    assert "'caf\\udce9.py' is of no known release" in reasons(folder)


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[1]", b"7", b"[" * 100_000])
def test_a_broken_configuration_is_one_sentence(folder, data):
    (folder / "config.json").write_bytes(data)
    assert "config.json" in reasons(folder)


def test_a_huge_configuration_is_not_read(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(30_000_000)
    assert "config.json has 30,000,000 bytes" in reasons(folder)


def test_too_many_files_are_told(folder):
    for index in range(510):
        (folder / f"{index}.txt").write_text("x")
    assert "files were not looked into" in reasons(folder)


def test_targets_that_do_not_exist(folder, tmp_path, capsys):
    for target, revision, message in (
        (tmp_path / "no", None, "There is no folder"),
        (folder / "config.json", None, "is a file"),
        (folder, "main", "only a Hub repository has revisions"),
        ("no such name", None, "There is no folder"),
        ("maxvit_small_tf_1000", None, "There is no folder"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            verify(target, revision)
        shown(error)
    assert run(["verify", f"{REPO}@"]) == 1 and run(["verify", f"{REPO}@a", "--revision", "b"]) == 1
    assert run(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True


# ------------------------------------------------------------------------------------------------- Hub and cache


def client(hub: str, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """`hf-vit-family verify` in a process of its own, against a Hub."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hf_vit_family_cli", "verify", *arguments],
        cwd=Path(__file__).parents[1],
        env={**kept, **settings, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_over_http_only_small_parts_are_read(exported, tmp_path, monkeypatch):
    sent, send_header = [], Handler.send_header

    def counted(handler, name, value):
        if name == "Content-Length" and handler.command == "GET" and "/large-files/" in handler.path:
            sent.append(int(value))
        send_header(handler, name, value)

    monkeypatch.setattr(Handler, "send_header", counted)
    # a large file: its header says that the tensor goes to the end
    count = 3_000_000
    header = json.dumps({"x": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    large = struct.pack("<Q", len(header)) + header + bytes(count)
    with serve() as hub:
        first = hub.commit(REPO, {**exported, "model.safetensors": large}, tag="v1.0")
        hub.commit(REPO, {**exported, "evil.py": b"x = 1\n", "../up.py": b"x = 1\n", "pytorch_model.bin": b"\x80\x02."})
        for revision in (first, "v1.0"):
            process = client(hub.url, tmp_path / "hf", f"{REPO}@{revision}", "--json")
            report = json.loads(process.stdout)
            assert (process.returncode, report["commit"]) == (0, first), process.stderr
            assert report["pinned"] is (revision == first) and report["size"] > count
        assert any("'v1.0' can move" in note and first in note for note in report["notes"])
        assert not list((tmp_path / "hf").rglob("*.py")), "code was written into the cache"
        assert sent and max(sent) <= HEAD_BYTES, "weights were downloaded"

        process = client(hub.url, tmp_path / "hf", REPO, "--revision", "main", "--json")
        report = json.loads(process.stdout)
        assert process.returncode == 1 and report["revision"] == "main" and report["commit"] != first
        text = " ".join(report["reasons"])
        for part in (
            "evil.py is of no known release",
            "../up.py has a name that leads out",
            "pytorch_model.bin is a pickle",
        ):
            assert part in text, text
        for target, message in (("no/thing", "no repository no/thing"), (f"{REPO}@nope", "has no revision 'nope'")):
            process = client(hub.url, tmp_path / "hf", target)
            assert process.returncode == 1 and message in process.stderr, process.stderr
            assert len(process.stderr.strip().splitlines()) == 1
        hub.repositories[REPO].gated = "manual"  # listed for everybody, read by nobody
        process = client(hub.url, tmp_path / "hf", REPO)
        assert process.returncode == 1 and f"{REPO} is gated: accept its conditions" in process.stderr, process.stderr
    process = client(hub.url, tmp_path / "hf", REPO)
    assert (
        process.returncode == 1
        and "cannot be read from the Hub" in process.stderr
        and "HF_HUB_OFFLINE=1" in process.stderr
    ), process.stderr


def test_offline_the_cache_is_looked_at(exported, tmp_path, monkeypatch):
    cache = HubCache(tmp_path / "hub", monkeypatch)
    commit = "b" * 40
    cache.add(REPO, exported, commit, "main", "v1.0")
    blobs = tmp_path / "hub" / "models--someone--model" / "blobs"
    snapshot = blobs.parent / "snapshots" / commit
    blobs.mkdir()
    (snapshot / "layers.py").rename(blobs / "layers")  # files of the cache are links to blobs
    (snapshot / "layers.py").symlink_to("../../blobs/layers")
    for revision in (None, "v1.0", commit):
        report = verify(REPO, revision)
        assert report.trusted and report.offline and report.commit == commit and report.pinned is (revision == commit)
        assert any("Offline" in note for note in report.notes)
    assert verify(snapshot).trusted
    (blobs / "layers").write_bytes(b"x = 1\n")
    assert "layers.py is of no known release" in " ".join(verify(REPO).reasons)
    for target, revision in ((REPO, "other"), ("some/thing", None)):
        with pytest.raises(OSError, match="is not in the local cache") as error:
            verify(target, revision)
        shown(error)
    with pytest.raises(OSError, match=r"timm/poolformer_s12\.sail_in1k is not in the local cache"):
        verify("poolformer_s12")


def test_the_text_names_everything(folder, capsys):
    assert run(["verify", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "modeling_twins.py" in text and "TRUSTED: known code" in text and "safetensors" in text
    (folder / "evil.py").write_text("import socket\n")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    assert run(["verify", str(folder)]) == 1
    text = capsys.readouterr().out
    assert "unknown: read it (imports socket); not run by loading" in text and "NOT TRUSTED unread:" in text
    assert "of no single known release" in text and "- evil.py is of no known release" in text
