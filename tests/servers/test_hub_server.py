"""The loopback Hub, as the real clients see it: each in a process, with a home, of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.servers.hub import Fault, Hub
from tests.servers.hub_client import Server, ask, client, environment, process, release, rows

REPO = "org/dialogs"
HF = str(Path(sys.executable).with_name("hf"))
PUBLISH = """
repo, releases = sys.argv[1], json.loads(open(sys.argv[2]).read())
api.create_repo(repo, **dataset)
api.create_repo(repo, exist_ok=True, **dataset)
first = api.dataset_info(repo).sha
said = {"created twice": status(api.create_repo, repo, **dataset), "commits": [first]}
for version, files in releases.items():
    said["commits"].insert(0, commit(repo, files, parent=said["commits"][0]))
    api.create_tag(repo, tag="v" + version, revision=said["commits"][0], **dataset)
said["second tag"] = status(api.create_tag, repo, tag="v1.0.0", **dataset)
said["stale parent"] = status(commit, repo, {"stale.txt": "x"}, parent=first)
said["refs"] = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo, **dataset).tags}
said["listed"] = [one.commit_id for one in api.list_repo_commits(repo, **dataset)]
many = {f"part/{n:03}.txt": str(n) for n in range(600)}
api.create_branch(repo, branch="many", **dataset)
api.create_commit(repo, [Add(path, text.encode()) for path, text in many.items()],
                  commit_message="600", revision="many", **dataset)
said["many"] = len(api.list_repo_files(repo, revision="many", **dataset))
said["bad card"] = status(commit, repo, {"README.md": "---\\nlicense: [1]\\n---\\n"})
print(json.dumps(said))
"""
LOAD = """
import datasets
said = {}
for tag in ("v1.0.0", "v1.1.0"):
    said[tag] = [
        list(datasets.load_dataset(sys.argv[1], split="train", revision=tag, streaming=streaming))
        for streaming in (False, True)
    ]
print(json.dumps(said))
"""
READ = """
import pathlib
repo = sys.argv[1]
folder = pathlib.Path(api.snapshot_download(repo, revision="v1.0.0", **dataset))
file = api.hf_hub_download(repo, "data/train-1.jsonl", revision="v1.1.0", **dataset)
infos = api.get_paths_info(repo, ["data", "README.md", "none"], revision="v1.0.0", **dataset)
print(json.dumps({
    "snapshot": {str(path.relative_to(folder)): path.open(newline="").read()
                 for path in folder.rglob("*") if path.is_file()},
    "file": open(file, newline="").read(),
    "files": api.list_repo_files(repo, revision="v1.0.0", **dataset),
    "infos": [info.path for info in infos],
    "top": [entry.path for entry in api.list_repo_tree(repo, **dataset)],
    "exists": [api.file_exists(repo, name, **dataset) for name in ("README.md", "none")],
    "no revision": status(api.dataset_info, repo, revision="v9.9.9"),
    "no folder": status(lambda: list(api.list_repo_tree(repo, "none", **dataset))),
    "no file": status(api.hf_hub_download, repo, "none", **dataset),
    "no repository": status(api.dataset_info, "org/none"),
}))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(place: Path) -> Iterator[Hub]:
    with Hub(place / "hub") as server:
        yield server


@pytest.fixture(scope="module")
def said(hub: Hub, place: Path) -> Any:
    """What the client saw that published two releases and then did all that is refused."""
    releases = place / "releases.json"
    releases.write_text(json.dumps({version: release(version) for version in ("1.0.0", "1.1.0")}))
    return client(hub.url, place / "publisher", PUBLISH, REPO, str(releases))


@pytest.fixture(scope="module")
def loaded(hub: Hub, said: Any, place: Path) -> Any:
    """The rows at both tags, and again the rows as a stream."""
    return client(hub.url, place / "loader", LOAD, REPO)


@pytest.fixture(scope="module")
def read(hub: Hub, said: Any, place: Path) -> Any:
    return client(hub.url, place / "reader", READ, REPO)


def test_commits_and_tags_are_those_the_client_made(hub: Hub, said: Any) -> None:
    assert [commit.id for commit in hub.commits(REPO)] == said["commits"] == said["listed"]
    tags = {"v1.0.0": said["commits"][1], "v1.1.0": said["commits"][0]}
    assert hub.tags(REPO) == said["refs"] == tags
    files = {path: text.encode() for path, text in release("1.0.0").items()}
    assert hub.files(REPO, "v1.0.0") == {".gitattributes": b"* -text\n", **files}


