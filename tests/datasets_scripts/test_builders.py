import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from datasets_scripts.builders import ShareGPT, UltraChat
from datasets_scripts.sharegpt import build as sharegpt
from datasets_scripts.ultrachat import settings as ultrachat
from tests.conftest import ROOT
from tests.servers.hub import Hub
from tests.ultra.test_loading import published
from ultra import jsonl, release, schema
from ultra.chat import ChatModel
from ultra.errors import InputError, OutputError, SettingError
from ultra.prompts import Prompt

Row = dict[str, Any]
CARD = Prompt("card.md", "---\nlicense: mit\n---\n# Talks {version}\n")
_EMPTY = {"string": "", "int64": 0, "float64": 0.0}


def row(corpus: str, id: str, text: str = "text") -> Row:
    columns = {name: _EMPTY[dtype] for name, dtype in schema.PROVENANCE[corpus].items()}
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    return {"id": id, "root": id, "messages": messages, **columns}


def built(path: Path, corpus: str, rows: dict[str, list[Row]], version: str = "1.0.0") -> Path:
    """A release with ``rows`` by ``configuration/split``."""
    with release.Writer(path, corpus) as writer:
        for place, members in rows.items():
            config, split = place.split("/")
            for member in members:
                writer.add(config, split, member)
        writer.finish({"version": version, "steps": []}, CARD)
    return path


