"""Dumps cut into pieces: whatever is in them and wherever the cuts fall, the same rows."""

import gzip
import io
import json
import pickle
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datasets_scripts.sharegpt import dumps, pages
from datasets_scripts.sharegpt.dumps import Broken, Rows
from tests.datasets_scripts.helpers import row, zstd
from ultra import jsonl

BOM = b"\xef\xbb\xbf"
TWO = [row("a", "Why <b>?", "r"), row("b", "q", "[{]}")]
ARRAY = orjson.dumps(TWO)
LINES = b"".join(orjson.dumps(one) + b"\n" for one in TWO)
MANY = [row(f"id{n}", f"question {n}", "answer" * (n % 7), views=n) for n in range(60)]

BIG = 2**20


def cut(raw: bytes, chunk: int = BIG) -> list[Rows | Broken]:
    return list(dumps.cut(io.BytesIO(raw), chunk))


def values(pieces: list[Rows | Broken]) -> Iterator[Any]:
    """The values of all pieces, a bad one as its bytes."""
    for piece in pieces:
        if isinstance(piece, Rows):
            for value, raw in dumps.rows(piece):
                yield raw if value is pages.BAD else value


def broken(pieces: list[Rows | Broken]) -> list[Broken]:
    return [piece for piece in pieces if isinstance(piece, Broken)]


@pytest.mark.parametrize("chunk", [1, 7, 64, BIG])
@pytest.mark.parametrize(
    "raw",
    [
        ARRAY,
        b" \r\n" + ARRAY + b"\n\n",
        json.dumps(TWO, indent=2).encode(),
        json.dumps(TWO, indent="\t").encode(),
        LINES,
        LINES.rstrip(),
        LINES.replace(b"\n", b"\r\n\r\n"),
        b"\n \n" + LINES,
    ],
)
def test_every_form_gives_its_rows(raw: bytes, chunk: int) -> None:
    pieces = cut(raw, chunk)
    assert list(values(pieces)) == TWO
    assert not broken(pieces)


@pytest.mark.parametrize("raw", [BOM + ARRAY, BOM + b"\n" + ARRAY, BOM + LINES])
def test_a_byte_order_mark_is_no_part_of_a_row(raw: bytes) -> None:
    assert list(values(cut(raw))) == TWO


COMPACT_TURNS = b'{\n "id": "a",\n "conversations": [\n  %s,\n  %s\n ]\n}\n' % tuple(
    orjson.dumps(turn) for turn in TWO[0]["conversations"]
)


@pytest.mark.parametrize(
    "raw",
    [
        orjson.dumps(TWO[0]),
        json.dumps(TWO[0], indent=1).encode(),
        BOM + json.dumps(TWO[0], indent="\t").encode(),
        b"\r\n" + json.dumps(TWO[0], indent=0).replace("\n", "\r\n").encode(),
        COMPACT_TURNS,
    ],
)
def test_one_object_may_stand_on_one_line_or_many(raw: bytes) -> None:
    assert list(values(cut(raw, 16))) == list(values(cut(raw))) == TWO[:1]


def test_a_large_dump_is_cut_into_pieces_about_as_large_as_a_chunk() -> None:
    for raw in (orjson.dumps(MANY), b"".join(orjson.dumps(one) + b"\n" for one in MANY)):
        pieces = cut(raw, 1000)
        sizes = [len(piece.raw) for piece in pieces if isinstance(piece, Rows)]
        assert len(sizes) > 4
        assert max(sizes) < 2000
        assert list(values(pieces)) == MANY


def test_a_row_much_longer_than_a_chunk_is_one_piece() -> None:
    long = row("l", "q", "[{" * 100_000)
    rows = [TWO[0], long, TWO[1]]
    for raw in (orjson.dumps(rows), b"\n".join(map(orjson.dumps, rows))):
        assert list(values(cut(raw, 100))) == rows


def test_pieces_are_of_the_bytes_alone_and_not_of_how_they_arrive() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 5))

    raw = orjson.dumps(MANY)
    assert list(values(list(dumps.cut(Slow(raw), 1000)))) == MANY


def test_only_the_bytes_of_a_piece_go_to_another_process() -> None:
    (piece,) = cut(ARRAY)
    assert isinstance(piece, Rows)
    assert piece.values == TWO
    sent = pickle.loads(pickle.dumps(piece))  # noqa: S301
    assert sent == Rows(piece.raw, array=True)
    assert list(values([sent])) == TWO


