"""Finished pieces on disk: what a kill, a power cut or a bad disk leaves of them."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.results import Result, opened
from ultra.errors import OutputError

IDENTITY: dict[str, Any] = {"version": "1", "configuration": {"a": 1}}
PIECES = {
    b"\0\1": Result(b'{"n":1}', b'{"row":1}\n{"row":2}\n'),
    b"\0\2": Result(b'{"n":2}', b""),
    b"\xff": Result(b'{"n":3}', "\N{GRINNING FACE}\n\0\r\n".encode()),
}


def fill(run: Path, pieces: dict[bytes, Result] = PIECES) -> None:
    with opened(run, IDENTITY) as results:
        for key, result in pieces.items():
            results.add(key, result)


def held(run: Path, identity: dict[str, Any] = IDENTITY) -> dict[bytes, Result]:
    """Every piece that is found there, as it was added."""
    with opened(run, identity) as results:
        found = {}
        for key, result in PIECES.items():
            if (done := results.get(key)) is not None:
                what, place = done
                rows = os.pread(results.file.fileno(), len(result.rows), place)
                found[key] = Result(orjson.dumps(what), rows)
        return found


def test_what_was_added_is_there_at_once_and_when_opened_again(tmp_path: Path) -> None:
    added = {}
    with opened(tmp_path / "run", IDENTITY) as results:
        for key, result in PIECES.items():
            assert results.get(key) is None
            added[key] = found, place = results.add(key, result)
            assert found == orjson.loads(result.found)
            assert os.pread(results.file.fileno(), len(result.rows), place) == result.rows
    with opened(tmp_path / "run", IDENTITY) as results:
        assert {key: results.get(key) for key in PIECES} == added
    assert held(tmp_path / "run") == PIECES


def test_pieces_can_be_asked_for_between_those_that_are_added(tmp_path: Path) -> None:
    first, *others = PIECES.items()
    fill(tmp_path / "run", dict([first]))
    with opened(tmp_path / "run", IDENTITY) as results:
        for key, result in others:
            assert results.get(first[0]) is not None
            results.add(key, result)
    assert held(tmp_path / "run") == PIECES


def test_another_build_begins_anew(tmp_path: Path) -> None:
    for other in ({"version": "2"}, {"configuration": {"a": 2}}, {"more": 0}):
        fill(tmp_path / "run")
        assert held(tmp_path / "run", IDENTITY | other) == {}
        assert held(tmp_path / "run") == {}


def test_the_order_of_keys_is_no_part_of_who_a_build_is(tmp_path: Path) -> None:
    fill(tmp_path / "run")
    assert held(tmp_path / "run", dict(reversed(IDENTITY.items()))) == PIECES


def test_a_file_that_is_cut_anywhere_keeps_the_whole_pieces_before_and_goes_on(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "run")
    file = tmp_path / "run" / "pieces"
    whole = file.read_bytes()
    counts = []
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        found = held(tmp_path / "run")
        counts.append(len(found))
        assert found == dict(list(PIECES.items())[: len(found)])
        fill(tmp_path / "run", {key: one for key, one in PIECES.items() if key not in found})
        assert file.read_bytes() == whole
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}
    assert counts[-1] == 2


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_a_byte_that_is_wrong_costs_its_piece_and_those_behind_it(
    flip: int, tmp_path: Path
) -> None:
    fill(tmp_path / "run")
    file = tmp_path / "run" / "pieces"
    whole = file.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        file.write_bytes(damaged)
        found = held(tmp_path / "run")
        assert found.items() <= PIECES.items()  # less of them, never others
        fill(tmp_path / "run", {key: one for key, one in PIECES.items() if key not in found})
        assert held(tmp_path / "run") == PIECES


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, b"{}\n", b"[]\n", b'{"found":-1,"rows":"x"}\n', b"\xff", b"7\n"]
)
def test_what_stands_behind_the_last_piece_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    fill(tmp_path / "run")
    file = tmp_path / "run" / "pieces"
    whole = file.read_bytes()
    file.write_bytes(whole + tail)
    assert held(tmp_path / "run") == PIECES
    assert file.read_bytes() == whole


def test_two_builds_of_one_release_keep_out_of_each_others_way(tmp_path: Path) -> None:
    with opened(tmp_path / "run", IDENTITY) as results:
        results.add(b"\0\1", PIECES[b"\0\1"])
        refused = pytest.raises(OutputError, match=r"run: another run is writing to it")
        with refused, opened(tmp_path / "run", {"version": "2"}):
            pass
        results.add(b"\0\2", PIECES[b"\0\2"])
    assert len(held(tmp_path / "run")) == 2
