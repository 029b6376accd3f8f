import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest

from tests.conftest import ROOT
from tests.servers.hub import Fault, Hub
from tests.ultra.test_release import HARD, build, build_train, row
from ultra import files, jsonl, release, schema
from ultra.errors import InputError
from ultra.loading import find, read

Row = dict[str, Any]
Load = Callable[..., list[Any]]

REPO = "org/talks"
CODE = """
import sys, orjson
from ultra import release
from ultra.errors import InputError
for call in orjson.loads(sys.argv[1]):
    try:
        found = list(release.load(**call))
    except InputError as error:
        found = str(error)
    print(orjson.dumps(found).decode())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    members = {
        ("all", "test"): [row(3)],
        ("all", "train"): [row(1), row(2)],
        ("long", "train"): [row(2)],
    }
    build(tmp_path / "talks", members, drops=2)
    return tmp_path / "talks"


def loaded(path: Path | str, **settings: Any) -> list[Row]:
    return list(release.load(path, **settings))


both_ways = pytest.mark.parametrize("streaming", [False, True])


# From a directory.


@both_ways
def test_each_split_loads_with_its_rows_types_and_version(talks: Path, streaming: bool) -> None:
    assert loaded(talks, streaming=streaming) == [row(1), row(2)]
    assert loaded(talks, split="test", streaming=streaming) == [row(3)]
    assert loaded(talks, version="1.0.0", config="long", streaming=streaming) == [row(2)]
    rows = release.load(talks, streaming=streaming)
    assert rows.features == schema.features("sharegpt")
    assert str(rows.info.version) == "1.0.0"
    assert str(rows.split) == "train"


@both_ways
@pytest.mark.parametrize("text", ["2024-05-01", "2024-05-01 10:00", "12", "null", *HARD])
def test_a_text_is_the_same_even_if_all_texts_are_like_it(
    text: str, streaming: bool, tmp_path: Path
) -> None:
    rows = [row(n, text, text, title=text) for n in (1, 2)]
    build_train(tmp_path / "r", *rows)
    assert loaded(tmp_path / "r", streaming=streaming) == rows


@both_ways
def test_a_message_of_a_megabyte_loads(tmp_path: Path, streaming: bool) -> None:
    rows = [row(1), row(2, "é\n" * 2**20, "x" * 2**20), row(3)]
    build_train(tmp_path / "r", *rows)
    assert loaded(tmp_path / "r", streaming=streaming) == rows


@both_ways
def test_shards_load_in_order_and_are_what_workers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr(release, "SHARD_BYTES", 500)
    members = [row(n) for n in range(30)]
    build_train(tmp_path / "r", *members)
    rows = release.load(tmp_path / "r", streaming=streaming)
    assert list(rows) == members
    if streaming:
        assert rows.num_shards == len(list((tmp_path / "r/data/all").iterdir())) > 3


@both_ways
def test_an_older_release_keeps_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    old = {name: value for name, value in row(1).items() if not name.startswith("language")}
    with monkeypatch.context() as patch:
        columns = {
            name: kind for name, kind in schema.PROVENANCE["sharegpt"].items() if name in old
        }
        patch.setitem(schema.PROVENANCE, "sharegpt", columns)
        build_train(tmp_path / "r", old)
    assert loaded(tmp_path / "r", streaming=streaming) == [old]


@both_ways
def test_a_rebuilt_release_is_not_served_stale(tmp_path: Path, streaming: bool) -> None:
    for text in ("one", "two"):  # same place, same shape, same sizes
        folder = tmp_path / "r"
        build_train(folder, row(1, text, text))
        assert loaded(folder, streaming=streaming) == [row(1, text, text)]
        folder.rename(tmp_path / text)


def change_a_row(talks: Path) -> None:
    file = talks / "data/all/train-00000-of-00001.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Question", b"question", 1))


def cut_a_row(talks: Path) -> None:
    file = talks / "data/all/train-00000-of-00001.jsonl"
    file.write_bytes(file.read_bytes()[:-9])


def lose_the_rows(talks: Path) -> None:
    (talks / "data/all/train-00000-of-00001.jsonl").unlink()


def change_the_types(talks: Path) -> None:
    card = talks / "README.md"
    card.write_text(card.read_text().replace("int64", "int32"))


@both_ways
@pytest.mark.parametrize("damage", [change_a_row, cut_a_row, lose_the_rows, change_the_types])
def test_damage_is_found_although_the_rows_are_cached(
    damage: Callable[[Path], None], talks: Path, streaming: bool
) -> None:
    assert loaded(talks, streaming=streaming) == [row(1), row(2)]
    damage(talks)
    with pytest.raises(InputError, match=str(talks)):
        loaded(talks, streaming=streaming)


def test_damage_elsewhere_does_not_keep_a_split_from_loading(talks: Path) -> None:
    change_a_row(talks)
    assert loaded(talks, split="test") == [row(3)]


@both_ways
@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"version": "1.1.0"}, r"is version 1\.0\.0, not the 1\.1\.0"),
        ({"config": "short"}, "no configuration short; it has all, long"),
        ({"split": "dev"}, "no split dev of configuration all; it has train, test"),
        ({"config": "long", "split": "test"}, "no split test of configuration long; it has train"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    asked: dict[str, str], what: str, talks: Path, streaming: bool
) -> None:
    with pytest.raises(InputError, match=what):
        loaded(talks, **asked, streaming=streaming)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "no-such-folder", "a/b/c", "https://a.b/c"])
def test_what_is_no_release_and_no_name_of_one_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="neither a release directory nor"):
        find(name)


@pytest.mark.parametrize(
    "manifest",
    [
        {"files": []},
        {"files": [], "version": "1.0.0", "splits": {}},
        {"files": [], "version": "1.0.0", "splits": {"all": 3}},
        {"files": [], "version": "latest", "splits": {"all": {"train": {}}}},
        {"files": [], "version": "1.0.0", "splits": {"all": {"train": {}}}},
    ],
)
def test_a_manifest_that_lacks_something_is_an_input_error(
    manifest: dict[str, Any], talks: Path
) -> None:
    (talks / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json"):
        loaded(talks)


def test_a_card_without_types_is_an_input_error(talks: Path) -> None:
    (talks / "README.md").write_text("# Talks\n")
    manifest = release.read_manifest(talks)
    manifest["files"][-1] |= {
        "bytes": (talks / "README.md").stat().st_size,
        "sha256": files.sha256(talks / "README.md"),
    }
    (talks / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(InputError, match="declares no types of configuration all"):
        loaded(talks)


def test_the_end_of_a_file_is_where_another_digest_is_found(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    jsonl.write(file, [{"id": "1"}, {"id": "2"}])
    rows = read([str(file)], ["0" * 64])
    assert [next(rows), next(rows)] == [{"id": "1"}, {"id": "2"}]
    with pytest.raises(InputError, match=r"rows\.jsonl: wrong digest"):
        next(rows)


# From the Hub.


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as hub:
        yield hub


def published(hub: Hub, folder: Path, tag: str, repo: str = REPO) -> None:
    """Put a folder into the next commit of a repository, and tag it."""
    place = hub.site.path("datasets", repo)
    place.parent.mkdir(parents=True, exist_ok=True)
    found = (
        hub.repository(repo) if place.exists() else type(hub.repository(repo)).create(place, False)
    )
    blobs = {
        path.relative_to(folder).as_posix(): found.add_blob(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
    commit = found.commit("main", blobs, tag, found.resolve("main"))
    found.set_ref("tags", tag, commit)


@pytest.fixture
def versions(hub: Hub, tmp_path: Path) -> dict[str, list[Row]]:
    """Rows of the two versions that are on the Hub."""
    rows = {
        "1.0.0": [row(n, text, text, title=text) for n, text in enumerate(HARD)],
        "1.1.0": [row(1, "2024-05-01", "x" * 2**20, title="2024-05-01")],
    }
    for version, members in rows.items():
        path = tmp_path / version
        build(path, {("all", "train"): members, ("en", "train"): [row(7)]}, 1, version=version)
        published(hub, path, f"v{version}")
    return rows


@pytest.fixture
def load(hub: Hub, tmp_path: Path) -> Load:
    """Load several times in one new process; rows, or the error, of each."""

    def load(*calls: dict[str, Any], online: bool = True) -> list[Any]:
        environment = {
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "01"[not online],
        }
        done = subprocess.run(
            [sys.executable, "-c", CODE, orjson.dumps([{"name_or_path": REPO} | c for c in calls])],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return [orjson.loads(line) for line in done.stdout.strip("\n").split("\n")]

    return load


def test_each_version_loads_from_the_hub_and_from_the_cache(
    versions: dict[str, list[Row]], load: Load, hub: Hub
) -> None:
    calls = [{"version": version} for version in ("1.1.0", "1.0.0")]
    streamed = [call | {"streaming": True} for call in calls]
    wanted = [versions["1.1.0"], versions["1.0.0"]]
    assert load(*streamed) == wanted
    assert load(*calls) == wanted
    assert not [path for _, path in hub.requests if "dropped" in path or "/en/" in path]
    asked = len(hub.requests)
    assert load(*streamed, *calls, online=False) == wanted * 2
    assert len(hub.requests) == asked
    assert load({"name_or_path": f"{REPO}@v1.0.0"}, online=False) == [versions["1.0.0"]]


def test_a_hub_that_fails_is_replaced_by_the_cache(
    versions: dict[str, list[Row]], load: Load, hub: Hub
) -> None:
    assert load({"version": "1.0.0"}, {"version": "1.1.0"}) == list(versions.values())
    hub.faults.append(Fault("GET", "/api/.*", "500", times=1000))
    assert load({"version": "1.0.0"}) == [versions["1.0.0"]]


def test_errors_of_the_hub_name_what_there_is(
    versions: dict[str, list[Row]], load: Load, hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/README.md").write_text("# Another dataset\n")
    published(hub, tmp_path / "other", "v1.0.0", "org/other")
    published(hub, tmp_path / "1.0.0", "v3.0.0")
    unknown, unnamed, config, split, nowhere, other, mislabelled = load(
        {"version": "2.0.0"},
        {},
        {"version": "v1.0.0", "config": "fr"},
        {"version": "1.0.0", "config": "en", "split": "test"},
        {"name_or_path": "org/nothing", "version": "1.0.0"},
        {"name_or_path": "org/other", "version": "1.0.0"},
        {"version": "3.0.0"},
    )
    assert unknown == f"{REPO}: no v2.0.0 on the Hub; it has v1.0.0, v1.1.0, v3.0.0"
    assert unnamed == f"{REPO}: name a version of it; it has v1.0.0, v1.1.0, v3.0.0"
    assert config == f"{REPO}@v1.0.0: no configuration fr; it has all, en"
    assert split == f"{REPO}@v1.0.0: no split test of configuration en; it has train"
    assert nowhere.startswith("org/nothing: no such folder, and no such dataset on the Hub")
    assert other.endswith("not a complete release (no manifest.json)")
    assert mislabelled.endswith("is version 1.0.0, not the 3.0.0 that is asked for")


def test_offline_another_version_is_never_taken_instead(
    versions: dict[str, list[Row]], load: Load
) -> None:
    assert load({"version": "1.0.0"}) == [versions["1.0.0"]]
    missing, unnamed, streamed, other = load(
        {"version": "1.1.0"},
        {},
        {"version": "1.1.0", "streaming": True},
        {"version": "1.0.0", "config": "en"},
        online=False,
    )
    for error in (missing, streamed):
        assert "v1.1.0 is not complete in the cache, which holds v1.0.0" in error
    assert unnamed == f"{REPO}: name a version of it; the cache holds v1.0.0"
    assert "is not complete in the cache" in other


@both_ways
def test_a_damaged_download_says_how_to_get_rid_of_it(
    versions: dict[str, list[Row]], load: Load, hub: Hub, streaming: bool
) -> None:
    call = {"version": "1.0.0", "streaming": streaming}
    hub.faults.append(Fault("GET", r".*/resolve/.*/data/all/train-.*", "digest", times=1))
    (error,) = load(call)
    assert "data/all/train-00000-of-00001.jsonl" in error
    assert "wrong digest" in error or "damaged" in error
    if not streaming:
        assert load(call) == [error]
        blob = error.partition("; delete ")[2].removesuffix(" and run again")
        Path(blob).unlink()
    assert load(call) == [versions["1.0.0"]]


@both_ways
def test_a_connection_that_breaks_gives_all_rows_or_an_error(
    versions: dict[str, list[Row]], load: Load, hub: Hub, streaming: bool
) -> None:
    hub.faults.append(Fault("GET", r".*/resolve/.*/data/all/train-.*", "cut", times=1))
    (found,) = load({"version": "1.1.0", "streaming": streaming})
    assert found == versions["1.1.0"] or "downloaded" in found or "cannot be read" in found
