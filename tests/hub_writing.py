"""The part of the Hub's double that changes something: repositories, uploads, commits, names, settings, collections."""

import base64
import json
import re
from urllib.parse import urlsplit

import yaml
from hub_state import INITIAL_FILES, LARGE_FILES, Account, Repository, sha256


class Writing:
    """Routes of a request handler that has `hub`, `account`, `body`, `query`, `send_json` and `error`."""

    def write(self, path: str) -> None:
        for method, pattern, function in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                if not path.startswith("large-files/") and self.account is None:
                    return self.error(401, "Unauthorized", message="Invalid username or password.")
                with self.hub.lock:
                    return function(self, **match.groupdict())
        return self.error(404, "NotFound")

    def repository(self, kind: str, repo_id: str, pull_request: bool = False) -> Repository | None:
        """The repository, None (and answered) where the account may not see it or not write to it."""
        key = repo_id if kind == "models" else f"{kind}/{repo_id}"
        repository = self.hub.repositories.get(key)
        if repository is None or not self.may_read(repo_id, repository):
            self.error(404, "RepoNotFound")
        elif self.account.role != "write" or not (pull_request or self.owns(repo_id)):
            self.error(403, "Forbidden", message="You don't have the rights to write to it.")
        else:
            return repository
        return None

    def create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.account.name
        kind, repo_id = asked.get("type") or "model", f"{owner}/{asked['name']}"
        key = repo_id if kind == "model" else f"{kind}s/{repo_id}"
        url = f"{self.hub.url}/{key}"
        if self.account.role != "write" or owner != self.account.name:
            return self.error(403, "Forbidden", message="You don't have the rights to create it.")
        if key in self.hub.repositories:
            return self.error(409, "Conflict", extra={"url": url})
        if asked.get("sdk") in ("docker", "gradio") and not self.hub.paid:
            return self.error(402, "PaymentRequired", message="Subscribe to PRO to create this Space.")
        repository = Repository(private=asked.get("visibility") == "private", sdk=asked.get("sdk"))
        repository.branches["main"] = repository.add(INITIAL_FILES, "", "initial commit")
        self.hub.repositories[key] = repository
        return self.send_json({"url": url, "name": repo_id, "id": repo_id})

    def delete(self) -> None:
        asked = json.loads(self.body)
        kind = asked.get("type") or "model"
        repo_id = f"{asked.get('organization') or self.account.name}/{asked['name']}"
        if self.repository(f"{kind}s", repo_id) is not None:
            del self.hub.repositories[repo_id if kind == "model" else f"{kind}s/{repo_id}"]
            self.send_json({})

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---", content, re.DOTALL)
        try:
            fine = match is None or isinstance(yaml.safe_load(match[1]), dict)
        except yaml.YAMLError:
            fine = False
        if fine:
            return self.send_json({"errors": [], "warnings": []})
        return self.error(400, "BadRequest", extra={"errors": [{"message": "the metadata is no YAML"}], "warnings": []})

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        if self.repository(kind, repo_id, pull_request=self.query.get("create_pr") == ["1"]) is None:
            return None
        files = [
            {"path": file["path"], "uploadMode": self.mode(file["path"]), "shouldIgnore": False, "oid": None}
            for file in json.loads(self.body)["files"]
        ]
        return self.send_json({"files": files})

    @staticmethod
    def mode(path: str) -> str:
        return "lfs" if path.endswith(LARGE_FILES) else "regular"

    def batch(self, prefix: str, repo_id: str) -> None:
        if self.repository(prefix.strip("/") or "models", repo_id, pull_request=True) is None:
            return None
        port = urlsplit(self.hub.url).port
        objects = []
        for asked in json.loads(self.body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if self.hub.large_file(asked["oid"]) is None:
                upload = {"href": f"http://localhost:{port}/large-files/{asked['oid']}?signature=1"}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/api/lfs/verify"}}
            objects.append(answer)
        return self.send_json({"transfer": "basic", "objects": objects})

    def put_large(self, digest: str) -> None:
        if sha256(self.body) != digest:
            return self.error(400, "BadDigest")
        self.hub.large[digest] = self.body
        return self.send_data(b"", {})

    def verify(self) -> None:
        asked = json.loads(self.body)
        data = self.hub.large.get(asked["oid"])
        return self.send_json({}) if data is not None and len(data) == asked["size"] else self.error(404, "NoSuchFile")

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        pull_request = self.query.get("create_pr") == ["1"]
        repository = self.repository(kind, repo_id, pull_request)
        if repository is None:
            return None
        head = repository.branches.get(revision)
        if head is None:
            return self.error(404, "RevisionNotFound")
        operations = [json.loads(line) for line in self.body.splitlines()]
        title, parent = "", None
        files = dict(repository.commits[head])
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "header":
                title, parent = value["summary"], value.get("parentCommit")
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                data = self.hub.large_file(value["oid"])
                if data is None:
                    return self.error(400, "BadRequest", message="an LFS file was not uploaded")
                files[value["path"]] = data
            elif key == "deletedFile" and files.pop(value["path"], None) is None:
                return self.error(400, "BadRequest", message=f"{value['path']} does not exist")
        if parent is not None and parent != head:
            return self.error(412, "PreconditionFailed", message="A commit has happened since.")
        commit = repository.add(files, head, title)
        key = repo_id if kind == "models" else f"{kind}/{repo_id}"
        answer = {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{key}/commit/{commit}"}
        if pull_request:
            number = len(repository.pull_requests) + 1
            repository.pull_requests[f"refs/pr/{number}"] = commit
            answer["pullRequestUrl"] = f"{self.hub.url}/{key}/discussions/{number}"
        else:
            repository.branches[revision] = commit
        return self.send_json(answer)

    def tag(self, kind: str, repo_id: str, revision: str) -> None:
        repository = self.repository(kind, repo_id)
        if repository is None:
            return None
        name = json.loads(self.body)["tag"]
        if name in repository.tags:
            return self.error(409, "Conflict")
        repository.tags[name] = repository.resolve(revision)
        return self.send_json({})

    def branch(self, kind: str, repo_id: str, name: str) -> None:
        repository = self.repository(kind, repo_id)
        if repository is None:
            return None
        if name in repository.branches:
            return self.error(409, "Conflict")
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repository.branches[name] = repository.resolve(start)
        return self.send_json({})

    def settings(self, kind: str, repo_id: str) -> None:
        repository = self.repository(kind, repo_id)
        if repository is None:
            return None
        asked = json.loads(self.body)
        repository.gated = asked.get("gated", repository.gated)
        if "visibility" in asked:
            repository.private = asked["visibility"] == "private"
        return self.send_json({})

    def secret(self, repo_id: str) -> None:
        repository = self.repository("spaces", repo_id)
        if repository is None:
            return None
        asked = json.loads(self.body)
        repository.secrets[asked["key"]] = asked["value"]
        return self.send_json({})

    def variable(self, repo_id: str) -> None:
        repository = self.repository("spaces", repo_id)
        if repository is None:
            return None
        asked = json.loads(self.body)
        repository.variables[asked["key"]] = asked["value"]
        return self.send_json({key: {"value": value} for key, value in repository.variables.items()})

    def variables(self, repo_id: str) -> None:
        repository = self.repository("spaces", repo_id)
        if repository is None:
            return None
        return self.send_json({key: {"value": value} for key, value in repository.variables.items()})

    def create_collection(self) -> None:
        asked = json.loads(self.body)
        slug = f"{asked['namespace']}/{re.sub(r'[^a-z0-9]+', '-', asked['title'].lower())}-{'0' * 23}1"
        if slug in self.hub.collections:
            return self.error(409, "Conflict", extra={"slug": slug})
        self.hub.collections[slug] = {
            "slug": slug,
            "title": asked["title"],
            "owner": {"name": asked["namespace"]},
            "items": [],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "position": 0,
            "private": asked["private"],
            "theme": "blue",
            "upvotes": 0,
        }
        return self.send_json(self.hub.collections[slug])

    def add_item(self, slug: str) -> None:
        collection = self.hub.collections.get(slug)
        if collection is None:
            return self.error(404, "RepoNotFound")
        asked = json.loads(self.body)["item"]
        if asked["id"] in [item["id"] for item in collection["items"]]:
            return self.error(409, "Conflict")
        collection["items"].append({"_id": str(len(collection["items"])), "position": 0, **asked})
        return self.send_json(collection)

    def owns(self, repo_id: str) -> bool:
        return isinstance(self.account, Account) and self.account.name == repo_id.partition("/")[0]


_ID = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
_KIND = rf"api/(?P<kind>models|spaces)/{_ID}"
_ROUTES = (
    ("POST", r"api/repos/create", Writing.create),
    ("DELETE", r"api/repos/delete", Writing.delete),
    ("POST", r"api/validate-yaml", Writing.validate),
    ("POST", rf"{_KIND}/preupload/(?P<revision>.+)", Writing.preupload),
    ("POST", rf"(?P<prefix>(?:spaces/)?){_ID}\.git/info/lfs/objects/batch", Writing.batch),
    ("PUT", r"large-files/(?P<digest>\w+)", Writing.put_large),
    ("POST", r"api/lfs/verify", Writing.verify),
    ("POST", rf"{_KIND}/commit/(?P<revision>.+)", Writing.commit),
    ("POST", rf"{_KIND}/tag/(?P<revision>.+)", Writing.tag),
    ("POST", rf"{_KIND}/branch/(?P<name>.+)", Writing.branch),
    ("PUT", rf"{_KIND}/settings", Writing.settings),
    ("POST", rf"api/spaces/{_ID}/secrets", Writing.secret),
    ("POST", rf"api/spaces/{_ID}/variables", Writing.variable),
    ("GET", rf"api/spaces/{_ID}/variables", Writing.variables),
    ("POST", r"api/collections", Writing.create_collection),
    ("POST", r"api/collections/(?P<slug>[\w-]+/[\w-]+)/items", Writing.add_item),
)
