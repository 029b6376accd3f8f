"""Questions that ship, and one's own."""

import csv
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results, suites, upstream
from datasets_scripts.questions import Questions
from tests.benchmarks.fakes import read_rows, write_rows
from tests.conftest import ROOT
from ultra import files
from ultra.errors import InputError, SettingError

CATEGORIES = [
    "generic",
    "knowledge",
    "roleplay",
    "common-sense",
    "fermi",
    "counterfactual",
    "coding",
    "math",
    "writing",
]


def question(id: str = "q", **more: Any) -> dict[str, Any]:
    return {"id": id, "category": "c", "turns": ["Why?"], **more}


def test_starter_asks_three_questions_in_each_category() -> None:
    starter = suites.load("starter")
    assert Counter(one.category for one in starter.questions) == dict.fromkeys(CATEGORIES, 3)
    texts = [turn for one in starter.questions for turn in one.turns]
    assert len(set(texts)) == len(texts) == 27
    assert all(text == text.strip() != "" for text in texts)


def test_the_baseline_of_starter_answers_every_question() -> None:
    starter = suites.load("starter")
    assert starter.baseline
    answers = results.read_answers(starter.baseline)
    assert list(answers) == [one.id for one in starter.questions]
    for one in starter.questions:
        assert len(answers[one.id]["turns"]) == len(one.turns)
        assert all(turn.strip() for turn in answers[one.id]["turns"])
        assert answers[one.id]["model"] == "starter-baseline"


def test_own_questions_are_read_in_their_order(tmp_path: Path) -> None:
    rows = [question("b", turns=["One?", "Two?"]), {"id": "a", "turns": ["Three?"]}]
    own = suites.load(str(write_rows(tmp_path / "own.jsonl", rows)))
    assert own.name == f"own@{own.digest[:8]}"
    assert own.baseline is None
    assert [(one.id, one.category, one.turns) for one in own.questions] == [
        ("b", "c", ["One?", "Two?"]),
        ("a", "", ["Three?"]),
    ]


def test_own_questions_may_be_compressed(tmp_path: Path) -> None:
    plain = write_rows(tmp_path / "own.jsonl", [question()])
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert suites.load(str(packed)).digest == suites.load(str(plain)).digest
    assert suites.load(str(packed)).name == f"packed@{suites.load(str(plain)).digest[:8]}"


@pytest.mark.parametrize(
    "rows",
    [
        [question("other")],
        [question(category="other")],
        [question(turns=["Who?"])],
        [question(turns=["Why?", "Why?"])],
        [question(difficulty=3)],
        [question(reference=["Because."])],
        [question(), question("more")],
    ],
)
def test_the_digest_follows_the_questions(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    digest = suites.load(str(write_rows(tmp_path / "q.jsonl", [question()]))).digest
    note = [{"note": "not asked", **question()}]
    assert suites.load(str(write_rows(tmp_path / "q.jsonl", note))).digest == digest
    assert suites.load(str(write_rows(tmp_path / "q.jsonl", rows))).digest != digest


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(
        SettingError,
        match=r"suite startr: unknown, use one of starter, vicuna_80.*did you mean 'starter'",
    ):
        suites.load("startr")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no rows"),
        ('{"id": "q", "turns": ["a"]}\n' * 2, "same id"),
        ('{"turns": ["a"]}', "question 1: has no 'id'"),
        ('{"id": "", "turns": ["a"]}', "has no 'id'"),
        ('{"id": true, "turns": ["a"]}', "has no 'id'"),
        ('{"id": 7, "turns": ["a"]}\n{"id": "7", "turns": ["a"]}', "same id, '7'"),
        ('{"id": "q", "turns": ["a"], "difficulty": "hard"}', "'difficulty' must be"),
        ('{"id": "q", "turns": ["a"], "difficulty": -1}', "'difficulty' must be"),
        ('{"id": "q", "turns": ["a"], "reference": [1]}', "'reference' must be"),
        ('{"id": "p", "turns": ["a"]}\n{"id": "q"}', "question 2: 'turns' must be"),
        ('{"id": "q", "turns": 1}', "'turns' must be"),
        ('{"id": "q", "turns": []}', "'turns' must be"),
        ('{"id": "q", "turns": ["a", null]}', "'turns' must be"),
        ("[1]", "row 1 is no object"),
        ('{"id": "q", ', "not JSON"),
    ],
)
def test_broken_questions_are_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=says) as caught:
        suites.load(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_of_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.jsonl: cannot be read"):
        suites.load(str(tmp_path / "missing.jsonl"))


def test_two_versions_of_a_suite_have_two_names(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / f"own.v{n}.jsonl", [question(f"q{n}")]) for n in (1, 2)]
    names = [suites.load(str(path)).name for path in paths]
    assert [name.partition("@")[0] for name in names] == ["own.v1", "own.v2"]
    assert len(set(names)) == 2