# Bad elements


@pytest.mark.parametrize("chunk", [1, 50, BIG])
@pytest.mark.parametrize(
    "element",
    [
        b'{"id": b, "conversations": []}',
        b'{"id": "b" "conversations": [}}',
        b'{"id": "b", "conversations": "x\0"}',
        b'{"id": "b", "conversations": "\n"}',
        b"NaN",
        b"{} {}",
        b'{"id": "Caf\xe9"}',
        b"[" * 3000 + b"]" * 3000,
        b'"\\ud800 \\x"',
    ],
)
def test_a_broken_element_of_an_array_costs_only_itself(element: bytes, chunk: int) -> None:
    first, second = (orjson.dumps(one) for one in TWO)
    pieces = cut(b"[%s, %s,\n%s]" % (first, element, second), chunk)
    assert list(values(pieces)) == [TWO[0], element, TWO[1]]
    assert not broken(pieces)


def test_half_a_surrogate_pair_is_no_broken_element() -> None:
    odd = b'{"id": "b", "conversations": [{"from": "gpt", "value": "\\ud800"}]}'
    found = list(values(cut(b"[%s, %s]" % (odd, orjson.dumps(TWO[0])))))
    assert [one["id"] for one in found] == ["b", "a"]


LINE = b'{"id": "z", "conversations": ["x'


@pytest.mark.parametrize("chunk", [1, 50, BIG])
@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_a_broken_line_costs_only_itself(place: int, chunk: int) -> None:
    lines: list[Any] = [*LINES.splitlines(), *LINES.splitlines()]
    lines.insert(place, LINE)
    expected = [line if line == LINE else orjson.loads(line) for line in lines]
    assert list(values(cut(b"\n".join(lines) + b"\n", chunk))) == expected


def test_a_broken_line_before_the_last_one_costs_only_itself() -> None:
    pieces = cut(LINE + b"\n" + LINES.splitlines()[0])
    assert list(values(pieces)) == [LINE, TWO[0]]


# Dumps that break off


@pytest.mark.parametrize("chunk", [1, 40, BIG])
@pytest.mark.parametrize(
    ("raw", "rows", "found"),
    [
        (ARRAY[:-20], TWO[:1], Broken("truncated", "breaks off after 1 conversations")),
        (ARRAY[:-1] + b",", TWO, Broken("truncated", "breaks off after 2 conversations")),
        (ARRAY[:-1] + b', "x', TWO, Broken("truncated", "breaks off after 2 conversations")),
        (ARRAY[:-1] + b', "x\\', TWO, Broken("truncated", "breaks off after 2 conversations")),
        (ARRAY[:30], [], Broken("truncated", "breaks off after 0 conversations")),
        (b"[", [], Broken("truncated", "breaks off after 0 conversations")),
        (ARRAY + b"x", TWO, "something stands behind the array of 2 conversations"),
        (ARRAY * 2, TWO, "something stands behind the array of 2 conversations"),
        (b"[]]", [], "something stands behind the array of 0 conversations"),
        (ARRAY[:-1] + b"}", TWO, "a bracket too many after 2 conversations"),
    ],
)
def test_what_stands_before_the_damage_is_kept(
    raw: bytes, rows: list[Any], found: Broken | str, chunk: int
) -> None:
    pieces = cut(raw, chunk)
    assert list(values(pieces)) == rows
    assert broken(pieces) == [Broken("broken_json", found) if isinstance(found, str) else found]
    assert isinstance(pieces[-1], Broken)


def test_a_row_that_is_whole_is_kept_if_only_the_end_of_the_array_is_missing() -> None:
    assert list(values(cut(ARRAY[:-1]))) == TWO


@pytest.mark.parametrize("chunk", [1, 40, BIG])
def test_a_comma_too_many_at_the_end_is_no_row(chunk: int) -> None:
    pieces = cut(ARRAY[:-1] + b",]", chunk)
    if chunk != BIG:
        assert list(values(cut(ARRAY[:-1] + b",]"))) == list(values(pieces))
    assert list(values(pieces)) == TWO


