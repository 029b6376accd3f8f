import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import export
from datasets_scripts.export import Settings
from datasets_scripts.sharegpt import build, inputs, turns
from datasets_scripts.sharegpt.pages import RawConversation
from datasets_scripts.ultrachat import settings as ultrachat
from datasets_scripts.ultrachat.build import build as build_ultrachat
from tests.datasets_scripts.helpers import rows_of
from tests.ultra.test_release_command import release_of, row
from ultra import jsonl, release
from ultra.errors import InputError, OutputError, SettingError
from ultra.schema import Conversation

Json = dict[str, Any]

HARD = [
    "line\u2028and\u2029paragraph\u0085next",
    "\r\n\tline\nbreaks\v\f\r",
    "nul \0 and \x1b[31m inside",
    "😀👩‍👩‍👧 e\u0301 \u0301 \ufeff \uffff \U0010ffff",
    '"double" \\back\\ \\u0041 {"json": [1, {}]} ],[',
    "long " * 200_000,
]


def made(folder: Path, *rows: Json, **places: list[Json]) -> Path:
    return release_of(folder / "talks-1.2.3", {"all/train": list(rows), **places})


def exported(path: Path, name: str = "out.json", **settings: Any) -> list[Json]:
    """What a plain JSON reader finds in the exported file."""
    out = path.parent / name
    count = export.export(Settings(out, path, **settings))
    text = out.read_text(encoding="utf-8")
    records: list[Json] = (
        json.loads(text)
        if out.suffix == ".json"
        else [json.loads(line) for line in text.removesuffix("\n").split("\n")]
    )
    assert count == len(records)
    return records


# The formats.


