"""One piece of the input to its rows, its drops and its account."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
import xxhash

from datasets_scripts import filters
from datasets_scripts.pipeline import Drop, Step
from datasets_scripts.sharegpt import inputs, turns, work
from datasets_scripts.sharegpt.inputs import Piece
from datasets_scripts.sharegpt.work import READ, Worker
from tests.datasets_scripts.helpers import Json, page, row
from ultra.schema import Conversation

STEPS: dict[str, Step] = {
    "roles": filters.repair_roles("drop"),
    "text": turns.to_text,
    "empty turns": filters.no_empty_turn,
}


def piece_of(*rows: Json, **files: bytes) -> Piece:
    """A piece of one dump, and of pages beside it."""
    dump = [("x.json", orjson.dumps(rows))] if rows else []
    return Piece(b"key", 0, (*dump, *files.items()))


def found_in(piece: Piece, steps: dict[str, Step] = STEPS, **options: Any) -> tuple[Any, list[Any]]:
    result = Worker(steps, **options)(piece)
    return orjson.loads(result.found), [orjson.loads(line) for line in result.rows.splitlines()]


def test_a_piece_gives_rows_drops_and_an_account() -> None:
    good, empty, single = row("a", "q", "r"), row("b", "q", " "), row("c", "q")
    files = {"p.html": page(row("p", "q", "r")), "bad.html": b"<html>", "other.json": b"{}"}
    found, rows = found_in(piece_of(good, empty, single, **files))
    assert [one["id"] for one in rows] == ["a", "p"]
    assert found["dropped"] == [
        ["b", "x.json", "empty turns", "empty_turn", "turn 2, assistant"],
        ["c", "x.json", "roles", "no_answered_question", ""],
        ["", "bad.html", READ, "no_next_data", ""],
    ]
    assert found["ignored"] == ["other.json"]
    assert [(step["step"], step["in"]) for step in found["steps"]] == [
        (READ, 5),
        ("roles", 4),
        ("text", 3),
        ("empty turns", 3),
    ]


def test_rows_are_found_again_where_they_stand() -> None:
    result = Worker(STEPS)(piece_of(*(row(f"{n}", "q", "\N{GRINNING FACE}" * n) for n in range(5))))
    placed = list(work.placed(orjson.loads(result.found)["rows"], 1000))
    for entry, digest, place, size in placed:
        line = result.rows[place - 1000 : place - 1000 + size]
        assert digest == xxhash.xxh3_128_digest(line)
        assert orjson.loads(line)["id"] == entry.id
    assert sum(size for *_, size in placed) == len(result.rows)


def test_an_entry_comes_back_as_it_was() -> None:
    worker = Worker(STEPS, near_duplicates=True)
    (record,) = inputs.read(piece_of(row("a", "q", "r", "more", "s" * 50, model="GPT-4")), [])
    start = turns.to_conversation(record)  # type: ignore[arg-type]
    assert isinstance(start, Conversation)
    entry, line = worker._describe(start)
    ((back, digest, place, size),) = work.placed(
        orjson.loads(orjson.dumps([work._packed(entry, line)])), 7
    )
    entry.counts = list(entry.counts)  # type: ignore[assignment]  # JSON has no tuples
    assert back == entry
    assert (digest, place, size) == (xxhash.xxh3_128_digest(line), 7, len(line))
    assert back.signature
    assert len(back.prefixes) == 1


@pytest.mark.parametrize(
    ("model", "language", "configs"),
    [
        ("", "", "all"),
        ("Model: GPT-4", "de", "all gpt4"),
        ("GPT-4", "en", "all gpt4 en"),
        ("Model: Default (GPT-3.5)", "en", "all en"),
        ("gpt-4-mobile", "eng", "all"),
    ],
)
def test_a_row_is_for_the_configurations_that_its_columns_name(
    model: str, language: str, configs: str
) -> None:
    def speak(given: Conversation) -> Conversation:
        given.provenance["language"] = language
        return given

    found, _ = found_in(piece_of(row("a", "q", "r", model=model)), {"language": speak})
    ((entry, *_),) = work.placed(found["rows"], 0)
    assert entry.configs == configs


def test_what_a_step_changed_is_in_the_account() -> None:
    def mark(given: Conversation) -> Conversation:
        given.changes.append("marked")
        return given

    found, _ = found_in(piece_of(row("a", "q", "r"), row("b", "q", "r")), {"mark": mark})
    assert found["steps"][-1]["changed"] == {"marked": 2}


def test_a_drop_is_reported_under_the_id_that_the_row_came_with() -> None:
    def drop(given: Conversation) -> Drop:
        return Drop("odd", given.id)

    found, _ = found_in(piece_of(row("", "q", "r")), {"drop": drop})
    ((id, source, step, reason, detail),) = found["dropped"]
    assert (id, source, step, reason) == (detail, "x.json", "drop", "odd")
    assert id.startswith("text-")


def test_looking_gives_the_account_of_working() -> None:
    piece = piece_of(row("a", "q", "r"), row("b", "q"), **{"o.json": b"{}", "bad.html": b"<html>"})
    found, _ = found_in(piece)
    seen = Worker({}).look(piece)
    for name in ("digest", "ignored"):
        assert seen[name] == found[name]
    assert seen["steps"][0]["in"] == found["steps"][0]["in"]


def test_digests_of_pieces_add_up_to_that_of_the_whole(tmp_path: Path) -> None:
    rows = [row(f"{n}", f"question {n}", "r") for n in range(50)]
    random.Random(3).shuffle(rows)

    def digest(*some: Json) -> int:
        return int(Worker({}).look(piece_of(*some))["digest"], 16)

    parts = digest(*rows[:13]) + digest(*rows[13:40]) + digest(*rows[40:])
    assert parts % 2**128 == digest(*rows) == digest(*rows[::-1])
    assert digest(*rows[1:]) != digest(*rows)
    assert digest(*rows, rows[0]) != digest(*rows)
    assert digest(*rows[1:], rows[0] | {"views": 1}) != digest(*rows)
