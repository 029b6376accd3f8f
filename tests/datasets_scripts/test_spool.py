"""The rows on disk between input and release."""

import sqlite3
from itertools import permutations
from pathlib import Path

import pytest

from datasets_scripts.pipeline import Drop
from datasets_scripts.spool import Entry, Spool
from ultra.errors import OutputError

ENTRIES = [
    Entry("a", "f", b"\x02"),
    Entry("a", "g", b"\x01"),
    Entry("a\0", "f", b"\x01"),
    Entry("\N{GRINNING FACE}", "f", b"\x00"),
    Entry("\ufb01", "f", b"\xff"),
]


def test_rows_come_out_by_id_and_content_whatever_their_order_in(tmp_path: Path) -> None:
    for order in permutations(range(5)):
        with Spool(tmp_path) as spool:
            for number in order:
                spool.add(ENTRIES[number], {"number": number})
            assert [found["number"] for found in spool.rows()] == [1, 0, 2, 4, 3]


def test_a_row_comes_out_as_it_went_in(tmp_path: Path) -> None:
    row = {"z": "\0 \N{GRINNING FACE}", "a": [2**63 - 1, {"b": ""}]}
    with Spool(tmp_path) as spool:
        spool.add(ENTRIES[0], row)
        (found,) = spool.rows()
    assert found == row
    assert list(found) == ["z", "a"]


def test_the_drop_report_has_an_order_of_its_own(tmp_path: Path) -> None:
    drops = [("b", "f", "s", "r", ""), ("a", "g", "s", "r", ""), ("a", "f", "s", "r", "2")]
    drops.append(("a", "f", "s", "r", "1"))
    with Spool(tmp_path) as spool:
        for id, source, step, reason, detail in drops:
            spool.drop(id, source, step, Drop(reason, detail))
        found = list(spool.drops())
    assert [tuple(drop.values()) for drop in found] == sorted(drops)
    assert list(found[0]) == ["id", "source", "step", "reason", "detail"]


def test_the_file_has_no_name_so_a_killed_build_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    with Spool(folder) as one, Spool(folder) as other:
        one.add(ENTRIES[0], {})
        assert list(other.rows()) == []
        assert list(folder.iterdir()) == []


def test_nothing_stays_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Spool(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=f"{tmp_path}: cannot be written to")
    with refused, Spool(tmp_path):
        raise sqlite3.OperationalError("database or disk is full")
