"""The rows on disk between input and release."""

import sqlite3
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest
import xxhash

from datasets_scripts import spool as spools
from datasets_scripts.pipeline import Drop, Ledger
from datasets_scripts.spool import Entry, Spool
from datasets_scripts.statistics import count_words, describe, mtld
from tests.datasets_scripts.helpers import talk
from ultra import jsonl, release
from ultra.errors import OutputError
from ultra.prompts import Prompt
from ultra.schema import Conversation

ENTRIES = [
    Entry("a", "f", "", b"\x02"),
    Entry("a", "g", "", b"\x01"),
    Entry("a\0", "f", "", b"\x01"),
    Entry("\N{GRINNING FACE}", "f", "", b"\x00"),
    Entry("\ufb01", "f", "", b"\xff"),
]

CARD = Prompt("card.md", "---\nlicense: mit\n---\n# Talks {version}\n\n{splits}\n{steps}")


def talks(language: str, id: str, text: str) -> dict[str, Any]:
    messages = talk("u1 a2")
    messages[0]["content"] = text
    provenance: dict[str, str | int | float] = {
        "source": "f",
        "model": "",
        "title": "",
        "views": 0,
        "language": language,
        "language_confidence": 1.0,
    }
    return Conversation(id, messages, provenance).row()


def one(id: str, configs: str = "all", **fields: object) -> Entry:
    return Entry(id, "f", f"root {id}", id.encode(), configs=configs, **fields)  # type: ignore[arg-type]


def add(spool: Spool, entry: Entry, row: dict[str, Any]) -> None:
    entry.described = describe(row["messages"], None, count_words)
    spool.add(entry, jsonl.dump(row))


def lines(spool: Spool, config: str = "all") -> list[bytes]:
    return [line for _, line in spool.lines(config)]


def test_rows_come_out_by_id_and_content_whatever_their_order_in(tmp_path: Path) -> None:
    for order in permutations(range(5)):
        with Spool(tmp_path) as spool:
            for number in order:
                spool.add(ENTRIES[number], jsonl.dump(number))
            assert [orjson.loads(line) for line in lines(spool)] == [1, 0, 2, 4, 3]


def test_a_line_comes_out_as_it_went_in_with_its_root(tmp_path: Path) -> None:
    line = jsonl.dump({"z": "\0 \N{GRINNING FACE}", "a": [2**63 - 1, {"b": ""}]})
    with Spool(tmp_path) as spool:
        spool.add(one("b"), b"other\n")
        spool.add(one("a"), line)
        assert list(spool.lines("all")) == [("root a", line), ("root b", b"other\n")]


def test_lines_of_a_file_are_found_where_they_stand(tmp_path: Path) -> None:
    with (tmp_path / "rows").open("w+b") as file:
        file.write(b"head\nfirst\nnoise\nsecond\n")
        with Spool(tmp_path / "scratch", file) as spool:
            for id, line in (("b", b"first\n"), ("a", b"second\n")):
                place = b"head\nfirst\nnoise\nsecond\n".index(line)
                spool.refer([(one(id), xxhash.xxh3_128_digest(line), place, len(line))])
            assert lines(spool) == [b"second\n", b"first\n"]


