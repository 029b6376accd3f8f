"""Real conversations: what a person typed stays, what a model wrote comes back."""

import json
from pathlib import Path

from datasets_scripts.sharegpt import convert
from datasets_scripts.sharegpt.markdown import to_markdown
from datasets_scripts.sharegpt.round_trip import compare
from datasets_scripts.sharegpt.turns import human_text


def test_published_cases_come_back(golden: Path) -> None:
    lines = (golden / "sharegpt" / "html_md_cases.jsonl").read_bytes().splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) >= 25
    for case in cases:
        for markdown in (to_markdown(case["html"]), case["expected"]):
            result = compare(case["html"], markdown)
            assert (result.difference, result.codes) == ("", result.exact), case["name"]


def test_real_answers_come_back(golden: Path) -> None:
    found = list(convert.answers(golden / "sharegpt"))
    sources = {source.partition("/")[0] for source, _, _ in found}
    assert sources == {"raw", "messages", "messages_sanitized", "pages"}
    assert len(found) >= 31
    for source, item, page in found:
        result = compare(page, to_markdown(page))
        assert (result.difference, result.text, result.structure) == ("", True, True), source
        assert result.exact == result.codes, (source, item)


def test_what_people_typed_stays_but_for_the_counters_of_the_page(golden: Path) -> None:
    texts = json.loads((golden / "sharegpt" / "human_first_messages.json").read_bytes())
    counters = ("2 / 2", "6 / 6")
    assert len(texts) == 50
    assert sum(text.startswith(counters) for text in texts) == 6
    for text in texts:
        typed = text[len("2 / 2") :] if text.startswith(counters) else text
        assert human_text(text, "raw") == typed
