"""The endpoints of the loopback Hub that make or change something."""

import base64
import hashlib
import json
import re
import shutil
import uuid

import yaml

from tests.servers.hub_calls import (
    NAME,
    Answer,
    Call,
    HubError,
    Json,
    as_json,
    card_data,
    commit_of,
    require_write,
    web_prefix,
    writable,
)
from tests.servers.hub_store import AUTHOR, Repository

STALE = "A commit has happened since. Please refresh and try again."
LFS_BYTES = 1000
"""From here on content goes to LFS where it is on; the real Hub draws the line at 10 MB."""
_SIZES = [
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "1B<n<10B",
    "10B<n<100B",
    "100B<n<1T",
    "n>1T",
]
"""The size categories of a dataset card, as the Hub's documentation of cards lists them."""
_CARD_STRINGS = ("license", "language", "pretty_name", "tags", "task_categories", "size_categories")


def create(call: Call) -> Answer:
    require_write(call)
    kind = f"{call.json.get('type') or 'model'}s"
    name = f"{call.json.get('organization') or AUTHOR}/{call.json['name']}"
    if not re.fullmatch(f"(datasets|models|spaces)/{NAME}", f"{kind}/{name}"):
        raise HubError(400, f"Invalid repository name: {name}")
    private = call.json.get("visibility") == "private" or bool(call.json.get("private"))
    said = {"url": f"{call.site.url}/{web_prefix(kind)}{name}", "name": name, "id": name}
    with call.site.lock:
        if call.site.path(kind, name).exists():
            error = "You already created this repo"
            return as_json({"error": f"{error}: {name}", **said}, 409)
        call.site.path(kind, name).parent.mkdir(parents=True, exist_ok=True)
        Repository.create(call.site.path(kind, name), private)
    return as_json(said)


def delete(call: Call) -> Answer:
    kind = f"{call.json.get('type') or 'model'}s"
    name = f"{call.json.get('organization') or AUTHOR}/{call.json['name']}"
    folder = writable(call, kind, name).folder
    gone = folder.rename(folder.with_suffix(f".{uuid.uuid4().hex}"))  # for readers, at once
    shutil.rmtree(gone)
    return as_json({})


def tag(call: Call, kind: str, name: str, revision: str) -> Answer:
    return _new_ref(call, writable(call, kind, name), "tags", (call.json["tag"], revision))


def branch(call: Call, kind: str, name: str, revision: str) -> Answer:
    start = call.json.get("startingPoint") or "main"
    return _new_ref(call, writable(call, kind, name), "heads", (revision, start))


def _new_ref(call: Call, repository: Repository, kind: str, ref: tuple[str, str]) -> Answer:
    name, revision = ref
    commit = commit_of(repository, revision)
    with call.site.lock:
        if name in repository.refs(kind):
            raise HubError(409, f"Reference already exists: {name}")
        repository.set_ref(kind, name, commit)
    return as_json({})


def delete_tag(call: Call, kind: str, name: str, revision: str) -> Answer:
    return _delete_ref(call, writable(call, kind, name), "tags", revision)


def delete_branch(call: Call, kind: str, name: str, revision: str) -> Answer:
    return _delete_ref(call, writable(call, kind, name), "heads", revision)


def _delete_ref(call: Call, repository: Repository, kind: str, name: str) -> Answer:
    with call.site.lock:
        if name not in repository.refs(kind):
            raise HubError(404, f"Reference doesn't exist: {name}", "RevisionNotFound")
        repository.delete_ref(kind, name)
    return as_json({})


def validate(call: Call) -> Answer:
    errors = _card_errors(call.json["content"])
    said = {"errors": [{"message": error} for error in errors], "warnings": []}
    return as_json(said, 400 if errors else 200)


def _card_errors(card: str) -> list[str]:
    """Some of what the Hub holds against the YAML of a README.md."""
    try:
        data = card_data(card)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"]
    if not isinstance(data, dict):
        return ["The metadata must be a mapping"]
    errors = []
    for key, value in data.items():
        values = value if isinstance(value, list) else [value]
        if key in _CARD_STRINGS and not all(isinstance(one, str) for one in values):
            errors.append(f'"{key}" must be a string or a list of strings')
        elif key == "size_categories" and not set(values) <= set(_SIZES):
            errors.append(f'"size_categories" must be one of {", ".join(_SIZES)}')
    return errors


