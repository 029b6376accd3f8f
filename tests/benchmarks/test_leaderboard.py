"""One table of all judgments: complete, sorted, and honest about what has no number."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.leaderboard import SHOWN, Settings, leaderboard, row
from tests.benchmarks.fakes import write_rows
from ultra.errors import InputError

WIN, TIE, LOSS, HALF = ("model", "model"), ("tie", "tie"), ("baseline",) * 2, ("model", "baseline")
UNSCORED = ("unscored", "unscored")


def judgment(id: str = "q0", verdict: str = "tie", **more: Any) -> dict[str, Any]:
    return {
        "suite": "small",
        "suite_digest": "5u17e",
        "judge": "judy",
        "model": "mine",
        "id": id,
        "category": "tea",
        "baseline": "base",
        "order": "model_first",
        "protocol": "abcdef",
        "revision": "r1",
        "characters": 100,
        "verdict": verdict,
        "reason": "",
        "text": "",
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
        **more,
    }


def judged(out: Path, model: str, *verdicts: tuple[str, ...], **more: Any) -> Path:
    """Judgments of a model, a tuple of verdicts for each question."""
    rows = [
        judgment(f"q{number}", verdict, model=model, **more)
        for number, orders in enumerate(verdicts)
        for verdict in orders
    ]
    return write_rows(out / more.get("suite", "small") / model / "judged-by-judy.jsonl", rows)


def cells(markdown: str) -> list[dict[str, str]]:
    """The rows of the first table, by heading."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(table[0], line, strict=True)) for line in table[2:]]


def shown(out: Path) -> list[dict[str, str]]:
    return cells((out / "leaderboard.md").read_text(encoding="utf-8"))


def test_a_row_says_all_about_one_model(tmp_path: Path) -> None:
    judged(tmp_path, "mine", WIN, HALF, LOSS, UNSCORED)
    leaderboard(Settings([tmp_path], tmp_path))
    assert shown(tmp_path) == [
        {
            "model": "mine",
            "suite": "small",
            "judge": "judy",
            "n": "3",
            "unscored": "1",
            "win rate %": "50.0",
            "± s.e.": "28.9",
            "95 % interval": "12.5 to 87.5",
            "flips %": "33.3",
            "length": "100",
            "judge tokens": "96",
            "protocol": "abcdef",
        }
    ]
    assert list(shown(tmp_path)[0]) == list(SHOWN.values())


def test_the_length_is_the_mean_over_questions(tmp_path: Path) -> None:
    lengths = {"q1": 10, "q2": 40}
    rows = [judgment(id, characters=size) for id, size in lengths.items() for _ in range(2)]
    rows += [judgment("q3", "unscored", characters=0)]
    assert row(write_rows(tmp_path / "judged-by-judy.jsonl", rows))["characters"] == 25


def test_the_best_comes_first_within_each_suite(tmp_path: Path) -> None:
    judged(tmp_path, "worst", LOSS, LOSS)
    judged(tmp_path, "best", WIN, WIN)
    judged(tmp_path, "silent", UNSCORED)
    judged(tmp_path, "also even", TIE)
    judged(tmp_path, "even", HALF)
    judged(tmp_path, "elsewhere", LOSS, suite="another")
    leaderboard(Settings([tmp_path], tmp_path))
    assert [line["model"] for line in shown(tmp_path)] == [
        "elsewhere",
        "best",
        "also even",
        "even",
        "worst",
        "silent",
    ]


def test_protocols_are_not_mixed(tmp_path: Path) -> None:
    judged(tmp_path, "low", LOSS, protocol="aaa")
    judged(tmp_path, "high", WIN, protocol="bbb")
    table = leaderboard(Settings([tmp_path], tmp_path))
    assert list(table["protocol"]) == ["aaa", "bbb"]


def test_several_folders_make_one_table(tmp_path: Path) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        judged(folder, f"model {folder.name}", WIN)
    leaderboard(Settings(folders, tmp_path / "made"))
    assert [line["model"] for line in shown(tmp_path / "made")] == ["model here", "model there"]


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    judged(tmp_path / "all", "mine", WIN)
    same = [tmp_path / "all", tmp_path / "all" / "small", tmp_path / "made" / ".." / "all"]
    (tmp_path / "made").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "all")
    leaderboard(Settings([*same, tmp_path / "link"], tmp_path / "made"))
    assert [line["model"] for line in shown(tmp_path / "made")] == ["mine"]


def test_the_csv_gives_the_table_back(tmp_path: Path) -> None:
    judged(tmp_path, 'a, "quoted"', WIN, HALF, LOSS)
    judged(tmp_path, "漢字", TIE, WIN, LOSS)
    table = leaderboard(Settings([tmp_path], tmp_path))
    read = pd.read_csv(tmp_path / "leaderboard.csv")
    pd.testing.assert_frame_equal(read, table.reset_index(drop=True), check_dtype=False)
    assert {"baseline", "suite_digest", "model_revision", "wins", "ties", "losses"} <= set(read)


