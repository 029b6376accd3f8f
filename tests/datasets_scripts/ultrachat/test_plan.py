"""What a dialogue is to be: the same wherever and however often it is drawn."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.ultrachat.openings.opening import Opening, Sector
from datasets_scripts.ultrachat.plan import ROUNDS, Plan, plan, table

SEEDS = st.integers(min_value=0, max_value=2**40)
SECTORS: list[Sector] = ["world", "creation", "material"]


def opening(sector: Sector = "world") -> Opening:
    return Opening(sector, "Birds", "Why do birds sing?", "mine.jsonl")


def plans(sector: Sector, count: int = 3000) -> list[Plan]:
    return [plan("1", 0, index, opening(sector)) for index in range(count)]


@given(SEEDS, st.integers(0, 10**9), st.sampled_from(SECTORS), st.integers(1, 9), st.integers(0, 9))
def test_a_plan_stays_in_its_bounds_and_is_drawn_again_alike(
    seed: int, index: int, sector: Sector, low: int, more: int
) -> None:
    drawn = plan("1", seed, index, opening(sector), (low, low + more))
    assert drawn == plan("1", seed, index, opening(sector), (low, low + more))
    assert low == drawn.least_rounds <= drawn.rounds <= low + more
    assert len(drawn.intents) == drawn.rounds - 1
    assert 0 <= drawn.seed < 2**31
    assert drawn.index == index


def test_a_plan_is_what_it_was_on_any_machine() -> None:
    drawn = plan("1", 7, 123, opening())
    assert (drawn.rounds, drawn.seed) == (6, 481105981)
    assert (drawn.register, drawn.length, drawn.user_temperature) == ("formal", "sentences", 1.2)
    assert drawn.intents == ("clarify", "refine", "challenge", "refine", "change_subtopic")


def test_plans_differ_by_recipe_seed_and_index() -> None:
    keys = (("1", 0, 0), ("2", 0, 0), ("1", 1, 0), ("1", 0, 1))
    assert len({plan(*key, opening()).seed for key in keys}) == 4


@pytest.mark.parametrize("sector", SECTORS)
def test_each_number_of_rounds_of_a_sector_is_drawn_about_as_often(sector: Sector) -> None:
    low, high = ROUNDS[sector]
    drawn = Counter(one.rounds for one in plans(sector))
    expected = 3000 / (high - low + 1)
    assert set(drawn) == set(range(low, high + 1))
    assert all(0.85 * expected < count < 1.15 * expected for count in drawn.values())


def test_more_rounds_leave_the_intents_of_the_first_turns_as_they_were() -> None:
    short, long = (plan("1", 0, 5, opening(), (rounds, rounds)) for rounds in (3, 7))
    assert long.intents[:2] == short.intents
    assert (long.persona, long.seed, long.length) == (short.persona, short.seed, short.length)


@pytest.mark.parametrize("sector", SECTORS)
def test_intents_are_drawn_by_the_weights_of_their_sector(sector: Sector) -> None:
    drawn = Counter(intent for one in plans(sector) for intent in one.intents)
    weights = {name: intent[sector] for name, intent in table("intents.yaml").items()}
    total = sum(weights.values())
    for name, weight in weights.items():
        share = drawn[name] / drawn.total()
        assert share == pytest.approx(weight / total, abs=0.03)
        assert (share == 0) == (weight == 0)


def test_a_writer_mostly_refines_and_keeps_to_its_piece() -> None:
    drawn = Counter(intent for one in plans("creation") for intent in one.intents)
    assert drawn.most_common(1)[0][0] == "refine"
    assert drawn["change_subtopic"] == drawn["beyond_text"] == 0


def test_only_for_a_text_may_a_turn_go_beyond_it_and_seldom() -> None:
    drawn = Counter(intent for one in plans("material") for intent in one.intents)
    assert 0 < drawn["beyond_text"] / drawn.total() < 0.1
    assert not any("beyond_text" in one.intents for one in plans("world"))


def test_everybody_and_every_style_is_drawn() -> None:
    drawn, styles = plans("world"), table("styles.yaml")
    assert {one.persona for one in drawn} == set(table("personas.yaml"))
    assert {one.register for one in drawn} == set(styles["registers"])
    assert {one.length for one in drawn} == set(styles["lengths"])
    assert {one.user_temperature for one in drawn} == {0.8, 0.9, 1.0, 1.1, 1.2}
