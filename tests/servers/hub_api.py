"""The endpoints of the loopback Hub: all by their addresses, and here those that only read.

The shapes are those which ``huggingface_hub`` 2.4 and ``datasets`` 5.2 send and read.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import yaml

from tests.servers import hub_writing
from tests.servers.hub_calls import (
    NAME,
    Answer,
    Call,
    HubError,
    Json,
    as_json,
    card_data,
    commit_of,
    readable,
)
from tests.servers.hub_store import AUTHOR, Entry, Repository


def answer(call: Call, method: str, path: str) -> Answer:
    """Do what a request asks, or say why not."""
    for verb, pattern, endpoint in _ROUTES:
        match = pattern.fullmatch(path)
        if match is None or verb != method.replace("HEAD", "GET"):
            continue
        parts = {key: unquote(part) for key, part in match.groupdict().items() if part}
        try:
            return endpoint(call, **parts)
        except HubError as error:
            return error.answer
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return HubError(400, f"Bad request: {error!r}").answer
    return HubError(404, "Sorry, we can't find the page you are looking for.").answer


def _whoami(call: Call) -> Answer:
    if not call.role:
        raise HubError(401, "Invalid username or password.")
    owners = {path.name for path in call.site.folder.glob("*/*") if path.is_dir()} - {AUTHOR}
    token = {"displayName": call.role, "role": call.role}
    return as_json(
        {
            "type": "user",
            "id": AUTHOR,
            "name": AUTHOR,
            "fullname": AUTHOR,
            "orgs": [{"type": "org", "name": owner} for owner in sorted(owners)],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def _info(call: Call, kind: str, name: str, revision: str = "main") -> Answer:
    repository = readable(call, kind, name)
    commit = commit_of(repository, revision)
    history = repository.history(commit)
    entries = {path: one for path, one in repository.tree(commit).items() if not one.folder}
    siblings = [{"rfilename": row["path"], "blobId": row["oid"], **row} for row in _rows(entries)]
    return as_json(
        {
            "_id": hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:24],
            "id": name,
            "author": name.split("/")[0],
            "sha": commit,
            "createdAt": _date(history[-1].date),
            "lastModified": _date(history[0].date),
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "cardData": _card_data(repository, entries),
        }
    )


def _card_data(repository: Repository, entries: Mapping[str, Entry]) -> Any:
    card = repository.content(entries["README.md"]) if "README.md" in entries else b""
    try:
        return card_data(card.decode("utf-8", "replace"))
    except yaml.YAMLError:
        return {}


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _refs(call: Call, kind: str, name: str) -> Answer:
    repository = readable(call, kind, name)
    said: Json = {"converts": [], "pullRequests": []}
    for key, folder in (("branches", "heads"), ("tags", "tags")):
        said[key] = [
            {"name": ref, "ref": f"refs/{folder}/{ref}", "targetCommit": commit}
            for ref, commit in repository.refs(folder).items()
        ]
    return as_json(said)


def _commits(call: Call, kind: str, name: str, revision: str) -> Answer:
    repository = readable(call, kind, name)
    said = []
    for commit in repository.history(commit_of(repository, revision)):
        title, _, message = commit.message.partition("\n\n")
        authors = [{"user": AUTHOR}]
        said.append(
            {
                "id": commit.id,
                "title": title,
                "message": message,
                "authors": authors,
                "date": _date(commit.date),
            }
        )
    return as_json(said)


def _rows(entries: Mapping[str, Entry]) -> list[Json]:
    rows: list[Json] = []
    for path, entry in entries.items():
        kind = "directory" if entry.folder else "file"
        lfs = {"oid": entry.sha256, "sha256": entry.sha256, "size": entry.size, "pointerSize": 130}
        row = {"type": kind, "oid": entry.oid, "size": entry.size, "path": path}
        rows.append(row | ({"lfs": lfs} if entry.sha256 else {}))
    return rows


def _tree(call: Call, kind: str, name: str, revision: str, path: str = "") -> Answer:
    repository = readable(call, kind, name)
    commit = commit_of(repository, revision)
    entries = repository.tree(commit)
    path = path.rstrip("/")
    if path and not (path in entries and entries[path].folder):
        raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound")
    inside = f"{path}/" if path else ""
    deep = call.query.get("recursive", [""])[0].lower() in ("true", "1")
    found = {
        one: entry
        for one, entry in entries.items()
        if one.startswith(inside) and (deep or "/" not in one[len(inside) :])
    }
    return as_json(_rows(found))


def _paths_info(call: Call, kind: str, name: str, revision: str) -> Answer:
    repository = readable(call, kind, name)
    entries = repository.tree(commit_of(repository, revision))
    form = call.headers.get_content_type() == "application/x-www-form-urlencoded"
    asked = call.json["paths"] if not form else parse_qs(call.body.decode())["paths"]
    return as_json(_rows({path: entries[path] for path in asked if path in entries}))


def _resolve(call: Call, kind: str, name: str, revision: str, path: str) -> Answer:
    repository = readable(call, kind, name)
    commit = commit_of(repository, revision)
    entry = repository.tree(commit).get(path)
    at = {"X-Repo-Commit": commit}
    if entry is None or entry.folder:
        raise HubError(404, "Entry not found", "EntryNotFound", at)
    content = repository.content(entry)
    shown = f"attachment; filename*=UTF-8''{quote(Path(path).name)}"
    headers = {
        **at,
        "ETag": f'"{entry.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": shown,
    }
    if entry.sha256:
        headers |= {"X-Linked-ETag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("Range", ""))
    if not wanted or wanted.groups() == ("", ""):
        return Answer(content, 200, headers)
    return _part(content, headers, wanted[1], wanted[2])


def _part(content: bytes, headers: dict[str, str], first: str, last: str) -> Answer:
    """Some bytes of a file: from ``first`` to ``last``, or its ``last`` ones (RFC 9110, 14.1.2)."""
    size = len(content)
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        whole = {"Content-Range": f"bytes */{size}"}
        raise HubError(416, "The range is outside of the file", headers=whole)
    where = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(content[start : end + 1], 206, headers | where)


def _route(
    method: str, template: str, endpoint: Callable[..., Answer]
) -> tuple[str, re.Pattern[str], Callable[..., Answer]]:
    """A template in which {name} is owner/name, {path} any path, and the others one segment."""
    for part, pattern in _PARTS.items():
        template = template.replace(f"{{{part}}}", f"(?P<{part}>{pattern})")
    return method, re.compile(template), endpoint


_PARTS = {
    "kind": "datasets|models|spaces",
    "name": NAME,
    "revision": "[^/]+",
    "path": ".+",
    "oid": "[0-9a-f]{64}",
}
_API = "/api/{kind}/{name}"
_ROUTES = [
    _route("GET", "/api/whoami-v2", _whoami),
    _route("POST", "/api/repos/create", hub_writing.create),
    _route("DELETE", "/api/repos/delete", hub_writing.delete),
    _route("POST", "/api/validate-yaml", hub_writing.validate),
    _route("GET", _API, _info),
    _route("GET", _API + "/revision/{revision}", _info),
    _route("GET", _API + "/refs", _refs),
    _route("GET", _API + "/commits/{revision}", _commits),
    _route("GET", _API + "/tree/{revision}(?:/{path})?", _tree),
    _route("POST", _API + "/paths-info/{revision}", _paths_info),
    _route("POST", _API + "/preupload/{revision}", hub_writing.preupload),
    _route("POST", _API + "/commit/{revision}", hub_writing.commit),
    _route("POST", _API + "/tag/{revision}", hub_writing.tag),
    _route("DELETE", _API + "/tag/{revision}", hub_writing.delete_tag),
    _route("POST", _API + "/branch/{revision}", hub_writing.branch),
    _route("DELETE", _API + "/branch/{revision}", hub_writing.delete_branch),
    _route("GET", "/{kind}/{name}/resolve/{revision}/{path}", _resolve),
    _route("GET", "/{name}/resolve/{revision}/{path}", partial(_resolve, kind="models")),
    _route("POST", "/{kind}/{name}\\.git/info/lfs/objects/batch", hub_writing.lfs_batch),
    _route("POST", "/lfs/{kind}/{name}/verify", hub_writing.lfs_verify),
    _route("PUT", "/lfs/{kind}/{name}/{oid}", hub_writing.lfs_put),
]