def test_an_edited_suite_has_another_name(tmp_path: Path) -> None:
    names = [
        suites.load(str(write_rows(tmp_path / place / "own.jsonl", [question(turns=[text])]))).name
        for place, text in [("here", "Why?"), ("here", "Who?"), ("there", "Why?")]
    ]
    assert names[0] == names[2] != names[1]


def test_own_questions_do_not_pass_for_the_suite_that_ships(tmp_path: Path) -> None:
    own = suites.load(str(write_rows(tmp_path / "starter.jsonl", [question()])))
    assert own.name != "starter"


def test_own_questions_may_say_how_hard_they_are_and_what_the_answer_is(tmp_path: Path) -> None:
    row = {"id": 7, "turns": "2 + 2?", "difficulty": 1, "reference": ["4"], "category": " math "}
    (one,) = suites.load(str(write_rows(tmp_path / "own.jsonl", [row]))).questions
    assert one == suites.Question("7", "math", ["2 + 2?"], 1, ["4"])


def test_null_is_as_good_as_nothing(tmp_path: Path) -> None:
    row = {"id": "q", "turns": ["a"], "category": None, "difficulty": None, "reference": None}
    (one,) = suites.load(str(write_rows(tmp_path / "own.jsonl", [row]))).questions
    assert one == suites.Question("q", "", ["a"])


def test_a_question_with_odd_characters_stays_writable(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"id": "a\\udc00", "turns": ["\\ud83d<b>\\u0000{answer}"], "category": "\\udfff"}'
    )
    own = suites.load(str(path))
    assert own.questions[0].turns == ["\ufffd<b>\0{answer}"]
    out = tmp_path / "out.jsonl"
    suites.export(str(path), out)
    assert read_rows(out)[0]["turns"] == own.questions[0].turns


@pytest.fixture
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing published is here, and nothing may be fetched."""
    monkeypatch.setenv("ULTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("ULTRA_BENCHMARKS_DIR", raising=False)


@pytest.fixture
def shared(golden: Path, no_files: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published files, ChatGPT's answers to Vicuna's questions among them."""
    monkeypatch.setenv("ULTRA_BENCHMARKS_DIR", str(golden.parent / "benchmarks"))
    answers = upstream.cache() / "vicuna" / "answer_gpt35.jsonl"
    files.write_text(answers, (golden / "vicuna/answer/answer_gpt35.jsonl").read_text("utf-8"))
    return golden.parent


KNOWN = {
    "starter": (27, 9, 1, "starter-baseline"),
    "vicuna_80": (80, 9, 1, "gpt-3.5-turbo:20230327"),
    "alpaca_eval": (805, 5, 1, "text_davinci_003"),
    "alpaca_eval_2": (805, 5, 1, "gpt4_1106_preview"),
    "evol_instruct": (218, 29, 1, ""),
    "ultra_eval": (385, 10, 1, ""),
    "mt_bench": (80, 8, 2, ""),
}


def test_seven_suites_are_known() -> None:
    assert {name: of["n"] for name, of in suites.known().items()} == {
        name: n for name, (n, *_) in KNOWN.items()
    }


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_suite_is_what_was_published(shared: Path, name: str) -> None:
    suite = suites.load(name)
    n, categories, turns, baseline = KNOWN[name]
    assert suite.name == name
    assert len(suite.questions) == n
    assert len({one.category for one in suite.questions}) == categories
    assert {len(one.turns) for one in suite.questions} == {turns}
    if not baseline:
        with pytest.raises(SettingError, match=f"suite {name}: has no baseline of its own; set"):
            suites.baseline_answers(suite)
        return
    answers = suites.baseline_answers(suite)
    assert list(answers) == [one.id for one in suite.questions]
    assert {row["model"] for row in answers.values()} == {baseline}
    for one in suite.questions:
        assert answers[one.id].get("question", one.digest) == one.digest


def test_evol_instruct_is_as_hard_as_published(shared: Path) -> None:
    asked = suites.load("evol_instruct").questions
    table = shared / "benchmarks/evol_instruct/skill_difficulty_counts.csv"
    found = Counter((one.category, one.difficulty) for one in asked)
    for row in csv.DictReader(table.read_text("utf-8").splitlines()):
        if row["Skill"] in {one.category for one in asked}:
            counts = [found[row["Skill"], level] for level in range(1, 11)]
            assert counts == [int(row[str(level)]) for level in range(1, 11)]


def test_mt_bench_has_references_where_answers_can_be_checked(shared: Path) -> None:
    suite = suites.load("mt_bench")
    with_reference = [one for one in suite.questions if one.reference]
    assert Counter(one.category for one in with_reference) == dict.fromkeys(
        ["reasoning", "math", "coding"], 10
    )
    assert {len(one.reference) for one in with_reference} == {2}
    assert set(suite.temperatures) == {one.category for one in suite.questions}
    assert suite.temperatures["writing"] == suite.temperatures["roleplay"] == 0.7
    assert suite.temperatures["math"] == 0


