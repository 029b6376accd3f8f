"""A page a result: all that was said is in it, and nothing that was said does anything."""

import re
import shutil
import subprocess
from html import unescape
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks import judgments, leaderboard, questions, report, results, suites
from benchmarks.report import Settings
from tests.benchmarks.fakes import PROTOCOL, RECORD, judgment, write_judgments, write_rows
from tests.benchmarks.hostile import ANSWERS
from tests.servers.loopback import LoopbackServer
from ultra import jsonl
from ultra.errors import InputError

ORDERS = ("model_first", "baseline_first")


def judged(out: Path, suite: Path, rows: list[dict[str, Any]], turns: list[str]) -> Path:
    """Judgments and answers of ``mine``, and the answers of ``base`` as they were kept."""
    known = suites.load(str(suite))
    folder = out / known.name / "mine"
    for model, place in (
        ("mine", folder / results.ANSWERS),
        ("base", results.compared(folder, RECORD["baseline_digest"])),
    ):
        answers = [
            {"id": question.id, "model": model, "turns": [f"{model}: {turn}" for turn in turns]}
            for question in known.questions
        ]
        write_rows(place, answers)
    rows = [{**row, "suite": known.name, "suite_digest": known.digest} for row in rows]
    return write_judgments(folder, rows)


def mark(order: str, verdict: str) -> str:
    return "[[A]]" if (verdict == "model") == (order == "model_first") else "[[B]]"


@pytest.fixture
def path(tmp_path: Path, suite: Path) -> Path:
    rows = [
        judgment(
            id=id,
            category=category,
            order=order,
            verdict=verdict,
            text=f"For **{verdict}**\n\n{mark(order, verdict)}",
        )
        for id, category, verdicts in (
            ("q1", "tea", ("model", "baseline")),
            ("q2", "tea", ("model", "model")),
            ("q3", "cake", ("baseline", "baseline")),
        )
        for order, verdict in zip(ORDERS, verdicts, strict=True)
    ]
    rows[5] |= {"verdict": "unscored", "reason": "no_verdict", "text": "Hm."}
    return judged(tmp_path / "out", suite, rows, ["**yes** & no"])


def data_in(page: Path) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return orjson.loads(found[1])


def test_every_question_is_there_with_both_answers_and_all_replies(path: Path, suite: Path) -> None:
    (page,) = report.report(Settings([path], suite=str(suite)))
    assert page.name == f"report-judge-{PROTOCOL}.html"
    data = data_in(page)
    assert [one["id"] for one in data["questions"]] == ["q1", "q2", "q3"]
    first, second, third = data["questions"]
    assert second["asked"] == ["How long?", "And for green tea?"]
    assert first["model"] == ["<p>mine: <strong>yes</strong> &amp; no</p>\n"]
    assert first["baseline"][0].startswith("<p>base: ")
    assert [one["label"] for one in first["judgments"]] == ["mine shown first", "base shown first"]
    assert first["judgments"][0]["words"] == "<p>For <strong>model</strong></p>\n<p>[[A]]</p>\n"
    assert (first["verdict"], first["flipped"], first["result"]) == ("tie", True, "tie")
    assert (second["verdict"], second["flipped"], second["result"]) == ("model", False, "won")
    assert (third["verdict"], third["judgments"][1]["reading"]) == (
        "unscored",
        "unscored: no verdict",
    )
    assert data["parts"] == ["tea", "cake"]
    text = page.read_text(encoding="utf-8")
    assert text.count('class="bar"') == 2
    assert "<b>75.0</b>" in text


def test_a_page_needs_nothing_that_was_elsewhere_when_it_was_judged(
    path: Path, suite: Path
) -> None:
    questions.write(results.asked(path.parent), suites.load(str(suite)).questions)
    suite.unlink()
    (page,) = report.report(Settings([path]))
    assert data_in(page)["questions"][0]["asked"] == ["How hot?"]
    judgments.protocol_path(path).unlink()
    with pytest.raises(InputError, match=r"protocol-.*\.json: is not there"):
        report.report(Settings([path]))


def test_grades_and_scores_are_shown_as_the_figure_counts_them(tmp_path: Path, suite: Path) -> None:
    grade = {"kind": "grade", "baseline": "", "order": "", "verdict": "graded"}
    rows = [judgment(**grade, id="q2", turn=turn, scores=[turn * 4.0]) for turn in (1, 2)]
    (page,) = report.report(Settings([judged(tmp_path, suite, rows, ["a"])], suite=str(suite)))
    (question,) = data_in(page)["questions"]
    assert (question["verdict"], question["result"], question["baseline"]) == ("graded", "6.0", [])
    assert [one["reading"] for one in question["judgments"]] == ["4 of 10", "8 of 10"]
    pair = {"kind": "pair_scores", "protocol_name": "vicuna", "id": "q1"}
    rows = [
        judgment(**pair, order=order, verdict=verdict, scores=scores)
        for order, verdict, scores in zip(
            ORDERS, ("model", "baseline"), ([9.0, 5.0], [7.0, 8.0]), strict=True
        )
    ]
    (page,) = report.report(Settings([judged(tmp_path, suite, rows, ["a"])], suite=str(suite)))
    (question,) = data_in(page)["questions"]
    assert (question["result"], question["flipped"]) == ("won", True)
    assert question["judgments"][0]["reading"] == "mine won, 9 to 5"


