"""Steps in a row and the account of what they dropped."""

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
        {"step": "read", "in": 5, "dropped": {"broken": 1, "unreadable": 2}},
        {"step": "one", "in": 5, "dropped": {"z": 1}},
        {"step": "two", "in": 4, "dropped": {"y": 2}},
        {"step": "three", "in": 2, "dropped": {"y": 1}},
    ]
    assert sum(sum(step["dropped"].values()) for step in ledger.table()) == 7


def test_reasons_are_listed_by_name_whatever_came_first() -> None:
    ledger = Ledger(["read"])
    for reason in ("b", "c", "a"):
        ledger.drop("read", reason)
    assert list(ledger.table()[0]["dropped"]) == ["a", "b", "c"]