def test_what_the_hub_refuses_is_refused_as_the_hub_does(hub: Hub, said: Any) -> None:
    assert said["created twice"] == ["HfHubHTTPError", 409]
    assert said["second tag"] == ["HfHubHTTPError", 409]
    assert said["stale parent"] == ["HfHubHTTPError", 412]
    assert said["bad card"] == ["ValueError", 0]
    assert "stale.txt" not in hub.files(REPO)


def test_600_files_are_one_commit(hub: Hub, said: Any) -> None:
    newest, *older = hub.commits(REPO, "many")
    assert [commit.id for commit in older] == said["commits"]
    assert len(newest.files) == said["many"] == len(older[0].files) + 600


def test_both_tags_load_streaming_and_not(loaded: Any) -> None:
    assert loaded == {f"v{one}": [rows(one), rows(one)] for one in ("1.0.0", "1.1.0")}


def test_downloads_and_lists_are_those_of_the_revision(read: Any) -> None:
    files = {".gitattributes": "* -text\n", **release("1.0.0")}
    assert read["snapshot"] == files
    assert read["file"] == release("1.1.0")["data/train-1.jsonl"]
    assert sorted(read["files"]) == sorted(files)
    assert sorted(read["infos"]) == ["README.md", "data"]
    assert read["top"] == [".gitattributes", "README.md", "data"]
    assert read["exists"] == [True, False]


def test_what_is_not_there_has_the_client_s_own_error(read: Any) -> None:
    assert read["no revision"] == ["RevisionNotFoundError", 404]
    assert read["no folder"] == ["RemoteEntryNotFoundError", 404]
    assert read["no file"] == ["RemoteEntryNotFoundError", 404]
    assert read["no repository"] == ["RepositoryNotFoundError", 404]


def test_git_finds_no_fault_with_the_folder_and_the_mirror_has_the_same_commits(
    hub: Hub, said: Any, place: Path
) -> None:
    subprocess.run(
        ["git", "-C", str(hub.repository(REPO).folder), "fsck", "--full", "--strict"], check=True
    )
    for _ in range(2):  # made, and renewed
        hub.mirror(REPO, place / "mirror")
    shown = subprocess.run(
        ["git", "-C", str(place / "mirror"), "log", "--format=%H", "v1.1.0"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.split() == said["commits"]


SIZE = len(release("1.0.0")["README.md"])


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-0", 206, range(1)),
        ("bytes=3-", 206, range(3, SIZE)),
        ("bytes=-5", 206, range(SIZE - 5, SIZE)),
        ("bytes=2-999999", 206, range(2, SIZE)),
        ("lines=1-2", 200, range(SIZE)),
        ("bytes=999999-", 416, None),
    ],
)
def test_a_range_of_a_file(
    hub: Hub, said: Any, wanted: str, status: int, part: range | None
) -> None:
    answer, body = ask(hub, "GET", f"/datasets/{REPO}/resolve/v1.0.0/README.md", range=wanted)
    assert answer.status == status
    if part is None:
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    else:
        assert body == release("1.0.0")["README.md"].encode()[part.start : part.stop]
        shown = f"bytes {part.start}-{part.stop - 1}/{SIZE}" if status == 206 else None
        assert answer.headers["Content-Range"] == shown


TOKENS = """
repo, token, read_token = "org/private", *sys.argv[1:]
api.create_repo(repo, private=True, token=token, **dataset)
said = {}
for name, one in (("write", token), ("read", read_token), ("none", False), ("unknown", "hf_x")):
    said[name] = [
        status(api.dataset_info, repo, token=one),
        status(api.create_commit, repo, [Add("a", b"a")], commit_message="a", token=one, **dataset),
        status(api.create_repo, f"org/{name}", token=one, **dataset),
    ]
print(json.dumps(said))
"""


def test_tokens_open_what_they_should_and_are_kept_nowhere(hub: Hub, place: Path) -> None:
    said = client(hub.url, place / "tokens", TOKENS, hub.token, hub.read_token)
    hidden = ["RepositoryNotFoundError", 401]
    unknown, forbidden = ["HfHubHTTPError", 401], ["HfHubHTTPError", 403]
    assert said == {
        "write": ["fine", "fine", "fine"],
        "read": ["fine", forbidden, forbidden],
        "none": [hidden, hidden, unknown],
        "unknown": [unknown, unknown, unknown],
    }
    assert "hf_" not in str(hub.requests)
    kept = subprocess.run(["grep", "-rl", hub.token, str(place / "hub")], capture_output=True)
    assert not kept.stdout


