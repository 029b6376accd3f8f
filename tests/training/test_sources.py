"""Data is found where it is named, held to what it was when found, and mixed by weight."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from datasets import Dataset

from tests.conftest import ROOT
from tests.servers.hub import Hub
from tests.training.tiny import CHATS, chat, write_release
from training import sources
from training.sources import Part, Source
from ultra import files, jsonl, release
from ultra.errors import InputError, SettingError

ROWS = [{"messages": chat("q", "é"), "weight": 0.5}, {"messages": chat("r", "b"), "weight": 1.0}]
LINES = b"".join(map(jsonl.dump, ROWS))


def loaded(dataset: Path | str, **more: Any) -> Dataset:
    part = Part(str(dataset), **more)
    return sources.load(part, sources.locate(part.dataset))


def test_a_release_is_found_by_its_path_and_its_rows_are_as_they_were(tmp_path: Path) -> None:
    path = write_release(tmp_path / "r", CHATS, demo=True)
    digest = release.read_manifest(path)["data_digest"]
    assert sources.locate(str(path)) == Source("sharegpt 1.0.0", digest, demo=True)
    assert list(loaded(path)["messages"]) == CHATS


def test_a_rebuilt_release_is_not_read_from_a_cache(tmp_path: Path) -> None:
    for answer in ("old", "new"):
        path = write_release(tmp_path / "r", [chat("q", answer)])
        assert loaded(path, config="all")[0]["messages"][1]["content"] == answer
        path.rename(tmp_path / answer)


def damage_a_row(path: Path) -> None:
    file = next(path.rglob("train-*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"tea", b"TEA", 1))


def lose_a_file(path: Path) -> None:
    next(path.rglob("train-*.jsonl")).unlink()


def add_a_file(path: Path) -> None:
    (path / "data" / "all" / "train-more.jsonl").write_text("{}\n")


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_a_row, "wrong digest"),
        (lose_a_file, "missing from the release"),
        (add_a_file, "not listed"),
        (lose_the_manifest, "not a complete release"),
    ],
)
def test_a_damaged_release_is_refused(
    tmp_path: Path, harm: Callable[[Path], None], says: str
) -> None:
    path = write_release(tmp_path / "r", CHATS)
    harm(path)
    with pytest.raises(InputError, match=says):
        sources.locate(str(path))


@pytest.mark.parametrize(("config", "split"), [("", "validation"), ("no-such", "train")])
def test_an_unknown_split_or_configuration_of_a_release_is_refused(
    tiny_release: Path, config: str, split: str
) -> None:
    with pytest.raises(InputError, match=config or split) as caught:
        loaded(tiny_release, config=config, split=split)
    assert "\n" not in str(caught.value)


def packed(name: str) -> bytes:
    """The rows as a file of that name holds them."""
    if name.endswith(".parquet"):
        import pyarrow as pa
        from pyarrow import parquet

        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(ROWS), sink)
        return bytes(sink.getvalue())
    plain = json.dumps(ROWS).encode() if ".json" in name and ".jsonl" not in name else LINES
    packing: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
    }
    return packing.get(Path(name).suffix, bytes)(plain)


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.json", "a.parquet", "a.jsonl.gz", "a.json.gz", "a.jsonl.zst", "a [1]*.jsonl"],
)
def test_a_file_loads_whatever_it_is_packed_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(packed(name))
    (tmp_path / "a 1.jsonl").write_bytes(b"{}")  # what a pattern would match
    assert sources.locate(str(path)) == Source(name, files.sha256(path), demo=False)
    assert loaded(path).to_list() == ROWS
    assert loaded(path, split="train[:50%]").to_list() == ROWS[:1]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", LINES[:-9], "cannot be read .JSON parse error"),
        ("a.jsonl", b"", "cannot be read .it is empty"),
        ("a.jsonl", b'{"text": "no chat"}\n', r"none of the columns messages, .*only \['text'\]"),
        ("a.jsonl.gz", LINES, "Not a gzipped file"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-9], "ended before"),
        ("a.parquet", b"PAR1", "Parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"dataset {tmp_path}/{name}: .*{says}") as caught:
        loaded(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"split": "validation"}, "validation"),
        ({"split": "two words"}, "two words"),
        ({"config": "en"}, "a file has no configuration en"),
    ],
)
def test_a_file_has_one_split_and_no_configuration(
    tmp_path: Path, asked: dict[str, str], says: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with pytest.raises(InputError, match=says):
        loaded(tmp_path / "a.jsonl", **asked)


@pytest.mark.parametrize(
    "name", ["nothing", "./there", "/no/where", "a/b/c", "data/rows.jsonl", "org/two words"]
)
def test_what_is_neither_here_nor_a_hub_id_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"neither a release directory nor .*nor a file \(\.json"):
        sources.locate(name)


@pytest.mark.parametrize("name", ["org/name", "org/name@main", "org/two..dots"])
def test_a_hub_dataset_that_cannot_be_found_is_one_line(name: str) -> None:
    with pytest.raises(InputError) as caught:
        sources.locate(name)
    assert str(caught.value).startswith(f"dataset {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "revision", "holds", "version"),
    [
        ("org/name", None, ["manifest.json"], ""),
        ("org/name@main", "main", ["manifest.json"], ""),
        ("org/name@v1.0.0", "v1.0.0", ["README.md", "manifest.json"], "1.0.0"),
        ("org/name@1.0.0", "1.0.0", ["manifest.json"], "1.0.0"),
        ("org/name@v1.0.0", "v1.0.0", ["README.md"], ""),
    ],
)
def test_a_hub_dataset_is_pinned_to_the_commit_of_its_revision(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    revision: str | None,
    holds: list[str],
    version: str,
) -> None:
    asked = []

    def dataset_info(self: object, repo: str, revision: str | None) -> SimpleNamespace:
        asked.append((repo, revision))
        siblings = [SimpleNamespace(rfilename=path) for path in holds]
        return SimpleNamespace(sha="0123abcd", tags=["demo"], siblings=siblings)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    assert sources.locate(name) == Source("org/name", "0123abcd", demo=True, version=version)
    assert asked == [("org/name", revision)]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as hub:
        yield hub


def published(hub: Hub, repo: str, content: dict[str, bytes], tag: str) -> str:
    """Put files into a repository's next commit, and tag it."""
    place = hub.site.path("datasets", repo)
    place.parent.mkdir(parents=True, exist_ok=True)
    found = hub.repository(repo)
    if not place.exists():
        found = type(found).create(place, False)
    blobs = {path: found.add_blob(one) for path, one in content.items()}
    commit = found.commit("main", blobs, tag, found.resolve("main"))
    found.set_ref("tags", tag, commit)
    return str(commit)


