"""The cards that ship: words for every name, read by the Hub's client, and loaded."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

import datasets_scripts
from datasets_scripts.sharegpt import build as sharegpt
from datasets_scripts.sharegpt.work import READ
from datasets_scripts.ultrachat import build as ultrachat
from datasets_scripts.ultrachat import detectors, rows
from datasets_scripts.ultrachat.openings import lists, sieve
from datasets_scripts.ultrachat.settings import Settings
from ultra import release, schema

HERE = Path(datasets_scripts.__file__).parent
CORPORA = ("sharegpt", "ultrachat")
COMMON = ("boilerplate", "contamination", "damage", "filters", "language", "personal_data")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("made")
    demo = {"user_model": "demo", "assistant_model": "demo"}
    return {
        "sharegpt": sharegpt.build(sharegpt.Settings(out=out, workers=1)),
        "ultrachat": ultrachat.build(Settings(out=out, **demo)),  # type: ignore[arg-type]
    }


def words(corpus: str) -> dict[str, dict[str, str]]:
    front = (HERE / corpus / "card.md").read_text("utf-8").split("---\n", 2)[1]
    found: dict[str, dict[str, str]] = yaml.safe_load(front)["words"]
    return found


def source(corpus: str) -> str:
    files = [*(HERE / corpus).glob("*.py"), *(HERE / f"{name}.py" for name in COMMON)]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_every_reason_of_sharegpt_has_words() -> None:
    text = source("sharegpt")
    named = set(re.findall(r'(?:Drop|Broken)\(\s*"(\w+)"', text))
    assert {"doubled_turn", "broken_json", "error_banner", "benchmark_overlap"} <= named
    named |= set(re.findall(r'unreadable\(source, "(\w+)"', text))
    named |= {"not_utf8", "empty_file", "no_next_data", "truncated", "near_duplicate", "prefix"}
    named |= {"same_id", "same_text", *sharegpt._OTHERS.values()}
    assert named == set(words("sharegpt")["reasons"])


def test_every_change_of_sharegpt_has_words() -> None:
    named = set(
        re.findall(r'"(\w+_(?:cut|merged|removed|renumbered|repaired))"', source("sharegpt"))
    )
    named |= set(re.findall(r'"(cut_at_\w+)"', source("sharegpt")))
    kinds = {"email", "phone", "card", "ip", "key"}
    assert "trailing_question_cut" in named
    assert named | kinds | {f"{kind} seen" for kind in kinds} == set(words("sharegpt")["changes"])


def test_every_step_has_words(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    everything = sharegpt.Settings(config_name="en", questions=questions)
    steps = [READ, *sharegpt.steps(everything), *sharegpt._steps_over_all(everything)]
    assert set(steps) == set(words("sharegpt")["steps"])
    assert set(words("ultrachat")["steps"]) == {rows.STEP}


CALLS = ("context_length", "content_filter", "refused", "no_answer", "not_a_completion")
"""Reasons of a ``CallError`` where no log probabilities are asked for."""


def test_every_reason_of_ultrachat_has_words() -> None:
    named = {f"user_{fault}" for fault in (*detectors.USER_FAULTS, *CALLS)}
    named |= {f"assistant_{fault}" for fault in (*detectors.ASSISTANT_FAULTS, *CALLS)}
    assert named == set(words("ultrachat")["reasons"])


def test_every_reason_of_an_opening_has_words() -> None:
    """Those of a list are named in the documentation of its module."""
    kinds = set(re.findall(r"``(\w+)``", (lists.__doc__ or "").partition("rejected for")[2]))
    assert "cut_off" in kinds
    kinds |= set(sieve._STEP_OF) | {f"text_{one}" for one in sieve._STEP_OF} | {"text_short"}
    assert kinds | {f"call_{one}" for one in CALLS} == set(words("ultrachat")["openings"])


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_front_matter_is_the_hub_s(corpus: str, made: dict[str, Path]) -> None:
    data: dict[str, Any] = DatasetCard.load(made[corpus] / "README.md").data.to_dict()
    assert "words" not in data
    assert data["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", data["license_name"])
    assert data["task_categories"] == ["text-generation"]
    assert "en" in data["language"]
    assert all(re.fullmatch("[a-z]{2,3}", code) for code in data["language"])
    manifest = release.verify(made[corpus])
    assert {one["description"] for one in data["configs"]} == {f"sha256:{manifest['data_digest']}"}
    assert {one["version"] for one in data["configs"]} == {manifest["version"]}


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_card_loads(corpus: str, made: dict[str, Path], tmp_path: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(made[corpus]), "all", cache_dir=str(tmp_path))
    sizes = release.read_manifest(made[corpus])["splits"]["all"]
    assert {name: len(split) for name, split in loaded.items()} == {
        name: size["rows"] for name, size in sizes.items()
    }
    assert all(split.features == schema.features(corpus) for split in loaded.values())


@pytest.mark.parametrize("corpus", CORPORA)
def test_no_slot_is_left_and_every_section_says_something(
    corpus: str, made: dict[str, Path]
) -> None:
    body = DatasetCard.load(made[corpus] / "README.md").text
    prose = re.sub(r"```.*?```", "code", body, flags=re.DOTALL)
    assert not re.search(r"\{\w+\}", prose)
    sections = re.split(r"^## (.+)$", prose, flags=re.MULTILINE)[1:]
    assert all(len(text.strip()) > 3 for text in sections[1::2])
    assert {"Limits", "Licence and privacy", "How to load it", "How to cite it"} <= set(sections)


def test_dialogues_have_figures_and_a_language(made: dict[str, Path]) -> None:
    manifest = release.verify(made["ultrachat"])
    found = manifest["statistics"]["all"]
    assert found["conversations"] == manifest["splits"]["all"]["train"]["rows"]
    assert found["languages"]["en"] > 0
    assert found["roles"]["assistant"]["mtld"]["mean"] > 0
