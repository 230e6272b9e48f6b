"""A small Hub over real HTTP on the loopback: what huggingface_hub asks for when it loads a repository.

Repositories live in memory as commits. Small files are answered directly; weights go the way of large files on the
Hub, by a redirect to another host name (`localhost` for `127.0.0.1`), which no token may follow. Every request is kept,
so that a test can tell what was fetched.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE_FILES = (".safetensors",)


def sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Repository:
    """Commits by their hash, each a mapping of paths to contents, and the branches and tags that name them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        return revision if revision in self.commits else None


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    host: str
    token: str | None


@dataclass
class Hub:
    """What the server serves and what it was asked for."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def commit(self, repo_id: str, content: Path | Mapping[str, bytes], tag: str | None = None) -> str:
        """Make a folder or a mapping the next commit of `main`, and return its hash."""
        if isinstance(content, Path):
            paths = [path for path in sorted(content.rglob("*")) if path.is_file()]
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in paths}
        repository = self.repositories.setdefault(repo_id, Repository())
        parent = repository.branches.get("main", "")
        listing = "\n".join(f"{path} {sha256(data)}" for path, data in sorted(content.items()))
        commit = sha1(f"{parent}\n{listing}".encode())
        repository.commits[commit] = dict(content)
        repository.branches["main"] = commit
        if tag is not None:
            repository.tags[tag] = commit
        return commit

    def fetched(self, suffix: str) -> list[str]:
        """Paths of the requests for files that end in `suffix`."""
        return [request.path for request in self.requests if request.path.endswith(suffix)]

    def large_file(self, digest: str) -> bytes | None:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for path, data in files.items():
                    if path.endswith(LARGE_FILES) and sha256(data) == digest:
                        return data
        return None

    def find(self, path: str, marker: str) -> tuple[str, Repository, str] | None:
        """Split `org/name<marker>rest` into the repository's id, itself and the rest."""
        for repo_id, repository in self.repositories.items():
            prefix = f"{repo_id}{marker}"
            if path == repo_id and not marker:
                return repo_id, repository, ""
            if marker and path.startswith(prefix):
                return repo_id, repository, path.removeprefix(prefix)
        return None


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        """Say nothing: the requests are kept."""

    def do_GET(self) -> None:
        self.route()

    def do_HEAD(self) -> None:
        self.route()

    def route(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append(
            Request(self.command, path, self.headers.get("Host", ""), self.headers.get("Authorization"))
        )
        if path.startswith("large-files/"):
            data = self.hub.large_file(path.removeprefix("large-files/"))
            return self.error(404, "EntryNotFound") if data is None else self.send_data(data, {})
        if path.startswith("api/models/"):
            return self.describe(path.removeprefix("api/models/"))
        found = self.hub.find(path, "/resolve/")
        if found is None:
            return self.error(404, "RepoNotFound")
        return self.resolve(*found)

    def describe(self, path: str) -> None:
        """Facts about a repository, a revision of it, its files or its names."""
        for marker in ("", "/revision/", "/tree/", "/refs"):
            found = self.hub.find(path, marker)
            if found is None:
                continue
            repo_id, repository, rest = found
            if marker == "/refs":
                refs = {"branches": repository.branches, "tags": repository.tags}
                kinds = {"branches": "heads", "tags": "tags"}
                return self.send_json(
                    {
                        kind: [
                            {"name": n, "ref": f"refs/{kinds[kind]}/{n}", "targetCommit": c} for n, c in names.items()
                        ]
                        for kind, names in refs.items()
                    }
                    | {"converts": []}
                )
            revision, _, folder = rest.partition("/")
            commit = repository.resolve(revision or "main")
            if commit is None:
                return self.error(404, "RevisionNotFound")
            files = repository.commits[commit]
            if marker == "/tree/":
                return self.send_json(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": sha1(data)}
                        for name, data in files.items()
                        if name.startswith(f"{folder}/" if folder else "")
                    ]
                )
            return self.send_json(
                {
                    "id": repo_id,
                    "modelId": repo_id,
                    "sha": commit,
                    "private": False,
                    "gated": False,
                    "disabled": False,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "library_name": "transformers",
                    "siblings": [{"rfilename": name} for name in files],
                }
            )
        return self.error(404, "RepoNotFound")

    def resolve(self, repo_id: str, repository: Repository, rest: str) -> None:
        """One file of one revision."""
        revision, _, path = rest.partition("/")
        commit = repository.resolve(revision)
        if commit is None:
            return self.error(404, "RevisionNotFound")
        data = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            return self.error(404, "EntryNotFound", headers)
        if not path.endswith(LARGE_FILES):
            return self.send_data(data, headers | {"ETag": f'"{sha1(data)}"'})
        digest = sha256(data)
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        port = urlsplit(self.hub.url).port
        return self.send_data(b"", headers | {"Location": f"http://localhost:{port}/large-files/{digest}"}, status=302)

    def error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"error": code}).encode()
        self.send_data(body, {**(headers or {}), "X-Error-Code": code, "X-Error-Message": code}, status=status)

    def send_json(self, value: object) -> None:
        self.send_data(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_data(self, data: bytes, headers: Mapping[str, str], status: int = 200) -> None:
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