def test_any_order_of_rows_gives_the_same_page_but_for_the_digest(path: Path, suite: Path) -> None:
    made = []
    for _ in range(2):
        (page,) = report.report(Settings([path], suite=str(suite)))
        made.append(re.sub("[0-9a-f]{64}", "", page.read_text(encoding="utf-8")))
        rows = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(rows[::-1]))
    assert made[0] == made[1]


def test_other_questions_than_those_judged_are_refused(path: Path, suite: Path) -> None:
    write_rows(suite, [{"id": "q1", "turns": ["Another?"]}])
    with pytest.raises(InputError, match="was judged on other questions"):
        report.report(Settings([path], suite=str(suite)))


def test_answers_that_are_gone_are_named(path: Path, suite: Path) -> None:
    (path.parent / "answers.jsonl").unlink()
    with pytest.raises(InputError, match=r"mine/answers\.jsonl: no answers there"):
        report.report(Settings([path], suite=str(suite)))


def test_a_page_of_805_questions_stays_small(tmp_path: Path) -> None:
    suite = write_rows(
        tmp_path / "many.jsonl", [{"id": str(n), "turns": ["Why? " * 40]} for n in range(805)]
    )
    rows = [
        judgment(id=str(n), order=order, text="Because. " * 50)
        for n in range(805)
        for order in ORDERS
    ]
    path = judged(tmp_path, suite, rows, ["word **bold** text " * 120])  # 2,280 characters
    (page,) = report.report(Settings([path], suite=str(suite)))
    assert page.stat().st_size < 15e6


def test_a_table_links_the_pages_of_its_rows(path: Path, suite: Path) -> None:
    report.report(Settings([path], suite=str(suite)))
    out = path.parents[2]
    leaderboard.leaderboard(leaderboard.Settings([out], out))
    text = (out / "leaderboard.html").read_text(encoding="utf-8")
    (link,) = re.findall(r'<a href="([^"]+)">mine</a>', text)
    assert link.endswith(f"/mine/report-judge-{PROTOCOL}.html")
    leaderboard.leaderboard(leaderboard.Settings([out], out, verify=True))


# In a browser

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


class Listener(BaseHTTPRequestHandler):
    """Answers anything with a script that would show, and writes down that it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"document.title = 'owned'")

    def log_message(self, *_: Any) -> None:
        pass


def opened(page: Path) -> str:
    """The document after the page's scripts have run."""
    if not CHROMIUM:
        pytest.skip("no Chromium is here to open the page in")
    profile = page.parent / "profile"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    flags += ["--disable-background-networking", "--no-first-run", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", page.as_uri()], capture_output=True, timeout=120
    )
    return done.stdout.decode("utf-8")


@pytest.fixture
def listening() -> Any:
    asked: list[str] = []
    handler = type("Handler", (Listener,), {"asked": asked})
    with LoopbackServer(handler) as server:
        yield server.server_address[1], asked


def test_hostile_words_do_nothing_in_a_browser(
    tmp_path: Path, suite: Path, listening: tuple[int, list[str]]
) -> None:
    port, asked = listening
    texts = [text.replace("127.0.0.1:9/", f"127.0.0.1:{port}/") for text in ANSWERS.values()]
    texts = [jsonl.scrub(text[:50_000]) for text in texts]  # as answers and replies are written
    write_rows(suite, [{"id": "q1", "category": texts[0], "turns": texts}])
    rows = [
        judgment(id="q1", category=texts[0], order=order, sample=at, text=text)
        for order in ORDERS
        for at, text in enumerate(texts)
    ]
    (page,) = report.report(Settings([judged(tmp_path, suite, rows, texts)], suite=str(suite)))
    document = opened(page)
    assert "1 of 1 questions" in document  # so the page's own script has run
    assert document.count('class="words"') == 4 * len(texts) - empty(texts) * 2
    body = document.partition("<body")[2].partition('<script type="application/json"')[0]
    assert not re.search(r"<(?:script|img|iframe|style|form|object|embed|link|meta|base)\b", body)
    assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', body))
    title = re.search("<title>(.*?)</title>", document)
    assert title is not None
    assert unescape(title[1]).startswith("mine on ")
    assert asked == []


def empty(texts: list[str]) -> int:
    """Replies without a word, of which the page says so instead of showing them."""
    return sum(not text.strip() for text in texts)


def test_hostile_names_do_nothing_in_a_table(
    tmp_path: Path, listening: tuple[int, list[str]]
) -> None:
    port, asked = listening
    names = [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        f"<img src=http://127.0.0.1:{port}/p.png>",
        "\" onmouseover=\"document.title='owned'",
        "</td></table><script>document.title='owned'</script>",
    ]
    for at, name in enumerate(names):
        write_judgments(tmp_path / str(at), [judgment(model=name, judge=name, baseline=name)])
    leaderboard.leaderboard(leaderboard.Settings([tmp_path], tmp_path))
    document = opened(tmp_path / "leaderboard.html")
    assert "<title>Leaderboard</title>" in document
    assert document.count('<table class="board">') == len(names)
    assert asked == []