def test_every_suite_has_a_protocol() -> None:
    for name, of in suites.known().items():
        assert (suites.HERE / "protocols" / f"{of['protocol']}.yaml").is_file(), name


def test_a_missing_file_of_a_suite_is_one_line(no_files: None) -> None:
    with pytest.raises(InputError, match=r"ultra_eval/ultra_eval\.json: is not here"):
        suites.load("ultra_eval")


def test_a_missing_baseline_is_only_missed_when_it_is_read(shared: Path) -> None:
    (upstream.cache() / "vicuna" / "answer_gpt35.jsonl").unlink()
    suite = suites.load("vicuna_80")
    with pytest.raises(InputError, match=r"vicuna/answer_gpt35\.jsonl: is not here"):
        suites.baseline_answers(suite)


def test_a_baseline_of_ones_own_may_be_in_a_published_form(tmp_path: Path) -> None:
    starter = suites.load("starter")
    own = [
        {"instruction": one.turns[0], "output": f"<i>{one.id}</i>", "generator": "mine"}
        for one in starter.questions[1:]
    ]
    path = write_rows(
        tmp_path / "b.jsonl", [*own, {"instruction": "?", "output": "", "generator": "mine"}]
    )
    chosen = suites.Suite("s", starter.questions, path, "")
    answers = suites.baseline_answers(chosen)
    assert list(answers) == [one.id for one in starter.questions[1:]]
    other = write_rows(tmp_path / "c.jsonl", [{"instruction": "?", "output": ""}])
    with pytest.raises(InputError, match="answers no question of this suite"):
        suites.baseline_answers(suites.Suite("s", starter.questions, other, ""))


def command(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.suites", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_list_says_what_is_here(no_files: None) -> None:
    listed = command()
    assert listed.returncode == 0, listed.stderr
    *table, places = listed.stdout.splitlines()
    assert str(upstream.cache()) in places
    rows = {line.split()[0]: line for line in table[2:]}
    assert list(rows) == list(KNOWN)
    assert rows["starter"].split()[-1] == "here"
    assert "CC-BY-NC-4.0" in rows["alpaca_eval"]
    assert rows["mt_bench"].endswith("2 of 2 to fetch")


def test_the_list_survives_a_file_that_is_another(no_files: None, tmp_path: Path) -> None:
    write_rows(tmp_path / "ultra_eval/ultra_eval.json", [{"class": "c", "data": "d"}])
    listed = command("--benchmarks-dir", tmp_path)
    assert "is not the published file" in listed.stdout
    assert listed.returncode == 0


def test_fetching_names_what_is_not_to_be_had(no_files: None) -> None:
    failed = command("--fetch", "mt_bench")
    assert failed.returncode == 2
    assert "3 of 3 files are not to be had: mt_bench/question.jsonl" in failed.stderr
    assert "did you mean 'mt_bench'" in command("--fetch", "mt_bnch").stderr


def test_fetching_all_takes_what_lies_in_ones_folder(shared: Path) -> None:
    names = [name for name in upstream.sources() if upstream.local(name)]
    absent = len(upstream.sources()) - len(names)
    fetched = command("--fetch", "all")
    assert len(fetched.stdout.splitlines()) == len(names) == 24
    assert f"{absent} of 26 files are not to be had: alpaca_eval/inst" in fetched.stderr


def test_the_questions_of_starter_are_read_by_the_search_for_contamination(tmp_path: Path) -> None:
    out = tmp_path / "questions.jsonl"
    done = command("--export", "starter", "--out", out)
    assert f"27 questions of starter: {out}" in done.stdout
    chat = [{"role": "user", "content": suites.load("starter").questions[0].turns[0]}]
    chats = write_rows(tmp_path / "chats.jsonl", [{"id": "c", "messages": chat}])
    account = tmp_path / "account.json"
    words = ["--questions", str(out), str(chats), "--out", str(account)]
    subprocess.run(
        [sys.executable, "-m", "datasets_scripts.contamination", *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    found = json.loads(account.read_text())
    assert found["questions"]["count"] == 27
    assert list(found["by_question"]) == ["starter/starter-01"]


def test_all_questions_are_read_by_the_search_for_contamination(
    shared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "questions.jsonl"
    assert command("--export", "all", "--out", out).returncode == 0
    read = Questions.load(out)
    assert Counter(one.suite for one in read.questions) == {
        name: n for name, (n, *_) in KNOWN.items()
    }
    asked = {one.id: one.turns for one in suites.load("mt_bench").questions}
    exported = {one.id: list(one.turns) for one in read.questions if one.suite == "mt_bench"}
    assert exported == asked


def test_an_export_that_lacks_a_file_writes_nothing(no_files: None, tmp_path: Path) -> None:
    out = tmp_path / "questions.jsonl"
    failed = command("--export", "all", "--out", out)
    assert failed.returncode == 2
    assert "vicuna/question.jsonl: is not here" in failed.stderr
    assert not out.exists()
