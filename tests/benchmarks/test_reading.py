"""From completions to judgments: AlpacaEval 2's published ones come out as published."""

import gzip
from pathlib import Path

import orjson
import pytest

from benchmarks import cases, protocol, reading
from benchmarks.questions import Question
from ultra.chat import Completion


@pytest.mark.parametrize("model", ["vicuna-13b", "NullModel"])
def test_published_probabilities_give_the_published_preferences(golden: Path, model: str) -> None:
    file = golden / f"alpaca_eval/weighted_alpaca_eval_gpt4_turbo/{model}.json.gz"
    rows = orjson.loads(gzip.decompress(file.read_bytes()))
    chosen = protocol.load("alpaca_eval_2", folder=golden.parent / "benchmarks")
    asked = [Question(f"q{n}", "", [row["instruction"]]) for n, row in enumerate(rows)]
    mine = {f"q{n}": {"turns": [row["output_2"]]} for n, row in enumerate(rows)}
    base = {f"q{n}": {"turns": [row["output_1"]]} for n, row in enumerate(rows)}
    judged = cases.cases(asked, mine, base, chosen)
    assert len(judged) == len(rows) == 805
    for case, row in zip(judged, rows, strict=True):
        if cases.equal(case):
            assert row["preference"] in (0, 1.5)
            continue
        content = row["raw_completion"]["logprobs"]["content"]
        tokens = [
            {one["token"]: one["logprob"] for one in each["top_logprobs"]} for each in content
        ]
        said = Completion(row["raw_completion"]["text"], "length", "gpt-4", logprobs=tokens)
        found = reading.read(said, case, chosen)
        assert found.preference == pytest.approx(row["preference"], abs=1e-9)  # 10 digits
        expected = "model" if row["preference"] > 1.5 else "baseline"
        assert found.verdict == ("tie" if row["preference"] == 1.5 else expected)