def preupload(call: Call, kind: str, name: str, revision: str) -> Answer:
    repository = writable(call, kind, name)
    there = repository.tree(commit_of(repository, revision))
    said = []
    for file in call.json["files"]:
        path, size = file["path"], file["size"]
        large = (size >= LFS_BYTES and path != "README.md") or path.endswith(".parquet")
        mode = "lfs" if call.site.lfs and large else "regular"
        present = there.get(path)
        # By the digest of what is there clients leave out what has not changed.
        oid = {"oid": present.etag} if present and not present.folder else {}
        said.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
    return as_json({"files": said, "commitOid": commit_of(repository, revision)})


def commit(call: Call, kind: str, name: str, revision: str) -> Answer:
    repository = writable(call, kind, name)
    if revision not in repository.refs("heads"):
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if "create_pr" in call.query:
        raise HubError(400, "There are no pull requests here")
    header, *edits = [json.loads(line) for line in call.body.split(b"\n") if line]
    summary, text = header["value"]["summary"], header["value"].get("description")
    added = {
        edit["value"]["path"]: _added(repository, edit["key"], edit["value"])
        for edit in edits
        if edit["key"] in ("file", "lfsFile")
    }
    deleted = [edit for edit in edits if edit["key"] in ("deletedFile", "deletedFolder")]
    with call.site.lock:
        head = repository.refs("heads")[revision]
        if header["value"].get("parentCommit", head) != head:
            raise HubError(412, STALE)
        files = {path: one.oid for path, one in repository.tree(head).items() if not one.folder}
        for edit in deleted:
            _remove(files, edit["value"]["path"], folder=edit["key"] == "deletedFolder")
        message = f"{summary}\n\n{text}" if text else summary
        commit = repository.commit(revision, files | added, message, head)
    url = f"{call.site.url}/{web_prefix(kind)}{name}/commit/{commit}"
    return as_json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


def _added(repository: Repository, key: str, value: Json) -> str:
    if key == "file":
        return repository.add_blob(base64.b64decode(value["content"], validate=True))
    if not repository.lfs(value["oid"]).exists():
        raise HubError(400, f"LFS object {value['oid']} of {value['path']} was not uploaded")
    return repository.add_pointer(value["oid"])


def _remove(files: dict[str, str], path: str, folder: bool) -> None:
    inside = f"{path.rstrip('/')}/"
    gone = [one for one in files if (one.startswith(inside) if folder else one == path)]
    if not gone:
        raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    for one in gone:
        del files[one]


def lfs_batch(call: Call, kind: str, name: str) -> Answer:
    repository = writable(call, kind, name)
    base = f"{call.site.url}/lfs/{kind}/{name}"
    said = []
    for one in call.json["objects"]:
        addresses = {"upload": f"{base}/{one['oid']}", "verify": f"{base}/verify"}
        actions = {action: {"href": address} for action, address in addresses.items()}
        wanted = {} if repository.lfs(one["oid"]).exists() else {"actions": actions}
        said.append({"oid": one["oid"], "size": one["size"], **wanted})
    return as_json({"transfer": "basic", "objects": said})


def lfs_put(call: Call, kind: str, name: str, oid: str) -> Answer:
    """Take content under its digest; like a signed address, this one works without a token."""
    repository = Repository(call.site.path(kind, name))
    if not repository.folder.is_dir() or hashlib.sha256(call.body).hexdigest() != oid:
        raise HubError(400, "The content has another digest than its address")
    repository.add_lfs(call.body)
    return as_json({})


def lfs_verify(call: Call, kind: str, name: str) -> Answer:
    stored = writable(call, kind, name).lfs(call.json["oid"])
    if not stored.exists() or stored.stat().st_size != call.json["size"]:
        raise HubError(404, f"LFS object {call.json['oid']} is not here with this size")
    return as_json({})
