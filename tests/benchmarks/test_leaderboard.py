"""One table of all judgments: complete, sorted, verifiable, and honest about what has no number."""

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from benchmarks import judgments, protocol, results, table
from benchmarks.leaderboard import Settings, leaderboard
from tests.benchmarks.fakes import PROTOCOL, judgment, read_rows, write_judgments, write_rows
from ultra import jsonl
from ultra.errors import InputError

WIN, TIE, LOSS, HALF = ("model", "model"), ("tie", "tie"), ("baseline",) * 2, ("model", "baseline")
UNSCORED = ("unscored", "unscored")
FORMS = ("md", "csv", "json", "html")
HOSTILE = "<script>alert(1)</script>|`{splits}`"


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ULTRA_BENCHMARKS_DIR", raising=False)


def judged(out: Path, model: str, *verdicts: tuple[str, ...], **more: Any) -> Path:
    """Judgments of a model, a tuple of verdicts for each question, with words that say the same."""
    rows = []
    for number, orders in enumerate(verdicts):
        for order, verdict in zip(("model_first", "baseline_first"), orders, strict=True):
            letter = {"tie": "[[C]]", "unscored": "Hm."}.get(verdict)
            letter = letter or ("[[A]]" if (verdict == "model") == (order[0] == "m") else "[[B]]")
            rows.append(
                judgment(
                    id=f"q{number}",
                    order=order,
                    verdict=verdict,
                    reason="no_verdict" if verdict == "unscored" else "",
                    text=letter if verdict == "unscored" else f"Thus\n{letter}",
                    **{"model": model, "usd": 0.5, **more},
                )
            )
    folder = out / more.get("suite", "small") / model.replace("/", "%2F")[:40]
    if "protocol" in more:
        return write_rows(folder / f"judged-by-judge-{more['protocol']}.jsonl", rows)
    return write_judgments(folder, rows)


