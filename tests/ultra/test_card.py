from typing import Any

import pytest
import yaml

from ultra import card, schema
from ultra.errors import InputError, SettingError
from ultra.prompts import Prompt

TEMPLATE = Prompt(
    "card.md",
    "---\npretty_name: Gespräche\nlicense: mit\n---\n# Talks {version}\n{demo_note}{splits}\n"
    "{steps}\n{models}\nload {default_config}",
)


def manifest(**changes: Any) -> dict[str, Any]:
    sizes = {"rows": 1200, "bytes": 34}
    return {
        "corpus": "ultrachat",
        "version": "1.2.0",
        "data_digest": "abc",
        "steps": [{"step": "roles", "in": 1500, "dropped": {"empty": 200, "order": 100}}],
        "splits": {"all": {"train": sizes, "test": {"rows": 7, "bytes": 8}}},
        **changes,
    }


def front_matter(text: str) -> dict[str, Any]:
    start, front, _ = text.split("---\n", 2)
    assert start == ""
    parsed: dict[str, Any] = yaml.safe_load(front)
    return parsed


def test_the_front_matter_declares_files_features_and_sizes() -> None:
    front = front_matter(card.render(manifest(), TEMPLATE))
    assert front["pretty_name"] == "Gespräche"
    assert front["size_categories"] == ["1K<n<10K"]
    config = front["configs"][0]
    assert config["config_name"] == "all"
    assert config["default"] is True
    assert config["version"] == "1.2.0"
    assert config["data_files"] == [
        {"split": "train", "path": "data/all/train-*.jsonl"},
        {"split": "test", "path": "data/all/test-*.jsonl"},
    ]
    info = front["dataset_info"][0]
    assert info["features"] == schema.columns("ultrachat")
    assert [split["num_examples"] for split in info["splits"]] == [1200, 7]


def test_the_body_shows_the_figures() -> None:
    text = card.render(manifest(models={"assistant": "m1"}), TEMPLATE)
    body = text.split("---\n", 2)[2]
    assert "# Talks 1.2.0" in body
    assert "| all | train | 1,200 |" in body
    assert "| roles | 1,500 | 1,200 | 300 | empty 200, order 100 |" in body
    assert "- assistant: `m1`" in body
    assert "load all" in body


def test_demo_data_says_so_and_real_data_does_not() -> None:
    demo = card.render(manifest(demo=True), TEMPLATE)
    assert "Demo data" in demo
    assert front_matter(demo)["tags"] == ["demo"]
    assert "demo" not in card.render(manifest(), TEMPLATE).lower()


def test_demo_data_keeps_the_tags_of_its_corpus() -> None:
    template = Prompt("card.md", "---\ntags:\n- synthetic\n---\n# Talks")
    front = front_matter(card.render(manifest(demo=True), template))
    assert front["tags"] == ["synthetic", "demo"]


def test_other_rows_give_another_description() -> None:
    one, two = (
        front_matter(card.render(manifest(data_digest=digest), TEMPLATE))["configs"][0]
        for digest in ("a", "b")
    )
    assert one["description"] != two["description"]


def test_the_default_is_all_or_the_first() -> None:
    sizes = {"train": {"rows": 1, "bytes": 2}}
    assert card.default_config(manifest(splits={"a": sizes, "all": sizes})) == "all"
    assert card.default_config(manifest(splits={"b": sizes, "c": sizes})) == "b"


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (1_500_000, "1M<n<10M"),
        (999_999_999, "100M<n<1B"),
    ],
)
def test_size_categories_are_those_of_the_hub(rows: int, category: str) -> None:
    splits = {"all": {"train": {"rows": rows, "bytes": 1}}}
    front = front_matter(card.render(manifest(splits=splits), TEMPLATE))
    assert front["size_categories"] == [category]


@pytest.mark.parametrize("text", ["# No front matter", "x\n---\na: 1\n---\nbody", "---\na: 1\n"])
def test_a_template_without_front_matter_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"card\.md"):
        card.render(manifest(), Prompt("card.md", text))


def test_a_slot_that_nothing_fills_is_named() -> None:
    with pytest.raises(SettingError, match="weather"):
        card.render(manifest(), Prompt("card.md", "---\na: 1\n---\n{weather}"))
