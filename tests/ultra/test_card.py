from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

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
    assert "# Talks 1.2.0" in text
    assert "| `all` | train | 1,200 |" in text
    assert "| roles | 1,500 | 1,200 | 300 |" in text
    assert "| 200 | roles: `empty` |" in text
    assert "- assistant: `m1`" in text
    assert "load all" in text


# The body


def cells(markdown: str) -> list[list[list[str]]]:
    """The tables of a text as a Markdown engine sees them: their rows of cells."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).disable("linkify").parse(markdown):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and token.level > 3:
            inside = token.children or []
            tables[-1][-1].append("".join(child.content for child in inside))
    return tables


def made(slot: str, **changes: Any) -> str:
    """What a slot is filled with."""
    text = card.render(
        manifest(**changes), Prompt("card.md", f"---\nlicense: mit\n---\n{{{slot}}}")
    )
    return text.split("---\n", 2)[2]


def test_steps_are_told_in_words_with_what_they_dropped_and_changed() -> None:
    words = {
        "steps": {"roles": "names the sides."},
        "reasons": {"empty": "nothing is said"},
        "changes": {"cut": "a part is gone"},
    }
    front = yaml.safe_dump({"license": "mit", "words": words})
    steps = [
        {"step": "read", "in": 1500, "dropped": {}},
        {"step": "roles", "in": 1500, "dropped": {"empty": 1200}, "changed": {"cut": 3, "odd": 1}},
    ]
    text = card.render(manifest(steps=steps), Prompt("card.md", f"---\n{front}---\n{{steps}}"))
    assert "words" not in front_matter(text)
    assert "1. **roles**: names the sides.\n" in text
    assert cells(text.split("---\n", 2)[2]) == [
        [
            ["step", "in", "kept", "dropped"],
            ["read", "1,500", "1,500", "0"],
            ["roles", "1,500", "300", "1,200"],
        ],
        [["dropped", "what"], ["1,200", "roles: nothing is said empty"]],
        [["changed", "what"], ["3", "roles: a part is gone cut"], ["1", "roles: odd"]],
    ]


def spread(total: int) -> dict[str, int]:
    return {"sum": total, "min": 1, "5%": 2, "25%": 3, "50%": 4, "75%": 5, "95%": 6, "max": 7}


def figures(conversations: int, **changes: Any) -> dict[str, Any]:
    user = {"turns": 2000, "characters": 90_000, "length": spread(8000)}
    return {
        "conversations": conversations,
        "turns": spread(4000),
        "unit": "words",
        "roles": {"user": {**user, "mtld": {"mean": 71.5, "utterances": 9}}, "assistant": user},
        "sampled": min(conversations, 500),
        "mtld_words": 50,
        "languages": {},
        **changes,
    }


def test_statistics_are_a_column_for_each_configuration_and_lengths_of_the_default() -> None:
    sizes = {"train": {"rows": 1, "bytes": 2}}
    text = made(
        "statistics",
        splits={"all": sizes, "en": sizes},
        statistics={"all": figures(1200), "en": figures(20, roles={}), "gpt4": {}},
    )
    totals, means, said, lengths = cells(text)
    assert totals == [
        ["configuration", "conversations", "turns"],
        ["all", "1,200", "4,000"],
        ["en", "20", "4,000"],
    ]
    assert means == [
        ["mean of", "turns", "words in all", "words a turn"],
        ["all", "3.3", "13.3", "4.0"],
        ["en", "200.0", "0.0", "0.0"],
    ]
    none = "\N{EN DASH}"
    assert said[0] == ["", "user", "assistant"]
    assert said[1:5] == [
        ["turns in all", "2,000", "2,000"],
        ["turns in en", none, none],
        ["words in all", "8,000", "8,000"],
        ["words in en", none, none],
    ]
    assert said[7:] == [["MTLD in all", "71.5", none], ["MTLD in en", none, none]]
    assert lengths == [
        ["", "5%", "median", "95%", "max"],
        ["turns in a conversation", "2", "4", "6", "7"],
        ["user: words in a turn", "2", "4", "6", "7"],
        ["assistant: words in a turn", "2", "4", "6", "7"],
    ]
    assert "500 of the 1,200 conversations, chosen by hash" in text
    assert "between blanks" in text


def test_all_conversations_are_no_choice() -> None:
    text = made("statistics", statistics={"all": figures(20)})
    assert "all 20 conversations." in text
    assert "hash" not in text


def test_tokens_name_their_tokenizer() -> None:
    text = made(
        "statistics",
        statistics={"all": figures(20, unit="tokens")},
        configuration={"tokenizer": {"name": "let|ters", "sha256": "0123456789abcdefXYZ"}},
    )
    assert "user: tokens in a turn" in text
    assert "`0123456789abcdef…`" in text
    assert "between blanks" not in text


@pytest.mark.parametrize("changes", [{}, {"statistics": {"all": {}}}])
def test_figures_that_were_not_taken_are_said_to_be_missing(changes: dict[str, Any]) -> None:
    assert "No statistics were taken" in made("statistics", **changes)
    assert "not identified" in made("languages", **changes)
    assert "**not checked**" in made("contamination", **changes)
    assert "language" not in front_matter(card.render(manifest(**changes), TEMPLATE))


def test_the_most_spoken_languages_are_shown() -> None:
    codes = {f"x{n}": 50 - n for n in range(12)} | {"": 1}
    text = made("languages", statistics={"all": figures(600, languages=codes)})
    (table,) = cells(text)
    assert len(table) == 11
    assert table[1] == ["x0", "50"]
    assert "3 more" in text
    (short,) = cells(made("languages", statistics={"all": figures(9, languages={"": 9})}))
    assert short[1] == ["not told", "9"]


def test_contamination_is_told_by_suite() -> None:
    found = {
        "summary": "checked against 80 questions (mt_bench.jsonl): found 2",
        "by_suite": {"mt|bench": {"questions": 80, "found": {"8": 2, "13": 1}}},
    }
    text = made("contamination", contamination=found)
    (table,) = cells(text)
    assert table[1] == ["mt|bench", "80", "2", "1"]
    shown = MarkdownIt().render(text)
    assert "Checked against 80 questions (mt_bench.jsonl): found 2." in shown
    assert "not checked" not in text


def test_models_stand_with_their_sampling_and_the_digests_of_their_prompts() -> None:
    text = made(
        "models",
        models={"user": "a|b`c", "assistant": "org/model"},
        sampling={"user": {"max_tokens": 1024}, "assistant": {"max_tokens": 2048, "top_p": 0.5}},
        prompts={"user.md": "0123456789abcdef0123"},
        usage={"calls": 1234, "prompt_tokens": 5},
    )
    assert text.splitlines()[:3] == [
        "- user: `` a|b`c ``, max tokens 1024",
        "- assistant: `org/model`, max tokens 2048, top p 0.5",
        "- prompt `user.md`, sha256 `0123456789abcdef…`",
    ]
    assert "1,234 calls, 5 prompt tokens" in text


@given(st.text(min_size=1))
@example("``` `|\\|\n# x <b> &amp;")
def test_any_name_stays_in_its_cell(name: str) -> None:
    suites = {name: {"questions": 80, "found": {"8": 2, "13": 1}}}
    (table,) = cells(card._contamination({"contamination": {"summary": "", "by_suite": suites}}))
    assert table[1][1:] == ["80", "2", "1"]


@given(st.text(min_size=1))
@example("``` `|\\|\n# x <b> &amp;")
def test_any_name_stays_in_its_line(name: str) -> None:
    shown = MarkdownIt().render(card._models({"models": {"user": name, "assistant": "m"}}))
    assert shown.count("<li>") == shown.count("<code>") == 2
    assert shown.count("<") == 2 * 5  # <ul>, and <li> and <code> of each


def test_the_card_shows_how_to_load_and_cite_just_this_version() -> None:
    code = made("load")
    assert 'revision="v1.2.0"' in code
    assert "snapshot_download(" in code  # load_dataset(repository, revision=) is wrong offline
    compile(code.split("```")[1].removeprefix("python"), "card", "exec")
    cited = made("citation")
    assert "version = {1.2.0}" in cited
    assert "abc}" in cited


# The front matter


def test_languages_of_one_in_a_hundred_are_declared() -> None:
    codes = {"no": 70, "en": 20, "": 8, "de": 2, "fr": 1}
    text = card.render(manifest(statistics={"all": figures(200, languages=codes)}), TEMPLATE)
    assert front_matter(text)["language"] == ["no", "en", "de"]
    assert "- 'no'" in text  # without quotes YAML reads it as false


def test_the_hub_s_client_reads_the_front_matter() -> None:
    text = card.render(
        manifest(statistics={"all": figures(20, languages={"en": 20})}),
        Prompt("card.md", "---\nlicense: other\nlicense_name: x\npretty_name: P\n---\n# T"),
    )
    read = DatasetCard(text)
    data = yaml.safe_load(read.data.to_yaml())
    assert (data["license"], data["pretty_name"]) == ("other", "P")
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["1K<n<10K"]
    assert {one["config_name"] for one in data["configs"]} == {"all"}
    assert read.text.strip() == "# T"
    assert yaml.safe_load(read.data.to_yaml()) == front_matter(text)


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
