"""Publishing to a loopback Hub with the real client; kills are in ``test_publish_kills.py``."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from huggingface_hub import HfApi

from tests.servers.hub import Hub
from tests.ultra.conftest import (
    REPO,
    add_file,
    environment,
    local_files,
    release_of,
    row,
    run,
    send,
    state,
)
from ultra import hub, jsonl, release

HOSTILE = [
    "a\u2028b\u2029c\x85d",
    '"\'\\"',
    "1\n2\r\n3\r",
    "\U0001f468\u200d\U0001f469",
    "\0\x1b[2J",
    "",
]


# What a publish does


def test_each_release_is_one_commit_under_its_tag(server: Hub, first: Path, second: Path) -> None:
    send(server, first)
    send(server, second)
    newest, oldest, made = server.commits(REPO)
    assert (newest.message.split("\n")[0], oldest.message.split("\n")[0]) == (
        "sharegpt 1.1.0",
        "sharegpt 1.0.0",
    )
    assert server.tags(REPO) == {"v1.0.0": oldest.id, "v1.1.0": newest.id}
    ours = {".gitattributes": server.files(REPO, made.id)[".gitattributes"]}
    assert server.files(REPO, "v1.0.0") == local_files(first) | ours
    assert server.files(REPO, "v1.1.0") == server.files(REPO, "main") == local_files(second) | ours


def test_the_commit_deletes_what_only_an_earlier_release_had_and_leaves_other_files_alone(
    server: Hub,
    tmp_path: Path,
    second: Path,
    api: HfApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(release, "SHARD_BYTES", 1)
        send(server, release_of(tmp_path / "many", [row(number) for number in range(3)]))
    for path in ("LICENSE", "data/all/stray.jsonl", "dataset.png"):
        add_file(api, path)
    send(server, second)
    kept = {".gitattributes", "LICENSE", "dataset.png"}
    assert set(server.files(REPO)) == set(local_files(second)) | kept
    assert len(server.commits(REPO)) == 1 + 1 + 3 + 1
    assert "  delete  data/all/train-00002-of-00003.jsonl\n" in capsys.readouterr().err


def test_files_that_did_not_change_are_not_sent_again(
    server: Hub, tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(server, first)
    capsys.readouterr()
    send(server, release_of(tmp_path / "same-rows", [row(1), row(2)], "1.0.1"))
    assert "  commit  2 of 3 files, " in capsys.readouterr().err  # the card and the manifest


def test_six_hundred_files_are_one_commit(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "SHARD_BYTES", 1)
    path = release_of(tmp_path / "many", [row(number) for number in range(600)])
    send(server, path)
    assert len(server.commits(REPO)) == 2  # that of the Hub's own, which makes the repository
    assert len(server.files(REPO, "v1.0.0")) == 600 + 2 + 1


def test_a_repository_is_made_private_if_asked(server: Hub, first: Path) -> None:
    send(server, first, private=True)
    assert server.repository(REPO).private


def test_the_end_says_where_it_is_and_how_to_load_it(
    server: Hub, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(server, first)
    out, err = capsys.readouterr()
    assert (
        f"published sharegpt 1.0.0 as org/talks v1.0.0, commit {server.commits(REPO)[0].id}" in out
    )
    assert 'release.load("org/talks", "1.0.0")' in out
    assert "  commit  3 of 3 files, " in err


# A dry run


def test_a_dry_run_tells_all_and_changes_nothing(
    server: Hub, first: Path, second: Path, api: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    send(server, first)
    add_file(api, "data/all/stray.jsonl")
    before = state(server)
    server.requests.clear()
    capsys.readouterr()
    send(server, second, dry_run=True)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "sharegpt 1.1.0 to org/talks"
    assert lines[1].startswith("  commit  3 of 3 files, ")
    assert lines[1].endswith(f"B, after {before[0][0]}")
    assert lines[2:] == [
        "  delete  data/all/stray.jsonl",
        "  tag     v1.1.0",
        "a dry run: nothing was changed",
    ]
    assert {request.method for request in server.requests} <= {"GET", "HEAD"}
    assert state(server) == before


def test_a_dry_run_does_not_even_make_the_repository(
    server: Hub, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(server, first, dry_run=True)
    assert "the first of a new repository" in capsys.readouterr().err
    assert not server.repository(REPO).folder.exists()


# In processes of their own


LOAD = """
import sys, orjson, warnings
from datasets import load_dataset
for version in ("1.0.0", "1.1.0"):
    for streaming in (False, True):
        rows = load_dataset(
            "org/talks", "all", split="train", revision=f"v{version}", streaming=streaming
        )
        print(orjson.dumps([version, list(rows)]).decode())
"""


def test_both_versions_load_by_revision_and_equal_the_local_rows(
    server: Hub, tmp_path: Path
) -> None:
    long = '\u2028é"\n' * 250_000
    rows = {
        "1.0.0": [row(number, text) for number, text in enumerate([*HOSTILE, long])],
        "1.1.0": [row(number, text * 2) for number, text in enumerate(HOSTILE)],
    }
    for version, members in rows.items():
        send(server, release_of(tmp_path / version, members, version))
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=tmp_path,
        env=environment(server, tmp_path / "home"),
        capture_output=True,
        check=True,
    )
    loaded = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [version for version, _ in loaded] == ["1.0.0", "1.0.0", "1.1.0", "1.1.0"]
    for version, found in loaded:
        local = next((tmp_path / version / "data").rglob("*.jsonl"))
        assert found == rows[version] == list(jsonl.read(local))


def test_large_files_go_to_the_store_of_large_files(tmp_path: Path, first: Path) -> None:
    path = release_of(tmp_path / "large", [row(1, "x" * 3_000_000)])
    with Hub(tmp_path / "hub", lfs=True) as server:
        code, said = run(server, tmp_path / "home", path, HF_HUB_DISABLE_XET="1")
        assert code == 0, said
        entry = server.repository(REPO).tree(server.tags(REPO)["v1.0.0"])
        assert entry["data/all/train-00000-of-00001.jsonl"].sha256
        assert set(local_files(path).items()) < set(server.files(REPO, "v1.0.0").items())
        before = state(server)
        code, said = run(server, tmp_path / "home", path, HF_HUB_DISABLE_XET="1")
        assert (code, said) == (0, "org/talks: holds sharegpt 1.0.0 already, as v1.0.0\n")
        assert state(server) == before


def test_errors_are_one_line(server: Hub, tmp_path: Path, first: Path) -> None:
    code, said = run(server, tmp_path / "home", first, HF_TOKEN="")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: no token for the Hub")


def test_importing_it_imports_no_client() -> None:
    code = "import sys, ultra.hub; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_git_names_content_as_we_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello\n")
    assert hub._git_blob(file) == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
