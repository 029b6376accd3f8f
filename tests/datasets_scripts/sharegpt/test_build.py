"""Pages and dumps to a release, from end to end."""

import errno
import gzip
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.sharegpt import dumps, inputs
from datasets_scripts.sharegpt.build import SAMPLE, VERSION, Settings, build
from tests.datasets_scripts.helpers import (
    Json,
    drops_of,
    files_of,
    page,
    reasons_of,
    row,
    rows_of,
    tarred,
    zipped,
)
from tests.datasets_scripts.sharegpt.raw import (
    ROWS,
    Build,
    settings_for,
)
from ultra import release, schema
from ultra.errors import InputError, OutputError, SettingError

GOLDEN_VERSION = "1.2.0"
GOLDEN_DIGEST = "485c1bd6dc614080e31ead0bf8330148d20e3493a14d411b24a92f697c5c0fdf"


# The sample that ships


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Settings(out=tmp_path_factory.mktemp("sample")))


def test_the_sample_gives_the_bytes_that_its_version_stands_for(sample: Path) -> None:
    made = (VERSION, release.read_manifest(sample)["data_digest"])
    assert made == (GOLDEN_VERSION, GOLDEN_DIGEST), (
        "the same input gives other bytes: bump VERSION and this digest"
    )


def test_the_sample_shows_every_kind_of_bad_page_once(sample: Path) -> None:
    manifest = release.verify(sample)
    assert reasons_of(manifest) == {
        "no_next_data": 1,
        "not_utf8": 1,
        "truncated": 1,
        "doubled_turn": 1,
        "empty_turn": 1,
        "prefix": 1,
        "near_duplicate": 1,
    }
    pages = len(list(SAMPLE.glob("*.html")))
    assert manifest["input"]["conversations"] == pages
    assert len(drops_of(sample)) == 7
    assert manifest["statistics"]["all"]["conversations"] == len(rows_of(sample)) == pages - 7


def test_a_page_that_begins_with_an_answer_and_ends_with_a_question_is_cut(sample: Path) -> None:
    raw = (SAMPLE / "starts-with-answer-Jc4XtB8.html").read_text("utf-8")
    data = raw.split('type="application/json">')[-1].split("</script>")[0]
    items = json.loads(data)["props"]["pageProps"]["content"]["items"]
    assert (items[0]["from"], items[-1]["from"]) == ("gpt", "human")
    (repaired,) = [row for row in rows_of(sample) if row["id"] == "Jc4XtB8"]
    assert [turn["role"] for turn in repaired["messages"]] == ["user", "assistant"] * 2
    assert repaired["messages"][0]["content"] == items[1]["value"]
    assert len(items) == 6


def test_the_sample_loads_with_its_columns(sample: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(sample), "all")
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].features == schema.features("sharegpt")
    rows = [dict(row) for split in loaded.values() for row in split]
    assert sorted(rows, key=lambda row: str(row["id"])) == rows_of(sample)


# Same input, same bytes


