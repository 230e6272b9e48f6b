"""Publishing where something goes wrong: tokens, a Hub that fails or asks to wait, an upload that is killed."""

import socket
import subprocess
import time

import pytest
from hub_server import serve
from publishing import command, environment, go_online, publisher, ready_folder, run_command

from hf_vit_family.hub.publishing import calls


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with two files of weights."""
    return ready_folder(tmp_path_factory.mktemp("ready") / "model", max_shard_size="300KB")


@pytest.fixture
def hub(monkeypatch):
    go_online(monkeypatch)
    with serve() as hub:
        yield hub


# ------------------------------------------------------------------------------------------------------------ tokens


def test_wrong_token(hub, folder):
    with pytest.raises(ValueError, match=r"does not know the token; log in anew with `hf auth login`") as error:
        publisher(hub, token="hf_wrong")(folder)
    assert "hf_wrong" not in str(error.value)
    assert {request.method for request in hub.requests} == {"GET"} and not hub.repositories


def test_token_that_may_only_read(hub, folder):
    with pytest.raises(ValueError, match=r"token of someone may only read; make one that may write at http.*/tokens"):
        publisher(hub, token="hf_secret")(folder)
    assert {request.method for request in hub.requests} == {"GET"} and not hub.repositories


def test_token_of_somebody_else(hub, folder):
    with pytest.raises(ValueError, match="token may not write to someone/model"):
        publisher(hub, token="hf_other")(folder)
    assert not hub.repositories and not hub.asked("PUT")
    publisher(hub)(folder)
    with pytest.raises(ValueError, match="token may not write to someone/model"):
        publisher(hub, token="hf_other")(folder)  # which is private, so that this account does not even see it


def test_no_token(hub, folder, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ValueError, match=r"no token to publish with; log in with `hf auth login` or set HF_TOKEN"):
        publisher(hub, token=None)(folder)
    assert not hub.requests


def test_token_that_is_none_is_not_repeated(hub, folder):
    with pytest.raises(ValueError, match="holds characters that no token has") as error:
        publisher(hub, token="hf_wr\nite")(folder)
    assert "ite" not in str(error.value).replace("write", "") and not hub.requests


# ------------------------------------------------------------------------------------------------- a Hub that fails


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "whoami", 429),
        ("GET", "api/models/someone/model", 500),
        ("POST", "repos/create", 503),
        ("POST", "validate-yaml", 502),
        ("POST", "/commit/", 504),
        ("POST", "/commit/", 429),
        ("GET", "/refs", 429),
        ("POST", "/tag/", 503),
        ("PUT", "/settings", 500),
        ("POST", "collections$", 429),
    ],
)
def test_a_call_is_made_again(hub, folder, method, path, status):
    hub.fail(method, path, status, times=2)
    publish = publisher(hub)
    result = publish(folder, tag="v1", gated="auto", collection="Mine")
    repository = hub.repositories["someone/model"]
    assert repository.tags == {"v1": result.commit} and repository.gated == "auto" and len(repository.history()) == 2
    assert len([line for line in publish.lines if line.startswith(f"The Hub answers {status}; trying again in")]) == 2


def test_a_body_that_is_no_json(hub, folder):
    hub.fail("POST", "validate-yaml", 502, times=1, body=b"<html>bad gateway</html>")
    publisher(hub)(folder)
    hub.fail("GET", "whoami", 200, times=calls.TRIES, body=b"<html>welcome to the hotel</html>")
    with pytest.raises(OSError, match="is no Hub, or a broken one: its answer is no JSON"):
        publisher(hub)(folder)


def test_retry_after_is_honoured(hub, folder):
    hub.fail("POST", "/commit/", 429, headers={"Retry-After": "1"})
    publish = publisher(hub)
    start = time.monotonic()
    publish(folder)
    assert time.monotonic() - start >= 1
    assert "The Hub answers 429; trying again in 1 s (1 of 4)." in publish.lines
    hub.fail("GET", "whoami", 429, headers={"Retry-After": "3600"})
    start = time.monotonic()
    with pytest.raises(OSError, match=r"asks to wait for 3600 s before it takes more requests \(429\)"):
        publish(folder)
    assert time.monotonic() - start < 10


def test_there_is_a_limit(hub, folder):
    hub.fail("POST", "/commit/", 503, times=100)
    with pytest.raises(OSError, match=r"goes on failing \(503\); the same command takes up later"):
        publisher(hub)(folder)
    assert len(hub.asked("POST", "/commit/")) == calls.TRIES
    hub.faults.clear()
    hub.requests.clear()
    assert publisher(hub)(folder).has_changes
    assert not hub.asked("PUT"), "the weights had arrived"


def test_the_library_asks_again_how_to_upload(hub, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.fail("POST", "/preupload/", 503, times=3)
    publish = publisher(hub)
    assert publish(folder).has_changes
    assert len(hub.asked("POST", "/preupload/")) == 4 and not [line for line in publish.lines if "trying" in line]


def test_no_network(hub, folder, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=rf"The Hub at {nowhere} cannot be reached \(ConnectError"):
            publisher(hub)(folder, endpoint=nowhere)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"huggingface_hub is offline \(HF_HUB_OFFLINE is set\)"):
        publisher(hub)(folder)
    assert not hub.requests


def test_payment_required(hub, folder):
    hub.fail("POST", "repos/create", 402)
    with pytest.raises(ValueError, match=r"asks for a paid plan for this \(402\): someone/model was not created"):
        publisher(hub)(folder)
    assert len(hub.asked("POST", "repos/create")) == 1


def test_metadata_that_the_hub_refuses(hub, folder):
    hub.fail("POST", "validate-yaml", 400, body=b'{"errors": [{"message": "no such licence"}]}')
    with pytest.raises(ValueError, match=r"(?s)Invalid metadata in README.md.*no such licence"):
        publisher(hub)(folder)
    assert not hub.asked("PUT"), "told before anything was sent"


def test_other_refusals_name_what_the_hub_says(hub, folder):
    hub.fail("POST", "/commit/", 413)
    with pytest.raises(ValueError, match=r"The Hub refuses \(413\) for someone/model"):
        publisher(hub)(folder)


# ----------------------------------------------------------------------------------------- an upload that is stopped


def test_a_connection_that_is_cut_is_taken_up(hub, folder):
    hub.fail("PUT", "large-files/", None, times=1)
    publisher(hub)(folder)
    assert len(hub.asked("PUT")) == 3 and len(hub.repositories["someone/model"].history()) == 2


def test_a_publisher_that_is_killed_goes_on_where_it_was(hub, folder, tmp_path):
    """kill -9 in the middle of the second file of weights; the same command then sends that one alone."""
    home = tmp_path / "home"
    hub.fail("PUT", "large-files/", None, hold=True)
    publish = ["publish", folder, "someone/model", "--tag", "v1"]
    process = subprocess.Popen(
        command(*publish), env=environment(hub, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not (hub.held.is_set() and len(hub.large) == 1) and time.monotonic() < deadline:
            assert process.poll() is None, "it waits for the Hub"
            time.sleep(0.05)
        assert hub.held.is_set() and len(hub.large) == 1, "one file has arrived, the other is half-way"
    finally:
        process.kill()
        assert process.wait() != 0
    (arrived,) = hub.large
    repository = hub.repositories["someone/model"]
    assert len(repository.history()) == 1 and not repository.tags, "no half commit"
    hub.requests.clear()
    again = run_command(hub, home, *publish)
    assert again.returncode == 0, again.stderr
    (sent,) = hub.asked("PUT")
    assert arrived not in sent
    assert len(repository.history()) == 2 and repository.tags == {"v1": repository.branches["main"]}
    files = repository.files()
    assert {name: files[name] for name in files if name.endswith(".safetensors")} == {
        path.name: path.read_bytes() for path in folder.glob("*.safetensors")
    }
