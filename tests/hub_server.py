"""A small Hub over real HTTP on the loopback: what huggingface_hub asks for when it loads and when it publishes.

Repositories live in memory as commits. Small files are answered directly; weights go the way of large files on the
Hub, by another host name (`localhost` for `127.0.0.1`), which no token may follow. Every request is kept, so that a
test can tell what was fetched, and any can be made to fail. `hub_state.py` holds what the Hub knows, `hub_writing.py`
answers the requests that change something.
"""

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from hub_state import LARGE_FILES, Account, Fault, Hub, Repository, Request, git_blob, sha256
from hub_writing import Writing

_SPECIAL_REVISION = re.compile(r"(refs/pr/\d+)(?:/(.*))?", re.DOTALL)


class Handler(Writing, BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        """Say nothing: the requests are kept."""

    def do_GET(self) -> None:
        self.route()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def route(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path).strip("/")
        token = self.headers.get("Authorization")
        self.query = parse_qs(address.query)
        self.hub.requests.append(Request(self.command, path, self.headers.get("Host", ""), token))
        fault = self.hub.next_fault(self.command, path)
        if fault is not None and fault.status is None and not fault.after:
            return self.cut(fault)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and not fault.after:
            return self.error(fault.status, "Fault", fault.headers, body=fault.body)
        self.lost = fault is not None
        self.account = None
        if token is not None and not path.startswith("large-files/"):
            self.account = self.hub.accounts.get(token.removeprefix("Bearer "))
            if self.account is None:
                return self.error(401, "Unauthorized", message="Invalid credentials in Authorization header")
        if self.command not in ("GET", "HEAD") and not path.endswith("/paths-info") and "/paths-info/" not in path:
            return self.write(path)
        return self.read(path)

    def cut(self, fault: Fault) -> None:
        """Read half of the request, wait if told so until the other side has gone, and hang up."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
        self.hub.held.set()
        while fault.hold and self.rfile.read(1 << 16):
            pass
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def read(self, path: str) -> None:
        if path.startswith("large-files/"):
            data = self.hub.large_file(path.removeprefix("large-files/"))
            return self.error(404, "EntryNotFound") if data is None else self.send_data(data, {})
        if path == "api/whoami-v2":
            return self.whoami()
        if path.endswith("/variables"):
            return self.write(path)
        if path.startswith("api/collections/"):
            collection = self.hub.collections.get(path.removeprefix("api/collections/"))
            return self.error(404, "RepoNotFound") if collection is None else self.send_json(collection)
        if path.startswith(("api/models/", "api/spaces/")):
            return self.describe(path.removeprefix("api/models/").removeprefix("api/"))
        found = self.hub.find(path, "/resolve/")
        if found is None or not self.may_read(*found[:2]):
            return self.error(404, "RepoNotFound")
        return self.resolve(*found)

    def may_read(self, repo_id: str, repository: Repository) -> bool:
        return not repository.private or self.owns(repo_id.removeprefix("spaces/"))

    def whoami(self) -> None:
        if not isinstance(self.account, Account):
            return self.error(401, "Unauthorized", message="Invalid username or password.")
        access = {"displayName": "a token", "role": self.account.role}
        return self.send_json(
            {
                "type": "user",
                "name": self.account.name,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": access},
            }
        )

    def describe(self, path: str) -> None:
        """Facts about a repository, a revision of it, its files, its history or its names."""
        for marker in ("", "/revision/", "/tree/", "/paths-info/", "/commits/", "/refs"):
            found = self.hub.find(path, marker)
            if found is None:
                continue
            repo_id, repository, rest = found
            if not self.may_read(repo_id, repository):
                break
            if marker == "/refs":
                return self.send_json(self.names(repository))
            revision, folder = split_revision(rest)
            commit = repository.resolve(revision or "main")
            if commit is None:
                return self.error(404, "RevisionNotFound")
            files = repository.commits[commit]
            if marker == "/commits/":
                return self.send_json([history_entry(repository, entry) for entry in repository.history(commit)])
            if marker == "/tree/":
                prefix = f"{folder}/" if folder else ""
                return self.send_json([tree_entry(p, data) for p, data in files.items() if p.startswith(prefix)])
            if marker == "/paths-info/":
                paths = self.asked_paths()
                return self.send_json([tree_entry(p, data) for p, data in files.items() if p in paths])
            return self.send_json(self.facts(repo_id, repository, commit))
        return self.error(404, "RepoNotFound")

    def asked_paths(self) -> list[str]:
        """Of a form or of JSON: clients differ."""
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return json.loads(self.body)["paths"]
        return parse_qs(self.body.decode()).get("paths", [])

    def names(self, repository: Repository) -> dict:
        kinds = {"branches": ("heads/", repository.branches), "tags": ("tags/", repository.tags)}
        if "include_pull_requests" in self.query or "include_prs" in self.query:
            kinds["pullRequests"] = ("", repository.pull_requests)
        listed = {
            kind: [
                {"name": name, "ref": f"refs/{prefix}{name}".replace("refs/refs", "refs"), "targetCommit": commit}
                for name, commit in names.items()
            ]
            for kind, (prefix, names) in kinds.items()
        }
        return {**listed, "converts": []}

    def facts(self, repo_id: str, repository: Repository, commit: str) -> dict:
        plain_id = repo_id.removeprefix("spaces/")
        files = repository.commits[commit]
        detailed = "blobs" in self.query
        return {
            "id": plain_id,
            "modelId": plain_id,
            "sha": commit,
            "private": repository.private,
            "gated": repository.gated,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "library_name": "transformers",
            **({"sdk": repository.sdk} if repository.sdk else {}),
            "siblings": [sibling(name, data, detailed) for name, data in files.items()],
        }

    def resolve(self, repo_id: str, repository: Repository, rest: str) -> None:
        """One file of one revision."""
        revision, path = split_revision(rest)
        commit = repository.resolve(revision)
        if commit is None:
            return self.error(404, "RevisionNotFound")
        if repository.gated and not self.owns(repo_id):
            return self.error(403 if self.account else 401, "GatedRepo")
        data = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            return self.error(404, "EntryNotFound", headers)
        if not path.endswith(LARGE_FILES):
            return self.send_data(data, headers | {"ETag": f'"{git_blob(data)}"'})
        digest = sha256(data)
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        port = urlsplit(self.hub.url).port
        return self.send_data(b"", headers | {"Location": f"http://localhost:{port}/large-files/{digest}"}, status=302)

    def error(
        self,
        status: int,
        code: str,
        headers: Mapping[str, str] | None = None,
        message: str = "",
        extra: Mapping | None = None,
        body: bytes | None = None,
    ) -> None:
        data = json.dumps({"error": message or code, **(extra or {})}).encode() if body is None else body
        named = {"X-Error-Code": code, "X-Error-Message": message or code}
        self.send_data(data, {**(headers or {}), **named}, status=status)

    def send_json(self, value: object) -> None:
        self.send_data(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_data(self, data: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        if getattr(self, "lost", False):
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        asked = self.headers.get("Range", "")
        if status == 200 and asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, len(data)) if last else len(data)
            headers = {**headers, "Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
            data, status = data[int(first) : end], 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return None


def split_revision(rest: str) -> tuple[str, str]:
    """A revision, `refs/pr/1` among them, and what follows it."""
    special = _SPECIAL_REVISION.fullmatch(rest)
    if special:
        return special[1], special[2] or ""
    revision, _, path = rest.partition("/")
    return revision, path


def tree_entry(path: str, data: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
    if not path.endswith(LARGE_FILES):
        return entry
    return entry | {"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 130}}


def sibling(path: str, data: bytes, detailed: bool) -> dict:
    if not detailed:
        return {"rfilename": path}
    entry = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
    if not path.endswith(LARGE_FILES):
        return entry
    return entry | {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 130}}


def history_entry(repository: Repository, commit: str) -> dict:
    return {
        "id": commit,
        "title": repository.titles[commit],
        "message": "",
        "authors": [{"user": "someone"}],
        "date": "2026-01-01T00:00:00.000Z",
    }


@contextmanager
def serve() -> Iterator[Hub]:
    """A Hub on a free port of the loopback for the length of the block."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
