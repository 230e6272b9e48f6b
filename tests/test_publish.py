"""Publishing over real HTTP: commits, names, settings, what is deleted and what stays."""

import re
import shutil

import pytest
from hub_server import serve
from publishing import go_online, publisher, ready_folder, rewrite_card, run_command

from hf_vit_family import RefusedError
from hf_vit_family.cli import run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same model twice: in one file of weights, and in two."""
    root = tmp_path_factory.mktemp("ready")
    return {"one": ready_folder(root / "one"), "two": ready_folder(root / "two", seed=1, max_shard_size="300KB")}


@pytest.fixture
def folder(folders, tmp_path):
    return shutil.copytree(folders["one"], tmp_path / "model")


@pytest.fixture
def hub(monkeypatch):
    go_online(monkeypatch)
    with serve() as hub:
        yield hub


def test_a_new_repository_is_private_and_holds_the_folder_in_one_commit(hub, folder):
    result = publisher(hub)(folder, tag="v1.0")
    repository = hub.repositories["someone/model"]
    assert result.created and result.private and repository.private
    assert len(repository.history()) == 2, "the Hub's own and one of ours"
    assert repository.tags == {"v1.0": result.commit} and result.commit == repository.branches["main"]
    files = repository.files()
    assert files.pop(".gitattributes")
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert result.added == tuple(sorted(files)) and not result.changed and not result.deleted
    assert result.url == f"{hub.url}/someone/model"


def test_no_token_follows_to_the_host_of_large_files(hub, folder):
    publisher(hub)(folder)
    elsewhere = [request for request in hub.requests if not request.host.startswith("127.0.0.1")]
    assert [request.method for request in elsewhere] == ["PUT"]
    assert not [request for request in elsewhere if request.token]
    assert {request.token for request in hub.requests if request not in elsewhere} == {"Bearer hf_write"}


def test_publishing_unchanged_files_again_makes_no_commit(hub, folder):
    publish = publisher(hub)
    first = publish(folder, tag="v1")
    hub.requests.clear()
    second = publish(folder, tag="v1")
    assert second.commit == first.commit and not second.has_changes and not second.created
    assert len(second.unchanged) == len(first.added)
    assert len(hub.repositories["someone/model"].history()) == 2
    assert {request.method for request in hub.requests} == {"GET"}


def test_a_changed_file_makes_one_commit_and_the_weights_are_not_sent_again(hub, folder):
    publish = publisher(hub)
    first = publish(folder)
    hub.requests.clear()
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\n## Thanks\n\nTo everybody.\n")
    (folder / "notes.txt").write_text("kept beside the model\n")
    second = publish(folder, message="Thanks")
    repository = hub.repositories["someone/model"]
    assert (second.changed, second.added, second.deleted) == (("README.md",), ("notes.txt",), ())
    assert repository.history()[:2] == [second.commit, first.commit]
    assert repository.titles[second.commit] == "Thanks"
    assert b"To everybody" in repository.files()["README.md"] and "notes.txt" in repository.files()
    assert not hub.asked("PUT")


def test_what_publishing_owns_is_deleted_and_what_others_added_stays(hub, folders, folder):
    publish = publisher(hub)
    first = publish(folders["two"])
    shards = [path for path in first.added if path.startswith("model-") or path.endswith("index.json")]
    assert len(shards) == 3
    repository = hub.repositories["someone/model"]
    others = {"notes/by-hand.md": b"hello", "custom.py": b"x = 1\n", ".eval_results/theirs.yaml": b"[]\n"}
    hub.commit(
        "someone/model", repository.files() | others | {"modeling_poolformer.py": b"old", "figures/old.png": b"P"}
    )
    second = publish(folder)
    assert set(second.deleted) == {*shards, "modeling_poolformer.py", "figures/old.png"}
    assert set(second.kept) == set(others)
    assert "model.safetensors" in second.added
    assert set(others) <= set(repository.files()) and not set(second.deleted) & set(repository.files())
    third = publish(folder, delete_others=True)
    assert set(third.deleted) == set(others) and ".gitattributes" in repository.files()
    assert set(repository.files()) == {".gitattributes", *(path.name for path in folder.iterdir())}


def test_dry_run_changes_nothing(hub, folder):
    publish = publisher(hub)
    result = publish(folder, dry_run=True, tag="v1", gated="auto", collection="Mine")
    assert result.dry_run and result.created and len(result.added) == len(list(folder.iterdir()))
    assert not hub.repositories and not hub.collections
    publish(folder)
    (folder / "notes.txt").write_text("more\n")
    before = hub.repositories["someone/model"].history()
    hub.requests.clear()
    assert publish(folder, dry_run=True, private=False).added == ("notes.txt",)
    assert hub.repositories["someone/model"].history() == before and hub.repositories["someone/model"].private
    assert {request.method for request in hub.requests} == {"GET"}


def test_pull_request(hub, folder):
    theirs = publisher(hub, token="hf_other")
    with pytest.raises(ValueError, match="no someone/model on the Hub yet to open a pull request on"):
        theirs(folder, create_pr=True)
    publisher(hub)(folder, private=False)
    (folder / "notes.txt").write_text("of somebody else\n")
    repository = hub.repositories["someone/model"]
    before = repository.branches["main"]
    result = theirs(folder, create_pr=True)
    assert result.pull_request == f"{hub.url}/someone/model/discussions/1"
    assert repository.branches["main"] == before
    assert repository.pull_requests == {"refs/pr/1": result.commit} and "notes.txt" in repository.files("refs/pr/1")
    with pytest.raises(ValueError, match="may not write to someone/model"):
        theirs(folder)
    for options in ({"tag": "v1"}, {"gated": "auto"}, {"private": False}, {"branch": "next"}, {"collection": "Mine"}):
        with pytest.raises(ValueError, match="pull request changes files alone"):
            theirs(folder, create_pr=True, **options)


def test_a_tag_stays_on_its_commit(hub, folder):
    publish = publisher(hub)
    first = publish(folder, tag="v1")
    (folder / "notes.txt").write_text("more\n")
    with pytest.raises(ValueError, match=rf"has a tag v1 on another commit \({first.commit[:12]}\)"):
        publish(folder, tag="v1")
    assert hub.repositories["someone/model"].branches["main"] == first.commit, "refused before anything was sent"
    second = publish(folder, tag="v2")
    assert hub.repositories["someone/model"].tags == {"v1": first.commit, "v2": second.commit}
    assert publish(folder, tag="v3").commit == second.commit, "unchanged files can get another name"
    assert hub.repositories["someone/model"].tags["v3"] == second.commit


def test_branch(hub, folder):
    publish = publisher(hub)
    publish(folder)
    (folder / "notes.txt").write_text("next\n")
    result = publish(folder, branch="next")
    repository = hub.repositories["someone/model"]
    assert repository.branches["next"] == result.commit != repository.branches["main"]
    assert result.added == ("notes.txt",)
    assert publish(folder, branch="next").commit == result.commit
    assert publish(folder, "someone/other", branch="next").created, "a new repository gets the branch too"
    assert "model.safetensors" not in hub.repositories["someone/other"].files("main")
    assert "model.safetensors" in hub.repositories["someone/other"].files("next")


def test_public_gated_and_collection(hub, folder):
    publish = publisher(hub)
    publish(folder)
    repository = hub.repositories["someone/model"]
    result = publish(folder, private=False, gated="manual", collection="My models")
    assert (repository.private, repository.gated) == (False, "manual") and not result.private
    (slug,) = hub.collections
    assert result.settings == ("gated (manual)", "made public", f"in the collection {slug}")
    assert [item["id"] for item in hub.collections[slug]["items"]] == ["someone/model"]
    hub.requests.clear()
    again = publish(folder, gated="manual", collection=slug)
    assert not repository.private and not again.private, "publishing privately does not close what is open"
    assert not hub.asked("PUT") and len(hub.collections[slug]["items"]) == 1
    publish(folder, collection="My models")
    assert len(hub.collections) == 1 and len(hub.collections[slug]["items"]) == 1
    with pytest.raises(ValueError, match="no collection someone/gone-1"):
        publish(folder, collection="someone/gone-1")
    hub.fail("PUT", "/settings", 403)
    with pytest.raises(ValueError, match="may not write"):
        publish(folder, "open", private=False)
    assert hub.repositories["someone/open"].private, "nobody sees it before it is complete"
    assert publish(folder, "open", private=False).settings == ("made public",)
    assert not hub.repositories["someone/open"].private, "a name alone is one in the account"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gated": "always"}, "gated='always' was given; expected one of auto, manual"),
        ({"collection": ""}, "expected a slug"),
        ({"collection": "x" * 61}, "1 to 60 characters"),
        ({"repo_id": "a/b/c"}, "'a/b/c' is no name of a Hub repository"),
        ({"repo_id": "has space/x"}, "is no name of a Hub repository"),
    ],
)
def test_bad_options(hub, folder, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        publisher(hub)(folder, **options)
    assert not hub.requests


def test_somebody_else_commits_in_between(hub, folder):
    publish = publisher(hub)
    publish(folder)
    repository = hub.repositories["someone/model"]
    theirs = []

    def commit_theirs(line):
        """After the comparison, before anything is sent."""
        if line.startswith("Sending"):
            theirs.append(hub.commit("someone/model", repository.files() | {"README.md": b"theirs"}))

    (folder / "notes.txt").write_text("ours\n")
    with pytest.raises(RefusedError, match="Somebody else has committed to someone/model in the meantime and nothing"):
        publish(folder, progress=commit_theirs)
    assert [repository.branches["main"]] == theirs and repository.files()["README.md"] == b"theirs"
    publish(folder)
    assert repository.files()["README.md"] == (folder / "README.md").read_bytes()


def test_a_commit_whose_answer_is_lost_is_made_once(hub, folder):
    hub.fail("POST", "/commit/", None, after=True)
    result = publisher(hub)(folder)
    repository = hub.repositories["someone/model"]
    assert len(hub.asked("POST", "/commit/")) == 2
    assert len(repository.history()) == 2 and result.commit == repository.branches["main"]
    (folder / "notes.txt").write_text("more\n")
    hub.fail("POST", "/commit/", None, after=True)
    with pytest.raises(OSError, match=r"Look first whether .*/someone/model/discussions shows the pull request"):
        publisher(hub)(folder, create_pr=True)
    assert len(repository.pull_requests) == 1, "not asked for twice"


def test_the_command(hub, folder, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = run_command(hub, home, "publish", folder, "someone/model", "--tag", "v1.0", "--message", "First")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["someone/model"]
    commit = repository.branches["main"]
    assert repository.titles[commit] == "First" and repository.tags == {"v1.0": commit}
    assert f'load_model("someone/model", revision="{commit}")' in done.stdout.splitlines()
    assert f"{hub.url}/someone/model (private, commit {commit})" in done.stdout
    assert "Creating someone/model, private.\nSending 15 files (0.6 MB), deleting 0.\n" in done.stderr
    assert "hf_write" not in done.stdout + done.stderr


def test_the_command_in_words(hub, folder, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    (folder / ".DS_Store").write_bytes(b"\0")
    assert run(["publish", str(folder), "model", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Dry run: nothing was changed.", "someone/model would be created (private)."]
    assert "would be added: model.safetensors" in lines and "not published: .DS_Store" in lines
    assert not hub.repositories
    assert run(["publish", str(folder), "someone/model", "--public", "--gated", "auto"]) == 0
    assert run(["publish", str(folder), "someone/model", "--dry-run"]) == 0
    assert "Nothing has changed: no commit." in capsys.readouterr().out
    (folder / "notes.txt").write_text("new\n")
    assert run(["publish", str(folder), "someone/model", "--create-pr"]) == 0
    assert f"Pull request: {hub.url}/someone/model/discussions/1" in capsys.readouterr().out
    (folder / "notes.txt").write_text("the token is hf_" + "x" * 34)
    mistakes = {
        "notes.txt:1 holds what looks like a Hugging Face token": [str(folder), "someone/model"],
        "expected a folder and the repository's id": [str(folder)],
        "--secret and --variable are for Spaces": [str(folder), "someone/model", "--secret", "A=1"],
        "expected the repository's id alone": [str(folder), "someone/app", "--space", "demo"],
        "--branch and --gated are for models": ["someone/app", "--space", "demo", "--gated", "auto"],
        "--variable 'A' is no KEY=VALUE": ["someone/app", "--space", "demo", "--variable", "A"],
        "--secret HFVF_NONE has no value": ["someone/app", "--space", "demo", "--secret", "HFVF_NONE"],
        "There is no Space nothing-like-it under spaces/": ["someone/app", "--space", "nothing-like-it"],
    }
    for sentence, arguments in mistakes.items():
        assert run(["publish", *arguments]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("hf-vit-family: ") and sentence in error


def test_a_published_card_can_be_written_anew(hub, folder):
    """The card names nothing that publishing changes: writing it again and publishing makes no commit."""
    publish = publisher(hub)
    publish(folder)
    rewrite_card(folder)
    assert not publish(folder).has_changes