def test_sharegpt_has_the_sides_that_fastchat_reads(tmp_path: Path) -> None:
    system = row("two", "a.html", "hi", "ho", model="m-1")
    system["messages"].insert(0, {"role": "system", "content": "be brief"})
    assert exported(made(tmp_path, row("one", "a.html", "q", "a"), system)) == [
        {
            "id": "one",
            "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        },
        {
            "id": "two",
            "model": "m-1",
            "conversations": [
                {"from": "system", "value": "be brief"},
                {"from": "human", "value": "hi"},
                {"from": "gpt", "value": "ho"},
            ],
        },
    ]


def test_ultrachat_has_the_texts_in_turn(tmp_path: Path) -> None:
    path = made(tmp_path, row("one", "a.html", "q", "a", "more?", "no"), row("two"))
    assert exported(path, "out.jsonl", format="ultrachat") == [
        {"id": "one", "data": ["q", "a", "more?", "no"]},
        {"id": "two", "data": ["Question", "Answer"]},
    ]


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_ultrachat_refuses_what_it_cannot_say(role: str, tmp_path: Path) -> None:
    odd = row("odd")
    odd["messages"].insert(0, {"role": role, "content": "x"})
    path = made(tmp_path, row("one"), odd)
    with pytest.raises(InputError, match=f"row 'odd': turn 1 is of the {role}.*--format"):
        export.export(Settings(tmp_path / "out.jsonl", path, format="ultrachat"))
    assert not list(tmp_path.glob("*out.json*"))


def test_messages_has_the_first_question_and_its_digest(tmp_path: Path) -> None:
    talk = row("one", "a.html", "where, é?", "there")
    talk["messages"].insert(0, {"role": "system", "content": "be brief"})
    (record,) = exported(made(tmp_path, talk), "out.jsonl", format="messages")
    assert record == {
        "prompt": "where, é?",
        "prompt_id": hashlib.sha256("where, é?".encode()).hexdigest(),
        "messages": [
            {"content": "be brief", "role": "system"},
            {"content": "where, é?", "role": "user"},
            {"content": "there", "role": "assistant"},
        ],
    }


def test_every_format_of_the_settings_is_there() -> None:
    for name in export.FORMATS:
        assert Settings(Path("x.json"), Path("r"), format=name).format == name  # type: ignore[arg-type]
    folders = {"ultrachat_200k"}
    assert export.FORMATS.keys() | folders == set(Settings.__annotations__["format"].__args__)


# UltraChat 200k, a folder.


def exported_folder(path: Path, **settings: Any) -> Path:
    out = path.parent / "folder"
    export.export(Settings(out, path, format="ultrachat_200k", **settings))
    return out


def test_ultrachat_200k_has_four_splits_that_load(tmp_path: Path) -> None:
    from datasets import load_dataset

    talks = [row(f"t{n}", "a.html", f"q{n}", "a", "more?", "no") for n in range(3)]
    path = made(tmp_path, *talks, **{"all/test": [row("x", "a.html", "short", "yes")]})
    out = exported_folder(path)
    loaded = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train_sft", "train_gen", "test_sft", "test_gen"]
    assert {name: len(split) for name, split in loaded.items()} == {
        "train_sft": 3,
        "train_gen": 3,
        "test_sft": 1,
        "test_gen": 1,
    }
    for split in loaded.values():
        assert list(split.features) == ["prompt", "prompt_id", "messages"]
        assert list(split.features["messages"].feature) == ["content", "role"]
    texts = {
        name: [[t["content"] for t in one["messages"]] for one in loaded[name]] for name in loaded
    }
    assert texts["train_sft"][0] == ["q0", "a", "more?", "no"]
    assert texts["train_gen"][0] == ["q0", "a", "more?"]
    assert texts["test_gen"] == [["short"]]
    assert loaded["test_sft"]["prompt_id"] == [hashlib.sha256(b"short").hexdigest()]


def test_sft_ends_with_an_answer_and_gen_with_a_question_whatever_the_release_has(
    tmp_path: Path,
) -> None:
    open_end = row("open", "a.html", "q", "a", "and?")
    silent = row("silent", "a.html", "anybody?")
    out = exported_folder(made(tmp_path, open_end, silent, row("whole")))
    for name, role, count in (("train_sft", "assistant", 2), ("train_gen", "user", 2)):
        found = list(jsonl.read(out / f"{name}.jsonl"))
        assert [one["messages"][-1]["role"] for one in found] == [role] * count


def test_no_prompt_of_a_release_is_on_both_sides(tmp_path: Path) -> None:
    settings = ultrachat.Settings(out=tmp_path / "r", n=72, test_share=0.3)
    out = exported_folder(build_ultrachat(settings))
    prompts = {
        name: {one["prompt_id"] for one in jsonl.read(out / f"{name}.jsonl")}
        for name in ("train_sft", "train_gen", "test_sft", "test_gen")
    }
    assert prompts["train_sft"] == prompts["train_gen"]
    assert prompts["test_sft"] == prompts["test_gen"]
    assert prompts["test_sft"]
    assert not prompts["train_sft"] & prompts["test_sft"]


def test_a_folder_is_never_written_over_and_a_killed_one_is_cleared(tmp_path: Path) -> None:
    path = made(tmp_path, row("one"))
    left = tmp_path / ".folder.partial"
    left.mkdir()
    (left / "old.jsonl").write_text("{}")
    out = exported_folder(path)
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "train_gen.jsonl",
        "train_sft.jsonl",
    ]
    assert not left.exists()
    with pytest.raises(OutputError, match="is there already"):
        exported_folder(path)
    with pytest.raises(SettingError, match=r"split: .* leave it out"):
        Settings(tmp_path / "new", path, format="ultrachat_200k", split="test")


# Every row, in order, unchanged.


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_hard_texts_come_out_as_they_went_in(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, *(row(f"id {text[:30]}", "a", text, text) for text in HARD))
    texts = [[turn["value"] for turn in one["conversations"]] for one in exported(path, name)]
    assert texts == [[text, text] for text in HARD]
    assert [one["id"] for one in exported(path, name)] == [f"id {text[:30]}" for text in HARD]


def test_rows_of_many_shards_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "SHARD_BYTES", 500)
    path = made(tmp_path, *(row(f"{n:03d}") for n in range(40)))
    assert len(list(path.glob("data/all/*"))) > 10
    assert [one["id"] for one in exported(path)] == [f"{n:03d}" for n in range(40)]


def test_the_array_is_one_json_value_with_a_record_a_line(tmp_path: Path) -> None:
    exported(made(tmp_path, row("one"), row("two")))
    lines = (tmp_path / "out.json").read_bytes().split(b"\n")
    assert (lines[0], lines[-2:]) == (b"[", [b"]", b""])
    assert [orjson.loads(line.rstrip(b","))["id"] for line in lines[1:-2]] == ["one", "two"]