LOAD = """
import json, sys
from training import sources
from ultra.errors import InputError
for wanted in json.loads(sys.argv[1]):
    try:
        part = sources.Part(**wanted)
        source = sources.locate(part.dataset)
        answers = [turns[1]["content"] for turns in sources.load(part, source)["messages"]]
        print(json.dumps([source.digest, source.version, answers]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def from_the_hub(hub: Hub, home: Path, *parts: dict[str, str], offline: str = "0") -> list[Any]:
    """Digest, version and answers of each part, or the error, found by a new process."""
    clean = {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": offline}
    clean["HF_DATASETS_CACHE"] = str(home / "datasets")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(parts)],
        cwd=ROOT,
        env={**os.environ, **clean},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_data_on_the_hub_loads_as_it_was_at_its_revision(hub: Hub, tmp_path: Path) -> None:
    old, new = (
        published(hub, "org/plain", {"train.jsonl": jsonl.dump({"messages": chat("q", tag)})}, tag)
        for tag in ("old", "new")
    )
    path = write_release(tmp_path / "r", CHATS[:1])
    content = {
        one.relative_to(path).as_posix(): one.read_bytes()
        for one in path.rglob("*")
        if one.is_file()
    }
    released = published(hub, "org/talks", content, "v1.0.0")
    published(hub, "org/talks", content, "v1.0.1")
    damaged = {"data/all/train-00000-of-00001.jsonl": jsonl.dump({"messages": chat("q", "other")})}
    published(hub, "org/other", content | damaged, "v1.0.0")
    found = from_the_hub(
        hub,
        tmp_path / "home",
        {"dataset": "org/plain"},
        {"dataset": "org/plain@old"},
        {"dataset": f"org/plain@{old}"},
        {"dataset": "org/talks@v1.0.0"},
        {"dataset": "org/plain", "split": "validation"},
        {"dataset": "org/plain", "config": "fr"},
        {"dataset": "org/talks@v1.0.0", "split": "validation"},
        {"dataset": "org/talks@v1.0.1"},
        {"dataset": "org/other@v1.0.0"},
        {"dataset": "org/plain@none"},
        {"dataset": "org/nothing"},
    )
    answer = "Give it 0 minutes."
    assert found[:3] == [[new, "", ["new"]], [old, "", ["old"]], [old, "", ["old"]]]
    assert found[3] == [released, "1.0.0", [answer]]
    parts = {"dataset": "org/talks@v1.0.0"}, {"dataset": "org/plain@old"}
    cached, refused = from_the_hub(hub, tmp_path / "home", *parts, offline="1")
    assert cached == found[3]
    assert "not found on the Hub" in refused
    says = ["validation", "fr", "no split validation", "1.0.0, not the 1.0.1", "is damaged"]
    says += ["not found on the Hub"] * 2
    for error, what in zip(found[4:], says, strict=True):
        assert isinstance(error, str)
        assert what in error
        assert "\n" not in error


@pytest.mark.parametrize(
    ("weight", "counts"),
    [(0.25, {0: 6, 1: 2}), (1.0, {1: 8}), (2.5, {2: 4, 3: 4}), (3.0, {3: 8}), (0.01, {0: 8})],
)
def test_a_weight_is_how_often_each_row_comes(weight: float, counts: dict[int, int]) -> None:
    rows = Dataset.from_dict({"n": range(8)})
    drawn = sources.chosen(rows, weight, seed=1)["n"]
    times = [list(drawn).count(n) for n in range(8)]
    assert {n: times.count(n) for n in times} == counts


def test_the_share_of_rows_is_drawn_by_the_seed_alone() -> None:
    rows = Dataset.from_dict({"n": range(100)})
    first, again, other = (list(sources.chosen(rows, 0.5, seed)["n"]) for seed in (1, 1, 2))
    assert first == again == sorted(first)
    assert first != other


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), 1001.0])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(SettingError, match=r"weight of org/name: .* is not above 0, up to 1000"):
        Part("org/name", weight)


def test_a_part_names_its_dataset() -> None:
    with pytest.raises(SettingError, match="name a release directory, a Hub dataset or a file"):
        Part("")