def test_the_command_line_publishes_and_verifies(hub: Hub, place: Path) -> None:
    folder, home = place / "cli", place / "cli-home"
    for path, text in release("1.0.0").items():
        (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / path).write_text(text, newline="")

    def hf(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HF, *arguments], env=environment(hub.url, home), capture_output=True, text=True
        )

    where = ("org/cli", "--repo-type", "dataset")
    at = (*where, "--revision", "v1", "--local-dir", str(folder / "got"))
    assert "loopback" in hf("auth", "whoami").stdout
    assert "org/cli" in hf("repos", "create", *where).stdout
    assert hf("upload", "org/cli", str(folder / "source"), ".", *where[1:]).returncode == 0
    assert hf("repos", "tag", "create", "org/cli", "v1", *where[1:]).returncode == 0
    assert "v1" in hf("repos", "tag", "list", *where).stdout
    assert hf("download", *at).returncode == 0
    assert hub.files("org/cli", "v1")["README.md"] == (folder / "got/README.md").read_bytes()
    assert "All checksums match" in hf("cache", "verify", *at).stdout
    hub.faults.append(Fault("GET", r".*/train-1\.jsonl", "digest"))
    (folder / "got/data/train-1.jsonl").unlink()
    assert hf("download", *at, "--force-download").returncode == 0
    wrong = hf("cache", "verify", *at)
    assert wrong.returncode == 1
    assert "train-1.jsonl" in wrong.stdout + wrong.stderr


LFS = """
import datasets
repo, text = "org/large", json.dumps({"id": "1", "content": "x" * 5000}) + "\\n"
api.create_repo(repo, **dataset)
commit(repo, {"data/train-0.jsonl": text})
commit(repo, {"data/train-0.jsonl": text, "copy.jsonl": text, "small.txt": "s"})
datasets.Dataset.from_dict({"id": ["2"] * 100}).push_to_hub(repo, "pushed")
print(json.dumps({
    "lfs": [one.path for one in api.list_repo_tree(repo, recursive=True, **dataset)
            if getattr(one, "lfs", None)],
    "file": open(api.hf_hub_download(repo, "copy.jsonl", **dataset)).read() == text,
    "rows": datasets.load_dataset(repo, "pushed", split="train")["id"][:],
    "streamed": len(list(datasets.load_dataset(repo, "pushed", split="train", streaming=True))),
}))
"""


def test_large_files_go_through_lfs_and_once_each(place: Path) -> None:
    with Hub(place / "large", lfs=True) as hub:
        said = client(hub.url, place / "lfs", LFS, HF_HUB_DISABLE_XET="1")
        sent = [request.path for request in hub.requests if request.method == "PUT"]
        entries = hub.repository("org/large").tree(hub.commits("org/large")[0].id)
    pushed = "pushed/train-00000-of-00001.parquet"
    assert sorted(said["lfs"]) == ["copy.jsonl", "data/train-0.jsonl", pushed]
    assert said["file"]
    assert said["rows"] == ["2"] * 100
    assert said["streamed"] == 100
    stored = {entry.sha256 for entry in entries.values() if entry.sha256}
    assert sorted(path.rpartition("/")[2] for path in sent) == sorted(stored)


OLAH = Path(os.environ.get("OLAH_PYTHON") or ROOT / ".venv-olah/bin/python")
OLAH_SETTINGS = """
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{folder}/cache"
mirrors-path = ["{folder}/mirrors"]
[accessibility]
offline = true
"""


@pytest.mark.skipif(not OLAH.exists(), reason=f"{OLAH} is not there: make olah, or OLAH_PYTHON")
def test_olah_serves_from_a_mirror_what_the_hub_serves(hub: Hub, loaded: Any, place: Path) -> None:
    folder = place / "olah"
    hub.mirror(REPO, folder / "mirrors/datasets" / REPO)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = folder / "olah.toml"
    settings.write_text(OLAH_SETTINGS.format(port=port, folder=folder))
    url = f"http://127.0.0.1:{port}"
    logs = ("--log-path", str(folder / "logs"))
    with process("olah.server", "--config", str(settings), *logs, python=str(OLAH)) as server:
        wait_for(port, server)
        assert client(url, place / "olah-reader", LOAD, REPO, HF_TOKEN="") == loaded


def wait_for(port: int, server: Server) -> None:
    """Return when the server listens."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise ChildProcessError("the server ended before it listened")
