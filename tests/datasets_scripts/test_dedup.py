"""Exact duplicates: which one stays, and that the order of the input does not matter."""

from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import dedup
from datasets_scripts.pipeline import Ledger
from datasets_scripts.spool import Spool
from tests.datasets_scripts.helpers import conversation
from ultra import jsonl
from ultra.schema import Conversation, root_id

Result = tuple[list[str], dict[str, str], list[object]]
Dedup = Callable[[Sequence[Conversation]], Result]


@pytest.fixture(scope="module")
def deduplicate(tmp_path_factory: pytest.TempPathFactory) -> Dedup:
    """Returns ids kept, reason by id dropped, and everything that came out."""
    folder: Path = tmp_path_factory.mktemp("dedup")

    def run(conversations: Sequence[Conversation]) -> Result:
        ledger = Ledger([dedup.STEP])
        with Spool(folder) as spool:
            for one in conversations:
                spool.add(dedup.entry(one, root_id(one.messages)), jsonl.dump(one.row()))
            dedup.drop_duplicates(spool, ledger)
            rows = [orjson.loads(line) for _, line in spool.lines("all")]
            drops = list(spool.drops())
        (account,) = ledger.table()
        assert account["in"] == len(conversations) == len(rows) + len(drops)
        assert sum(account["dropped"].values()) == len(drops)
        kept, reasons = [row["id"] for row in rows], {one["id"]: one["reason"] for one in drops}
        return kept, reasons, [rows, drops, account]

    return run


def test_of_one_id_the_version_with_most_turns_stays(deduplicate: Dedup) -> None:
    versions = [
        conversation("u1 a2", source="short"),
        conversation("u9 a8 u7 a6", source="long"),
        conversation("u1 a222222222222", source="wordy"),
    ]
    kept, _, (rows, drops, _) = deduplicate(versions)
    assert kept == ["x"]
    assert isinstance(rows, list)
    assert isinstance(drops, list)
    assert rows[0]["source"] == "long"
    assert {drop["source"]: drop["reason"] for drop in drops} == {
        "short": "same_id",
        "wordy": "same_id",
    }
    assert {drop["detail"] for drop in drops} == {"gave way to x of long"}


def test_of_one_id_and_as_many_turns_the_most_text_stays(deduplicate: Dedup) -> None:
    _, _, (rows, _, _) = deduplicate([conversation("u1 a22"), conversation("u1 a2")])
    assert isinstance(rows, list)
    assert rows[0]["messages"][1]["content"] == "a22"


def test_of_one_text_the_smallest_id_stays_whatever_the_blanks(deduplicate: Dedup) -> None:
    spaced = conversation("u1 a2", id="c")
    spaced.messages[0]["content"] = " u1\n"
    same = [conversation("u1 a2", id="b"), conversation("u1 a2", id="a"), spaced]
    kept, reasons, _ = deduplicate(same)
    assert kept == ["a"]
    assert reasons == {"b": "same_text", "c": "same_text"}


def test_a_beginning_gives_way_to_the_longest_continuation(deduplicate: Dedup) -> None:
    chain = [
        conversation("u1 a2", id="a"),
        conversation("u1 a2 u3 a4", id="b"),
        conversation("u1 a2 u3 a4 u5 a6", id="c"),
    ]
    kept, reasons, (_, drops, _) = deduplicate(chain)
    assert kept == ["c"]
    assert reasons == {"a": "prefix", "b": "prefix"}
    assert isinstance(drops, list)
    assert {drop["detail"] for drop in drops} == {"gave way to c of s"}


@pytest.mark.parametrize(
    "pair",
    [
        ("u1 a2", "u1 a22"),  # one answer starts like the other: that is no beginning
        ("u1 a2", "u1 a3"),
        ("u1 a2", "u1 a3 u3 a2"),
        ("u1 a2", "s0 u1 a2"),
        ("u1 a2 u3 a4", "u3 a4"),
        ("u1 a2", "u1 u2"),
    ],
)
def test_what_only_looks_alike_is_kept(deduplicate: Dedup, pair: tuple[str, str]) -> None:
    ab = [conversation(words, id=id) for words, id in zip(pair, "ab", strict=True)]
    assert deduplicate(ab)[0] == ["a", "b"]


