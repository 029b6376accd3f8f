"""Near duplicates: what a signature estimates, who gives way to whom, whatever the order."""

import itertools
import random
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import near_duplicates
from datasets_scripts.near_duplicates import drop_near_duplicates, signature
from ultra.schema import Message

TABLE = """
CREATE TABLE kept (
    number INTEGER PRIMARY KEY, id TEXT, content BLOB, source TEXT, turns INT, length INT,
    reason TEXT, winner INT, signature BLOB
)
"""
Talk = tuple[str, list[Message]]


def similarity(one: bytes, two: bytes) -> float:
    return near_duplicates._most_similar(one, [two])[1]


def talk(*texts: str) -> list[Message]:
    return [
        {"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)
    ]


def essay(seed: int, count: int) -> list[str]:
    """Words that no other seed has."""
    return [f"{seed}x{n}" for n in range(count)]


def shingles(messages: Sequence[Message]) -> set[tuple[str, ...]]:
    """What the signature stands for, spelt out."""
    said = []
    for turn in messages:
        said += [f"<{turn['role']}>", *turn["content"].lower().split()]
    said += ["<end>"] * 4
    return {tuple(said[n : n + 5]) for n in range(len(said) - 4)}


def jaccard(one: Sequence[Message], two: Sequence[Message]) -> float:
    a, b = shingles(one), shingles(two)
    return len(a & b) / len(a | b)


def with_new_words(words: list[str], count: int, seed: int) -> list[str]:
    """The same text with some words, spread evenly, exchanged."""
    changed = list(words)
    for n in range(count):
        changed[n * len(words) // count] = f"new{seed}x{n}"
    return changed


def table(talks: Iterable[Talk]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(TABLE)
    for id, messages in talks:
        length = sum(len(turn["content"]) for turn in messages)
        content = sha256(repr(messages).encode()).digest()[:16]
        db.execute(
            "INSERT INTO kept (id, content, source, turns, length, signature) "
            "VALUES (?, ?, 's', ?, ?, ?)",
            (id, content, len(messages), length, signature(messages)),
        )
    return db


def dropped(db: sqlite3.Connection, threshold: float = 0.8) -> dict[str, str]:
    """Ids that gave way, and to which."""
    drop_near_duplicates(db, threshold)
    query = (
        "SELECT loser.id, winner.id FROM kept AS loser JOIN kept AS winner "
        "ON winner.number = loser.winner WHERE loser.reason = 'near_duplicate'"
    )
    return dict(db.execute(query).fetchall())


@pytest.mark.parametrize("size", [60, 600, 6000])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_signatures_estimate_the_share_of_common_shingles(size: int, share: float) -> None:
    errors = []
    for seed in range(8):
        words = essay(seed, size)
        one = talk("what", " ".join(words))
        two = talk("what", " ".join(with_new_words(words, max(1, int(size * share)), seed)))
        errors.append(similarity(signature(one), signature(two)) - jaccard(one, two))
    assert abs(sum(errors) / len(errors)) < 0.05
    assert max(map(abs, errors)) < 0.2


def test_a_signature_is_the_same_bytes_on_every_machine() -> None:
    """If this fails, rensa or the words changed: raise the VERSION of every corpus."""
    long = talk(" ".join(essay(1, 5000)), "Ja, größer! 用 Python.")
    short = talk("a", "b")
    digest = sha256(signature(long) + signature(short)).hexdigest()
    assert digest == "ea05451cac7ad20bb681cfc39b929f1f9d3ef9fc13bd2bd1d8a36c5118e3f165"


def test_case_and_punctuation_are_not_in_a_signature_but_turns_and_roles_are() -> None:
    plain = signature(talk("say it", "i said it"))
    assert signature(talk("Say it!", "I -- said it.")) == plain
    assert signature(talk("say it i", "said it")) != plain
    assert signature([{"role": "user", "content": "say it"}] * 2) != plain


@pytest.mark.parametrize("text", ["", "\0", "a", "\ud800", "e" + "\u0301" * 1000, "漢字"])
def test_any_text_has_a_signature_of_fixed_size(text: str) -> None:
    assert len(signature(talk(text))) == near_duplicates.SIGNATURE_BYTES
    assert len(signature([])) == near_duplicates.SIGNATURE_BYTES


def test_the_longest_stays_and_the_most_similar_wins() -> None:
    words = essay(0, 400)
    a = talk("why", " ".join([*words, "and", "so", "on", "and", "on"]))
    b = talk("why", " ".join(with_new_words(words, 5, 1)))
    near_b = talk("why", " ".join(with_new_words(words, 5, 1)[:-1]))
    other = talk("why", " ".join(essay(9, 400)))
    assert jaccard(a, b) > 0.8
    assert jaccard(near_b, b) > jaccard(near_b, a) > 0.8
    few = table([("near b", near_b), ("other", other), ("b", b), ("a", a)])
    assert dropped(few) == {"b": "a", "near b": "a"}
    assert dropped(table([("near b", near_b), ("b", b)])) == {"near b": "b"}
    both = table([("b", b), ("a", a), ("near b", near_b)])
    assert dropped(both, threshold=0.95) == {"near b": "b"}


def test_what_gave_way_to_another_rule_takes_no_part() -> None:
    words = " ".join(essay(0, 100))
    db = table([("a", talk(words, "yes")), ("b", talk(words, "no"))])
    db.execute("UPDATE kept SET reason = 'same_id' WHERE id = 'a'")
    assert dropped(db) == {}
    assert db.execute("SELECT reason FROM kept ORDER BY id").fetchall() == [("same_id",), (None,)]


def test_pairs_are_found_above_the_threshold_and_left_alone_below() -> None:
    talks: list[Talk] = []
    for seed in range(120):
        words = essay(seed, 300)
        changes = 3 if seed < 60 else 24  # of similarity 0.90 and 0.42
        talks.append((f"{seed}", talk("q", " ".join([*words, "e" * 100]))))
        talks.append((f"{seed} again", talk("q", " ".join(with_new_words(words, changes, seed)))))
    assert 0.88 < jaccard(talks[0][1], talks[1][1]) < 0.92
    assert 0.40 < jaccard(talks[-1][1], talks[-2][1]) < 0.44
    found = dropped(table(talks))
    assert found == {f"{seed} again": f"{seed}" for seed in range(60)}


def test_the_order_of_the_rows_changes_nothing() -> None:
    words = essay(0, 200)
    talks: list[Talk] = [
        (f"{seed}", talk("q", " ".join(with_new_words(words, 1 + seed % 6, seed))))
        for seed in range(40)
    ]
    expected = dropped(table(talks), threshold=0.75)
    assert 10 < len(expected) < 40
    for seed in range(5):
        random.Random(seed).shuffle(talks)
        assert dropped(table(talks), threshold=0.75) == expected


@given(st.lists(st.integers(0, 12), min_size=2, max_size=12, unique=True))
def test_of_what_is_kept_no_two_are_near_and_a_winner_is_kept(changes: list[int]) -> None:
    words = essay(0, 100)
    some = {
        f"{n}": talk("q", " ".join(with_new_words(words, n, n) if n else words)) for n in changes
    }
    found = dropped(table(some.items()))
    kept = some.keys() - found.keys()
    assert set(found.values()) <= kept
    for one, two in itertools.combinations(kept, 2):
        assert similarity(signature(some[one]), signature(some[two])) < 0.8


def test_of_a_crowd_with_one_beginning_only_some_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []
    most_similar = near_duplicates._most_similar

    def count(mine: bytes, others: list[bytes]) -> tuple[int, float]:
        compared.append(len(others))
        return most_similar(mine, others)

    monkeypatch.setattr(near_duplicates, "_most_similar", count)
    monkeypatch.setattr(near_duplicates, "LEADERS", 2)
    beginning = essay(0, 300)
    talks = [(f"{n}", talk("q", " ".join(beginning + essay(n, 60)))) for n in range(1, 150)]
    twin = ("twin", talk("q", " ".join([*beginning, *essay(1, 60)[:-1]])))
    assert dropped(table([*talks, twin])) == {"twin": "1"}
    bands = near_duplicates.PERMUTATIONS // near_duplicates.band_rows(0.8)
    assert 0 < max(compared) <= 2 * bands < len(talks)


def test_all_that_share_a_band_are_compared_not_just_its_first() -> None:
    """Signatures made by hand: values in pairs, of which one pair is common to all three."""
    assert near_duplicates.band_rows(0.3) == 2
    mine, first = list(range(128)), [1000 + n for n in range(128)]
    second = [n if n % 2 or n == 0 else 2000 + n for n in mine]  # half of mine, in every pair one
    first[:2] = mine[:2]
    db = table([])
    for turns, id, values in [(9, "first", first), (8, "second", second), (7, "mine", mine)]:
        db.execute(
            "INSERT INTO kept (id, content, source, turns, length, signature) "
            "VALUES (?, ?, 's', ?, 1, ?)",
            (id, id.encode(), turns, b"".join(n.to_bytes(4, "little") for n in values)),
        )
    assert dropped(db, threshold=0.3) == {"mine": "second"}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_are_as_wide_as_recall_allows(threshold: float) -> None:
    def recall(rows: int) -> float:
        return 1 - (1 - threshold**rows) ** (near_duplicates.PERMUTATIONS // rows)

    rows = near_duplicates.band_rows(threshold)
    assert recall(rows) >= near_duplicates.RECALL
    assert all(recall(wider) < near_duplicates.RECALL for wider in range(rows + 1, 129))


def test_nothing_is_left_in_the_database_but_the_marks() -> None:
    db = table([("a", talk("b", "c"))])
    assert dropped(db) == {}
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("kept",)]
