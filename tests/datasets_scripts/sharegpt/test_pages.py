"""Raw pages and dumps: every form they come in, and every way in which they can be bad."""

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import pages
from datasets_scripts.sharegpt.pages import RawConversation, RawInput, Unreadable
from datasets_scripts.sharegpt.turns import to_conversation
from tests.datasets_scripts.helpers import page, row
from ultra.errors import InputError
from ultra.schema import Conversation

BOM = b"\xef\xbb\xbf"
ROW = row("a", "Why <b>?", "<div><p>Caf\N{LATIN SMALL LETTER E WITH ACUTE}</p></div>")
TWO = [ROW, row("b", "q", "r")]
PAGE = page(ROW)
LINES = b"\n".join(orjson.dumps(one) for one in TWO) + b"\n"
COMPACT_TURNS = b'{\n "id": "a",\n "conversations": [\n  %s,\n  %s\n ]\n}\n' % tuple(
    orjson.dumps(turn) for turn in ROW["conversations"]
)

Found = list[RawConversation | Unreadable]
Read = Callable[..., tuple[Found, RawInput]]


def zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Put files into a folder and read it."""

    def run(**files: bytes) -> tuple[Found, RawInput]:
        for name, raw in files.items():
            (tmp_path / name).write_bytes(raw)
        raw_input = RawInput(tmp_path)
        return list(raw_input), raw_input

    return run


@pytest.mark.parametrize(
    ("name", "raw", "ids"),
    [
        ("x.html", PAGE, ["a"]),
        ("x.HTM", PAGE, ["a"]),
        ("x.html", BOM + PAGE, ["a"]),
        ("x.html.gz", gzip.compress(PAGE), ["a"]),
        ("x.html", zstd(PAGE), ["a"]),
        ("x.json", orjson.dumps(TWO), ["a", "b"]),
        ("x.json", json.dumps(TWO, indent=2).encode("utf-8"), ["a", "b"]),
        ("x.json", BOM + b" \n" + orjson.dumps(TWO), ["a", "b"]),
        ("x.JSON.zst", zstd(orjson.dumps(TWO)), ["a", "b"]),
        ("x.json.gz", gzip.compress(BOM + orjson.dumps(TWO)), ["a", "b"]),
        ("x.json", orjson.dumps(ROW), ["a"]),
        ("x.json", BOM + orjson.dumps(ROW), ["a"]),
        ("x.json", json.dumps(ROW, indent=1).encode("ascii"), ["a"]),
        ("x.json", BOM + json.dumps(ROW, indent="\t").encode("ascii"), ["a"]),
        ("x.json", COMPACT_TURNS, ["a"]),
        ("x.html.json", orjson.dumps(TWO), ["a", "b"]),
        ("x.jsonl", LINES, ["a", "b"]),
        ("x.jsonl", BOM + LINES.replace(b"\n", b"\r\n\r\n"), ["a", "b"]),
        ("x.jsonl", LINES.rstrip(), ["a", "b"]),
        ("x.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES), ["a", "b", "a", "b"]),
        ("x.jsonl.zst", zstd(LINES) + zstd(LINES), ["a", "b", "a", "b"]),
    ],
)
def test_conversations_are_read_from_every_form(
    read: Read, name: str, raw: bytes, ids: list[str]
) -> None:
    found, raw_input = read(**{name: raw})
    assert [one.id for one in found] == ids
    assert isinstance(found[0], RawConversation)
    assert found[0].items == ROW["conversations"]
    assert {one.source for one in found} == {name}
    assert raw_input.fingerprint()["conversations"] == len(ids)


def test_a_single_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "sg_90k_part1").write_bytes(orjson.dumps(TWO))
    found = list(RawInput(tmp_path / "sg_90k_part1"))
    assert [(one.id, one.source) for one in found] == [("a", "sg_90k_part1"), ("b", "sg_90k_part1")]


def test_folders_are_searched_and_hidden_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("deep/er/x.html", "deep/._x.html", "x.txt"):
        (tmp_path / name).write_bytes(PAGE)
    assert [one.source for one in RawInput(tmp_path)] == ["deep/er/x.html"]


def test_what_a_page_says_about_itself_is_kept(read: Read) -> None:
    content = {"items": ROW["conversations"], "model": "Model: GPT-4", "title": "A <title>"}
    data = {"props": {"pageProps": {"id": "a", "views": 12, "content": content}}}
    raw = b'<script id="__NEXT_DATA__" type="application/json">%s</script>'
    ((found,), _) = read(**{"x.html": raw % orjson.dumps(data)})
    assert found == RawConversation(
        "x.html", "a", ROW["conversations"], "Model: GPT-4", "A <title>", 12
    )


@pytest.mark.parametrize("views", [-1, True, 2**63, 1.5, "7", None])
def test_views_that_are_no_count_are_zero(read: Read, views: Any) -> None:
    found, _ = read(**{"x.jsonl": json.dumps(ROW | {"views": views}).encode()})
    assert isinstance(found[0], RawConversation)
    assert found[0].views == 0


def script(data: bytes) -> bytes:
    return b'<html><script id="__NEXT_DATA__" type="application/json">' + data + b"</script></html>"


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("x.html", b"<html><body>404</body></html>", "no_next_data"),
        ("x.html", PAGE[: PAGE.index(b"Why")], "truncated"),
        ("x.html", PAGE[: PAGE.index(b"type=")], "truncated"),
        ("x.html", b"", "empty_file"),
        ("x.html", b" \n", "empty_file"),
        ("x.html", PAGE.decode().encode("utf-16"), "not_utf8"),
        ("x.html", script(b'{"props": "Caf\xe9"}'), "not_utf8"),
        ("x.html", script(b'{"props": "\\u00e9 Caf\xe9"}'), "not_utf8"),
        ("x.html", script(b'{"props": }'), "broken_json"),
        ("x.html", script(b'{"props": "\\ud8zz"}'), "broken_json"),
        ("x.html", script(b""), "broken_json"),
        ("x.html", script(b"[1]"), "no_content"),
        ("x.html", script(b'{"props": {"pageProps": {"id": "a", "content": null}}}'), "no_content"),
        ("x.html", script(b'{"props": {"pageProps": {"content": {"items": 3}}}}'), "no_content"),
        ("x.html.gz", gzip.compress(PAGE)[:-20], "truncated"),
        ("x.html.gz", gzip.compress(PAGE)[:20] + b"!" * 40, "truncated"),
        ("x.html.zst", zstd(PAGE)[:-20], "truncated"),
    ],
)
def test_a_bad_page_is_counted_and_says_why(read: Read, name: str, raw: bytes, reason: str) -> None:
    ((found,), raw_input) = read(**{name: raw})
    assert isinstance(found, Unreadable)
    assert found.drop.reason == reason
    assert raw_input.fingerprint()["conversations"] == 1


@pytest.mark.parametrize(
    ("line", "reason"),
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
def test_a_bad_line_costs_only_itself(read: Read, line: bytes, reason: str) -> None:
    found, raw_input = read(**{"x.jsonl": LINES + line + b"\n" + LINES})
    assert [one.id for one in found if isinstance(one, RawConversation)] == ["a", "b", "a", "b"]
    assert isinstance(found[2], Unreadable)
    assert found[2].drop.reason == reason
    assert raw_input.count == 5


def test_a_bad_row_of_an_array_costs_only_itself(read: Read) -> None:
    rows = [ROW, 3, None, "x", [], {}, {"id": "c", "items": None}, ROW]
    found, _ = read(**{"x.json": orjson.dumps(rows)})
    assert [one.id for one in found if isinstance(one, RawConversation)] == ["a", "a"]
    bad = [one for one in found if isinstance(one, Unreadable)]
    assert [one.drop for one in bad] == [Drop("no_content")] * 6
    assert bad[-1].id == "c"


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b'{"id": b, "conversations": []}', "broken_json"),
        (b'{"id": "b" "conversations": [}}', "broken_json"),
        (b'{"id": "b", "conversations": "x\0"}', "broken_json"),
        (b"NaN", "broken_json"),
        (b"{} {}", "broken_json"),
        (b'{"id": "Caf\xe9"}', "not_utf8"),
        (b"[" * 3000 + b"]" * 3000, "broken_json"),
    ],
)
def test_a_broken_element_of_an_array_costs_only_itself(
    read: Read, element: bytes, reason: str
) -> None:
    first, second = (orjson.dumps(one) for one in TWO)
    found, raw_input = read(**{"x.json": b"[%s, %s,\n%s]" % (first, element, second)})
    assert [one.id for one in found] == ["a", "", "b"]
    assert isinstance(found[1], Unreadable)
    assert found[1].drop == Drop(reason, element[:60].decode("utf-8", "replace"))
    assert raw_input.count == 3


@pytest.mark.parametrize(
    ("name", "raw", "what"),
    [
        ("x.json", orjson.dumps(TWO)[:-1], "broken JSON after 2 conversations"),
        ("x.json", orjson.dumps(TWO)[:-20], "broken JSON after 1 conversations"),
        ("x.json", orjson.dumps(TWO)[:-1] + b",", "broken JSON after 2 conversations"),
        ("x.json", orjson.dumps(TWO)[:-1] + b', "x', "broken JSON after 2 conversations"),
        ("x.json", orjson.dumps(TWO)[:-1] + b', "x\\', "broken JSON after 2 conversations"),
        ("x.json", orjson.dumps(TWO) + b"x", "broken JSON behind the array of 2 conversations"),
        ("x.json", orjson.dumps(TWO) * 2, "broken JSON behind the array of 2 conversations"),
        ("x.json", b"[]]", "broken JSON behind the array of 0 conversations"),
        ("x.json", b"[", "broken JSON after 0 conversations"),
        ("x.json.gz", gzip.compress(orjson.dumps(TWO)[:-1]), "broken JSON after 2 conversations"),
        ("x.json.gz", gzip.compress(orjson.dumps(TWO))[:-20], "breaks off"),
        ("x.jsonl.gz", gzip.compress(LINES)[:-20], "breaks off"),
        ("x.json.zst", zstd(orjson.dumps(TWO))[:-20], "breaks off"),
        ("x.jsonl.zst", zstd(LINES)[:-20], "breaks off"),
    ],
)
def test_a_dump_that_breaks_off_is_an_error_that_names_it(
    read: Read, tmp_path: Path, name: str, raw: bytes, what: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(**{name: raw})
    assert str(caught.value).startswith(f"{tmp_path / name}: {what}")
    assert "\n" not in str(caught.value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8") | st.sampled_from('"\\[]{},: \n'), max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\{[,]}', max_size=3), inner)
    ),
    max_leaves=12,
)


@given(
    values=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    escaped=st.booleans(),
    chunk=st.integers(1, 40),
    ahead=st.integers(1, 60),
)
def test_any_array_falls_into_its_elements_whatever_the_chunks(
    values: list[Any], indent: int | str | None, escaped: bool, chunk: int, ahead: int
) -> None:
    layout: dict[str, Any] = (
        {"indent": indent} if indent is not None else {"separators": (",", ":")}
    )
    text = json.dumps(values, ensure_ascii=escaped, **layout)
    raw = text.encode("utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_CHUNK", chunk)

        def elements(whole: bytes) -> list[bytes]:
            return list(pages._array(whole[:ahead], io.BytesIO(whole[ahead:])))

        found = elements(raw)
        assert [json.loads(element) for element in found] == values
        assert elements(raw + b" \r\n") == found
        with pytest.raises(ValueError, match=f"behind the array of {len(values)} "):
            elements(raw + b"]")
        with pytest.raises(ValueError, match="breaks off"):
            elements(raw[:-1])


def test_an_input_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        RawInput(tmp_path / "nowhere")


def test_a_folder_without_pages_and_dumps_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no \.html, \.json or \.jsonl"):
        RawInput(tmp_path)


def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "gone.html").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"gone\.html: cannot be read"):
        list(RawInput(tmp_path))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("package.json", b'{"name": "x", "items": 3}'),
        ("package.json", json.dumps({"name": "x", "scripts": {}}, indent=2).encode()),
        ("numbers.json", b"[1, 2, 3]"),
        ("log.jsonl", b'{"event": 1}\n' * 300),
        ("empty.jsonl", b"\n"),
        ("empty.json", b"[]"),
    ],
)
def test_a_file_of_something_else_is_passed_over_and_listed(
    read: Read, name: str, raw: bytes
) -> None:
    found, raw_input = read(**{name: raw, "x.html": PAGE})
    assert [one.source for one in found] == ["x.html"]
    assert raw_input.ignored == [name]
    fingerprint = raw_input.fingerprint()
    assert fingerprint["ignored"] == [name]
    assert fingerprint["conversations"] == 1


MANY = [row(f"id{n}", f"question {n}", "answer", views=n) for n in range(250)]


def fingerprint_of(folder: Path, name: str, raw: bytes) -> dict[str, Any]:
    folder.mkdir()
    (folder / name).write_bytes(raw)
    raw_input = RawInput(folder)
    assert all(isinstance(one, RawConversation) for one in raw_input)
    return raw_input.fingerprint()


def test_the_order_of_rows_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    there = fingerprint_of(tmp_path / "there", "x.json", orjson.dumps(MANY))
    back = fingerprint_of(tmp_path / "back", "x.json", orjson.dumps(MANY[::-1]))
    assert there == back


@pytest.mark.parametrize(
    "other",
    [MANY[:-1], [*MANY, MANY[0]], [*MANY[:-1], MANY[-1] | {"views": 0}]],
    ids=["one less", "one twice", "one changed"],
)
def test_any_other_input_changes_the_fingerprint(
    tmp_path: Path, other: list[dict[str, Any]]
) -> None:
    one = fingerprint_of(tmp_path / "one", "x.json", orjson.dumps(MANY))
    assert one != fingerprint_of(tmp_path / "two", "x.json", orjson.dumps(other))


def test_the_name_of_a_file_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    one = fingerprint_of(tmp_path / "one", "x.html", PAGE)
    assert one != fingerprint_of(tmp_path / "two", "y.html", PAGE)


def test_a_file_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.html")).write_bytes(PAGE)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    raw_input = RawInput(tmp_path)
    (found,) = raw_input
    assert found.source == "caf\N{REPLACEMENT CHARACTER}.html"
    assert found.id == "a"
    assert raw_input.fingerprint()["conversations"] == 1


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
    "long_value": odd_row(b'"' + b"r" * 10_000_000 + b'"'),
    "id_is_a_number": odd_row().replace(b'"odd"', b"7"),
}


@pytest.mark.parametrize("form", ["array", "lines"])
@pytest.mark.parametrize("odd", ODD_ROWS)
def test_an_odd_row_becomes_a_conversation_or_a_drop_and_stops_nothing(
    read: Read, form: str, odd: str
) -> None:
    rows = [ODD_ROWS[odd], orjson.dumps(ROW)]
    raw = b"[" + b", ".join(rows) + b"]" if form == "array" else b"\n".join(rows)
    found, raw_input = read(**{"x.json": raw})
    assert raw_input.count == len(found) == 2
    results = [one.drop if isinstance(one, Unreadable) else to_conversation(one) for one in found]
    assert isinstance(results[1], Conversation)
    orjson.dumps(results[0].row() if isinstance(results[0], Conversation) else results[0].detail)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_pair_of_surrogates_is_one_character(read: Read, form: str) -> None:
    raw = odd_row(b'"\\ud83d\\ude00"')
    found, _ = read(**{"x.json": b"[" + raw + b"]" if form == "array" else raw})
    assert isinstance(found[0], RawConversation)
    assert found[0].items[1]["value"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("form", ["array", "lines"])
def test_half_a_pair_is_replaced_and_its_neighbours_stay(read: Read, form: str) -> None:
    raw = odd_row(b'"a\\ud83db"')
    found, _ = read(**{"x.json": b"[" + raw + b"]" if form == "array" else raw})
    assert isinstance(found[0], RawConversation)
    result = to_conversation(found[0])
    assert isinstance(result, Conversation)
    assert result.messages[1]["content"] == "a\N{REPLACEMENT CHARACTER}b"
