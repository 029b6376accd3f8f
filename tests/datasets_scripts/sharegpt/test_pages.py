"""One page or one row: what is taken from it, and every way in which it can be bad."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import pages
from datasets_scripts.sharegpt.pages import RawConversation, Unreadable
from datasets_scripts.sharegpt.turns import to_conversation
from tests.datasets_scripts.helpers import page, row
from ultra.schema import Conversation

BOM = b"\xef\xbb\xbf"
ROW = row("a", "Why <b>?", "<div><p>Caf\N{LATIN SMALL LETTER E WITH ACUTE}</p></div>")
PAGE = page(ROW)

Record = RawConversation | Unreadable


def read_row(raw: bytes) -> Record:
    """A row of a dump from its bytes."""
    value = pages.loads(raw)
    return pages.bad_record("s", raw) if value is pages.BAD else pages.read_record("s", value)


def script(data: bytes) -> bytes:
    return b'<html><script id="__NEXT_DATA__" type="application/json">' + data + b"</script></html>"


# Pages


def test_what_a_page_says_about_itself_is_kept() -> None:
    content = {"items": ROW["conversations"], "model": "Model: GPT-4", "title": "A <title>"}
    data = {"props": {"pageProps": {"id": "a", "views": 12, "content": content}}}
    found = pages.read_page("x.html", script(orjson.dumps(data)))
    assert isinstance(found, RawConversation)
    assert (found.source, found.id, found.items) == ("x.html", "a", ROW["conversations"])
    assert (found.model, found.title, found.views) == ("Model: GPT-4", "A <title>", 12)


def test_a_page_may_begin_with_a_byte_order_mark() -> None:
    found = pages.read_page("x.html", BOM + PAGE)
    assert isinstance(found, RawConversation)
    assert found.items == ROW["conversations"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"<html><body>404</body></html>", "no_next_data"),
        (PAGE[: PAGE.index(b"Why")], "truncated"),
        (PAGE[: PAGE.index(b"type=")], "truncated"),
        (b"", "empty_file"),
        (b" \n", "empty_file"),
        (PAGE.decode().encode("utf-16"), "not_utf8"),
        (script(b'{"props": "Caf\xe9"}'), "not_utf8"),
        (script(b'{"props": "\\u00e9 Caf\xe9"}'), "not_utf8"),
        (script(b'{"props": }'), "broken_json"),
        (script(b'{"props": "\\ud8zz"}'), "broken_json"),
        (script(b""), "broken_json"),
        (script(b"[1]"), "no_content"),
        (script(b'{"props": {"pageProps": {"id": "a", "content": null}}}'), "no_content"),
        (script(b'{"props": {"pageProps": {"content": {"items": 3}}}}'), "no_content"),
        (script(b"[" * 100_000), "broken_json"),
        (b"\0" * 1000, "no_next_data"),
    ],
)
def test_a_bad_page_says_why(raw: bytes, reason: str) -> None:
    found = pages.read_page("x.html", raw)
    assert isinstance(found, Unreadable)
    assert (found.source, found.drop.reason) == ("x.html", reason)


@given(st.binary() | st.binary().map(script))
def test_no_bytes_are_an_exception(raw: bytes) -> None:
    assert isinstance(pages.read_page("s", raw), Record)
    assert isinstance(read_row(raw), Record)


# Rows


@pytest.mark.parametrize("views", [-1, True, 2**63, 1.5, "7", None])
def test_views_that_are_no_count_are_zero(views: Any) -> None:
    found = read_row(json.dumps(ROW | {"views": views}).encode())
    assert isinstance(found, RawConversation)
    assert found.views == 0


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"id": "a", "conversations": [', "broken_json"),
        (b'{"id": "a", "conversations": "Caf\xe9"}', "not_utf8"),
        (b'{"id": "a", "conversations": "x\0"}', "broken_json"),
        (b'{"id": "a", "conversations": NaN}', "broken_json"),
        (b'{"id": "a", "conversations": {"0": []}}', "no_content"),
        (b'{"id": "a"}', "no_content"),
        (b"[]", "no_content"),
        (b'"\\ud800"', "no_content"),
        (b"[" * 100_000, "broken_json"),
    ],
)
def test_a_bad_row_says_why(raw: bytes, reason: str) -> None:
    found = read_row(raw)
    assert isinstance(found, Unreadable)
    assert found.drop.reason == reason


@pytest.mark.parametrize(
    ("value", "id"),
    [
        (3, ""),
        ({"id": 7}, "7"),
        ({"id": True}, ""),
        ({"id": 1.5}, ""),
        (None, ""),
        ("x", ""),
        ([], ""),
        ({}, ""),
        ({"id": "c", "items": None}, "c"),
    ],
)
def test_a_value_without_turns_is_no_content(value: Any, id: str) -> None:
    found = pages.read_record("s", value)
    assert isinstance(found, Unreadable)
    assert (found.drop, found.id) == (Drop("no_content"), id)


def test_a_bad_row_shows_its_beginning() -> None:
    raw = b'{"id": "Caf\xe9", ' + b"x" * 100
    assert pages.bad_record("s", raw).drop == Drop("not_utf8", raw[:200].decode("utf-8", "replace"))


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def odd_row(value: bytes = b'"r"', more: bytes = b"", side: bytes = b'"gpt"') -> bytes:
    """A row of a dump, odd at one place, as its bytes."""
    return (
        b'{"id": "odd", "conversations": [{"from": "human", "value": "q"}, '
        b'{"from": %s, "value": %s}]%s}' % (side, value, more)
    )


ODD_ROWS = {
    "high_surrogate": odd_row(b'"r\\ud800s"'),
    "low_surrogate": odd_row(b'"r\\udc00s"'),
    "surrogates_reversed": odd_row(b'"\\ude00\\ud83d"'),
    "surrogate_in_title": odd_row(more=b', "title": "\\udfff"'),
    "surrogate_in_side": odd_row(side=b'"\\udfff"'),
    "nul": odd_row(b'"r\\u0000s"', more=b', "title": "\\u0000"'),
    "integer_of_65_bits": odd_row(more=b', "views": 36893488147419103232'),
    "integer_as_value": odd_row(b"36893488147419103232"),
    "huge_float": odd_row(more=b', "score": 1e999'),
    "null_value": odd_row(b"null"),
    "list_value": odd_row(b'["r"]'),
    "side_is_a_number": odd_row(side=b"7"),
    "side_is_a_tree": odd_row(side=nested(300)),
    "side_is_a_deep_tree": odd_row(side=nested(1000)),
    "deep_tree_beside": odd_row(more=b', "tree": ' + nested(1000)),
    "deep_tree_in_place_of_turns": b'{"id": "odd", "conversations": {"": ' + nested(1000) + b"}}",
    "long_value": odd_row(b'"' + b"r" * 10_000_000 + b'"'),
    "id_is_a_number": odd_row().replace(b'"odd"', b"7"),
    "id_is_a_surrogate": odd_row().replace(b'"odd"', b'"\\ud800"'),
}


@pytest.mark.parametrize("odd", ODD_ROWS)
def test_an_odd_row_becomes_a_conversation_or_a_drop(odd: str) -> None:
    found = read_row(ODD_ROWS[odd])
    result = found.drop if isinstance(found, Unreadable) else to_conversation(found)
    orjson.dumps(result.row() if isinstance(result, Conversation) else result.detail)


def test_a_pair_of_surrogates_is_one_character() -> None:
    found = read_row(odd_row(b'"\\ud83d\\ude00"'))
    assert isinstance(found, RawConversation)
    assert found.items[1]["value"] == "\N{GRINNING FACE}"


HALF = (
    b'{"conversations": [{"from": "\\udc00", "value": "a\\ud83db \\ud83d\\ude00"}],'
    b' "title": "\\ud800"}'
)


@pytest.mark.parametrize("form", ["page", "row"])
def test_half_a_pair_is_replaced_wherever_it_stands_and_its_neighbours_stay(form: str) -> None:
    whole = script(b'{"props": {"pageProps": {"id": "\\udfff", "content": %s}}}' % HALF)
    found = read_row(HALF) if form == "row" else pages.read_page("s", whole)
    assert isinstance(found, RawConversation)
    mark = "\N{REPLACEMENT CHARACTER}"
    assert found.items == [{"from": mark, "value": f"a{mark}b \N{GRINNING FACE}"}]
    assert found.title == mark
    assert found.id == ("" if form == "row" else mark)


def test_an_id_that_is_a_number_is_kept_in_decimal() -> None:
    assert read_row(odd_row().replace(b'"odd"', b"7")).id == "7"
    assert read_row(odd_row().replace(b'"odd"', b"-12345678901234567")).id == "-12345678901234567"
    content = b'{"items": [{"from": "human", "value": "q"}]}'
    data = b'{"props": {"pageProps": {"id": 5, "content": %s}}}' % content
    assert pages.read_page("s", script(data)).id == "5"


# Digests


@pytest.mark.parametrize("read", [pages.read_page, pages.bad_record])
def test_the_digest_is_of_the_source_and_of_each_byte(
    read: Callable[[str, bytes], Record],
) -> None:
    raws = [PAGE, PAGE + b" ", b"<" + PAGE, b"", b"\0"]
    digests = {read(source, raw).digest for source in ("a", "b") for raw in raws}
    assert len(digests) == 10
    assert read("a", PAGE).digest == read("a", bytes(bytearray(PAGE))).digest
    assert 0 not in digests


def test_the_digest_of_a_row_is_not_of_the_blanks_between_its_values() -> None:
    wide, narrow = json.dumps(ROW, indent=3).encode(), orjson.dumps(ROW)
    assert read_row(wide).digest == read_row(narrow).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "b"},
        {"views": 1},
        {"model": "m"},
        {"title": "t"},
        {"conversations": ROW["conversations"][:1]},
        {"conversations": ROW["conversations"][::-1]},
        {"conversations": [*ROW["conversations"], 7]},
        {"conversations": [*ROW["conversations"], "7"]},
        {"conversations": [*ROW["conversations"], {"from": "gpt", "value": None}]},
        {"conversations": [*ROW["conversations"], {"from": "gpt", "value": ""}]},
        {"conversations": 7},
        {"conversations": 8},
    ],
)
def test_whatever_is_released_or_reported_changes_the_digest(changes: dict[str, Any]) -> None:
    one, other = pages.read_record("s", ROW), pages.read_record("s", ROW | changes)
    assert one.digest != other.digest


def test_texts_that_join_to_the_same_are_told_apart() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("a\0gpt\0" + "1\0b", "c")]
    digests = {pages.read_record("s", row("x", *pair)).digest for pair in pairs}
    assert len(digests) == len(pairs)
