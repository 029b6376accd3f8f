"""What is left out before a dialogue is paid for, and that every offer is counted once."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import Questions
from datasets_scripts.ultrachat.openings.asking import Offer
from datasets_scripts.ultrachat.openings.opening import Opening, Sector
from datasets_scripts.ultrachat.openings.sieve import STEPS, Sieve
from datasets_scripts.ultrachat.openings.texts import Text
from ultra.errors import OutputError

LONG = "How do the keepers of a small lighthouse get fresh water in a dry summer without any ship?"
ASKED = "Which two rivers meet below the old castle of Koblenz, and which of them is longer?"


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    file = tmp_path / "suite.jsonl"
    file.write_bytes(orjson.dumps({"id": 1, "suite": "quiz", "turns": [ASKED]}))
    return Questions.load(file)


@pytest.fixture
def sift(tmp_path: Path, questions: Questions) -> Iterator[Sieve]:
    with Sieve(tmp_path / "out", 0.8, questions, 8) as sieve:
        yield sieve


def offer(text: str, path: str = "p", sector: Sector = "world", material: str = "") -> Offer:
    return Offer(path, Opening(sector, "", text, "s", "", material))


def reason(sift: Sieve, one: Offer) -> str:
    found = sift.take(one)
    return found.reason if isinstance(found, Drop) else ""


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        (LONG, "duplicate"),
        (LONG.upper().replace("?", "!"), "duplicate"),
        (f"  {LONG}\n", "duplicate"),
        (LONG.replace("ship?", "ship at all?"), "near_duplicate"),
        (LONG.replace("keepers", "cooks").replace("water", "bread").replace("ship", "cow"), ""),
        ("How do cats purr?", ""),
        ("?!", ""),
    ],
)
def test_what_was_offered_before_goes(sift: Sieve, again: str, expected: str) -> None:
    assert reason(sift, offer(LONG, "first")) == ""
    found = sift.take(offer(again, "second"))
    assert (found.reason if isinstance(found, Drop) else "") == expected
    if isinstance(found, Drop):
        assert found.detail == "gave way to first"


def test_the_same_frame_around_other_things_is_no_duplicate(sift: Sieve) -> None:
    for thing in ("yoga", "salt", "long walks", "cold baths", "garlic"):
        assert reason(sift, offer(f"What are the benefits of {thing} for older people?")) == ""


def test_near_duplicates_may_stay(tmp_path: Path) -> None:
    with Sieve(tmp_path, 0, None, 8) as sift:
        assert reason(sift, offer(LONG)) == ""
        assert reason(sift, offer(LONG.replace("ship?", "ship at all?"))) == ""
        assert reason(sift, offer(LONG)) == "duplicate"


def test_a_question_of_a_benchmark_goes(sift: Sieve) -> None:
    found = sift.take(offer(f"Please help: {ASKED} Thanks!"))
    assert isinstance(found, Drop)
    assert found.reason == "benchmark_overlap"
    assert found.detail.startswith("quiz/1: ")


def test_openings_on_one_text_are_only_compared_exactly(sift: Sieve) -> None:
    text = " ".join(f"word{n}" for n in range(300))
    one, two = f"Sum up.\n\n{text}", f"Translate it.\n\n{text}"
    assert reason(sift, offer(one, sector="material", material=text)) == ""
    assert reason(sift, offer(two, sector="material", material=text)) == ""
    assert reason(sift, offer(one, sector="material", material=text)) == "duplicate"


def test_texts_are_compared_with_texts_before_they_cost_a_call(sift: Sieve) -> None:
    words = [f"word{n}" for n in range(300)]
    text, near = " ".join(words), " ".join([*words, "and", "more"])
    assert sift.unfit(Text(text, "Poems", "a.txt"), 20) is None
    assert sift.unfit(Text(text, "Poems", "b.txt"), 20) == Drop(
        "text_duplicate", "b.txt: gave way to a.txt"
    )
    assert sift.unfit(Text(near, "Poems", "c.txt"), 20) == Drop(
        "text_near_duplicate", "c.txt: gave way to a.txt"
    )
    assert sift.unfit(Text("short", "Poems", "d.txt"), 20) == Drop(
        "text_short", "d.txt: 5 characters"
    )
    held = sift.unfit(Text(f"{near} {ASKED}", "Poems", "e.txt"), 20)
    assert held is None or held.reason == "text_near_duplicate"
    other = sift.unfit(Text(f"In the guide stands: {ASKED} Nobody knew.", "Poems", "f.txt"), 20)
    assert other is not None
    assert other.reason == "text_benchmark_overlap"
    assert reason(sift, offer(text)) == ""


def test_every_offer_is_counted_in_the_steps_that_it_reached(sift: Sieve) -> None:
    offers = [
        Offer("t", None, "text_short"),
        Offer("r", None, "refusal"),
        offer(LONG),
        offer(LONG),
        offer(LONG.replace("ship?", "ship at all?")),
        offer(ASKED),
        offer("Why do cats purr at night?"),
    ]
    kept = [one for one in offers if isinstance(sift.take(one), Opening)]
    table = sift.ledger.table()
    assert [row["step"] for row in table] == list(STEPS)
    assert [row["in"] for row in table] == [7, 6, 5, 4, 3]
    dropped = [row["dropped"] for row in table]
    assert dropped == [
        {"text_short": 1},
        {"refusal": 1},
        {"duplicate": 1},
        {"near_duplicate": 1},
        {"benchmark_overlap": 1},
    ]
    assert len(kept) == 2


def test_the_index_leaves_no_file(tmp_path: Path) -> None:
    with Sieve(tmp_path, 0.8, None, 8) as sift:
        sift.take(offer(LONG))
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((OutputError, OSError)):
        Sieve(tmp_path / "file", 0.8, None, 8)
