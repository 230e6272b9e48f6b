"""Spaces: what they need to start, the wheel that goes with them, secrets and variables, the paid plan."""

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from hub_server import serve
from publishing import go_online

from hf_vit_family.cli import run
from hf_vit_family.hub.publishing import publish_space, space
from hf_vit_family.hub.publishing.space import space_folder
from hf_vit_family.models.compat import HFVF_VERSION

WHEEL = f"hf_vit_family-{HFVF_VERSION}-py3-none-any.whl"
CARD = """---
title: A demo
emoji: 🖼️
colorFrom: blue
colorTo: gray
sdk: docker
app_port: 8501
license: apache-2.0
short_description: Classify a picture and see why
models:
- someone/model
---
# A demo
"""
DOCKERFILE = """FROM python:3.11-slim
RUN useradd -m -u 1000 user
USER user
WORKDIR /home/user/app
COPY --chown=user requirements.txt *.whl ./
RUN pip install --no-cache-dir \\
    -r requirements.txt
COPY --chown=user . .
ENV HF_HOME=/home/user/.cache TMPDIR=/tmp/x
CMD ["streamlit", "run", "app.py", "--server.port=8501"]
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "demo"
    (folder / ".streamlit").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "requirements.txt").write_text("streamlit>=1.50,<2\nhf_vit_family[spaces]  # the wheel beside it\n")
    (folder / "app.py").write_text("import streamlit as st\nst.write('/home/user/app')\n")
    (folder / ".streamlit" / "config.toml").write_text("[server]\nheadless = true\n")
    (folder / ".streamlit" / "secrets.toml").write_text("never\n")
    return folder


@pytest.fixture
def hub(monkeypatch):
    go_online(monkeypatch)
    with serve() as hub:
        yield hub


@pytest.fixture
def quick_wheel(monkeypatch):
    """Something in the wheel's place, as building one asks the package index for hatchling."""
    content = {"bytes": b"PK\x03\x04 a wheel"}

    def build_wheel(folder: Path) -> Path:
        (folder / WHEEL).write_bytes(content["bytes"])
        return folder / WHEEL

    monkeypatch.setattr("hf_vit_family.hub.publishing.space.build_wheel", build_wheel)
    return content


def publish(hub, folder, **options):
    return publish_space(folder, "someone/demo", **{"token": "hf_write", "endpoint": hub.url, **options})


def test_a_space_with_its_wheel_secrets_and_variables(hub, folder, quick_wheel):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    secrets, variables = {"API_KEY": "very-secret"}, {"HFVF_MODELS": "someone/model"}
    result = publish(hub, folder, secrets=secrets, variables=variables, tag="v1")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    space = hub.repositories["spaces/someone/demo"]
    assert space.sdk == "docker" and space.private and result.url == f"{hub.url}/spaces/someone/demo"
    assert (space.secrets, space.variables, space.tags) == (secrets, variables, {"v1": result.commit})
    assert "very-secret" not in str(result)
    files = space.files()
    assert files[WHEEL] == quick_wheel["bytes"]
    assert files["requirements.txt"].decode() == f"streamlit>=1.50,<2\n./{WHEEL}[spaces]\n"
    assert ".streamlit/config.toml" in files and ".streamlit/secrets.toml" in result.left_out
    order = [request.path.rpartition("/")[2] for request in hub.requests if request.method == "POST"]
    assert order.index("secrets") < order.index("main"), "set before the first start"
    hub.requests.clear()
    again = publish(hub, folder, variables=variables)
    assert not again.has_changes and again.commit == result.commit
    assert {request.method for request in hub.requests} == {"GET"}


def test_an_older_wheel_is_deleted(hub, folder, quick_wheel):
    publish(hub, folder)
    space = hub.repositories["spaces/someone/demo"]
    hub.commit(
        "spaces/someone/demo", space.files() | {"hf_vit_family-0.0.1-py3-none-any.whl": b"old", "mine.txt": b"x"}
    )
    quick_wheel["bytes"] = b"PK\x03\x04 another"
    result = publish(hub, folder)
    assert result.deleted == ("hf_vit_family-0.0.1-py3-none-any.whl",) and result.changed == (WHEEL,)
    assert result.kept == ("mine.txt",)


def test_payment_required(hub, folder, quick_wheel):
    hub.paid = False
    with pytest.raises(
        ValueError, match=r"someone/demo was not created or changed\. A Space of Docker or Gradio needs"
    ):
        publish(hub, folder)
    assert not hub.repositories and not hub.asked("PUT")


def test_dry_run_and_pull_request(hub, folder, quick_wheel):
    result = publish(hub, folder, dry_run=True, secrets={"A": "b"})
    assert result.created and WHEEL in result.added and not hub.repositories
    publish(hub, folder, private=False)
    (folder / "app.py").write_text("print(1)\n")
    proposed = publish(hub, folder, create_pr=True, token="hf_other")
    assert proposed.pull_request == f"{hub.url}/spaces/someone/demo/discussions/1"
    with pytest.raises(ValueError, match="pull request changes files alone"):
        publish(hub, folder, create_pr=True, secrets={"A": "b"})