def test_only_the_split_that_was_asked_for_is_written(tmp_path: Path) -> None:
    places = {"all/test": [row("t")], "all/train-x": [row("x")], "long/train": [row("l")]}
    path = made(tmp_path, row("one"), **places)
    assert [one["id"] for one in exported(path)] == ["one"]
    assert [one["id"] for one in exported(path, split="test")] == ["t"]
    assert [one["id"] for one in exported(path, split="train-x")] == ["x"]
    assert [one["id"] for one in exported(path, config_name="long")] == ["l"]


# What it reads back to.


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_the_reader_of_dumps_finds_the_same_conversations(name: str, tmp_path: Path) -> None:
    rows = [row(f"id{n}", "a", text, text, model="m") for n, text in enumerate(HARD)]
    exported(made(tmp_path, *rows), name)
    back = [turns.to_conversation(raw) for raw in conversations(tmp_path / name)]
    assert [one.row()["messages"] for one in back if isinstance(one, Conversation)] == [
        one["messages"] for one in rows
    ]
    assert [(raw.id, raw.model) for raw in conversations(tmp_path / name)] == [
        (one["id"], "m") for one in rows
    ]


def conversations(path: Path) -> list[RawConversation]:
    found = list(inputs.read_all(path))
    assert all(isinstance(one, RawConversation) for one in found)
    return [one for one in found if isinstance(one, RawConversation)]


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_an_exported_corpus_built_again_keeps_every_conversation(name: str, tmp_path: Path) -> None:
    first = build.build(build.Settings(out=tmp_path / "first", test_share=0))
    export.export(Settings(tmp_path / name, first))
    again = build.build(build.Settings(str(tmp_path / name), tmp_path / "again", test_share=0))
    columns = ("id", "root", "messages", "model")
    assert [[one[column] for column in columns] for one in rows_of(again)] == [
        [one[column] for column in columns] for one in rows_of(first)
    ]


@given(texts=st.lists(st.text(max_size=20), max_size=5))
def test_any_texts_are_a_json_array(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out") / "out.json"
    records = [{"id": text, "data": [text]} for text in texts]
    assert export.write_array(out, records) == len(records)
    assert json.loads(out.read_text(encoding="utf-8")) == records


# What cannot be done is said, and nothing is left.


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"split": "trian"}, ["no split trian", "all/train, all/test", "'all/train'"]),
        ({"config_name": "lnog"}, ["configuration lnog", "long/train", "'long/train'"]),
        ({"config_name": "long", "split": "test"}, ["it has all/train, all/test, long/train"]),
    ],
)
def test_an_unknown_split_names_what_there_is(
    settings: dict[str, str], parts: list[str], tmp_path: Path
) -> None:
    path = made(tmp_path, row("one"), **{"all/test": [row("t")], "long/train": [row("l")]})
    with pytest.raises(SettingError) as caught:
        exported(path, **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert not (tmp_path / "out.json").exists()


def test_a_damaged_release_is_not_exported(tmp_path: Path) -> None:
    path = made(tmp_path, row("one"))
    file = next(path.glob("data/all/*"))
    file.write_bytes(file.read_bytes().replace(b"Answer", b"answer"))
    (tmp_path / "out.json").write_text("earlier")
    with pytest.raises(InputError, match="wrong digest"):
        exported(path)
    assert (tmp_path / "out.json").read_text() == "earlier"
    with pytest.raises(InputError, match="not a complete release"):
        export.export(Settings(tmp_path / "out.json", tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["out", "out.txt", "out.json.gz"])
def test_an_ending_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"out: .* neither in \.json nor in \.jsonl"):
        Settings(Path(name), Path("r"))


def test_a_release_is_never_written_into(tmp_path: Path) -> None:
    path = made(tmp_path, row("one"))
    for out in (path / "data/all/train-00000-of-00001.jsonl", path / "new.json"):
        with pytest.raises(SettingError, match="inside the release"):
            Settings(out, path)
    release.verify(path)


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    path = made(tmp_path, row("one"), **{"all/test": [row("t")]})
    exported(path)
    assert [one["id"] for one in exported(path, split="test")] == ["t"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.json", "talks-1.2.3"]


def test_what_was_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path, row("one"), row("two"))
    export.export(Settings(tmp_path / "o.jsonl", path, format="messages"))
    assert capsys.readouterr().out.splitlines() == [
        "2 conversations of all/train, format messages",
        str(tmp_path / "o.jsonl"),
    ]
    assert len(list(jsonl.read(tmp_path / "o.jsonl"))) == 2
