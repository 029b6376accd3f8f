"""Steps in a row and the account of what they dropped."""

import orjson

from datasets_scripts.pipeline import Drop, Ledger, Step, apply
from tests.datasets_scripts.helpers import conversation
from ultra.schema import Conversation


def keep_ids(wanted: str, reason: str) -> Step:
    def step(given: Conversation) -> Conversation | Drop:
        return given if given.id in wanted else Drop(reason, given.id)

    return step


def renamed(given: Conversation) -> Conversation:
    return Conversation(given.id + "'", given.messages, given.provenance)


def test_each_step_works_on_what_the_one_before_made() -> None:
    result = apply({"one": renamed, "two": renamed}, conversation("u1"), Ledger(["one", "two"]))
    assert result == conversation("u1", id="x''")


def test_the_first_step_that_drops_is_the_last_that_runs() -> None:
    def never(given: Conversation) -> Conversation:
        raise AssertionError("ran after the drop")

    ledger = Ledger(["sift", "never"])
    result = apply({"sift": keep_ids("", "odd"), "never": never}, conversation("u1"), ledger)
    assert result == ("sift", Drop("odd", "x"))


def test_the_ledger_adds_up_from_step_to_step() -> None:
    steps = {"one": keep_ids("bcde", "z"), "two": keep_ids("cd", "y"), "three": keep_ids("d", "y")}
    ledger = Ledger(["read", *steps])
    for id in "abcde":
        ledger.enter("read")
        apply(steps, conversation("u1", id=id), ledger)
    ledger.drop("read", "unreadable", 2)
    ledger.drop("read", "broken")
    assert ledger.table() == [
        {"step": "read", "in": 5, "dropped": {"broken": 1, "unreadable": 2}, "changed": {}},
        {"step": "one", "in": 5, "dropped": {"z": 1}, "changed": {}},
        {"step": "two", "in": 4, "dropped": {"y": 2}, "changed": {}},
        {"step": "three", "in": 2, "dropped": {"y": 1}, "changed": {}},
    ]
    assert sum(sum(step["dropped"].values()) for step in ledger.table()) == 7


def test_reasons_are_listed_by_name_whatever_came_first() -> None:
    ledger = Ledger(["read"])
    for reason in ("b", "c", "a"):
        ledger.drop("read", reason)
    assert list(ledger.table()[0]["dropped"]) == ["a", "b", "c"]


def marked(*changes: str) -> Step:
    def step(given: Conversation) -> Conversation:
        given.changes.extend(changes)
        return given

    return step


def test_what_a_step_changed_is_counted_under_that_step_and_not_kept() -> None:
    steps = {"one": marked("b", "a", "b"), "two": renamed, "three": marked("b")}
    ledger = Ledger(steps)
    result = apply(steps, conversation("u1"), ledger)
    assert isinstance(result, Conversation)
    assert result.changes == []
    changed = [(row["step"], list(row["changed"].items())) for row in ledger.table()]
    assert changed == [("one", [("a", 1), ("b", 2)]), ("two", []), ("three", [("b", 1)])]


def test_what_was_changed_before_a_drop_still_counts() -> None:
    steps = {"one": marked("a"), "two": keep_ids("", "odd")}
    ledger = Ledger(steps)
    apply(steps, conversation("u1"), ledger)
    assert [row["changed"] for row in ledger.table()] == [{"a": 1}, {}]


def test_ledgers_of_parts_add_up_to_the_one_of_the_whole() -> None:
    steps = {"one": marked("a"), "two": keep_ids("bce", "z")}
    whole, merged = Ledger(["read", *steps]), Ledger(["read", *steps, "after"])
    for part in ("ab", "", "cde"):
        ledger = Ledger(["read", *steps])
        for id in part:
            for one in (ledger, whole):
                one.enter("read")
                apply(steps, conversation("u1", id=id), one)
        table = orjson.loads(orjson.dumps(ledger.table()))  # as it comes from another process
        merged.merge(table)
    assert merged.table()[:-1] == whole.table()
    assert merged.table()[-1] == {"step": "after", "in": 0, "dropped": {}, "changed": {}}