@pytest.fixture
def talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of several shards, of an earlier version than the code makes."""
    monkeypatch.setattr(release, "SHARD_BYTES", 1000)
    rows = [row("sharegpt", f"{n:03d}", "2024-05-01") for n in range(30)]
    return built(
        tmp_path / "talks",
        "sharegpt",
        {"all/train": rows, "all/test": rows[:1], "en/train": rows[5:7]},
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepared(builder: datasets.DatasetBuilder, split: str = "train", **settings: Any) -> list[Row]:
    builder.download_and_prepare(**settings)
    rows: list[Row] = builder.as_dataset(split=split).to_list()
    return rows


def written(path: Path, place: str) -> list[Row]:
    return [one for file in sorted(path.glob(f"data/{place}-*.jsonl")) for one in jsonl.read(file)]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_rows_are_those_of_the_release_by_any_number_of_processes(
    talks: Path, cache: Path, num_proc: int | None
) -> None:
    builder = ShareGPT(release=talks, cache_dir=cache)
    builder.download_and_prepare(num_proc=num_proc)
    found = builder.as_dataset()
    assert set(found) == {"train", "test"}
    for split, rows in found.items():
        assert rows.to_list() == written(talks, f"all/{split}")
        assert rows.features == schema.features("sharegpt")
        assert str(rows.info.version) == "1.0.0"


def test_the_shards_of_a_release_are_what_a_stream_shares(talks: Path, cache: Path) -> None:
    streams = ShareGPT(release=talks, cache_dir=cache).as_streaming_dataset()
    assert set(streams) == {"train", "test"}
    assert streams["train"].num_shards == len(list(talks.glob("data/all/train-*"))) > 3
    assert list(streams["train"]) == written(talks, "all/train")
    assert streams["train"].features == schema.features("sharegpt")


def test_configurations_are_those_of_the_corpus_and_the_release(talks: Path, cache: Path) -> None:
    assert list(ShareGPT.builder_configs) == ["all", "gpt4", "en"]
    assert {str(one.version) for one in ShareGPT.BUILDER_CONFIGS} == {sharegpt.VERSION}
    assert list(UltraChat.builder_configs) == ["all", "world", "creation", "material"]
    assert str(UltraChat.VERSION) == ultrachat.VERSION
    english = ShareGPT(release=talks, config_name="en", cache_dir=cache)
    assert prepared(english) == written(talks, "en/train")
    for config in ("gpt4", "long"):
        with pytest.raises(InputError, match=f"no configuration {config}; it has all, en"):
            ShareGPT(release=talks, config_name=config, cache_dir=cache)


def test_ultrachat_is_read_likewise(tmp_path: Path, cache: Path) -> None:
    rows = [row("ultrachat", str(n)) for n in range(3)]
    path = built(tmp_path / "r", "ultrachat", {"all/train": rows}, ultrachat.VERSION)
    builder = UltraChat(release=path, cache_dir=cache)
    assert prepared(builder) == rows
    assert list(builder.as_streaming_dataset(split="train")) == rows
    assert builder.info.features == schema.features("ultrachat")
    assert "ultrachat" in Path(builder.cache_dir).parts


def test_two_corpora_versions_and_configurations_share_a_cache(tmp_path: Path, cache: Path) -> None:
    found = {}
    for corpus, builder in (("sharegpt", ShareGPT), ("ultrachat", UltraChat)):
        for version in ("1.0.0", "1.0.1"):
            path = tmp_path / f"{corpus}-{version}"
            built(path, corpus, {"all/train": [row(corpus, version)]}, version)
            found[path] = builder(release=path, cache_dir=cache)
    for path, builder in found.items():
        assert prepared(builder) == written(path, "all/train")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_changed_release_gives_its_new_rows(tmp_path: Path, cache: Path, streaming: bool) -> None:
    for text in ("one", "two"):  # same place, version, sizes
        rows = [row("sharegpt", "1", text)]
        path = built(tmp_path / "r", "sharegpt", {"all/train": rows})
        builder = ShareGPT(release=path, cache_dir=cache)
        stream = builder.as_streaming_dataset(split="train")
        assert (list(stream) if streaming else prepared(builder)) == rows
        shutil.rmtree(path)


def test_an_unchanged_release_is_prepared_once(
    talks: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(ShareGPT(release=talks, cache_dir=cache))
    moved = talks.rename(talks.with_name("moved"))
    monkeypatch.setattr("ultra.loading.read", None)  # would be called to prepare it again
    assert prepared(ShareGPT(release=moved, cache_dir=cache)) == first


def change_a_byte(path: Path) -> None:
    file = next(path.glob("data/all/train-*"))
    file.write_bytes(file.read_bytes().replace(b"text", b"next", 1).replace(b"2024", b"2025", 1))


def change_another_configuration(path: Path) -> None:
    file = next(path.glob("data/en/train-*"))
    file.write_bytes(file.read_bytes() + b"\n")


def add_a_file(path: Path) -> None:
    shutil.copy(next(path.glob("data/all/test-*")), path / "data/all/more.jsonl")


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage", [change_a_byte, change_another_configuration, add_a_file, lose_the_manifest]
)
def test_a_release_that_is_not_intact_is_refused_although_it_is_cached(
    damage: Callable[[Path], None], talks: Path, cache: Path
) -> None:
    prepared(ShareGPT(release=talks, cache_dir=cache))
    damage(talks)
    with pytest.raises(InputError, match=str(talks)):
        ShareGPT(release=talks, cache_dir=cache)


def test_damage_after_the_check_is_found_at_the_end_of_the_file(talks: Path, cache: Path) -> None:
    stream = ShareGPT(release=talks, cache_dir=cache).as_streaming_dataset(split="train")
    change_a_byte(talks)
    with pytest.raises(InputError, match="wrong digest"):
        list(stream)


def test_the_release_of_another_corpus_is_refused(talks: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="is of the corpus sharegpt, not ultrachat"):
        UltraChat(release=talks, cache_dir=cache)


def test_pages_are_built_first_and_only_once(tmp_path: Path, cache: Path) -> None:
    pages = tmp_path / "pages"
    shutil.copytree(sharegpt.SAMPLE, pages)
    for _ in range(2):
        builder = ShareGPT(raw=pages, out=tmp_path / "out", cache_dir=cache)
        made = tmp_path / "out" / f"sharegpt-{sharegpt.VERSION}"
        assert prepared(builder) == written(made, "all/train")
        assert str(builder.info.version) == sharegpt.VERSION
    next(pages.glob("*.html")).unlink()
    with pytest.raises(OutputError, match="with other input"):
        ShareGPT(raw=pages, out=tmp_path / "out", cache_dir=cache)


def test_one_of_release_and_raw_is_asked_for(talks: Path) -> None:
    both: dict[str, Any] = {"release": talks, "raw": talks}
    for given in ({}, both):
        with pytest.raises(SettingError, match="give one of them"):
            ShareGPT(**given)


def test_no_builder_talks_to_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> ChatModel:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr("ultra.models.open_model", refuse)
    with pytest.raises(InputError, match="neither a release directory nor"):
        UltraChat(release=tmp_path / "not-made-yet")
    with pytest.raises(TypeError, match="raw"):
        UltraChat(release=tmp_path, **{"raw": "openings.jsonl"})


def test_a_release_on_the_hub_is_read_by_its_version(talks: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from datasets_scripts.builders import ShareGPT;"
        "builder = ShareGPT(release='org/talks@v1.0.0', config_name='en', cache_dir=sys.argv[1]);"
        "builder.download_and_prepare();"
        "print(builder.as_dataset(split='train')['id'][:], builder.info.version)"
    )
    with Hub(tmp_path / "hub") as hub:
        published(hub, talks, "v1.0.0")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "cache")],
            cwd=ROOT,
            env={
                **os.environ,
                "HF_ENDPOINT": hub.url,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(tmp_path / "home"),
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['005', '006'] 1.0.0\n"
    assert not [path for _, path in hub.requests if "/all/" in path]
