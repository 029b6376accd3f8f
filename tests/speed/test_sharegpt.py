import json
from pathlib import Path

import pytest

from datasets_scripts.sharegpt import build
from tests.speed import harness, sharegpt_inputs, sharegpt_sides, sharegpt_stages
from tests.speed.sharegpt import Settings
from tests.speed.sharegpt_sides import Decisions
from ultra.errors import InputError, SettingError

GENERATOR = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for name in ("--n", "--seed", "--mix", "--out", "--json"):
    parser.add_argument(name)
found = parser.parse_args()
for number in range(int(found.n)):
    pathlib.Path(found.out, f"{number}.html").write_text(found.mix)
pathlib.Path(found.out, "manifest.jsonl").touch()
pathlib.Path(found.json).write_text(json.dumps([]))
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "make_sharegpt.py").write_text(GENERATOR)
    (folder / "nocrash_mix.json").write_text('{"single": 1000}')
    return folder


def test_pages_are_made_once_for_each_count_and_mix(tools: Path, tmp_path: Path) -> None:
    made = sharegpt_inputs.make(2, tools, tmp_path / "out")
    assert [page.read_text() for page in sorted(made.pages.iterdir())] == ['{"single": 1000}'] * 2
    assert made.json.read_text() == "[]"
    (made.pages / "0.html").write_text("as before")
    assert sharegpt_inputs.make(2, tools, tmp_path / "out") == made
    assert (made.pages / "0.html").read_text() == "as before"
    (tools / "nocrash_mix.json").write_text("{}")
    assert sharegpt_inputs.make(2, tools, tmp_path / "out") != made


def test_pages_half_made_are_not_taken_for_whole(tools: Path, tmp_path: Path) -> None:
    (tools / "make_sharegpt.py").write_text(GENERATOR + "raise SystemExit(1)")
    for _ in range(2):
        with pytest.raises(harness.RunError, match="ended with status 1"):
            sharegpt_inputs.make(2, tools, tmp_path / "out")


def test_without_the_generator_one_line_says_where_it_is_sought(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"make_sharegpt\.py: not there; .* set --tools"):
        sharegpt_inputs.make(2, tmp_path, tmp_path / "out")


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match="pages: 0 is less than 1"):
        Settings(pages=0)
    with pytest.raises(SettingError, match="repeat: 0 is less than 1"):
        Settings(repeat=0)
    assert (Settings().turns, Settings(pages=2000).turns, Settings(repeat=5).turns) == (1, 3, 5)


def test_decisions_of_fastchat_are_read_from_its_last_line(tmp_path: Path) -> None:
    last = "total: 9, skip: 4, new: 5, cnt_blocked_words: 3, cnt_parser_error: 0, cnt_too_short: 1"
    (tmp_path / harness.LOG).write_text(f"id total: 7 is too short\n{last}\n")
    found = sharegpt_sides.fastchat_decisions(tmp_path)
    assert found == Decisions(9, 5, {"blocked_words": 3, "too_short": 1})


def test_decisions_of_openchats_way_are_read_from_its_last_line(tmp_path: Path) -> None:
    (tmp_path / harness.LOG).write_text('{"total": 9, "kept": 5, "dropped": {"too_short": 4}}\n')
    assert sharegpt_sides.openchat_decisions(tmp_path) == Decisions(9, 5, {"too_short": 4})


def test_our_decisions_are_read_from_the_release(tmp_path: Path) -> None:
    build.build(build.Settings(out=tmp_path))
    found = sharegpt_sides.our_decisions(tmp_path)
    assert found.total == found.kept + sum(found.dropped.values())
    assert found.kept > 0


def test_every_stage_takes_pages_good_and_bad(capsys: pytest.CaptureFixture[str]) -> None:
    sharegpt_stages.main(build.SAMPLE)
    seconds = json.loads(capsys.readouterr().out)
    assert list(seconds) == list(sharegpt_stages.STAGES)