def test_the_command(hub, folder, quick_wheel, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    monkeypatch.setenv("FROM_HERE", "very-secret")
    options = ["--secret", "FROM_HERE", "--secret", "B=c=d", "--variable", "V=1", "--public"]
    assert run(["publish", "--space", str(folder), "someone/demo", *options]) == 0
    space = hub.repositories["spaces/someone/demo"]
    assert space.secrets == {"FROM_HERE": "very-secret", "B": "c=d"} and space.variables == {"V": "1"}
    assert not space.private
    printed = capsys.readouterr()
    assert f"{hub.url}/spaces/someone/demo (public, commit {space.branches['main']})" in printed.out
    assert "secret FROM_HERE" in printed.out.splitlines() and "very-secret" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("README.md", "title: A demo\n", "", "states no title"),
        ("README.md", "license: apache-2.0\n", "", "states no license"),
        ("README.md", "sdk: docker", "sdk: streamlit", "states sdk: streamlit; expected docker"),
        ("README.md", "app_port: 8501", "app_port: web", "states app_port: web"),
        ("README.md", "and see why", "x" * 60, "short_description of 79 characters; the Hub takes 60"),
        ("README.md", "colorTo: gray", "colorTo: mauve", "states colorTo: mauve; expected one of red, yellow"),
        ("README.md", "- someone/model", "- model", "states models: ['model']; expected a list of Hub ids"),
        ("README.md", CARD, "# A demo\n", "starts with no front matter"),
        ("README.md", "title: A demo", "title: 'A", "front matter that is no YAML"),
        ("README.md", "app_port: 8501", "app_port: 7860", "Dockerfile does not mention port 7860"),
        ("Dockerfile", " *.whl", "", "Dockerfile does not copy the wheel before it installs requirements.txt"),
        ("requirements.txt", "hf_vit_family", "other", "requirements.txt does not name hf_vit_family on one line"),
        ("app.py", "/home/user/app", "/home/anna/app", "app.py:2 names the local path /home/anna/app"),
        ("app.py", "import", "# hf_" + "a" * 34 + "\nimport", "app.py:1 holds what looks like a Hugging Face token"),
        ("Dockerfile", None, None, "holds no Dockerfile"),
        ("app.py", None, None, "holds no app.py"),
    ],
)
def test_refusals(hub, folder, quick_wheel, name, old, new, message):
    path = folder / name
    if old is None:
        path.unlink()
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        publish(hub, folder)
    assert "\n" not in str(error.value) and not hub.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secrets": {"A B": "c"}}, "'A B' is no name of an environment variable"),
        ({"secrets": {"A": "b"}, "variables": {"A": "b"}}, "A is given as a secret and as a variable"),
        ({"variables": {"A": "hf_" + "a" * 34}}, "The variable A holds what looks like a Hugging Face token"),
    ],
)
def test_bad_secrets_and_variables(hub, folder, quick_wheel, options, message):
    with pytest.raises(ValueError, match=message) as error:
        publish(hub, folder, **options)
    assert "a" * 34 not in str(error.value) and not hub.requests


def test_names_of_spaces(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_vit_family.hub.publishing.space.checkout", lambda: tmp_path)
    with pytest.raises(ValueError, match="no Space demo under spaces/; there is none yet"):
        space_folder("demo")
    (tmp_path / "spaces" / "demo").mkdir(parents=True)
    assert space_folder("demo") == tmp_path / "spaces" / "demo"
    for name in ("dem", ".", ".."):
        with pytest.raises(ValueError, match=re.escape(f"no Space {name} under spaces/; there is demo")):
            space_folder(name)
    with pytest.raises(ValueError, match="There is no folder"):
        space_folder(tmp_path / "none")


def test_without_a_checkout_there_is_no_wheel(monkeypatch, tmp_path):
    monkeypatch.setattr(space, "CHECKOUT", tmp_path / "site-packages")
    with pytest.raises(ValueError, match="installed without its sources"):
        space.build_wheel(tmp_path)


@pytest.mark.slow
def test_the_wheel_is_made_again_from_the_same_sources(tmp_path):
    """It asks the package index for hatchling, which builds it."""
    digests = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        built = space.build_wheel(tmp_path / name)
        assert built.name == WHEEL
        digests.append(hashlib.sha256(built.read_bytes()).hexdigest())
        with zipfile.ZipFile(built) as archive:
            names = archive.namelist()
        assert "hf_vit_family/models/modeling_twins.py" in names and not [n for n in names if n.endswith(".pyc")]
        shutil.rmtree(tmp_path / name)
    assert digests[0] == digests[1]
