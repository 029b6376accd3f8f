"""Whatever lies in the input: each conversation is kept or dropped, with all steps on."""

import functools
import json
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import personal_data, statistics
from datasets_scripts.questions import Question, Questions
from datasets_scripts.sharegpt import build
from datasets_scripts.sharegpt.inputs import Piece
from datasets_scripts.sharegpt.work import READ, Worker
from tests.datasets_scripts.helpers import Json, row
from tests.datasets_scripts.sharegpt.test_fuzz import MARKUP, MOST_HTML, PIECES
from ultra import schema

ODD = [
    *(
        "1. ",
        "1. a\n",
        "- [ ] ",
        "```",
        "~~~\n",
        "\n\n",
        "\r",
        "\t",
        "    ",
        "2 / 3\n",
        "Copy code",
    ),
    *("As an AI language model, ", "I cannot ", "Too many requests", "network error", "**", "$$"),
    *("a@b.example ", "+49 30 901820 ", "192.168.0.1 ", "4111 1111 1111 1111 ", "sk-" + "a" * 48),
    *(
        "http://",
        "://",
        "@",
        "..",
        "é",
        "Ã©",
        "â€™",
        "\u4e2d",
        "\u200b",
        "\u202e",
        "\ufeff",
        "\x1b[",
    ),
    *("<|im_end|>", "{slot}", "{{", "[[A]]", "0", "9" * 20, "٣", "\U0001f600", "\ud800"),
]
TEXT = st.lists(st.sampled_from(PIECES + ODD), max_size=20).map("".join)
VALUE = TEXT | MARKUP.map("<div>{}</div>".format) | MARKUP.map('<div class="x">{}</div>'.format)
SIDE = st.sampled_from(["human", "gpt", "gpt", "human", "system", "bing", "tool", "", "GPT"])
ANYTHING: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | TEXT
ITEM = st.fixed_dictionaries({"from": SIDE, "value": VALUE}) | ANYTHING


def as_page(found: Json) -> bytes:
    data = {"props": {"pageProps": {"id": found["id"], "content": found}}}
    script = json.dumps(data).replace("<", "\\u003c")
    return f'<html><script id="__NEXT_DATA__">{script}</script></html>'.encode()


LAYOUTS: list[Callable[[Json], bytes]] = [
    as_page,
    lambda found: json.dumps([found, found]).encode(),
    lambda found: (json.dumps(found) + "\n").encode() * 3,
]
WRONG = st.sampled_from([b"", b"", b"\0", b"\xff", b"<", b"{", b"\\u", b"]"])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A saved page, a dump or lines of one, perhaps cut off or with bytes that fit nowhere."""
    found = row(draw(TEXT), *draw(st.lists(VALUE, max_size=5)), model="Model: GPT-4")
    if draw(st.booleans()):
        found["conversations"] = draw(st.lists(ITEM, max_size=5))
    raw = draw(st.sampled_from(LAYOUTS))(found)
    cut = draw(st.just(len(raw)) | st.integers(0, len(raw)))
    return raw[:cut] + draw(WRONG) + (raw[cut:] if draw(st.booleans()) else b"")


@functools.cache
def worker() -> Worker:
    settings = build.Settings()
    question = Question("suite", "1", ("Why does bread that is a day old taste of less?",))
    return Worker(
        build.steps(settings),
        Questions("questions.jsonl", "0", [question]),
        near_duplicates=True,
        shown=personal_data.redacted,
        count=statistics.counter(None),
    )


@given(st.lists(st.tuples(st.sampled_from(["a.html", "a.json", "a"]), files()), max_size=3))
def test_what_is_read_is_kept_or_dropped(found: list[tuple[str, bytes]]) -> None:
    result = worker()(Piece(b"key", 0, tuple(found)))
    account = orjson.loads(result.found)
    rows = [orjson.loads(line) for line in result.rows.split(b"\n") if line]
    read = account["steps"][0]
    assert read["step"] == READ
    assert len(rows) == len(account["rows"])
    assert read["in"] == len(rows) + len(account["dropped"])
    for one in rows:
        schema.check(one, "sharegpt")
        sides = [turn["role"] for turn in one["messages"] if turn["role"] != "system"]
        assert sides == ["user", "assistant"] * (len(sides) // 2)


LONG = st.tuples(
    st.sampled_from(PIECES + ODD) | TEXT, st.sampled_from([1, 100, 3_000, 50_000]), TEXT
)


@given(LONG, st.booleans())
def test_steps_take_as_long_as_a_turn_is(parts: tuple[str, int, str], by_the_model: bool) -> None:
    """Quadratic time shows as a run of ``make fuzz`` that does not end."""
    piece, times, end = parts
    text = piece * min(times, MOST_HTML // max(len(piece), 1)) + end
    turns = ["q", text] if by_the_model else [text, "r"]
    result = worker()(Piece(b"key", 0, (("a.json", json.dumps([row("a", *turns)]).encode()),)))
    found = orjson.loads(result.found)
    assert len(found["rows"]) + len(found["dropped"]) == 1