def test_a_second_build_finds_the_first(
    build_from: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    before = files_of(made)
    capsys.readouterr()
    again = build(settings_for(made.parents[1] / "raw", made.parent))
    assert again == made
    assert files_of(made) == before
    assert "already built from this input" in capsys.readouterr().out


def test_the_order_of_rows_and_the_place_of_the_build_change_no_byte(build_from: Build) -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    one = build_from({"x.json": orjson.dumps(ROWS)}, test_share=0.3)
    two = build_from({"x.json": orjson.dumps(shuffled)}, test_share=0.3)
    assert files_of(one) == files_of(two)
    assert len(list(one.glob("data/all/*.jsonl"))) == 2


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of everything that an input may be, and the release that one process makes of it."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "raw" / "pages").mkdir(parents=True)
    for number, one in enumerate(ROWS[:20]):
        (folder / "raw" / "pages" / f"{number}.html").write_bytes(page(one))
    files = {
        "bad.html": b"<html>",
        "dump.json": orjson.dumps(ROWS[10:30]),
        "more.zip": zipped({"x.jsonl": b"\n".join(map(orjson.dumps, ROWS[25:])), "y.json": b"{}"}),
        "off.json.gz": gzip.compress(orjson.dumps(ROWS[:3]))[:-4],
    }
    for name, raw in files.items():
        (folder / "raw" / name).write_bytes(raw)
    return folder / "raw", build(settings_for(folder / "raw", folder / "out", test_share=0.2))


@pytest.mark.parametrize("workers", [2, 7])
def test_the_number_of_processes_changes_no_byte(
    workers: int, many: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, made = many
    monkeypatch.setattr(inputs, "FILES", 3)
    assert len(list(inputs.pieces(raw))) > 9
    other = build(settings_for(raw, tmp_path, test_share=0.2, workers=workers))
    assert files_of(other) == files_of(made)
    manifest = release.verify(made)
    assert manifest["input"]["ignored"] == ["more.zip/y.json"]
    assert reasons_of(manifest)["truncated"] == reasons_of(manifest)["no_next_data"] == 1


def test_the_size_of_pieces_changes_no_byte(
    many: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, made = many
    cut = dumps.cut
    monkeypatch.setattr(dumps, "cut", lambda file: cut(file, 300))
    monkeypatch.setattr(inputs, "FILES", 1)
    monkeypatch.setattr(inputs, "SMALL", 50)
    assert len(list(inputs.pieces(raw))) > 25
    assert files_of(build(settings_for(raw, tmp_path, test_share=0.2))) == files_of(made)


def test_the_order_of_files_and_their_times_change_no_byte(
    many: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, made = many
    find = inputs._find
    monkeypatch.setattr(inputs, "_find", lambda root: reversed(list(find(root))))
    shutil.copytree(raw, tmp_path / "raw", copy_function=shutil.copyfile)
    other = build(settings_for(tmp_path / "raw", tmp_path / "out", test_share=0.2))
    assert files_of(other) == files_of(made)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_gives_the_rows_of_the_folder(
    pack: Callable[..., bytes], many: tuple[Path, Path], tmp_path: Path
) -> None:
    raw, made = many
    names = [file for file in sorted(raw.rglob("*")) if file.suffix in (".html", ".json")]
    files = {file.relative_to(raw).as_posix(): file.read_bytes() for file in names}
    with zipfile.ZipFile(raw / "more.zip") as archive:
        files |= {f"more.zip/{name}": archive.read(name) for name in archive.namelist()}
    (tmp_path / "all.tgz").write_bytes(pack(files))
    packed = build(settings_for(tmp_path / "all.tgz", tmp_path / "out", test_share=0.2))

    def without_archive(rows: list[Json]) -> list[Json]:
        return [one | {"source": one["source"].removeprefix("all.tgz/")} for one in rows]

    assert without_archive(rows_of(packed)) == rows_of(made)
    drops = [
        one | {"detail": one["detail"].replace("all.tgz/", "")}
        for one in without_archive(drops_of(packed))
    ]
    assert [one for one in drops if one["step"] != "read"] == [
        one for one in drops_of(made) if one["step"] != "read"
    ]


def test_the_order_of_versions_of_one_row_changes_no_byte(build_from: Build) -> None:
    versions = [row("a", "q", "r", views=views) for views in (1, 2)]
    one = build_from({"x.json": orjson.dumps(versions)})
    two = build_from({"x.json": orjson.dumps(versions[::-1])})
    assert files_of(one) == files_of(two)


def test_versions_of_one_question_stand_on_one_side(build_from: Build) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)}, test_share=0.5)
    sides = [
        {orjson.loads(line)["root"] for line in file.read_bytes().splitlines()}
        for file in made.glob("data/all/*.jsonl")
    ]
    assert len(sides) == 2
    assert all(sides)
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    "other",
    [
        {"doubled_turns": "merge"},
        {"test_share": 0.5},
        {"config_name": "gpt4"},
        {"personal_data": "keep"},
        {"near_duplicates": 0.9},
    ],
)
def test_other_settings_do_not_replace_a_release(build_from: Build, other: dict[str, Any]) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    before = files_of(made)
    with pytest.raises(OutputError, match="with other configuration"):
        build(settings_for(made.parents[1] / "raw", made.parent, **other))
    assert files_of(made) == before


@pytest.mark.parametrize(
    ("name", "other"),
    [("new.html", page(row("new", "q", "r"))), ("x.json", orjson.dumps([*ROWS[1:], ROWS[1]]))],
    ids=["one more", "one changed"],
)
def test_other_input_does_not_replace_a_release(name: str, other: bytes, build_from: Build) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    before = files_of(made)
    raw = made.parents[1] / "raw"
    (raw / name).write_bytes(other)
    with pytest.raises(OutputError, match="with other input"):
        build(settings_for(raw, made.parent))
    assert files_of(made) == before


