"""What goes wrong between the loopback Hub and its clients, and what it keeps."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.hub import Fault, Hub
from tests.servers.hub_client import ask, client, process

REPO = "org/faulty"
CREATE = """
repo = "org/faulty"
api.create_repo(repo, **dataset)
print(json.dumps(commit(repo, {"big.txt": "x" * 10**6})))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub-faults")


@pytest.fixture(scope="module")
def hub(place: Path) -> Iterator[Hub]:
    """A Hub with one repository, of two commits."""
    with Hub(place / "hub") as server:
        client(server.url, place / "maker", CREATE)
        yield server


FAULTS = """
repo = "org/faulty"
said = [status(commit, repo, {f"{n}.txt": "x"}) for n in range(5)]
said.append(len(open(api.hf_hub_download(repo, "big.txt", **dataset)).read()))
said.append(status(api.dataset_info, repo, timeout=0.2))
print(json.dumps(said))
"""


def test_each_fault_is_met_by_the_client(hub: Hub, place: Path) -> None:
    sending = f"/api/datasets/{REPO}/commit/main"
    hub.requests.clear()
    hub.faults += [
        Fault("POST", r".*/preupload/main", "429", seconds=0),
        Fault("POST", sending, "500"),
        Fault("POST", sending, "412"),
        Fault("POST", sending, "cut"),
        Fault("POST", sending, "lost"),
        Fault("GET", r".*/resolve/.*/big\.txt", "cut"),
        Fault("GET", f"/api/datasets/{REPO}", "slow", seconds=60),
    ]
    said = client(hub.url, place / "faults", FAULTS)
    asked = [request.path for request in hub.requests if request.method != "HEAD"]
    made = [commit.files[1:] for commit in hub.commits(REPO)]
    error, broken = "HfHubHTTPError", ["ReadError", "WriteError", "RemoteProtocolError"]
    assert said[:2] == [[error, 500], [error, 412]]
    assert said[2][0] in broken
    assert said[3][0] in broken
    assert said[4:] == ["fine", 10**6, ["ReadTimeout", 0]]
    assert not hub.faults
    assert made == [["3.txt", "4.txt", "big.txt"], ["3.txt", "big.txt"], ["big.txt"], []]
    assert sum("preupload" in path for path in asked) == 5 + 1  # one again, after the 429
    assert sum("big.txt" in path for path in asked) == 2  # again, after the cut


def test_half_a_commit_is_none_even_if_its_lines_are_whole(hub: Hub) -> None:
    before = hub.commits(REPO)
    lines = b'{"key": "header", "value": {"summary": "half"}}\n{"key": "file", "value": '
    lines += b'{"path": "half.txt", "content": "", "encoding": "base64"}}\n'
    head = (
        f"POST /api/datasets/{REPO}/commit/main HTTP/1.1\r\nHost: hub\r\n"
        f"Authorization: Bearer {hub.token}\r\nContent-Length: {2 * len(lines)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", hub.server_port)) as connection:
        connection.sendall(head.encode() + lines)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""  # closed without a word
    assert hub.commits(REPO) == before


def test_of_many_commits_on_one_parent_one_is_made(hub: Hub) -> None:
    path = f"/api/datasets/{REPO}/commit/main"
    parent = hub.commits(REPO)[0].id
    header = {"key": "header", "value": {"summary": "race", "parentCommit": parent}}

    def send(number: int) -> int:
        file = {"path": "race.txt", "content": f"{number:04}", "encoding": "base64"}
        lines = "\n".join(json.dumps(one) for one in (header, {"key": "file", "value": file}))
        return ask(hub, "POST", path, lines, authorization=f"Bearer {hub.token}")[0].status

    with ThreadPoolExecutor(8) as senders:
        assert sorted(senders.map(send, range(8))) == [200] + 7 * [412]
    newest, before, *_ = hub.commits(REPO)
    assert (newest.message, before.id) == ("race", parent)


@pytest.mark.parametrize(
    "path", ["../up", "/root", "a//b", "a/", "a/../b", ".git/config", "nul\0", "", "\ud800"]
)
def test_a_path_that_git_would_refuse_is_no_commit(hub: Hub, path: str) -> None:
    before = hub.commits(REPO)
    header = {"key": "header", "value": {"summary": "bad"}}
    file = {"path": path, "content": "", "encoding": "base64"}
    lines = "\n".join(json.dumps(one) for one in (header, {"key": "file", "value": file}))
    address = f"/api/datasets/{REPO}/commit/main"
    assert ask(hub, "POST", address, lines, authorization=f"Bearer {hub.token}")[0].status == 400
    assert hub.commits(REPO) == before


KEEP = """
repo = "org/kept"
api.create_repo(repo, exist_ok=True, **dataset)
for name in sys.argv[1:]:
    api.create_tag(repo, tag=name, revision=commit(repo, {f"{name}.txt": name}), **dataset)
print(json.dumps([api.list_repo_files(repo, **dataset), api.dataset_info(repo).sha]))
"""


def test_a_server_that_is_killed_and_started_again_has_all_it_had(place: Path) -> None:
    folder = place / "kept"
    with process("tests.servers.hub", "--folder", str(folder)) as server:
        assert server.stdout
        url = server.stdout.readline().strip()
        before = client(url, place / "keeper", KEEP, "v1", "v2")
        server.kill()
    with Hub(folder) as hub:
        assert client(hub.url, place / "keeper", KEEP) == before
        files, head = client(hub.url, place / "keeper", KEEP, "v3")
        assert files == [".gitattributes", "v1.txt", "v2.txt", "v3.txt"]
        assert [commit.id for commit in hub.commits("org/kept")][:2] == [head, before[1]]
        assert hub.tags("org/kept").keys() == {"v1", "v2", "v3"}