SLOPED = [row(f"id{n}", *(f"{n * k:x}" for k in range(2, 12))) for n in range(4000)]
"""About a megabyte that compresses to many blocks."""


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("form", ["array", "lines"])
def test_of_a_packed_dump_that_breaks_off_the_rows_before_are_kept(form: str, pack: Any) -> None:
    raw = orjson.dumps(SLOPED)
    if form == "lines":
        raw = b"\n".join(map(orjson.dumps, SLOPED))
    packed = pack(raw)
    with jsonl.unpacked(io.BytesIO(packed[: len(packed) * 3 // 4])) as file:
        pieces = list(dumps.cut(file, 1000))
    found = list(values(pieces))
    assert found == SLOPED[: len(found)]
    assert 1000 < len(found) < 4000
    assert [one.reason for one in broken(pieces)] == ["truncated"]
    assert broken(pieces)[0].detail


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_of_a_small_packed_dump_that_breaks_off_the_rows_before_are_kept(pack: Any) -> None:
    packed = pack(orjson.dumps(SLOPED))
    with jsonl.unpacked(io.BytesIO(packed[: len(packed) * 3 // 4])) as file:
        assert len(list(values(list(dumps.cut(file))))) > 1000


def test_damage_behind_the_end_of_an_array_is_reported_and_costs_nothing() -> None:
    packed = gzip.compress(orjson.dumps(MANY))
    damaged = packed[:-8] + b"\0" * 8  # the checksum
    with jsonl.unpacked(io.BytesIO(damaged)) as file:
        pieces = list(dumps.cut(file, 100))
    found = list(values(pieces))
    assert found == MANY[: len(found)]
    assert [one.reason for one in broken(pieces)] == ["truncated"]


def test_a_packed_object_that_breaks_off_is_one_drop_and_not_one_for_each_line() -> None:
    packed = gzip.compress(json.dumps(SLOPED[0] | {"more": SLOPED[:400]}, indent=1).encode())
    with jsonl.unpacked(io.BytesIO(packed[:-200])) as file:
        pieces = list(dumps.cut(file, 1000))
    assert len(list(values(pieces))) + len(broken(pieces)) == 1


# Rows that are too large


class Counted(io.BytesIO):
    """Knows how much of it was read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        self.count += len(part)
        return part


TOO_LARGE = Broken("too_large", "a row of more than 64 MiB")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> int:
    """A row may have a kilobyte; what is said of it stays."""
    monkeypatch.setattr(dumps, "LARGE_ROW", 1000)
    monkeypatch.setattr(dumps, "_TOO_LARGE", TOO_LARGE)
    return 1000


@pytest.mark.parametrize("chunk", [1, 100, 999])
@pytest.mark.parametrize(
    "raw",
    [
        b"\0" * 100_000,
        b'["' + b"a" * 100_000,
        b"[" + b"[" * 100_000,
        b"[" + b" " * 100_000 + b"]",
        b'{"a": "' + b"a" * 100_000,
        b'{\n "name": [\n' + b"  1,\n" * 20_000 + b" ]\n}",
        b"{\n" + b"\n" * 100_000,
        b"{\n" + b'{"a": 1}\n' * 10_000,
    ],
)
def test_of_a_row_that_is_too_large_only_its_start_is_read(
    raw: bytes, chunk: int, large: int
) -> None:
    file = Counted(raw)
    assert list(dumps.cut(file, chunk)) == [TOO_LARGE]
    assert file.count <= large + 2


@pytest.mark.parametrize("form", ["array", "lines"])
@pytest.mark.parametrize("chunk", [1, 100, 999])
def test_the_rows_before_one_that_is_too_large_are_kept(form: str, chunk: int, large: int) -> None:
    rows = [orjson.dumps(one) for one in (*TWO, row("c", "q", "r" * large), TWO[0])]
    raw = b"[%b]" % b",".join(rows) if form == "array" else b"\n".join(rows)
    pieces = cut(raw, chunk)
    assert list(values(pieces)) == TWO
    assert pieces[-1] == TOO_LARGE


def sized(size: int) -> Any:
    """A row whose JSON has so many bytes."""
    return row("c", "q", "r" * (size - len(orjson.dumps(row("c", "q", "")))))


@pytest.mark.parametrize("chunk", [1, 100, 999])
def test_a_row_may_be_as_large_as_it_may_be(chunk: int, large: int) -> None:
    rows = [TWO[0], sized(large), TWO[1]]
    parts = [orjson.dumps(one) for one in rows]
    for raw in (b"[%b]" % b",".join(parts), b"\n".join(parts), b"\n".join(parts[:2])):
        pieces = cut(raw, chunk)
        assert list(values(pieces)) == rows[: raw.count(b'"id"')]
        assert not broken(pieces)
    one = sized(large - 1)
    assert list(values(cut(orjson.dumps(one).replace(b",", b",\n", 1), chunk))) == [one]


def test_a_row_may_have_64_mebibytes() -> None:
    assert dumps.LARGE_ROW == 64 * 2**20
    assert TOO_LARGE == dumps._TOO_LARGE


# Any array

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
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
ROWS = st.builds(row, st.text(max_size=3), st.text(max_size=8), st.sampled_from(']},{ \\"'))


@given(
    elements=st.lists(VALUES | ROWS, max_size=6),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    escaped=st.booleans(),
    chunk=st.integers(1, 60),
)
@example([row("a", "x]},{", "y")] * 3, None, False, 20)
def test_any_array_falls_into_its_elements_whatever_the_chunks(
    elements: list[Any], indent: int | str | None, escaped: bool, chunk: int
) -> None:
    layout: dict[str, Any] = (
        {"indent": indent} if indent is not None else {"separators": (",", ":")}
    )
    raw = json.dumps(elements, ensure_ascii=escaped, **layout).encode("utf-8")
    for ending in (b"", b" \r\n"):
        pieces = cut(raw + ending, chunk)
        assert list(values(pieces)) == list(values(cut(raw + ending))) == elements
        assert not broken(pieces)
    behind = cut(raw + b"]", chunk)
    assert list(values(behind)) == elements
    assert [one.reason for one in broken(behind)] == ["broken_json"]
    off = cut(raw[:-1], chunk)
    assert list(values(off)) in (elements[:-1], elements)
    assert [one.reason for one in broken(off)] == ["truncated"]


@given(elements=st.lists(ROWS | VALUES, max_size=8), chunk=st.integers(1, 300))
@example([row("a", "x]},{", "y"), *TWO], 40)
def test_where_the_guess_proves_right_it_gives_what_counting_gives(
    elements: list[Any], chunk: int
) -> None:
    raw = orjson.dumps(elements)
    guessed = cut(raw, chunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "_guess", lambda reader: None)
        patch.setattr(dumps, "_last", lambda reader: None)
        counted = cut(raw, chunk)
    assert list(values(guessed)) == list(values(counted)) == elements
    assert not broken(guessed)
    assert not broken(counted)


def test_the_guess_is_what_cuts_a_dump_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(buffer: bytes) -> tuple[int, int, bool]:
        raise AssertionError("counted")

    monkeypatch.setattr(dumps, "_whole", never)
    rows = [row(f"id{n}", "question", "answer" * (n % 7)) for n in range(60)]
    assert list(values(cut(orjson.dumps(rows), 1000))) == rows


@given(st.binary(max_size=60) | st.text('[]{}",\\ \n1', max_size=60).map(str.encode))
def test_no_bytes_are_an_exception_and_chunks_change_no_row_of_an_array(raw: bytes) -> None:
    whole = cut(b"[" + raw)
    list(values(cut(raw, 3)))
    list(values(whole))
    assert len(broken(whole)) <= 1


# Whether a dump is one of conversations


@pytest.mark.parametrize(
    ("raw", "holds"),
    [
        (ARRAY, True),
        (LINES, True),
        (b'[1, 2, {"conversations": []}]', True),
        (b'[1, 2, {"conversations": null}]', False),
        (b'[1, 2, {"conversations": [1]}]', True),
        (b'[1, 2, {"items": [1]}]', True),
        (b"[1, 2, 3]", False),
        (b'{"items": 3}', False),
        (b'{"items": [}', True),
        (b"[1, x]", True),
        (b'{"event": 1}\n' * 300, False),
        (b'{"id": "a", "error": "timeout"}\n' * 300, False),
        (b'{"id": 7}', False),
        (b'{"id": "", "event": 1}', False),
        (b'{"id": null}', False),
        (b'[["id"], "id", 7]', False),
        (b'{"event": 1}\n' * 200 + LINES, True),
    ],
)
def test_a_dump_of_something_else_is_told_by_its_first_piece(raw: bytes, holds: bool) -> None:
    (piece,) = cut(raw)
    assert isinstance(piece, Rows)
    assert dumps.holds_conversations(piece) is holds


@pytest.mark.parametrize("raw", [b"", b"\n", b" \r\n\t", BOM, BOM + b"\n"])
def test_a_blank_dump_has_no_pieces(raw: bytes) -> None:
    assert cut(raw) == []
