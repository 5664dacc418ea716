"""A Hub of data sets that really listens: what a push and a load need of one, kept in memory; its log is what tests go by."""

import asyncio
import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from aiohttp import web

TOKEN = "hf_a_token_of_the_tests"
_PAGE = 20  # entries of a tree in one answer
_LFS = re.compile(r".*\.(parquet|png|gz|zip|arrow|bin)")
_LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "unknown", "other"}
_SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"}
_TASKS = {"question-answering", "text-generation", "text-retrieval", "other"}
_STAMP = datetime(2026, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Blob:
    """A file: small ones as they are, others by the hash under which they are stored."""

    size: int
    data: bytes = b""
    sha256: str | None = None

    @property
    def oid(self) -> str:
        text = f"oid sha256:{self.sha256}\nsize {self.size}\n".encode() if self.sha256 else self.data
        return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A state of a repository, with its message and how it came about."""

    sha: str
    message: str
    tree: dict[str, Blob]
    parent: str | None = None


@dataclass
class Repo:
    """A repository: commits by hash, branches and tags by name."""

    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, message: str, tree: dict[str, Blob]) -> Commit:
        parent = self.branches.get(branch)
        state = repr((parent, message, sorted((path, blob.oid) for path, blob in tree.items()), len(self.commits)))
        made = Commit(hashlib.sha1(state.encode()).hexdigest(), message, tree, parent)
        self.commits[made.sha] = made
        self.branches[branch] = made.sha
        return made

    def find(self, revision: str) -> Commit | None:
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)

    def history(self, branch: str = "main") -> list[Commit]:
        """The commits of a branch, the last one first."""
        found = [self.commits[self.branches[branch]]]
        while found[-1].parent:
            found.append(self.commits[found[-1].parent])
        return found


Fault = Callable[[str, str, int], int | None]


def _no_fault(method: str, path: str, number: int) -> int | None:
    return None


class Hub:
    """The server. `fault` may answer a request, known by method, path and number, with a status of its own."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[tuple[str, str]] = []
        self.fault: Fault = _no_fault
        self.url = ""

    def sent(self) -> list[str]:
        """The requests so far that stored or changed something."""
        writes = (r"PUT /objects/", r"POST .*/commit/", r"POST .*/(tag|branch)/", r"DELETE ", r"POST /api/repos/create")
        return [f"{method} {path}" for method, path in self.log if re.match("|".join(writes), f"{method} {path}")]

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**30, middlewares=[self._guard])
        repo = r"/api/datasets/{repo:[^/]+/[^/]+}"
        app.add_routes(
            [
                web.post("/api/repos/create", self._create),
                web.post("/api/validate-yaml", self._validate),
                web.get("/api/whoami-v2", self._whoami),
                web.get(repo, self._info),
                web.get(repo + "/revision/{revision}", self._info),
                web.get(repo + "/refs", self._refs),
                web.get(repo + "/tree/{revision}", self._tree),
                web.get(repo + "/tree/{revision}/{path:.*}", self._tree),
                web.post(repo + "/paths-info/{revision}", self._paths_info),
                web.post(repo + "/preupload/{revision}", self._preupload),
                web.post(repo + "/commit/{revision}", self._commit),
                web.post(repo + "/branch/{name}", self._branch),
                web.delete(repo + "/branch/{name}", self._drop_branch),
                web.post(repo + "/tag/{revision}", self._tag),
                web.post(r"/datasets/{repo:[^/]+/[^/]+}.git/info/lfs/objects/batch", self._batch),
                web.put("/objects/{oid}", self._put),
                web.get("/objects/{oid}", self._object),
                web.get(r"/datasets/{repo:[^/]+/[^/]+}/resolve/{revision}/{path:.*}", self._resolve),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.rel_url.raw_path
        self.log.append((request.method, path))
        status = self.fault(request.method, path, len(self.log) - 1)
        if status is not None:
            return web.json_response({"error": f"as it was asked to: {status}"}, status=status)
        repo = self.repos.get(request.match_info.get("repo", ""))
        known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        writes = request.method not in ("GET", "HEAD") and "paths-info" not in path
        if "repo" in request.match_info and (repo is None or (repo.private and not known)):
            return _refusal(404 if known else 401, "RepoNotFound", "Repository not found")
        if writes and not path.startswith("/objects/") and not known:
            return _refusal(401, None, "Invalid username or password.")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
        if asked.get("type") != "dataset" or "private" in asked:
            return _refusal(400, None, "expected a dataset, and visibility")
        answer = {"url": f"{self.url}/datasets/{name}", "name": name, "id": name}
        if name in self.repos:
            return web.json_response({**answer, "error": "You already created this dataset repo"}, status=409)
        self.repos[name] = Repo(asked.get("visibility") == "private")
        self.repos[name].commit("main", "initial commit", {".gitattributes": _blob(b"*.parquet filter=lfs\n")})
        return web.json_response(answer)

    async def _whoami(self, request: web.Request) -> web.Response:
        return web.json_response({"type": "user", "name": "somebody", "orgs": []})

    async def _validate(self, request: web.Request) -> web.Response:
        errors = faults_of_card((await request.json())["content"])
        said = {"errors": [{"message": error} for error in errors], "warnings": []}
        return web.json_response(said, status=400 if errors else 200)

    async def _info(self, request: web.Request) -> web.Response:
        repo, commit = self._at(request, "main")
        if commit is None:
            return _no_revision()
        return web.json_response(
            {
                "_id": "1", "id": request.match_info["repo"], "sha": commit.sha, "private": repo.private, "gated": False,
                "disabled": False, "tags": [], "lastModified": _STAMP, "createdAt": _STAMP, "downloads": 0, "likes": 0,
                "siblings": [{"rfilename": path} for path in sorted(commit.tree)],
            }
        )  # fmt: skip

    async def _refs(self, request: web.Request) -> web.Response:
        repo = self.repos[request.match_info["repo"]]

        def named(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in refs.items()]

        refs = {"branches": named("heads", repo.branches), "tags": named("tags", repo.tags)}
        return web.json_response({**refs, "converts": [], "pullRequests": []})

    async def _tree(self, request: web.Request) -> web.Response:
        _, commit = self._at(request)
        if commit is None:
            return _no_revision()
        path = unquote(request.match_info.get("path", ""))
        entries = _entries(commit, path, recursive=request.query.get("recursive", "").lower() in ("true", "1"))
        if path and not entries:
            return _refusal(404, "EntryNotFound", f"{path} does not exist")
        expand = request.query.get("expand", "").lower() in ("true", "1")
        start = int(request.query.get("cursor", 0))
        shown = [_entry(commit, entry, expand) for entry in entries[start : start + _PAGE]]
        headers = {}
        if start + _PAGE < len(entries):
            there = request.url.update_query(cursor=str(start + _PAGE))
            headers["Link"] = f'<{there}>; rel="next"'
        return web.json_response(shown, headers=headers)

    async def _paths_info(self, request: web.Request) -> web.Response:
        _, commit = self._at(request)
        if commit is None:
            return _no_revision()
        asked = await request.post()
        expand = str(asked.get("expand", "")).lower() in ("true", "1")
        there = set(_entries(commit, "", recursive=True))
        found = [str(path) for path in asked.getall("paths", []) if str(path) in there]
        return web.json_response([_entry(commit, path, expand) for path in found])

    async def _preupload(self, request: web.Request) -> web.Response:
        _, commit = self._at(request)
        if commit is None:
            return _no_revision()
        files = []
        for asked in (await request.json())["files"]:
            there = commit.tree.get(asked["path"])
            mode = "lfs" if _LFS.fullmatch(asked["path"]) else "regular"
            oid = there and (there.sha256 or there.oid)
            files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return web.json_response({"files": files})

    async def _batch(self, request: web.Request) -> web.Response:
        objects = []
        for asked in (await request.json())["objects"]:
            upload = {"upload": {"href": f"{self.url}/objects/{asked['oid']}", "header": {}}}
            objects.append({**asked, **({} if asked["oid"] in self.objects else {"actions": upload})})
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _put(self, request: web.Request) -> web.Response:
        data = await request.read()
        if hashlib.sha256(data).hexdigest() != request.match_info["oid"]:
            return _refusal(400, None, "the content is not of this hash")
        self.objects[request.match_info["oid"]] = data
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        repo = self.repos[request.match_info["repo"]]
        branch = unquote(request.match_info["revision"])
        if branch not in repo.branches:
            return _no_revision()
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repo.branches[branch]):
            return _refusal(412, None, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.commits[repo.branches[branch]].tree)
        for line in lines[1:]:
            wrong = self._apply(tree, line["key"], line["value"])
            if wrong:
                return _refusal(400, None, wrong)
        made = repo.commit(branch, header["summary"], tree)
        url = f"{self.url}/datasets/{request.match_info['repo']}/commit/{made.sha}"
        return web.json_response({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})

    def _apply(self, tree: dict[str, Blob], key: str, value: dict[str, Any]) -> str | None:
        """Changes the tree, or says what is wrong."""
        path = value["path"]
        if key == "file":
            tree[path] = _blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.objects:
                return f"{path}: there is no such object"
            tree[path] = Blob(len(self.objects[value["oid"]]), sha256=value["oid"])
        elif key == "deletedFile":
            if tree.pop(path, None) is None:
                return "A file with this name doesn't exist"
        else:
            return f"{key} is not known here"
        return None

    async def _branch(self, request: web.Request) -> web.Response:
        repo = self.repos[request.match_info["repo"]]
        name, asked = unquote(request.match_info["name"]), await request.json()
        commit = repo.find(asked.get("startingPoint", "main"))
        if name in repo.branches:
            return _refusal(409, None, "this branch exists")
        if commit is None:
            return _no_revision()
        repo.branches[name] = commit.sha
        return web.json_response({})

    async def _drop_branch(self, request: web.Request) -> web.Response:
        gone = self.repos[request.match_info["repo"]].branches.pop(unquote(request.match_info["name"]), None)
        return web.json_response({}) if gone else _no_revision()

    async def _tag(self, request: web.Request) -> web.Response:
        repo, commit = self._at(request)
        name = (await request.json())["tag"]
        if name in repo.tags:
            return _refusal(409, None, f"Tag reference exists already: {name}")
        if commit is None:
            return _no_revision()
        repo.tags[name] = commit.sha
        return web.json_response({})

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        _, commit = self._at(request)
        if commit is None:
            return _no_revision()
        blob = commit.tree.get(unquote(request.match_info["path"]))
        if blob is None:
            return _refusal(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.oid}"'}
        if blob.sha256 is None:
            return web.Response(body=blob.data, headers=headers)
        headers |= {"X-Linked-ETag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
        store = self.url.replace("127.0.0.1", "localhost")  # another host, as clients expect of what holds large files
        return web.Response(status=302, headers={**headers, "Location": f"{store}/objects/{blob.sha256}"})

    async def _object(self, request: web.Request) -> web.Response:
        data = self.objects[request.match_info["oid"]]
        asked = request.http_range
        if asked.start is None and asked.stop is None:
            return web.Response(body=data, headers={"Accept-Ranges": "bytes"})
        start, stop, _ = asked.indices(len(data))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "Accept-Ranges": "bytes"}
        return web.Response(status=206, body=data[start:stop], headers=headers)

    def _at(self, request: web.Request, default: str = "") -> tuple[Repo, Commit | None]:
        repo = self.repos[request.match_info["repo"]]
        return repo, repo.find(unquote(request.match_info.get("revision", default)))


def faults_of_card(content: str) -> list[str]:
    """What a Hub would refuse of a card's YAML."""
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    if not match:
        return ["no YAML"]
    data = yaml.safe_load(match[1])
    faults = []
    for key, allowed in (("license", _LICENSES), ("size_categories", _SIZES), ("task_categories", _TASKS)):
        given = data.get(key) or []
        faults += [
            f"{key}: {one!r} is not allowed"
            for one in ([given] if isinstance(given, str) else given)
            if one not in allowed
        ]
    for key in ("tags", "language"):
        if not all(isinstance(one, str) for one in data.get(key) or []):
            faults.append(f"{key}: expected strings")
    names = [config.get("config_name") for config in data.get("configs") or []]
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        faults.append("configs: expected one of each config_name")
    for config in data.get("configs") or []:
        if not all({"split", "path"} <= set(files) for files in config.get("data_files") or [{}]):
            faults.append("configs: expected data_files with split and path")
    if [info.get("config_name") for info in data.get("dataset_info") or []] != names:
        faults.append("dataset_info: expected one for each config")
    return faults


def _blob(data: bytes) -> Blob:
    return Blob(len(data), data)


def _refusal(status: int, code: str | None, message: str) -> web.Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return web.json_response({"error": message}, status=status, headers=headers)


def _no_revision() -> web.Response:
    return _refusal(404, "RevisionNotFound", "Invalid rev id")


def _entries(commit: Commit, folder: str, recursive: bool) -> list[str]:
    """The files and folders (without what is in them, if not recursive) of a folder."""
    under = f"{folder}/" if folder else ""
    inside = [path.removeprefix(under) for path in commit.tree if path.startswith(under)]
    folders = {"/".join(parts[:i]) for parts in (path.split("/") for path in inside) for i in range(1, len(parts))}
    return sorted(under + path for path in {*inside, *folders} if recursive or "/" not in path)


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    last = {"lastCommit": {"id": commit.sha, "title": commit.message, "date": _STAMP}} if expand else {}
    blob = commit.tree.get(path)
    if blob is None:
        return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, **last}
    lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}} if blob.sha256 else {}
    return {"type": "file", "path": path, "oid": blob.oid, "size": blob.size, **lfs, **last}


async def _close(runner: web.AppRunner) -> None:
    await runner.cleanup()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub that listens while the context lasts."""
    hub, loop = Hub(), asyncio.new_event_loop()
    runner = web.AppRunner(hub.application(), access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        asyncio.run_coroutine_threadsafe(_close(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def environment(hub: Hub, home: Path, token: str = TOKEN) -> dict[str, str]:
    """The variables by which a process reaches the Hub."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return {**settings, "HF_HUB_OFFLINE": "0"}
