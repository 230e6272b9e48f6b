"""What the Hub of the tests knows: repositories as commits, accounts, collections, and the faults that it has."""

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LARGE_FILES = (".safetensors", ".png", ".whl")
INITIAL_FILES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}


def sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    """What git calls a file."""
    return sha1(b"blob %d\0" % len(data) + data)


@dataclass
class Repository:
    """Commits by their hash, each a mapping of paths to contents, and the names that they have.

    Spaces have an `sdk`; `pull_requests` maps `refs/pr/N` to commits.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool | str = False
    sdk: str | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        for names in (self.branches, self.tags, self.pull_requests):
            if revision in names:
                return names[revision]
        return revision if revision in self.commits else None

    def add(self, files: Mapping[str, bytes], parent: str, title: str) -> str:
        """A commit that no name points to yet."""
        listing = "\n".join(f"{path} {sha256(data)}" for path, data in sorted(files.items()))
        commit = sha1(f"{parent}\n{title}\n{listing}".encode())
        self.commits[commit] = dict(files)
        self.titles[commit], self.parents[commit] = title, parent
        return commit

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.resolve(revision)]

    def history(self, revision: str = "main") -> list[str]:
        """Commits, newest first."""
        commits = []
        commit = self.resolve(revision)
        while commit:
            commits.append(commit)
            commit = self.parents.get(commit, "")
        return commits


@dataclass
class Account:
    """Whose a token is; its role is "write" or "read"."""

    name: str
    role: str


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    host: str
    token: str | None


@dataclass
class Fault:
    """What the next requests get instead of an answer: a status, or half of them read and the connection cut.

    Attributes:
        status: None cuts the connection.
        after: whether the request is carried out all the same, and only its answer lost.
        hold: whether the connection stays open until the other side has gone.
    """

    method: str
    pattern: str
    status: int | None
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    after: bool = False
    hold: bool = False


@dataclass
class Hub:
    """What the server serves and what it was asked for; Spaces are among the repositories as `spaces/owner/name`."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    accounts: dict[str, Account] = field(
        default_factory=lambda: {
            "hf_secret": Account("someone", "read"),
            "hf_write": Account("someone", "write"),
            "hf_other": Account("other", "write"),
        }
    )
    large: dict[str, bytes] = field(default_factory=dict)
    collections: dict[str, dict] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    paid: bool = True
    held: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def commit(self, repo_id: str, content: Path | Mapping[str, bytes], tag: str | None = None) -> str:
        """Make a folder or a mapping the next commit of `main`, and return its hash."""
        if isinstance(content, Path):
            paths = [path for path in sorted(content.rglob("*")) if path.is_file()]
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in paths}
        with self.lock:
            repository = self.repositories.setdefault(repo_id, Repository())
            commit = repository.add(content, repository.branches.get("main", ""), "Upload")
            repository.branches["main"] = commit
            if tag is not None:
                repository.tags[tag] = commit
        return commit

    def fail(self, method: str, pattern: str, status: int | None, **how) -> Fault:
        """Let the next requests of a method and a path fail, as `Fault` says how."""
        self.faults.append(Fault(method, pattern, status, **how))
        return self.faults[-1]

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    def fetched(self, suffix: str) -> list[str]:
        """Paths of the requests for files that end in `suffix`."""
        return [request.path for request in self.requests if request.path.endswith(suffix)]

    def asked(self, method: str, pattern: str = "") -> list[str]:
        """Paths of the requests of a method, those that match."""
        return [
            request.path for request in self.requests if request.method == method and re.search(pattern, request.path)
        ]

    def large_file(self, digest: str) -> bytes | None:
        if digest in self.large:
            return self.large[digest]
        commits = (files for repository in self.repositories.values() for files in repository.commits.values())
        large = (data for files in commits for path, data in files.items() if path.endswith(LARGE_FILES))
        return next((data for data in large if sha256(data) == digest), None)
