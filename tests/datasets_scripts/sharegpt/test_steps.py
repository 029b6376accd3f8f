"""The steps as a build puts them together: what each setting switches, and what the report says."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.sharegpt.build import CONFIGURATION, Settings, build
from tests.datasets_scripts.helpers import drops_of, row, rows_of
from tests.datasets_scripts.sharegpt.raw import Build, settings_for
from ultra import release
from ultra.errors import InputError, SettingError

NOTICE = "This content may violate our content policy."
ASKED = "How many glaciers would a patient cartographer have to redraw after one warm decade there"


def dump(*rows: dict[str, Any]) -> dict[str, bytes]:
    return {"x.json": orjson.dumps(list(rows))}


def changes(path: Path) -> dict[str, int]:
    return {
        what: count
        for step in release.read_manifest(path)["steps"]
        for what, count in step["changed"].items()
    }


def test_pieces_of_one_page_share_its_root(build_from: Build) -> None:
    ids = ["QWJhYvA_0", "QWJhYvA_8", "QWJhYvA_12", "zzzzzzz_0", "identity_0", "identity_1"]
    path = build_from(dump(*(row(id, f"question {id}", "answer") for id in ids)))
    root = {one["id"]: one["root"] for one in rows_of(path)}
    assert root["QWJhYvA_0"] == root["QWJhYvA_8"] == root["QWJhYvA_12"]
    assert len(set(root.values())) == 4


def test_a_notice_of_the_page_is_no_turn_unless_it_shall_be_kept(build_from: Build) -> None:
    talk = row("a", "Tell me.", "Well.")
    talk["conversations"].insert(1, {"from": "human", "value": NOTICE})
    path = build_from(dump(talk, row("b", "q", "r")), banners="cut")
    assert [len(one["messages"]) for one in rows_of(path)] == [2, 2]
    assert changes(path) == {"page_notice_removed": 1}
    assert [one["reason"] for one in drops_of(build_from(dump(talk, row("b", "q", "r"))))] == [
        "doubled_turn"
    ]


def test_the_drop_report_shows_no_personal_data(build_from: Build) -> None:
    said = "I'm sorry, but I can't help with writing to jane.doe@posteo.de about it."
    path = build_from(
        dump(row("a", "q", said), row("b", "q", "r")), refusals="default", personal_data="redact"
    )
    (dropped,) = drops_of(path)
    assert dropped["reason"] == "refusal"
    assert "sorry" in dropped["detail"]
    assert "posteo" not in dropped["detail"]
    assert "jane" not in dropped["detail"]


def test_the_account_of_contamination_is_that_of_what_stays(
    build_from: Build, tmp_path: Path
) -> None:
    questions = tmp_path / "asked.jsonl"
    questions.write_bytes(orjson.dumps({"suite": "maps", "id": "1", "turns": [ASKED]}))
    eight = " ".join(ASKED.split()[:8])
    files = dump(
        row("whole", ASKED, "Nine."),
        row("part", f"Say {eight} and so on?", "Nine."),
        row("none", "Why?", "So."),
    )
    path = build_from(files, questions=questions)
    assert {one["id"]: one["reason"] for one in drops_of(path)} == {"whole": "benchmark_overlap"}
    assert "maps/1: 'how many glaciers" in drops_of(path)[0]["detail"]
    found = release.read_manifest(path)["contamination"]
    assert found["conversations"] == {"8": 1, "13": 0}
    kept = build_from(files, questions=questions, drop_overlap=0)
    assert release.read_manifest(kept)["contamination"]["conversations"] == {"8": 2, "13": 1}
    assert "**not checked**" in (build_from(files) / "README.md").read_text()


def test_what_another_configuration_holds_is_no_part_of_the_account(
    build_from: Build, tmp_path: Path
) -> None:
    questions = tmp_path / "asked.jsonl"
    questions.write_bytes(orjson.dumps({"suite": "maps", "id": "1", "turns": [ASKED]}))
    files = dump(row("a", ASKED, "Nine."), row("b", "Why?", "So.", model="GPT-4"))
    path = build_from(files, questions=questions, drop_overlap=0, config_name="gpt4")
    manifest = release.read_manifest(path)
    assert manifest["steps"][-1]["step"] == CONFIGURATION
    assert manifest["contamination"]["conversations"] == {"8": 0, "13": 0}


def test_near_duplicates_give_way_to_the_longer(build_from: Build) -> None:
    answer = " ".join(f"word{number}" for number in range(300))
    files = dump(row("a", "q", answer), row("b", "q", f"{answer} and more"), row("c", "z", "y"))
    path = build_from(files, near_duplicates=0.8)
    assert [one["id"] for one in rows_of(path)] == ["b", "c"]
    assert drops_of(path)[0]["detail"] == "gave way to b of x.json"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_languages": ["xx"]}, "keep_languages"),
        ({"skip_languages": ["englsh"]}, "skip_languages"),
        ({"languages": False, "keep_languages": ["en"]}, "languages: must be true"),
        ({"languages": False, "config_name": "en"}, "languages: must be true"),
        ({"near_duplicates": 1.5}, "near_duplicates: 1.5"),
        ({"refusals": "opnchat"}, "openchat"),
        ({"questions": Path("nowhere.jsonl")}, "nowhere.jsonl"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_bytes(orjson.dumps([row("a", "q", "r")]))
    on = {"languages": True} | settings
    with pytest.raises((SettingError, InputError), match=message):
        build(settings_for(tmp_path / "x.json", tmp_path / "out", **on))


def test_an_empty_input_is_not_the_working_directory(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="raw: is empty"):
        Settings(raw="", out=tmp_path)


def test_a_release_is_not_made_inside_its_input(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(orjson.dumps([row("a", "q", "r")]))
    with pytest.raises(SettingError, match="inside the input"):
        build(settings_for(tmp_path, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