def test_a_beginning_stays_if_its_continuation_itself_gave_way(deduplicate: Dedup) -> None:
    versions = [
        conversation("u1 a2", id="a"),
        conversation("u1 a2 u3 a4", id="b"),
        conversation("u9 a8 u7 a6 u5 a4", id="b"),
    ]
    kept, reasons, _ = deduplicate(versions)
    assert kept == ["a", "b"]
    assert reasons == {"b": "same_id"}


WORDS = ["u1 a2", "u1 a2 u3 a4", "u1 a2 u3 a4 u5 a6", "u1 a2 u3 a5", "u7 a2", "u7 a22"]
SOME = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from("abc"), st.sampled_from("st")),
    unique=True,
    max_size=12,
)


@given(SOME.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_the_input_changes_nothing(
    deduplicate: Dedup,
    orders: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]],
) -> None:
    one, two = ([conversation(*values) for values in order] for order in orders)
    assert deduplicate(one) == deduplicate(two)


@given(SOME)
def test_nothing_is_kept_twice_and_nothing_is_lost(
    deduplicate: Dedup, some: list[tuple[str, str, str]]
) -> None:
    kept, _, (rows, _, _) = deduplicate([conversation(*values) for values in some])
    assert isinstance(rows, list)
    texts = [tuple(turn["content"] for turn in found["messages"]) for found in rows]
    assert len(set(kept)) == len(kept)
    for text in texts:
        assert sum(other[: len(text)] == text for other in texts) == 1
    assert {id for _, id, _ in some} >= set(kept)
    assert bool(kept) == bool(some)


def test_versions_that_differ_in_provenance_only_are_told_apart(deduplicate: Dedup) -> None:
    versions = [conversation("u1 a2", views=1), conversation("u1 a2", views=2)]
    assert deduplicate(versions) == deduplicate(versions[::-1])


def test_versions_that_differ_in_blanks_only_are_told_apart(deduplicate: Dedup) -> None:
    versions = [conversation("u1 a2"), conversation("u1 a2")]
    versions[0].messages[0]["content"] = "u  1 2"
    versions[1].messages[0]["content"] = "u 1  2"
    assert deduplicate(versions) == deduplicate(versions[::-1])


def test_the_report_names_a_conversation_that_was_kept(deduplicate: Dedup) -> None:
    spaced = conversation("u1 a2 u3 a4", id="b")
    spaced.messages[0]["content"] = "  u1  "
    some = [conversation("u1 a2 u3 a4", id="a"), spaced, conversation("u1 a2", id="c")]
    kept, _, (_, drops, _) = deduplicate(some)
    assert kept == ["a"]
    assert isinstance(drops, list)
    assert {drop["detail"] for drop in drops} == {"gave way to a of s"}


def test_the_report_names_the_last_of_several_that_gave_way_in_turn(deduplicate: Dedup) -> None:
    some = [
        conversation("u1 a2", id="d"),
        conversation("u1 a2 u3 a4", id="d", source="same id"),  # same_id: "d" of s
        conversation("u1 a2 u3 a4", id="c"),  # same_text: "d" of same id
        conversation("u1 a2 u3 a4 u5 a6", id="b"),  # prefix: "c"
    ]
    kept, _, (_, drops, _) = deduplicate(some)
    assert kept == ["b"]
    assert isinstance(drops, list)
    assert sorted(drop["reason"] for drop in drops) == ["prefix", "same_id", "same_text"]
    assert {drop["detail"] for drop in drops} == {"gave way to b of s"}


def test_the_longest_is_told_by_turns_and_characters_of_all_roles() -> None:
    entry = dedup.entry(conversation("s0 u1 a23"), "root")
    assert entry.counts == (3, 7)
    assert entry.root == "root"