def test_rows_are_read_for_the_configurations_that_they_are_for(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for id, configs in (("a", "all"), ("b", "all en"), ("c", "all gpt4"), ("d", "gpt4 all en")):
            spool.add(one(id, configs), id.encode())
        found = {config: lines(spool, config) for config in ("all", "en", "gpt4", "gpt", "n")}
    assert found == {
        "all": [b"a", b"b", b"c", b"d"],
        "en": [b"b", b"d"],
        "gpt4": [b"c", b"d"],
        "gpt": [],
        "n": [],
    }


def test_statistics_are_of_the_rows_kept_in_a_configuration(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        add(spool, one("a", "all en"), {"messages": talk("u1 a23")})
        add(spool, one("b"), {"messages": talk("s0 u1 a2")})
        add(spool, one("c", "all en"), {"messages": talk("u1 a2")})
        spool.db.execute("UPDATE kept SET reason = 'odd' WHERE id = 'c'")
        (found, everything) = (spool.statistics(config) for config in ("en", "all"))
        assert found["conversations"] == 1
        assert {role: one["characters"] for role, one in found["roles"].items()} == {
            "user": 2,
            "assistant": 3,
        }
        assert everything["turns"]["sum"] == 5
        assert list(everything["roles"]) == ["system", "user", "assistant"]
        assert spool.statistics("gpt4") == {}


def test_rows_that_nothing_describes_have_no_statistics(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add(one("a", counts=spools.counts(talk("u1 a23"))), b"a")
        assert spool.statistics("all") == {}


def test_diversity_is_of_the_rows_with_the_smallest_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SAMPLE", 3)
    means = set()
    for order in ((0, 1, 2, 3, 4), (4, 2, 0, 3, 1)):
        with Spool(tmp_path) as spool:
            for number in order:
                entry = one(f"{number}")
                entry.root = f"{9 - number:016x}{number:016x}"  # the second half is what counts
                text = " ".join(f"w{n % (10 + number)}" for n in range(60))
                add(spool, entry, {"messages": [{"role": "user", "content": text}]})
            found = spool.statistics("all")
        assert (found["conversations"], found["sampled"]) == (5, 3)
        assert found["roles"]["user"]["mtld"]["utterances"] == 3
        means.add(found["roles"]["user"]["mtld"]["mean"])
    spoken = [[b"%d" % (n % (10 + number)) for n in range(60)] for number in range(3)]
    assert means == {round(sum(map(mtld, spoken)) / 3, 1)}


def test_keeping_one_configuration_drops_and_reports_the_others(tmp_path: Path) -> None:
    ledger = Ledger(["before", "choice"])
    with Spool(tmp_path) as spool:
        for id, configs in (("a", "all"), ("b", "all en"), ("c", "all en"), ("d", "all")):
            spool.add(one(id, configs), id.encode())
        spool.db.execute("UPDATE kept SET reason = 'odd', winner = 1 WHERE id IN ('c', 'd')")
        spool.settle("before", ledger)
        spool.keep_only("en", "other_language")
        spool.settle("choice", ledger)
        assert lines(spool) == lines(spool, "en") == [b"b"]
        report = [tuple(drop.values()) for drop in spool.drops()]
    assert report == [
        ("a", "f", "choice", "other_language", ""),
        ("c", "f", "before", "odd", "gave way to a of f"),
        ("d", "f", "before", "odd", "gave way to a of f"),
    ]
    assert [(row["in"], row["dropped"]) for row in ledger.table()] == [
        (4, {"odd": 2}),
        (2, {"other_language": 1}),
    ]


def test_a_detail_of_its_own_comes_before_the_winner(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add(one("a"), b"a")
        spool.add(one("b"), b"b")
        spool.db.execute("UPDATE kept SET reason = 'near', winner = 1, detail = '0.9 of a'")
        spool.settle("near", Ledger(["near"]))
        assert {drop["detail"] for drop in spool.drops()} == {"0.9 of a"}


def test_the_drop_report_has_an_order_of_its_own(tmp_path: Path) -> None:
    drops = [("b", "f", "s", "r", ""), ("a", "g", "s", "r", ""), ("a", "f", "s", "r", "2")]
    drops.append(("a", "f", "s", "r", "1"))
    with Spool(tmp_path) as spool:
        for id, source, step, reason, detail in drops:
            spool.drop(id, source, step, Drop(reason, detail))
        found = list(spool.drops())
    assert [tuple(drop.values()) for drop in found] == sorted(drops)
    assert list(found[0]) == ["id", "source", "step", "reason", "detail"]


@pytest.mark.parametrize("id", ["a\0b", "'; DROP TABLE kept; --", "%s {}", "\U0010ffff"])
def test_odd_ids_are_reported_whole(id: str, tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add(one("loser"), b"1")
        spool.add(one(id), b"2")
        spool.db.execute("UPDATE kept SET reason = 'odd', winner = 2 WHERE number = 1")
        spool.settle("step", Ledger(["step"]))
        (drop,) = spool.drops()
    assert drop["detail"] == f"gave way to {id} of f"


def test_the_files_have_no_name_so_a_killed_build_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    with Spool(folder) as mine, Spool(folder) as other:
        mine.add(ENTRIES[0], b"{}\n")
        assert lines(other) == []
        assert list(folder.iterdir()) == []


def test_nothing_stays_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Spool(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=f"{tmp_path}: cannot be written to")
    with refused, Spool(tmp_path):
        raise sqlite3.OperationalError("database or disk is full")


def test_a_release_has_each_configuration_split_by_root(tmp_path: Path) -> None:
    made: dict[str, Any] = {"version": "1", "steps": [], "configuration": {"test_share": 0.5}}
    with Spool(tmp_path) as spool:
        spool.drop("z", "f", "read", Drop("odd"))
        for n in range(40):
            row = talks("en" if n % 2 else "de", id=f"{n:02}", text=f"question {n // 4}")
            entry = one(row["id"], "all en" if n % 2 else "all")
            entry.root = row["root"]
            add(spool, entry, row)
        manifest = spool.to_release(tmp_path / "r", "sharegpt", made, CARD, ["all", "en"])
    assert manifest == release.verify(tmp_path / "r")
    sizes = {
        config: {split: size["rows"] for split, size in splits.items()}
        for config, splits in manifest["splits"].items()
    }
    assert sum(sizes["all"].values()) == 40
    assert sum(sizes["en"].values()) == 20
    assert {config: found["conversations"] for config, found in manifest["statistics"].items()} == {
        "all": 40,
        "en": 20,
    }
    roots: dict[str, set[str]] = {"train": set(), "test": set()}
    for file in (tmp_path / "r" / "data").rglob("*.jsonl"):
        rows = list(jsonl.read(file))
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        roots[file.name.partition("-")[0]] |= {row["root"] for row in rows}
    assert all(roots.values())
    assert not roots["train"] & roots["test"]


def test_a_configuration_without_rows_has_statistics_and_no_split(tmp_path: Path) -> None:
    made: dict[str, Any] = {"version": "1", "steps": [], "configuration": {"test_share": 0.0}}
    with Spool(tmp_path) as spool:
        row = talks("en", id="1", text="q")
        entry = one("1")
        entry.root = row["root"]
        add(spool, entry, row)
        manifest = spool.to_release(tmp_path / "r", "sharegpt", made, CARD, ["all", "gpt4"])
    assert set(manifest["splits"]) == {"all"}
    assert manifest["statistics"]["gpt4"] == {}