def test_a_folder_in_the_way_is_left_alone(build_from: Build, tmp_path: Path) -> None:
    in_the_way = tmp_path / "made0" / "out" / f"sharegpt-{VERSION}"
    in_the_way.mkdir(parents=True)
    (in_the_way / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="is in the way"):
        build(settings_for(SAMPLE, in_the_way.parent))
    assert [file.name for file in in_the_way.iterdir()] == ["mine.txt"]


def test_doubled_turns_are_merged_if_asked(build_from: Build) -> None:
    doubled = row("a", "q", "r")
    doubled["conversations"].insert(0, {"from": "human", "value": "first"})
    files = {"x.json": orjson.dumps([doubled])}
    (merged,) = rows_of(build_from(files, doubled_turns="merge"))
    assert merged["messages"][0]["content"] == "first\n\nq"


# What goes wrong


def left_in(out: Path) -> list[str]:
    """Names of what a build that failed left, but for the work that the next one goes on from."""
    return sorted(path.name for path in out.iterdir() if path.name != f"sharegpt-{VERSION}.run")


def test_if_nothing_is_kept_the_drop_report_is(build_from: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 2 conversations were dropped.*dropped\.jsonl"):
        build_from({"x.html": b"<html>", "y.json": orjson.dumps([row("a", "q")])})
    out = tmp_path / "made0" / "out"
    (report,) = left_in(out)
    assert report == f"sharegpt-{VERSION}.dropped.jsonl"
    reasons = [orjson.loads(line)["reason"] for line in (out / report).read_bytes().splitlines()]
    assert sorted(reasons) == ["no_answered_question", "no_next_data"]


def test_without_a_conversation_nothing_is_left(build_from: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no conversations"):
        build_from({"package.json": b"{}"})
    assert left_in(tmp_path / "made0" / "out") == []


@pytest.mark.parametrize("raw", ["nowhere", "empty"])
def test_an_input_with_nothing_to_read_makes_no_folder(raw: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"{raw}: (no such file|holds no)"):
        build(settings_for(tmp_path / raw, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_dump_that_breaks_off_is_kept_up_to_there_and_reported_once(build_from: Build) -> None:
    made = build_from({"a.html": page(row("a", "q", "r")), "x.json": orjson.dumps(ROWS)[:-5]})
    kept = release.verify(made)["statistics"]["all"]["conversations"]
    assert kept == len(rows_of(made)) == len(ROWS)  # the page, and all rows but the last
    (drop,) = drops_of(made)
    assert (drop["source"], drop["step"], drop["reason"]) == ("x.json", "read", "truncated")
    assert drop["detail"] == "breaks off after 59 conversations"


def test_an_input_that_cannot_be_read_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.html").write_bytes(page(ROWS[0]))
    monkeypatch.setattr(inputs, "_read_path", fail)
    with pytest.raises(InputError, match=r"x\.html: cannot be read"):
        build(settings_for(tmp_path / "raw", tmp_path / "out"))
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="test_share"):
        Settings(test_share=share)


def test_a_number_of_processes_that_is_none_is_refused() -> None:
    with pytest.raises(SettingError, match="workers: -1"):
        Settings(workers=-1)


def test_nothing_is_left_of_a_build_that_went_well(build_from: Build) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_odd_names_and_values_reach_the_release_and_its_report(build_from: Build) -> None:
    odd = [row("a\0", "\0q\ud800", "r", title="\udfff"), row("a\ud800", "\0q\ud800", "r")]
    raw = json.dumps(odd[0]) + "\n" + json.dumps(odd[1])
    try:
        made = build_from({os.fsdecode(b"caf\xe9.jsonl"): raw.encode("ascii")})
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    release.verify(made)
    mark = "\N{REPLACEMENT CHARACTER}"
    (kept,) = rows_of(made)
    (dropped,) = drops_of(made)
    assert kept["source"] == dropped["source"] == f"caf{mark}.jsonl"
    assert kept["messages"][0]["content"] == f"\0q{mark}"
    assert {kept["id"], dropped["id"]} == {"a\0", f"a{mark}"}
