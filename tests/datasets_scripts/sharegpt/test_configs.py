"""Configurations of a release: all of them, or one alone."""

from pathlib import Path

import orjson
import pytest

from datasets_scripts.sharegpt.build import Settings, build
from tests.datasets_scripts.helpers import (
    Json,
    drops_of,
    reasons_of,
    row,
    rows_of,
)
from tests.datasets_scripts.sharegpt.raw import (
    Build,
    settings_for,
)
from ultra import release, schema
from ultra.errors import InputError, SettingError

MODELS = ["", "Model: GPT-4", "GPT-4", "Model: Default (GPT-3.5)"]
TEXTS = [
    "What is the tallest mountain that one can see from the harbour on a clear day?",
    "Welchen Berg kann man an einem klaren Tag vom Hafen aus sehen, und wie hoch ist er?",
]


def spoken(number: int) -> Json:
    """A conversation whose model and language follow from its number."""
    texts = (f"{TEXTS[number % 2]} {number}", TEXTS[number % 2], TEXTS[number % 2], "ok.")
    return row(f"id{number}", *texts, model=MODELS[number % 4])


SPOKEN = {"x.json": orjson.dumps([spoken(number) for number in range(12)])}
OF_CONFIG = {
    "all": [f"id{n}" for n in range(12)],
    "gpt4": [f"id{n}" for n in range(12) if n % 4 in (1, 2)],
    "en": [f"id{n}" for n in range(12) if n % 2 == 0],
}


@pytest.fixture(scope="module")
def spoken_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "x.json").write_bytes(SPOKEN["x.json"])
    return build(settings_for(folder / "x.json", folder / "out", languages=True))


@pytest.mark.parametrize("config", OF_CONFIG)
def test_all_configurations_are_in_one_release_and_load(config: str, spoken_release: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(spoken_release), config, split="train")
    assert sorted(loaded["id"]) == sorted(OF_CONFIG[config])
    assert loaded.features == schema.features("sharegpt")
    assert [one["id"] for one in rows_of(spoken_release, config)] == sorted(OF_CONFIG[config])


def test_each_configuration_has_its_figures(spoken_release: Path) -> None:
    manifest = release.verify(spoken_release)
    assert list(manifest["statistics"]) == list(OF_CONFIG)
    for config, ids in OF_CONFIG.items():
        assert manifest["statistics"][config]["conversations"] == len(ids)
        assert manifest["splits"][config]["train"]["rows"] == len(ids)
    spoken = {config: found["languages"] for config, found in manifest["statistics"].items()}
    assert spoken == {"all": {"de": 6, "en": 6}, "gpt4": {"de": 3, "en": 3}, "en": {"en": 6}}


def test_the_figures_of_a_configuration_are_those_of_its_rows(spoken_release: Path) -> None:
    for config, found in release.verify(spoken_release)["statistics"].items():
        turns = [turn for one in rows_of(spoken_release, config) for turn in one["messages"]]
        for role, of_role in found["roles"].items():
            texts = [turn["content"] for turn in turns if turn["role"] == role]
            assert of_role["turns"] == len(texts)
            assert of_role["characters"] == sum(map(len, texts))
            assert of_role["length"]["sum"] == sum(len(text.split()) for text in texts)
        assert found["turns"]["sum"] == len(turns)


def test_without_statistics_the_rows_are_the_same(build_from: Build, spoken_release: Path) -> None:
    made = build_from(SPOKEN, languages=True, statistics=False)
    manifest = release.verify(made)
    assert manifest["statistics"] == {"all": {}, "gpt4": {}, "en": {}}
    assert manifest["data_digest"] == release.verify(spoken_release)["data_digest"]
    assert "No statistics were taken" in (made / "README.md").read_text("utf-8")


def test_languages_that_were_not_looked_for_are_not_in_the_figures(build_from: Build) -> None:
    assert release.verify(build_from(SPOKEN))["statistics"]["all"]["languages"] == {}


@pytest.mark.parametrize("statistics", [True, False])
def test_a_tokenizer_that_is_none_is_an_error_before_anything_is_made(
    statistics: bool, build_from: Build, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nowhere: not a tokenizer"):
        build_from(SPOKEN, tokenizer=tmp_path / "nowhere", statistics=statistics)


def test_rows_have_the_language_that_was_found(spoken_release: Path) -> None:
    for one in rows_of(spoken_release):
        assert one["language"] == ("de" if int(one["id"][2:]) % 2 else "en")
        assert 0 < one["language_confidence"] <= 1


@pytest.mark.parametrize(("config", "reason"), [("gpt4", "other_model"), ("en", "other_language")])
def test_one_configuration_is_that_alone_and_reports_the_others(
    config: str, reason: str, build_from: Build, spoken_release: Path
) -> None:
    made = build_from(SPOKEN, config_name=config, languages=True)
    manifest = release.verify(made)
    assert list(manifest["splits"]) == list(manifest["statistics"]) == [config]
    assert rows_of(made, config) == rows_of(spoken_release, config)
    others = sorted(set(OF_CONFIG["all"]) - set(OF_CONFIG[config]))
    assert [(one["id"], one["reason"]) for one in drops_of(made)] == [(id, reason) for id in others]
    assert reasons_of(manifest) == {reason: len(others)}
    left = [step["in"] - sum(step["dropped"].values()) for step in manifest["steps"]]
    assert left == [*(step["in"] for step in manifest["steps"][1:]), len(OF_CONFIG[config])]


def test_the_one_configuration_all_drops_nothing(build_from: Build) -> None:
    made = build_from(SPOKEN, config_name="all")
    assert list(release.verify(made)["splits"]) == ["all"]
    assert drops_of(made) == []


def test_without_languages_there_is_no_configuration_of_one(build_from: Build) -> None:
    made = build_from(SPOKEN)
    assert list(release.verify(made)["splits"]) == ["all", "gpt4"]
    with pytest.raises(SettingError, match="languages: must be true"):
        Settings(config_name="en", languages=False)


def test_duplicates_give_way_before_a_configuration_is_chosen(build_from: Build) -> None:
    longer = row("a", "q", "r", "q", "r")
    made = build_from(
        {"x.json": orjson.dumps([row("b", "q", "r", model="GPT-4"), longer, spoken(1)])},
        config_name="gpt4",
    )
    assert {drop["id"]: drop["reason"] for drop in drops_of(made)} == {
        "a": "other_model",
        "b": "prefix",
    }
