"""A small Hub over real HTTP on the loopback: what huggingface_hub asks for when it loads and when it publishes.

Repositories live in memory as commits (`hub_state.py`). Small files are answered directly; weights go the way of large
files on the Hub, by another host name (`localhost` for `127.0.0.1`), which no token may follow. Every request is kept,
so that a test can tell what was fetched, and any can be made to fail.
"""

import base64
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from hub_state import INITIAL_FILES, LARGE_FILES, Fault, Hub, Repository, Request, git_blob, sha256


class Handler(BaseHTTPRequestHandler):
    """Answers one request: `_ROUTES` names the method, and what the account has to be allowed."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        """Say nothing: the requests are kept."""

    def do_GET(self) -> None:
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
        self.account = self.hub.accounts.get(token.removeprefix("Bearer ")) if token else None
        if token and self.account is None:
            return self.error(401, "Unauthorized", message="Invalid credentials in Authorization header")
        for methods, pattern, right, function in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in methods:
                return self.answer(right, function, match.groupdict())
        return self.error(404, "RepoNotFound")

    do_HEAD = do_POST = do_PUT = do_GET

    def cut(self, fault: Fault) -> None:
        """Read half of the request, wait if told so until the other side has gone, and hang up."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
        self.hub.held.set()
        while fault.hold and self.rfile.read(1 << 16):
            pass
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, right: str, function: Callable, named: dict) -> None:
        """Look whether the account may, and hand the repository on."""
        if right in ("account", "write") and self.account is None:
            return self.error(401, "Unauthorized", message="Invalid username or password.")
        if right in ("read", "write"):
            kind, repo_id = (named.pop("kind") or "models").strip("/"), named.pop("repo_id")
            self.repo_id, self.key = repo_id, repo_id if kind == "models" else f"{kind}/{repo_id}"
            self.owned = self.account is not None and self.account.name == repo_id.partition("/")[0]
            self.proposed = self.query.get("create_pr") == ["1"]
            repository = named["repository"] = self.hub.repositories.get(self.key)
            if repository is None or (repository.private and not self.owned):
                return self.error(404, "RepoNotFound")
            if right == "write" and not (self.account.role == "write" and (self.owned or self.proposed)):
                return self.error(403, "Forbidden", message="You don't have the rights to write to it.")
            if "revision" in named:
                named["commit"] = repository.resolve(named.pop("revision") or "main")
                if named["commit"] is None:
                    return self.error(404, "RevisionNotFound")
        with self.hub.lock:
            return function(self, **named)

    # What is read.

    def whoami(self) -> None:
        token = {"displayName": "a token", "role": self.account.role}
        auth = {"type": "access_token", "accessToken": token}
        self.send_json({"type": "user", "name": self.account.name, "orgs": [], "auth": auth})

    def facts(self, repository: Repository, commit: str) -> None:
        files = [tree_entry(path, data) for path, data in repository.commits[commit].items()]
        siblings = [{"rfilename": file["path"]} for file in files]
        if "blobs" in self.query:
            for entry, file in zip(siblings, files, strict=True):
                entry |= {"size": file["size"], "blobId": file["oid"]}
                if "lfs" in file:
                    entry["lfs"] = {**file["lfs"], "sha256": file["lfs"]["oid"]}
        access = {"private": repository.private, "gated": repository.gated, "disabled": False}
        counts = {"downloads": 0, "likes": 0, "tags": []}
        self.send_json({"id": self.repo_id, "sha": commit, "siblings": siblings, **access, **counts})

    def tree(self, repository: Repository, commit: str) -> None:
        self.send_json([tree_entry(path, data) for path, data in repository.commits[commit].items()])

    def paths_info(self, repository: Repository, commit: str) -> None:
        """A mirror asks this; of a form or of JSON: clients differ."""
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        files = repository.commits[commit]
        self.send_json([tree_entry(path, files[path]) for path in paths if path in files])

    def refs(self, repository: Repository) -> None:
        names = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        listed = {
            kind: [{"name": name, "ref": f"refs/{prefix}/{name}", "targetCommit": at} for name, at in found.items()]
            for kind, (prefix, found) in names.items()
        }
        self.send_json({**listed, "converts": []})

    def resolve(self, repository: Repository, commit: str, path: str) -> None:
        """One file of one revision."""
        if repository.gated and not self.owned:
            return self.error(403 if self.account else 401, "GatedRepo")
        data = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            return self.error(404, "EntryNotFound", headers)
        if not path.endswith(LARGE_FILES):
            return self.send_data(data, headers | {"ETag": f'"{git_blob(data)}"'})
        digest = sha256(data)
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data)), "Location": self.elsewhere(digest)}
        return self.send_data(b"", headers, status=302)

    def get_large(self, digest: str) -> None:
        data = self.hub.large_file(digest)
        self.error(404, "EntryNotFound") if data is None else self.send_data(data, {})

    # What is written.

    def create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.account.name
        repo_id = f"{owner}/{asked['name']}"
        key = repo_id if (asked.get("type") or "model") == "model" else f"{asked['type']}s/{repo_id}"
        answer = {"url": f"{self.hub.url}/{key}", "name": repo_id, "id": repo_id}
        if self.account.role != "write" or owner != self.account.name:
            return self.error(403, "Forbidden", message="You don't have the rights to create it.")
        if key in self.hub.repositories:
            return self.error(409, "Conflict", extra=answer)
        if asked.get("sdk") in ("docker", "gradio") and not self.hub.paid:
            return self.error(402, "PaymentRequired", message="Subscribe to PRO to create this Space.")
        repository = Repository(private=asked.get("visibility") == "private", sdk=asked.get("sdk"))
        repository.branches["main"] = repository.add(INITIAL_FILES, "", "initial commit")
        self.hub.repositories[key] = repository
        return self.send_json(answer)

    def validate(self) -> None:
        self.send_json({"errors": [], "warnings": []})

    def preupload(self, repository: Repository, commit: str) -> None:
        files = [
            {"path": path, "uploadMode": "lfs" if path.endswith(LARGE_FILES) else "regular", "shouldIgnore": False}
            for path in (file["path"] for file in json.loads(self.body)["files"])
        ]
        self.send_json({"files": files})

    def batch(self) -> None:
        objects = [{"oid": asked["oid"], "size": asked["size"]} for asked in json.loads(self.body)["objects"]]
        for asked in objects:
            if self.hub.large_file(asked["oid"]) is None:
                asked["actions"] = {"upload": {"href": f"{self.elsewhere(asked['oid'])}?signature=1"}}
        self.send_json({"transfer": "basic", "objects": objects})

    def put_large(self, digest: str) -> None:
        if sha256(self.body) != digest:
            return self.error(400, "BadDigest")
        self.hub.large[digest] = self.body
        return self.send_data(b"", {})

    def commit(self, repository: Repository, branch: str) -> None:
        head = repository.branches.get(branch)
        if head is None:
            return self.error(404, "RevisionNotFound")
        title, parent = "", None
        files = dict(repository.commits[head])
        for operation in map(json.loads, self.body.splitlines()):
            key, value = operation["key"], operation["value"]
            if key == "header":
                title, parent = value["summary"], value.get("parentCommit")
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.large_file(value["oid"])
            elif files.pop(value["path"], None) is None:
                return self.error(400, "BadRequest", message=f"{value['path']} does not exist")
        if None in files.values():
            return self.error(400, "BadRequest", message="an LFS file was not uploaded")
        if parent is not None and parent != head:
            return self.error(412, "PreconditionFailed", message="A commit has happened since.")
        commit = repository.add(files, head, title)
        answer = {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{self.key}/commit/{commit}"}
        if self.proposed:
            number = len(repository.pull_requests) + 1
            repository.pull_requests[f"refs/pr/{number}"] = commit
            answer["pullRequestUrl"] = f"{self.hub.url}/{self.key}/discussions/{number}"
        else:
            repository.branches[branch] = commit
        return self.send_json(answer)

    def tag(self, repository: Repository, commit: str) -> None:
        self.name(repository.tags, json.loads(self.body)["tag"], commit)

    def branch(self, repository: Repository, branch: str) -> None:
        self.name(repository.branches, branch, repository.branches["main"])

    def name(self, names: dict[str, str], name: str, commit: str) -> None:
        if name in names:
            return self.error(409, "Conflict")
        names[name] = commit
        return self.send_json({})

    def settings(self, repository: Repository) -> None:
        asked = json.loads(self.body)
        repository.gated = asked.get("gated", repository.gated)
        if "visibility" in asked:
            repository.private = asked["visibility"] == "private"
        self.send_json({})

    def environment(self, repository: Repository, what: str) -> None:
        """Secrets, which are never told, and variables."""
        values = repository.secrets if what == "secrets" else repository.variables
        if self.command == "POST":
            asked = json.loads(self.body)
            values[asked["key"]] = asked["value"]
        self.send_json({} if what == "secrets" else {key: {"value": value} for key, value in values.items()})

    def create_collection(self) -> None:
        asked = json.loads(self.body)
        slug = f"{asked['namespace']}/{re.sub(r'[^a-z0-9]+', '-', asked['title'].lower())}-{'0' * 23}1"
        if slug in self.hub.collections:
            return self.error(409, "Conflict", extra={"slug": slug})
        about = {"slug": slug, "title": asked["title"], "owner": {"name": asked["namespace"]}, "items": []}
        known = {"lastUpdated": "2026-01-01T00:00:00.000Z", "position": 0, "theme": "blue", "upvotes": 0}
        self.hub.collections[slug] = {**about, **known, "private": asked["private"]}
        return self.send_json(self.hub.collections[slug])

    def collection(self, slug: str, items: str | None) -> None:
        collection = self.hub.collections.get(slug)
        if collection is None:
            return self.error(404, "RepoNotFound")
        if items:
            asked = json.loads(self.body)["item"]
            if asked["id"] in [item["id"] for item in collection["items"]]:
                return self.error(409, "Conflict")
            collection["items"].append({"_id": str(len(collection["items"])), "position": 0, **asked})
        return self.send_json(collection)

    # How it is told.

    def elsewhere(self, digest: str) -> str:
        return f"http://localhost:{urlsplit(self.hub.url).port}/large-files/{digest}"

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


def tree_entry(path: str, data: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
    if not path.endswith(LARGE_FILES):
        return entry
    return entry | {"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 130}}


_READ, _POST, _PUT = ("GET", "HEAD"), ("POST",), ("PUT",)
_ID = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
_REPOSITORY = rf"api/(?P<kind>models|spaces)/{_ID}"
_ROUTES = (
    (_READ, r"api/whoami-v2", "account", Handler.whoami),
    (_READ, rf"{_REPOSITORY}(?:/revision/(?P<revision>.+))?", "read", Handler.facts),
    (_READ, rf"{_REPOSITORY}/tree/(?P<revision>.+)", "read", Handler.tree),
    (_POST, rf"{_REPOSITORY}/paths-info/(?P<revision>.+)", "read", Handler.paths_info),
    (_READ, rf"{_REPOSITORY}/refs", "read", Handler.refs),
    (_READ, rf"(?P<kind>spaces/)?{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "read", Handler.resolve),
    (_READ, r"large-files/(?P<digest>\w+)", "", Handler.get_large),
    (_PUT, r"large-files/(?P<digest>\w+)", "", Handler.put_large),
    (_POST, r"api/repos/create", "account", Handler.create),
    (_POST, r"api/validate-yaml", "account", Handler.validate),
    (_POST, rf"{_REPOSITORY}/preupload/(?P<revision>.+)", "write", Handler.preupload),
    (_POST, r".+\.git/info/lfs/objects/batch", "account", Handler.batch),
    (_POST, rf"{_REPOSITORY}/commit/(?P<branch>.+)", "write", Handler.commit),
    (_POST, rf"{_REPOSITORY}/tag/(?P<revision>.+)", "write", Handler.tag),
    (_POST, rf"{_REPOSITORY}/branch/(?P<branch>.+)", "write", Handler.branch),
    (_PUT, rf"{_REPOSITORY}/settings", "write", Handler.settings),
    (_READ + _POST, rf"{_REPOSITORY}/(?P<what>secrets|variables)", "write", Handler.environment),
    (_POST, r"api/collections", "account", Handler.create_collection),
    (_READ + _POST, r"api/collections/(?P<slug>[\w-]+/[\w-]+)(?P<items>/items)?", "account", Handler.collection),
)


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
