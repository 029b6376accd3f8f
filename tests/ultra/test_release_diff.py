import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.servers.hub import Hub
from tests.ultra.test_loading import hub, published
from tests.ultra.test_release_command import Run, drop, release_of, row, run
from ultra import loading, schema
from ultra.release_diff import compare

__all__ = ["hub", "run"]  # fixtures of theirs

STEPS = [
    {"step": "read", "in": 1300, "dropped": {"truncated": 2}, "changed": {}},
    {"step": "near duplicates", "in": 1298, "dropped": {"near_duplicate": 1}, "changed": {}},
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    rows = {
        "all/train": [row("same"), row("dropped"), row("gone"), row("edited"), row("last")],
        "all/test": [row("moved")],
        "long/train": [row("same"), row("dropped")],
    }
    drops = [drop("let in", "a.html", "near_duplicate")]
    return release_of(tmp_path / "old", rows, drops, configuration={"near": 0, "more": {"a": 1}})


@pytest.fixture
def new(tmp_path: Path) -> Path:
    edited = row("edited", "b.html", "Question", "Another answer")
    rows = {
        "all/train": [row("same"), edited, row("fresh"), row("let in"), row("moved"), row("last")],
        "long/train": [row("same"), edited],
    }
    drops = [
        drop("dropped", "a.html", "near_duplicate") | {"step": "near duplicates"},
        drop("dropped", "b.html", "truncated") | {"step": "read"},
        drop("", "broken.html", "not_utf8"),
    ]
    made = {"near": 0.8, "more": {"a": 1, "b": [2]}}
    return release_of(
        tmp_path / "new", rows, drops, version="1.3.0", steps=STEPS, configuration=made
    )


def compared(old: Path, new: Path, ids: int = 0) -> dict[str, Any]:
    return compare(loading.find(old), loading.find(new), ids)


def test_rows_are_counted_by_what_became_of_them_and_why(old: Path, new: Path) -> None:
    assert compared(old, new)["rows"] == {
        "all": {
            "same": 2,
            "added": {"rows": 2, "by": {"not in the input": 1, "near_duplicate": 1}},
            "removed": {"rows": 2, "by": {"near_duplicate": 1, "not in the input": 1}},
            "changed": {"rows": 1, "by": {"messages": 1, "source": 1}},
            "moved": {"rows": 1, "by": {"test to train": 1}},
        },
        "long": {
            "same": 1,
            "added": {"rows": 1, "by": {"only in all": 1}},
            "removed": {"rows": 1, "by": {"near_duplicate": 1}},
        },
    }


def test_backwards_what_was_added_is_removed(old: Path, new: Path) -> None:
    there, back = compared(old, new)["rows"], compared(new, old)["rows"]
    for config in ("all", "long"):
        assert back[config]["same"] == there[config]["same"]
        assert back[config]["removed"] == there[config]["added"]
        assert back[config]["added"]["rows"] == there[config]["removed"]["rows"]
    assert back["all"]["moved"] == {"rows": 1, "by": {"train to test": 1}}


def test_a_release_does_not_differ_from_itself(old: Path) -> None:
    found = compared(old, old, 5)
    assert found["rows"] == {"all": {"same": 6}, "long": {"same": 2}}
    assert found["settings"] == found["columns"] == {}


def test_settings_sizes_and_steps_stand_side_by_side(old: Path, new: Path) -> None:
    found = compared(old, new)
    assert found["settings"] == {
        "version": ("1.2.3", "1.3.0"),
        "configuration.near": (0, 0.8),
        "configuration.more.b": (None, [2]),
    }
    assert found["splits"] == {"all/train": (5, 6), "all/test": (1, None), "long/train": (2, 2)}
    assert found["steps"] == {
        "read": {
            "in": (1240, 1300),
            "dropped": {"truncated": (None, 2), "not_utf8": (4, None)},
            "changed": {},
        },
        "near duplicates": {
            "in": (None, 1298),
            "dropped": {"near_duplicate": (None, 1)},
            "changed": {},
        },
        "roles": {"in": (1236, None), "dropped": {}, "changed": {"cut_trailing_turn": (77, None)}},
    }


def test_a_new_column_is_named_once_and_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kept = {"source": "string", "model": "string", "title": "string"}
        patch.setitem(schema.PROVENANCE, "sharegpt", kept)
        old = release_of(tmp_path / "old", {"all/train": [row("one")]})
    new = release_of(tmp_path / "new", {"all/train": [row("one")]})
    found = compared(old, new)
    assert found["rows"] == {"all": {"same": 1}}
    assert found["columns"] == dict.fromkeys(
        ("views", "language", "language_confidence"), (None, True)
    )


def test_copies_of_one_id_are_counted_one_by_one(tmp_path: Path) -> None:
    old = release_of(tmp_path / "old", {"all/train": [row("one"), row("one", "b.html")]})
    new = release_of(tmp_path / "new", {"all/train": [row("one")]})
    (counts,) = compared(old, new)["rows"].values()
    assert counts["same"] + counts.get("changed", {"rows": 0})["rows"] == 1
    assert counts["removed"] == {"rows": 1, "by": {"only in all": 1}}


@given(
    before=st.dictionaries(st.text(max_size=4), st.sampled_from("xyz")),
    after=st.dictionaries(st.text(max_size=4), st.sampled_from("xyz")),
)
def test_any_ids_are_compared_as_sets_are(
    before: dict[str, str], after: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("diff")
    for name, members in (("old", before), ("new", after)):
        rows = [row("always"), *(row(id + "!", text) for id, text in members.items())]
        release_of(folder / name, {"all/train": rows})
    counts = compared(folder / "old", folder / "new")["rows"]["all"]
    both = before.keys() & after.keys()
    same = sum(before[id] == after[id] for id in both)
    assert counts["same"] == 1 + same
    assert counts.get("changed", {"rows": 0})["rows"] == len(both) - same
    assert counts.get("added", {"rows": 0})["rows"] == len(after) - len(both)
    assert counts.get("removed", {"rows": 0})["rows"] == len(before) - len(both)


# The command.


def test_an_account_for_a_person(old: Path, new: Path, run: Run) -> None:
    code, out, err = run("diff", old, new)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "configuration.near 0 0.8",
        "configuration.more.b - [2]",
        "all/test 1 -",
        "read 1,240 1,300",
        "dropped: not_utf8 4 -",
        "rows of all",
        "removed 2",
        "now: near_duplicate 1",
        "before: not in the input 1",
        "column messages 1",
        "from test to train 1",
    ):
        assert line in lines
    assert "dropped:" not in "".join(lines[lines.index("rows of all") :])


def test_ids_are_shown_when_asked_for_and_no_more(old: Path, new: Path, run: Run) -> None:
    out = run("diff", old, new, "--ids", "1")[1]
    assert "      fresh: not in the input\n" in out
    assert "      edited: messages, source\n" in out
    assert "let in" not in out
    assert "let in: near_duplicate" in run("diff", old, new, "--ids", "9")[1]
    assert "fresh" not in run("diff", old, new)[1]


def test_json_says_the_same(old: Path, new: Path, run: Run) -> None:
    code, out, _ = run("diff", old, new, "--json", "--ids", "3")
    assert code == 0
    found = orjson.loads(out)
    assert found == orjson.loads(orjson.dumps(compared(old, new, 3)))
    assert found["rows"]["all"]["moved"]["ids"] == {"moved": "test to train"}


def test_what_cannot_be_compared_is_one_line(
    old: Path, new: Path, tmp_path: Path, run: Run
) -> None:
    assert "neither a release directory nor" in run("diff", old, tmp_path / "none")[2]
    assert "ids: -1 is below 0" in run("diff", old, new, "--ids", "-1")[2]
    file = old / "dropped/dropped-00000-of-00001.jsonl"
    file.write_bytes(file.read_bytes() + b"\n")
    code, out, err = run("diff", old, new)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {file}: wrong digest")


@pytest.mark.parametrize(
    "change", [{"steps": 3}, {"steps": [{}]}, {"splits": {"all": {"train": 3}}}]
)
def test_a_manifest_that_lacks_something_is_named(
    change: dict[str, Any], old: Path, new: Path, run: Run
) -> None:
    manifest = orjson.loads((old / "manifest.json").read_bytes())
    (old / "manifest.json").write_bytes(orjson.dumps(manifest | change))
    code, _, err = run("diff", new, old)
    assert code == 2
    assert err.startswith(f"error: {old / 'manifest.json'}: not the manifest of a release")


def test_nothing_that_a_terminal_obeys_is_printed(tmp_path: Path, run: Run) -> None:
    hostile = "\x1b[2J\r\u202e\x00\n"
    old = release_of(tmp_path / "old", {"all/train": [row(f"a{hostile}")]}, input={hostile: 1})
    new = release_of(
        tmp_path / "new", {"all/train": [row("b")]}, [drop(f"a{hostile}", "a", hostile)]
    )
    out = run("diff", old, new, "--ids", "3")[1]
    assert r"a\x1b[2J\r" in out
    assert not set("\x1b\r\u202e\x00") & set(out)


def test_versions_on_the_hub_are_compared(old: Path, new: Path, hub: Hub, tmp_path: Path) -> None:
    published(hub, old, "v1.2.3")
    published(hub, new, "v1.3.0")
    done = subprocess.run(
        [sys.executable, "-m", "ultra.release", "diff", "org/talks@v1.2.3", new, "--json"],
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    assert found["rows"] == compared(old, new)["rows"]
    assert found["releases"][0]["name"] == "org/talks@v1.2.3"