def row(out: Path, *verdicts: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The one row of a table, from leaderboard.json."""
    judged(out, "mine", *verdicts, **more)
    leaderboard(Settings([out], out))
    (found,) = rows_in(out)
    return found


def rows_in(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads((out / "leaderboard.json").read_bytes())["rows"]
    return found


def models_in(out: Path) -> list[str]:
    return [row["model"] for row in rows_in(out)]


def test_a_row_says_all_about_one_model(tmp_path: Path) -> None:
    found = row(tmp_path, WIN, HALF, LOSS, UNSCORED)
    assert list(found) == list(table.COLUMNS)
    expected = {
        **{"suite": "small@0123abcd", "protocol_name": "pairwise", "judge": "judge"},
        **{"metric": "win_rate", "score": 50.0, "standard_error": 28.8675},
        **{"n": 3, "unscored": 1, "wins": 1, "ties": 1, "losses": 1},
        **{"flip_rate": 33.3333, "characters": 10.0, "usd": 4.0, "one_order": 0},
        **{"prompt_tokens": 80, "completion_tokens": 16, "baseline": "base"},
        **{"protocol": PROTOCOL, "model_revision": "r1", "judge_model": "judge-0613"},
    }
    assert {name: found[name] for name in expected} == expected
    assert 0 <= found["lower"] < 50 < found["upper"] <= 100
    assert len(found["sha256"]) == 64
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "## small@0123abcd: pairwise, judged by judge" in text
    assert "| mine    |   50.00 |" in text


def test_the_best_comes_first_within_each_suite(tmp_path: Path) -> None:
    judged(tmp_path, "worst", LOSS, LOSS)
    judged(tmp_path, "best", WIN, WIN)
    judged(tmp_path, "silent", UNSCORED)
    judged(tmp_path, "also even", TIE)
    judged(tmp_path, "even", HALF)
    judged(tmp_path, "elsewhere", LOSS, suite="another")
    leaderboard(Settings([tmp_path], tmp_path))
    assert models_in(tmp_path) == ["elsewhere", "best", "also even", "even", "worst", "silent"]


def test_protocols_and_judges_are_not_mixed(tmp_path: Path) -> None:
    judged(tmp_path, "low", LOSS, protocol="aaa")
    judged(tmp_path, "high", WIN, protocol="bbb")
    judged(tmp_path, "higher", WIN, protocol="bbb", judge="another")
    leaderboard(Settings([tmp_path], tmp_path))
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert text.count("## small@0123abcd: pairwise, judged by ") == 3
    assert {row["behind"] for row in rows_in(tmp_path)} == {None}
    assert orjson.loads((tmp_path / "leaderboard.json").read_bytes())["differences"] == []


def test_a_model_is_held_against_the_best_on_the_same_questions(tmp_path: Path) -> None:
    judged(tmp_path, "best", *[WIN, HALF] * 10)
    judged(tmp_path, "second", *[HALF, LOSS] * 10)
    leaderboard(Settings([tmp_path], tmp_path))
    best, second = rows_in(tmp_path)
    assert best["behind"] is None
    assert (second["behind"], second["behind_lower"], second["behind_upper"]) == (-50, -50, -50)
    judged(tmp_path, "third", *[LOSS] * 20)
    leaderboard(Settings([tmp_path], tmp_path))
    found = orjson.loads((tmp_path / "leaderboard.json").read_bytes())["differences"]
    pairs = [(one["model"], one["other"], one["difference"]) for one in found]
    assert pairs == [("second", "best", -50), ("third", "best", -75), ("third", "second", -25)]


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    judged(tmp_path / "all", "mine", WIN)
    same = [tmp_path / "all", tmp_path / "all" / "small", tmp_path / "made" / ".." / "all"]
    (tmp_path / "made").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "all")
    leaderboard(Settings([*same, tmp_path / "link"], tmp_path / "made"))
    assert models_in(tmp_path / "made") == ["mine"]


def test_the_csv_gives_the_table_back(tmp_path: Path) -> None:
    judged(tmp_path, 'a, "quoted"', WIN, HALF, LOSS)
    judged(tmp_path, "漢字", TIE, WIN, LOSS)
    made = leaderboard(Settings([tmp_path], tmp_path))
    read = pd.read_csv(tmp_path / "leaderboard.csv", keep_default_na=False, na_values=[""])
    assert list(read.columns) == list(table.COLUMNS)
    assert list(read["model"]) == list(made["model"])
    assert list(read["score"]) == list(made["score"])
    assert str(made["wins"].dtype) == "Int64"


def test_any_order_of_rows_gives_the_same_bytes(tmp_path: Path) -> None:
    verdicts = {"one": [TIE, WIN, LOSS], "two": [HALF, WIN, WIN], "three": [LOSS, HALF, TIE]}
    files = [judged(tmp_path / "in", model, *of) for model, of in verdicts.items()]
    made = []
    for _ in range(2):
        leaderboard(Settings([tmp_path / "in"], tmp_path))
        made.append({form: (tmp_path / f"leaderboard.{form}").read_bytes() for form in FORMS})
        for path in files:
            write_rows(path, read_rows(path)[::-1])
    digests = [{row["sha256"] for row in orjson.loads(one["json"])["rows"]} for one in made]
    assert digests[0] != digests[1]
    assert strip(made[0], digests[0]) == strip(made[1], digests[1])


def strip(made: dict[str, bytes], digests: set[str]) -> dict[str, bytes]:
    for digest in digests:
        made = {form: data.replace(digest.encode(), b"") for form, data in made.items()}
    return made


@pytest.mark.parametrize("also_scored", [False, True])
def test_a_row_without_scores_shows_no_number(tmp_path: Path, also_scored: bool) -> None:
    judged(tmp_path, "silent", UNSCORED, ("model", "unscored"))
    if also_scored:
        judged(tmp_path, "even", HALF, TIE)
    leaderboard(Settings([tmp_path], tmp_path))
    silent = rows_in(tmp_path)[-1]
    assert (silent["model"], silent["n"], silent["unscored"]) == ("silent", 0, 2)
    numbers = ("score", "lower", "upper", "standard_error", "flip_rate", "behind")
    assert [silent[name] for name in numbers] == [None] * 6


@pytest.mark.parametrize("who", ["model", "judge", "baseline", ""])
def test_a_table_in_which_demo_had_a_hand_says_so(tmp_path: Path, who: str) -> None:
    write_rows(tmp_path / "judged-by-x.jsonl", [judgment(**({who: "demo"} if who else {}))])
    leaderboard(Settings([tmp_path], tmp_path))
    for form in ("md", "html"):
        text = (tmp_path / f"leaderboard.{form}").read_text(encoding="utf-8")
        assert ("no measure of anything" in text) == bool(who)


def test_names_cannot_break_a_table(tmp_path: Path) -> None:
    judged(tmp_path, HOSTILE, WIN, judge="a\n\nb | c")
    leaderboard(Settings([tmp_path], tmp_path))
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "\\<script>alert(1)\\</script>\\|" in text
    assert "judged by a b \\| c\n" in text
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_published_figures_stand_beside_those_of_the_same_suite(tmp_path: Path) -> None:
    scores = {"kind": "pair_scores", "scores": [9, 10], "verdict": "baseline"}
    row = judgment(**scores, suite="vicuna_80", protocol_name="vicuna", text="9 10")
    write_rows(tmp_path / "judged-by-x.jsonl", [row])
    leaderboard(Settings([tmp_path], tmp_path))
    ours, theirs = rows_in(tmp_path)
    assert (ours["score"], ours["published"]) == (90.0, "")
    assert (theirs["model"], theirs["score"], theirs["published"]) == (
        "vicuna-13b",
        92.0635,
        "2023",
    )
    assert "lmsys.org" in theirs["source"]
    assert theirs["lower"] is None
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "| vicuna-13b (2023) |" in text


def test_every_published_figure_names_its_source_year_and_unit() -> None:
    rows = table.published()
    assert rows
    for one in rows:
        assert one["source"].startswith("https://")
        assert 2023 <= int(one["published"]) <= 2026
        assert one["metric"] in ("percent", "win_rate", "average")
        assert set(one) == set(table.COLUMNS)


def test_published_figures_are_those_of_the_golden_judgments(golden: Path) -> None:
    from benchmarks import score

    known = {(row["suite"], row["model"].split(" ")[0]): row for row in table.published()}
    weighted = golden / "alpaca_eval/weighted_alpaca_eval_gpt4_turbo"
    for suite, model, path, metric in (
        (
            "vicuna_80",
            "vicuna-13b",
            golden / "vicuna/review/review_gpt35_vicuna-13b.jsonl",
            "percent",
        ),
        (
            "alpaca_eval",
            "vicuna-13b",
            golden / "alpaca_eval/alpaca_eval_gpt4/vicuna-13b.json.gz",
            "win_rate",
        ),
        ("alpaca_eval_2", "vicuna-13b", weighted / "vicuna-13b.json.gz", "win_rate"),
        ("alpaca_eval_2", "NullModel", weighted / "NullModel.json.gz", "win_rate"),
    ):
        (line,) = score.score(score.Settings(suite, [path], lc_data="none"))
        assert known[suite, model]["score"] == round(line[metric], 4)


def test_training_data_stands_beside_a_checkpoint_of_ours(tmp_path: Path) -> None:
    path = judged(tmp_path, "tiny@0123", WIN, suite="starter")
    record = {"datasets": [{"name": "sharegpt-1.1.0", "digest": "d1", "demo": False}]}
    (path.parent / results.TRAINING).write_text(json.dumps(record))
    counted = {"starter": {"questions": 27, "found": {"8": 3, "13": 1}}}
    manifest = {"files": [], "data_digest": "d1", "contamination": {"by_suite": counted}}
    (tmp_path / "releases" / "one").mkdir(parents=True)
    (tmp_path / "releases" / "one" / "manifest.json").write_text(json.dumps(manifest))
    leaderboard(Settings([tmp_path], tmp_path, releases=tmp_path / "releases"))
    (found,) = rows_in(tmp_path)
    assert (found["dataset"], found["dataset_revision"]) == ("sharegpt-1.1.0", "d1")
    assert found["contamination"] == "of 27 questions 3 by 8 words, 1 by 13"
    (path.parent / results.TRAINING).write_text("{}")
    with pytest.raises(InputError, match=r"training\.json: is no record of a training"):
        leaderboard(Settings([tmp_path], tmp_path))


def test_several_judges_have_a_row_together(tmp_path: Path) -> None:
    files = []
    for name, won in (("one", WIN), ("two", WIN), ("three", LOSS)):
        record = protocol.load("pairwise").record(
            name, {"suite": "small", "suite_digest": "d"}, "b"
        )
        files.append(judged(tmp_path, "mine", won, LOSS, judge=name, protocol=record["hash"]))
        judgments.protocol_path(files[-1]).write_bytes(orjson.dumps(record))
    frame = leaderboard(Settings([tmp_path], tmp_path))
    scores = dict(zip(frame["judge"], frame["score"], strict=True))
    assert {"one", "two", "three"} < scores.keys()
    (together,) = (judge for judge in scores if " + " in judge)
    assert sorted(together.split(" + ")) == ["one", "three", "two"]
    assert scores[together] == scores["one"] == 50.0
    leaderboard(Settings([tmp_path], tmp_path, verify=True))
    record = orjson.loads(judgments.protocol_path(files[0]).read_bytes())
    judgments.protocol_path(files[0]).write_bytes(
        orjson.dumps({**record, "parser": "first_choice"})
    )
    assert len(leaderboard(Settings([tmp_path], tmp_path))) == 4


# Verifying


@pytest.fixture
def made(tmp_path: Path) -> Path:
    judged(tmp_path, "one", WIN, HALF, LOSS, UNSCORED)
    judged(tmp_path, "two", TIE, LOSS, LOSS, WIN)
    leaderboard(Settings([tmp_path], tmp_path))
    return tmp_path


def change(out: Path, column: str, value: Any) -> None:
    place = out / "leaderboard.json"
    data = orjson.loads(place.read_bytes())
    data["rows"][0][column] = value
    place.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")


def test_a_table_that_follows_from_its_judgments_is_verified(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    leaderboard(Settings([made], made, verify=True))
    assert "all 2 rows follow" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("column", "value"),
    [("score", 99.0), ("n", 4), ("unscored", 0), ("sha256", "0"), ("usd", None)],
)
def test_a_changed_figure_is_named(made: Path, column: str, value: Any) -> None:
    change(made, column, value)
    with pytest.raises(InputError, match=f"row small@0123abcd / .*/ one / .*, column {column}: "):
        leaderboard(Settings([made], made, verify=True))


def test_a_changed_verdict_is_named_by_the_table_or_by_the_words(made: Path) -> None:
    (path,) = (made / "small" / "one").glob("judged-by-*.jsonl")
    rows = read_rows(path)
    write_rows(path, [{**rows[0], "verdict": "baseline"}, *rows[1:]])
    with pytest.raises(InputError, match=r"row small.* / one / .*, column sha256"):
        leaderboard(Settings([made], made, verify=True))
    leaderboard(Settings([made], made))  # which takes the verdicts as they stand
    with pytest.raises(InputError, match="row 1, column verdict: says 'baseline', but the judge's"):
        leaderboard(Settings([made], made, verify=True))


def test_a_reply_out_of_range_is_verified_as_it_was_judged(tmp_path: Path) -> None:
    record = protocol.load("pairwise").record("judge", {"suite": "small"}, "b")
    record |= {"parser": "first_line_scores"}
    digest = jsonl.digest({name: of for name, of in record.items() if name != "hash"})[:12]
    more = {"kind": "pair_scores", "protocol_name": "vicuna", "text": "12 9\n", "id": "q1"}
    rows = [judgment(**more, protocol=digest, verdict="unscored", reason="out_of_range")]
    path = write_rows(tmp_path / "small" / "mine" / f"judged-by-judge-{digest}.jsonl", rows)
    judgments.protocol_path(path).write_bytes(orjson.dumps({**record, "hash": digest}))
    leaderboard(Settings([tmp_path], tmp_path))
    leaderboard(Settings([tmp_path], tmp_path, verify=True))


def test_rows_too_many_and_too_few_are_named(made: Path) -> None:
    shutil.move(made / "small" / "one", made.parent / f"{made.name}-one")
    with pytest.raises(InputError, match=r"/ one / .*: no judgments are there"):
        leaderboard(Settings([made], made, verify=True))
    shutil.move(made.parent / f"{made.name}-one", made / "small" / "one")
    judged(made, "three", WIN)
    with pytest.raises(InputError, match=r"row small.* / three / .*: is missing"):
        leaderboard(Settings([made], made, verify=True))


@pytest.mark.parametrize("form", ["md", "csv", "html"])
def test_every_form_is_verified(made: Path, form: str) -> None:
    place = made / f"leaderboard.{form}"
    place.write_text(place.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(InputError, match=rf"leaderboard\.{form}: differs"):
        leaderboard(Settings([made], made, verify=True))


def test_a_changed_protocol_is_named(made: Path) -> None:
    chosen = protocol.load("pairwise")
    record = chosen.record("judge", {"suite": "small", "suite_digest": "d"}, "b")
    path = judged(made, "four", WIN, protocol=record["hash"])
    leaderboard(Settings([made], made))
    place = path.with_name(f"protocol-{record['hash']}.json")
    place.write_bytes(orjson.dumps(record))
    leaderboard(Settings([made], made, verify=True))
    place.write_bytes(orjson.dumps({**record, "samples": 9}))
    with pytest.raises(InputError, match=r"protocol-.*\.json: was changed"):
        leaderboard(Settings([made], made, verify=True))
    place.unlink()
    with pytest.raises(InputError, match=r"protocol-.*\.json: is not there"):
        leaderboard(Settings([made], made, verify=True))


def test_no_table_is_one_clear_error(made: Path) -> None:
    (made / "leaderboard.json").write_text("[]")
    with pytest.raises(InputError, match="is no table to verify"):
        leaderboard(Settings([made], made, verify=True))
    with pytest.raises(InputError, match="no judgments there; judge a model first"):
        leaderboard(Settings([made / "nothing"], made))
