"""Inputs on the Hub, from a cache that is laid out by hand."""

import os
from pathlib import Path

import orjson
import pytest

from datasets_scripts.sharegpt import inputs
from datasets_scripts.sharegpt.build import VERSION, Settings, build
from tests.datasets_scripts.sharegpt.raw import (
    PAGE,
    PLAIN,
    ROWS,
    TWO,
    ids,
    read_all,
)
from ultra import release
from ultra.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hub with one dataset in it, and no network; returns its snapshot."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    dataset = tmp_path / "hub" / "datasets--org--talks"
    snapshot = dataset / "snapshots" / COMMIT
    files = {"part/x.html": PAGE, "dumps/y.json": orjson.dumps(TWO[1:])}
    for number, (name, raw) in enumerate(files.items()):
        blob = dataset / "blobs" / f"{number:040x}"
        for path in (blob, snapshot / name):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(raw)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    for ref in ("main", "v1", "refs/pr/12", "refs/convert/parquet", "by/hand"):
        (dataset / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (dataset / "refs" / ref).write_text(COMMIT)
    return snapshot


@pytest.mark.parametrize(
    ("address", "inside", "wanted"),
    [
        ("hf://datasets/org/talks", "", ["b", "a"]),
        ("hf://datasets/org/talks@v1", "", ["b", "a"]),
        (f"hf://datasets/org/talks@{COMMIT}", "", ["b", "a"]),
        ("hf://datasets/org/talks@refs/pr/12", "", ["b", "a"]),
        ("hf://datasets/org/talks@refs/pr/12/part", "part", ["a"]),
        ("hf://datasets/org/talks@refs/convert/parquet/dumps/y.json", "dumps/y.json", ["b"]),
        ("hf://datasets/org/talks@refs%2Fpr%2F12/part", "part", ["a"]),
        ("hf://datasets/org/talks@by%2Fhand/part", "part", ["a"]),
        ("hf://datasets/org/talks/part", "part", ["a"]),
        ("hf://datasets/org/talks/part/", "part", ["a"]),
        ("hf://datasets/org/talks@main/dumps/y.json", "dumps/y.json", ["b"]),
    ],
)
def test_an_address_on_the_hub_is_a_path_in_the_cache(
    address: str, inside: str, wanted: list[str], hub: Path
) -> None:
    path, origin = inputs.fetch(address)
    assert path == hub / inside
    assert origin == {"address": address, "commit": COMMIT}
    assert sorted(ids(read_all(path)[0])) == sorted(wanted)


@pytest.mark.parametrize(
    "address",
    [
        "hf://org/talks",
        "hf://datasets/talks",
        "hf://datasets/",
        "hf://models/org/talks",
        "hf://datasets/org/talks@",
        "hf://",
    ],
)
def test_an_address_of_another_form_is_an_error_that_shows_the_form(address: str) -> None:
    with pytest.raises(InputError, match="not of the form hf://datasets/org/name@revision/path"):
        inputs.fetch(address)


@pytest.mark.parametrize(
    "address",
    [
        "hf://datasets/org/nothing",
        "hf://datasets/org/talks@v2",
        "hf://datasets/org/--bad..name--",
    ],
)
def test_what_is_not_there_on_the_hub_is_one_clear_line(address: str, hub: Path) -> None:
    with pytest.raises(InputError) as caught:
        inputs.fetch(address)
    assert str(caught.value).startswith(f"{address}: cannot be downloaded (")
    assert "\n" not in str(caught.value)


def test_a_path_that_the_dataset_does_not_have_is_an_error(hub: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder|cannot be downloaded"):
        read_all(inputs.fetch("hf://datasets/org/talks/nowhere")[0])


def test_any_other_address_is_a_path(tmp_path: Path) -> None:
    assert inputs.fetch(str(tmp_path / "x")) == (tmp_path / "x", {})


def test_a_build_from_the_hub_says_from_which_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "datasets--org--talks" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "x.json").write_bytes(orjson.dumps(ROWS))
    refs = tmp_path / "hub" / "datasets--org--talks" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    address = "hf://datasets/org/talks"
    settings = Settings(address, tmp_path / "out", **PLAIN)
    made = release.verify(build(settings))
    assert made["input"]["address"] == address
    assert made["input"]["commit"] == "a" * 40
    assert made["input"]["conversations"] == len(ROWS)
    assert build(settings) == tmp_path / "out" / f"sharegpt-{VERSION}"
