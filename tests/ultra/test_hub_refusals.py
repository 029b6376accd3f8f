"""What is not published, and what the refusal says."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from huggingface_hub import HfApi

from tests.servers.hub import Fault, Hub
from tests.ultra.conftest import REPO, add_file, release_of, row, send, state
from ultra import hub_repository, release
from ultra.errors import InputError, OutputError, SettingError, UltraError
from ultra.hub import Settings, publish
from ultra.prompts import Prompt

# Refusals


def refused(server: Hub, kind: type[UltraError], words: str, path: Path, **options: Any) -> None:
    with pytest.raises(kind, match=words):
        send(server, path, **options)


def test_other_content_under_the_same_version_is_refused(
    server: Hub, first: Path, tmp_path: Path
) -> None:
    send(server, first)
    before = state(server)
    other = release_of(tmp_path / "other", [row(1), row(2, "Changed")])
    refused(server, OutputError, "holds another sharegpt 1.0.0 .* raise the version", other)
    assert state(server) == before


def test_other_content_is_refused_too_if_that_version_waits_for_its_tag(
    server: Hub, first: Path, tmp_path: Path
) -> None:
    server.faults.append(Fault("POST", ".*/tag/.*", "500", times=3))
    refused(server, OutputError, "run the same command again", first)
    other = release_of(tmp_path / "other", [row(1), row(2, "Changed")])
    refused(server, OutputError, "raise the version", other)
    assert len(server.commits(REPO)) == 2


def test_a_commit_by_somebody_else_in_the_meantime_is_refused(
    server: Hub, first: Path, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(server, first, dry_run=False)
    upload = HfApi.preupload_lfs_files

    def meanwhile(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(HfApi, "preupload_lfs_files", upload)
        add_file(api, "LICENSE")
        upload(*args, **options)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", meanwhile)
    newer = release_of(first.with_name("newer"), [row(5)], "1.2.0")
    refused(server, OutputError, "somebody else changed it meanwhile; .* run the same", newer)
    assert "LICENSE" in server.files(REPO)
    assert list(server.tags(REPO)) == ["v1.0.0"]
    send(server, newer)
    assert "v1.2.0" in server.tags(REPO)


def test_a_broken_release_is_refused_before_anything_is_asked(server: Hub, first: Path) -> None:
    next((first / "data").rglob("*.jsonl")).write_bytes(b"{}\n")
    refused(server, InputError, "wrong digest", first)
    assert server.requests == []


@pytest.mark.parametrize("missing", ["corpus", "version", "data_digest"])
def test_a_manifest_that_no_build_wrote_is_refused(server: Hub, first: Path, missing: str) -> None:
    manifest = orjson.loads((first / "manifest.json").read_bytes())
    del manifest[missing]
    (first / "manifest.json").write_bytes(orjson.dumps(manifest))
    refused(server, InputError, f"manifest.json: not as a build writes it .*{missing}", first)


def test_a_version_that_nobody_can_pin_is_refused(server: Hub, tmp_path: Path) -> None:
    refused(
        server, InputError, "not like 1.2.3", release_of(tmp_path / "rc", [row(1)], "1.0.0-rc1")
    )


def test_demo_rows_are_published_only_if_allowed(server: Hub, tmp_path: Path) -> None:
    demo = release_of(tmp_path / "demo", [row(1)], demo=True)
    refused(server, InputError, "--allow-demo", demo)
    send(server, demo, allow_demo=True)
    assert list(server.tags(REPO)) == ["v1.0.0"]


def test_a_missing_token_is_refused(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    refused(server, SettingError, "set HF_TOKEN .* hf auth login", first)


def test_a_token_that_reads_only_is_refused(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", server.read_token)
    refused(server, SettingError, "may not write there; make one that may at", first)
    refused(server, SettingError, "may not write there", first, dry_run=True)


def test_a_token_that_turns_out_to_read_only_is_refused(
    server: Hub, first: Path, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_repo(REPO, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", server.read_token)
    monkeypatch.setattr(hub_repository.Repository, "require_writer", lambda self: None)
    refused(server, SettingError, r"may not write there; .* \(Forbidden: you must use a", first)


def test_an_unknown_token_is_refused_and_not_repeated(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    with pytest.raises(SettingError, match="does not accept the token") as caught:
        send(server, first)
    assert "hf_mistyped" not in str(caught.value)


def test_a_missing_repository_is_made_only_if_asked(server: Hub, first: Path) -> None:
    refused(server, OutputError, "no such dataset repository.*--create", first, create=False)
    refused(server, SettingError, "add --create", first, create=False, private=True)


@pytest.mark.parametrize("name", ["talks", "datasets/org/talks", "https://h/org/talks", "", "org/"])
def test_a_repository_is_named_by_organization_and_name(
    server: Hub, first: Path, name: str
) -> None:
    with pytest.raises(SettingError, match="organization/name"):
        publish(Settings(first, name, endpoint=server.url))


def test_the_address_of_the_hub_may_end_in_a_slash(server: Hub, first: Path) -> None:
    send(server, first, endpoint=f"{server.url}/")
    assert not any(request.path.startswith("//") for request in server.requests)


def test_a_public_repository_is_not_taken_for_a_private_one(server: Hub, first: Path) -> None:
    send(server, first)
    refused(server, OutputError, "is there and public", first, private=True)


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_another_corpus_is_refused(server: Hub, first: Path, tmp_path: Path, version: str) -> None:
    send(server, first)
    rows = [row(1, corpus="ultrachat")]
    other = release_of(tmp_path / "ultrachat", rows, version, corpus="ultrachat")
    refused(server, OutputError, "holds the corpus sharegpt.* choose another for ultrachat", other)


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("train.parquet", b"x", "holds train.parquet but no manifest.json"),
        ("manifest.json", b"{", "its manifest.json is none of a release"),
        ("manifest.json", b"[]", "its manifest.json is none of a release"),
        ("manifest.json", b"{}", "its manifest.json is none of a release"),
    ],
)
def test_a_repository_of_something_else_is_refused(
    server: Hub, first: Path, api: HfApi, path: str, content: bytes, words: str
) -> None:
    api.create_repo(REPO, repo_type="dataset")
    add_file(api, path, content)
    refused(server, OutputError, f"{words}.*choose another", first)


def test_an_older_version_does_not_take_the_place_of_a_newer_one(
    server: Hub, tmp_path: Path
) -> None:
    for version in ("1.9.0", "1.10.0"):
        send(server, release_of(tmp_path / version, [row(1)], version))
    old = release_of(tmp_path / "old", [row(1)], "1.9.1")
    refused(server, OutputError, "has 1.10.0, and 1.9.1 would take its place", old)


def test_a_card_that_the_hub_refuses_is_said_to_be_the_reason(server: Hub, tmp_path: Path) -> None:
    path = tmp_path / "bad-card"
    card = Prompt("card.md", "---\nlicense: [1]\n---\n# Talks\n")
    with release.Writer(path, "sharegpt") as writer:
        writer.add("all", "train", row(1))
        writer.finish({"version": "1.0.0", "steps": []}, card)
    refused(server, OutputError, "Invalid metadata in README.md.*license", path)


def test_offline_is_refused(server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(server, SettingError, "HF_HUB_OFFLINE is set", first)


def test_no_tag_is_set_on_a_commit_that_is_not_what_was_sent(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_commit = HfApi.create_commit
    monkeypatch.setattr(
        HfApi,
        "create_commit",
        lambda self, name, edits, **more: create_commit(self, name, edits[1:], **more),
    )
    refused(server, OutputError, r"data/all/train-00000-of-00001.jsonl differs", first)
    assert server.tags(REPO) == {}
