"""What a card says of the rows, against the same figures made in the plainest way."""

import itertools
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import statistics
from datasets_scripts.statistics import Statistics, count_words, describe, mtld
from tests.datasets_scripts.helpers import talk
from ultra.errors import InputError
from ultra.schema import ROLES, Message, Role

LONG = " ".join(f"word{n % 40} other{n}" for n in range(60))


def said(*texts: str) -> list[Message]:
    sides: tuple[Role, Role] = ("user", "assistant")
    return [{"role": sides[n % 2], "content": text} for n, text in enumerate(texts)]


def table(*rows: list[Message], language: str | None = None) -> dict[str, Any]:
    found = Statistics("words")
    for row in rows:
        found.add(describe(row, language, count_words))
    return found.table()


# Words and tokens


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n\t", 0),
        ("don't stop - now!", 4),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}\N{NO-BREAK SPACE}ole", 2),
        ("\u6211\u4eec\u8bf4 Python", 4),
        ("\u3053\u308c\u306f", 3),
        ("\ud55c\uad6d\uc5b4 \ub2e8\uc5b4", 2),
        ("\0\ud800 x", 2),
    ],
)
def test_words_stand_between_blanks_and_characters_where_there_are_none(
    text: str, count: int
) -> None:
    assert count_words(text) == count


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """One that makes a token of each letter, and says to cut after two and to fill up to nine."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[PAD]": 2}))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.enable_truncation(2)
    made.enable_padding(length=9, pad_id=2)
    folder = tmp_path / "letters"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_tokens_are_counted_whole_whatever_the_file_says_of_cutting(tokenizer: Path) -> None:
    for path in (tokenizer, tokenizer / "tokenizer.json"):
        count = statistics.counter(path)
        assert [count(text) for text in ("", "a", "abba")] == [0, 1, 4]


def test_a_tokenizer_is_known_by_its_folder_and_digest(tokenizer: Path) -> None:
    found = statistics.identity(tokenizer)
    assert found is not None
    assert found["name"] == "letters"
    assert found == statistics.identity(tokenizer / "tokenizer.json")
    assert len(found["sha256"]) == 64
    assert statistics.identity(None) is None


@pytest.mark.parametrize("text", [None, "", "{}", "\x80"])
def test_what_is_no_tokenizer_is_named(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"tokenizer\.json: not a tokenizer"):
        statistics.identity(file)


# Sums


def test_turns_characters_and_lengths_are_summed_by_role() -> None:
    found = table(said("a b", "c d e"), said("f", "", "gg hh ii jj", "k"), talk("s1 u2 a3"))
    assert found["conversations"] == 3
    assert found["turns"]["sum"] == 9
    roles = found["roles"]
    assert list(roles) == ["system", "user", "assistant"]
    assert {role: one["turns"] for role, one in roles.items()} == {
        "system": 1,
        "user": 4,
        "assistant": 4,
    }
    assert [one["characters"] for one in roles.values()] == [2, 3 + 1 + 11 + 2, 5 + 0 + 1 + 2]
    assert [one["length"]["sum"] for one in roles.values()] == [1, 2 + 1 + 4 + 1, 3 + 0 + 1 + 1]
    assert roles["user"]["length"]["max"] == 4
    assert roles["assistant"]["length"]["min"] == 0


def test_a_role_that_never_speaks_and_no_rows_have_no_figures() -> None:
    assert list(table(said("a", "b"))["roles"]) == ["user", "assistant"]
    assert table() == {}


lengths = st.lists(st.integers(0, 30), min_size=1, max_size=200)


@given(lengths)
def test_quantiles_are_the_smallest_values_that_a_share_does_not_exceed(values: list[int]) -> None:
    found = table(*(said("w " * value) for value in values))
    ranked = sorted(values)
    spread = found["roles"]["user"]["length"]
    assert spread["sum"] == sum(values)
    assert (spread["min"], spread["max"]) == (ranked[0], ranked[-1])
    for percent in (5, 25, 50, 75, 95):
        rank = math.ceil(Fraction(percent, 100) * len(ranked))
        assert spread[f"{percent}%"] == ranked[rank - 1]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [said("a b", LONG), said("c", LONG + " again again again"), said(LONG[9:], "d")]
    found = []
    for order in itertools.permutations(rows):
        one = Statistics("words")
        for row in order:
            one.add(describe(row, "en", count_words))
            one.add_diversity(row)
        found.append(one.table())
    assert all(one == found[0] for one in found)
    assert found[0]["roles"]["assistant"]["mtld"]["utterances"] == 2


def test_languages_come_most_spoken_first_and_then_by_code() -> None:
    found = Statistics("words")
    for code in ("de", "", "en", "fr", "en", "de", "en"):
        found.add(describe(said("q", "r"), code, count_words))
    assert list(found.table()["languages"].items()) == [("en", 3), ("de", 2), ("", 1), ("fr", 1)]


def test_languages_that_nobody_looked_for_are_not_counted() -> None:
    assert table(said("q", "r"))["languages"] == {}


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.text()), max_size=5))
def test_any_text_is_described(turns: list[tuple[Any, str]]) -> None:
    messages: list[Message] = [{"role": role, "content": text} for role, text in turns]
    found = table(messages)
    assert found["turns"]["sum"] == len(turns)
    assert {role: one["turns"] for role, one in found["roles"].items()} == Counter(
        role for role, _ in turns
    )


# Lexical diversity


def slow_mtld(spoken: list[bytes]) -> Fraction:
    """As its authors tell it: a stretch ends where different / all reaches 0.72."""

    def one_way(spoken: list[bytes]) -> Fraction:
        factors, share, start = Fraction(0), Fraction(1), 0
        for end in range(1, len(spoken) + 1):
            share = Fraction(len(set(spoken[start:end])), end - start)
            if share <= Fraction(72, 100):
                factors, start = factors + 1, end
        if start < len(spoken):
            factors += (1 - share) / (1 - Fraction(72, 100))
        return len(spoken) / factors if factors else Fraction(len(spoken))

    return (one_way(spoken) + one_way(spoken[::-1])) / 2


@given(st.lists(st.integers(0, 60).map(lambda n: b"%d" % n), min_size=1, max_size=150))
def test_diversity_is_what_its_definition_gives(spoken: list[bytes]) -> None:
    assert mtld(spoken) == pytest.approx(float(slow_mtld(spoken)), rel=1e-12)


def test_a_stretch_ends_where_the_share_reaches_its_threshold_exactly() -> None:
    """18 different of 25 are 0.72, at the last word only; backwards the repeats come first."""
    spoken = [b"%d" % n for n in range(18)] + [b"%d" % n for n in range(7)]
    assert statistics._mtld_one_way(spoken) == 25
    assert statistics._mtld_one_way([*spoken, b"x"]) == 26  # a begun stretch without a repeat


def test_without_a_repeated_word_the_diversity_is_the_length() -> None:
    assert mtld([b"%d" % n for n in range(70)]) == 70


def test_one_word_over_and_over_has_the_least_diversity() -> None:
    assert mtld([b"a"] * 60) == 2


def test_only_utterances_of_fifty_words_have_a_diversity() -> None:
    found = Statistics("words")
    short, enough = " ".join(f"w{n}" for n in range(49)), " ".join(f"w{n}" for n in range(50))
    row = said(short, enough, enough + " " + enough, short)
    found.add(describe(row, None, count_words))
    found.add_diversity(row)
    roles = found.table()["roles"]
    assert roles["user"]["mtld"]["utterances"] == roles["assistant"]["mtld"]["utterances"] == 1
    assert roles["assistant"]["mtld"]["mean"] == 50
    assert found.table()["sampled"] == 1


def test_case_and_punctuation_are_no_diversity() -> None:
    found = [Statistics("words"), Statistics("words")]
    for one, text in zip(found, (LONG, LONG.upper().replace(" ", "! ")), strict=True):
        one.add(describe(said("q", text), None, count_words))
        one.add_diversity(said("q", text))
    one, other = (of.table()["roles"]["assistant"]["mtld"] for of in found)
    assert one == other
