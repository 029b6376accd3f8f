from typing import Any

import pytest
from datasets import Features

from ultra import schema
from ultra.errors import InputError
from ultra.schema import Conversation, Message


def row(**changes: Any) -> dict[str, Any]:
    messages: list[Message] = [
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "Hi"},
    ]
    provenance: dict[str, str | int | float] = {
        "source": "a.html",
        "model": "",
        "title": "T",
        "views": 3,
        "language": "en",
        "language_confidence": 0.5,
    }
    return Conversation("1", messages, provenance).row() | changes


@pytest.mark.parametrize("corpus", sorted(schema.PROVENANCE))
def test_the_card_declares_the_same_features(corpus: str) -> None:
    assert Features._from_yaml_list(schema.columns(corpus)) == schema.features(corpus)


@pytest.mark.parametrize("corpus", sorted(schema.PROVENANCE))
def test_every_declared_column_is_checked(corpus: str) -> None:
    assert list(schema.features(corpus))[:3] == ["id", "root", "messages"]
    empty: dict[str, str | int | float] = {"string": "", "int64": 0, "float64": 0.0}
    kinds = {name: empty[dtype] for name, dtype in schema.PROVENANCE[corpus].items()}
    schema.check(Conversation("1", row()["messages"], kinds).row(), corpus)
    for name in kinds:
        broken = Conversation("1", row()["messages"], kinds).row() | {name: None}
        with pytest.raises(InputError, match=f"column {name} "):
            schema.check(broken, corpus)


def test_a_good_row_passes() -> None:
    schema.check(row(), "sharegpt")


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": ""},
        {"views": "3"},
        {"views": True},
        {"views": None},
        {"title": 7},
        {"messages": ()},
        {"messages": [{"content": "a", "role": "user"}]},
        {"messages": [{"role": "human", "content": "a"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": "a", "name": "x"}]},
        {"views": 2**63},
        {"views": -(2**63) - 1},
        {"language": None},
        {"language_confidence": 1},
    ],
)
def test_a_bad_row_is_refused_by_its_id(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="row '1'"):
        schema.check(row(**changes), "sharegpt")


def test_a_missing_column_or_another_order_is_refused() -> None:
    whole = row()
    for names in (list(whole)[1:], list(reversed(whole))):
        with pytest.raises(InputError, match="columns are"):
            schema.check({name: whole[name] for name in names}, "sharegpt")


@pytest.mark.parametrize("same", ["hello  THERE", "\tHello\nthere ", "Hello there"])
def test_the_root_ignores_blanks_case_and_what_follows(same: str) -> None:
    messages: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": same},
    ]
    assert schema.root_id(messages) == row()["root"]


def test_other_first_messages_have_other_roots() -> None:
    assert schema.root_id([{"role": "user", "content": "Hello theres"}]) != row()["root"]
    assert schema.root_id([]) == schema.root_id([{"role": "assistant", "content": "Hi"}])


def test_roots_and_splits_never_change() -> None:
    assert row()["root"] == "6dff0440702f9edff648eb94e235e0d2"
    roots = [schema.root_id([{"role": "user", "content": f"{n}"}]) for n in range(1000)]
    in_test = [schema.split_of(root, 0.1) for root in roots].count("test")
    assert in_test == 91


@pytest.mark.parametrize(("share", "split"), [(0.0, "train"), (1.0, "test")])
def test_shares_of_nothing_and_all(share: float, split: str) -> None:
    for root in ("0" * 32, "f" * 32):
        assert schema.split_of(root, share) == split


def test_a_larger_share_only_moves_rows_to_test() -> None:
    roots = [schema.root_id([{"role": "user", "content": f"{n}"}]) for n in range(300)]
    small = {root for root in roots if schema.split_of(root, 0.1) == "test"}
    large = {root for root in roots if schema.split_of(root, 0.2) == "test"}
    assert small < large


def test_what_a_step_noted_is_no_part_of_the_row() -> None:
    one = Conversation("1", row()["messages"], {"source": "a"}, ["repaired"])
    assert "changes" not in one.row()
    assert one.row() == Conversation("1", row()["messages"], {"source": "a"}).row()