def test_the_same_judgments_give_the_same_bytes(tmp_path: Path) -> None:
    for model in ("one", "two", "three"):
        judged(tmp_path, model, TIE, WIN)
    made = []
    for _ in range(2):
        leaderboard(Settings([tmp_path], tmp_path))
        made.append([(tmp_path / f"leaderboard.{kind}").read_bytes() for kind in ("md", "csv")])
    assert made[0] == made[1]


@pytest.mark.parametrize("also_scored", [False, True])
def test_a_row_without_scores_shows_no_number(tmp_path: Path, also_scored: bool) -> None:
    judged(tmp_path, "silent", UNSCORED, ("model", "unscored"))
    if also_scored:
        judged(tmp_path, "even", HALF, TIE)
    leaderboard(Settings([tmp_path], tmp_path))
    silent = shown(tmp_path)[-1]
    assert silent["model"] == "silent"
    assert (silent["n"], silent["unscored"]) == ("0", "2")
    numbers = ("win rate %", "± s.e.", "95 % interval", "flips %")
    assert [silent[name] for name in numbers] == [""] * 4


def test_one_question_shows_no_standard_error(tmp_path: Path) -> None:
    judged(tmp_path, "mine", WIN)
    leaderboard(Settings([tmp_path], tmp_path))
    (line,) = shown(tmp_path)
    assert (line["n"], line["win rate %"], line["± s.e."]) == ("1", "100.0", "")


@pytest.mark.parametrize(
    ("who", "noted"),
    [
        ({"model": "demo"}, True),
        ({"judge": "demo"}, True),
        ({}, False),
        ({"baseline": "demo"}, True),
    ],
)
def test_a_table_in_which_demo_had_a_hand_says_so(
    tmp_path: Path, who: dict[str, str], noted: bool
) -> None:
    write_rows(tmp_path / "judged-by-x.jsonl", [judgment(**who)])
    leaderboard(Settings([tmp_path], tmp_path))
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert ("no measure of anything" in text) is noted


@pytest.mark.parametrize("name", ["gpt-4", "a b", "1e5", "007", "1_000", "nan", "a|b", "|", "漢字"])
def test_a_model_is_shown_by_its_name(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "judged-by-x.jsonl", [judgment(model=name)])
    leaderboard(Settings([tmp_path], tmp_path))
    lines = (tmp_path / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    found = [cell.strip().replace("\\|", "|") for cell in split_cells(lines[2])]
    assert found[0] == name
    assert len(found) == len(SHOWN)


def split_cells(line: str) -> list[str]:
    """Cells of a Markdown row, in which a bar may be escaped."""
    return line.strip("|").replace("\\|", "\0").replace("|", "\n").replace("\0", "\\|").split("\n")


@pytest.mark.parametrize(
    "made", [[], ["small/mine/answers.jsonl", "small/mine/run/judgments.jsonl"]]
)
def test_no_judgments_is_an_error_that_names_the_folder(tmp_path: Path, made: list[str]) -> None:
    for name in made:
        write_rows(tmp_path / name, [judgment()])
    with pytest.raises(InputError, match="no judgments there; judge a model first") as caught:
        leaderboard(Settings([tmp_path], tmp_path / "made"))
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "made").exists()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in judgment().items() if key != name}


NEEDED = ["id", "suite", "suite_digest", "model", "revision", "baseline", "judge", "protocol"]
NEEDED += ["verdict", "characters", "usage"]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({}, ", ".join(NEEDED)),
        ({"id": "q", "turns": ["an answer"]}, ", ".join(NEEDED[1:])),
        (judgment(verdict="both"), "verdict"),
        (judgment(verdict=""), "verdict"),
        *((without(name), name) for name in NEEDED),
        *(({**judgment(), name: None}, name) for name in NEEDED),
        *(({**judgment(), name: ["model"]}, name) for name in NEEDED),
        (judgment(characters="many"), "characters"),
        (judgment(characters=1.5), "characters"),
        (judgment(characters=True), "characters"),
        (judgment(usage={"prompt_tokens": "10"}), "usage"),
        (judgment(usage={"prompt_tokens": None}), "usage"),
        ({**judgment(), "model": 5, "usage": 5}, "model, usage"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, broken: dict[str, Any], says: str) -> None:
    path = write_rows(tmp_path / "judged-by-x.jsonl", [broken, judgment()])
    with pytest.raises(InputError, match=f"row 1 is no judgment: see its {says}$") as caught:
        leaderboard(Settings([tmp_path], tmp_path / "made"))
    assert str(path) in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_broken_row_is_named_by_its_number(tmp_path: Path) -> None:
    write_rows(tmp_path / "judged-by-x.jsonl", [judgment(), judgment(), judgment(verdict="both")])
    with pytest.raises(InputError, match="row 3 is no judgment"):
        leaderboard(Settings([tmp_path], tmp_path))


@pytest.mark.parametrize(("content", "says"), [("", "holds no judgments"), ("{", "not JSON")])
def test_a_broken_file_is_named(tmp_path: Path, content: str, says: str) -> None:
    judged(tmp_path, "fine", WIN)
    (tmp_path / "judged-by-x.jsonl").write_text(content)
    with pytest.raises(InputError, match=rf"judged-by-x\.jsonl.*{says}"):
        leaderboard(Settings([tmp_path], tmp_path))
