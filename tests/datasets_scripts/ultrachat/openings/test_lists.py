"""Lists out of what models reply: thirty ways to spoil a plain list, and why a line is no item."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datasets_scripts.ultrachat.openings import lists
from datasets_scripts.ultrachat.openings.lists import Item, Kind, parse, parse_message
from ultra.chat import Completion

CATS, DOGS, OWLS = "Why do cats purr?", "How do dogs dream?", "Where do owls sleep by day?"
ALL = [CATS, DOGS, OWLS]

UGLY = {
    "plain": f"1. {CATS}\n2. {DOGS}\n3. {OWLS}",
    "introduced": f"Sure! Here are 3 questions:\n\n1. {CATS}\n2. {DOGS}\n3. {OWLS}\n\nLet me know!",
    "parentheses": f"1) {CATS}\n2) {DOGS}\n3) {OWLS}",
    "wrapped numbers": f"(1) {CATS}\n(2) {DOGS}\n(3) {OWLS}",
    "brackets": f"[1] {CATS}\n[2] {DOGS}\n[3] {OWLS}",
    "no blank": f"1.{CATS}\n2.{DOGS}\n3.{OWLS}",
    "dashes after numbers": f"1 - {CATS}\n2 - {DOGS}\n3 \u2013 {OWLS}",
    "counted": f"1/3. {CATS}\n2/3. {DOGS}\n3/3. {OWLS}",
    "circled": f"① {CATS}\n② {DOGS}\n③ {OWLS}",
    "letters": f"a) {CATS}\nb) {DOGS}\nc) {OWLS}",
    "hyphens": f"- {CATS}\n- {DOGS}\n- {OWLS}",
    "stars": f"* {CATS}\n* {DOGS}\n* {OWLS}",
    "dots": f"•{CATS}\n• {DOGS}\n  • {OWLS}".replace("  •", "•"),
    "no marks": f"{CATS}\n{DOGS}\n{OWLS}",
    "no marks, chatter": f"Here are some questions:\n{CATS}\n\n{DOGS}\n\n{OWLS}\nI hope they help.",
    "one line": f"1. {CATS} 2. {DOGS} 3. {OWLS}",
    "bold": f"**1. {CATS}**\n\n**2. {DOGS}**\n\n**3. {OWLS}**",
    "bold numbers": f"**1.** {CATS}\n**2.** {DOGS}\n**3.** {OWLS}",
    "italic": f"1. *{CATS}*\n2. _{DOGS}_\n3. *{OWLS}*",
    "labels": f"1. **Sound**: {CATS}\n2. **Sleep:** {DOGS}\n3. **Rest** - {OWLS}",
    "quotes": f'1. "{CATS}"\n2. “{DOGS}”\n3. «{OWLS}»',
    "headings": f"## Cats\n1. {CATS}\n\n## Others\n2. {DOGS}\n3. {OWLS}",
    "nested": f"1. **Cats**\n   - {CATS}\n2. **Others**\n   - {DOGS}\n   - {OWLS}",
    "nested, not indented": f"1. Cats:\n- {CATS}\n2. Others:\n- {DOGS}\n- {OWLS}",
    "remarks below": f"1. {CATS}\n   - It asks about sound.\n2. {DOGS}\n   - Sleep.\n3. {OWLS}",
    "wrapped lines": f"1. Why do\n   cats purr?\n2. {DOGS}\n3. Where do owls\n   sleep by day?",
    "table": f"| # | Question |\n|---|:--|\n| 1 | {CATS} |\n| 2 | {DOGS} |\n| 3 | {OWLS} |",
    "quoted lines": f"> 1. {CATS}\n> 2. {DOGS}\n> 3. {OWLS}",
    "tags": f"<ol><li>{CATS}</li><li>{DOGS}</li><li>{OWLS}</li></ol>",
    "own tags": f"<item>{CATS}</item>\n<item>{DOGS}</item>\n<item>{OWLS}</item>",
    "speakers": f"Q1: {CATS}\nQ2: {DOGS}\nQ3: {OWLS}",
    "users": f"1. User: {CATS}\n2. User: {DOGS}\n3. Question: {OWLS}",
    "manners": f"1. (short) {CATS}\n2. (playful) {DOGS}\n3. (formal tone) {OWLS}",
    "answered": f"1. {CATS}\nA: They like it.\n2. {DOGS}\nA: At night.\n3. {OWLS}",
    "fenced": f"```\n1. {CATS}\n2. {DOGS}\n3. {OWLS}\n```",
    "rules": f"1. {CATS}\n---\n2. {DOGS}\n***\n3. {OWLS}",
    "windows": f"1. {CATS}\r\n2. {DOGS}\r\n3. {OWLS}\r\n",
    "control characters": f"1. {CATS}\x00\n2. \x1b{DOGS}\n3. {OWLS}\x07",
    "json": f'["{CATS}", "{DOGS}", "{OWLS}"]',
    "fenced json": f'Here:\n```json\n[\n  "{CATS}",\n  "{DOGS}",\n  "{OWLS}"\n]\n```\nEnjoy!',
    "json object": f'{{"questions": ["{CATS}", "{DOGS}", "{OWLS}"]}}',
    "json objects": f'[{{"id": 1, "text": "{CATS}"}}, {{"question": "{DOGS}"}}, {{"x": "{OWLS}"}}]',
    "json, trailing comma": f'["{CATS}", "{DOGS}", "{OWLS}",]',
    "json inside a list": f'1. "{CATS}",\n2. "{DOGS}",\n3. "{OWLS}",',
}


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text, finish_reason, "m")


def good(text: str, most: int = 10, kind: Kind = "message") -> list[str]:
    return [item.text for item in parse(said(text), most, kind) if not item.reason]


def reasons(text: str, most: int = 10, finish_reason: str = "stop") -> list[str]:
    return [item.reason for item in parse(said(text, finish_reason), most)]


@pytest.mark.parametrize("name", UGLY)
def test_an_ugly_list_is_read(name: str) -> None:
    assert parse(said(UGLY[name]), 3) == [Item(text) for text in ALL]


@pytest.mark.parametrize(
    "text",
    [
        "Is 3.5 volts enough for a lamp?",
        "90 % of the ocean is dark: why is that?",
        "**Why** do cats purr when they are ill?",
        "What does `a[0]` mean in Python?",
        "Is it true that 1. e4 is the best move?",
        "why (really) do we yawn",
        "Explain f(x) = {x: x > 0} to me",
        "I can't access my mail since Monday, what now?",
        "I'm not able to give my cat her pills. Any tricks?",
        "What is __init__ for in a class?",
    ],
)
def test_what_looks_like_a_mark_or_a_refusal_stays(text: str) -> None:
    assert good(f"1. {text}\n2. {CATS}") == [text.replace("**", ""), CATS]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("As an AI language model, I cannot have opinions about birds.", "refusal"),
        ("As a beginner, how do I hold a bow?", "announces_itself"),
        ("Write a letter to [your landlord] about the heating.", "placeholder"),
        ("Write a review of <product name> for my shop.", "placeholder"),
        ("Write to ____ about the heating in my flat.", "placeholder"),
        ("Birds?", "too_short"),
        ("long " * 200, "too_long"),
        ("Answer: because they are glad to see you.", "role_tag"),
        (CATS.upper().replace("?", " !"), "repeated"),
    ],
)
def test_a_line_that_is_no_item_is_rejected_with_its_reason(line: str, reason: str) -> None:
    items = parse(said(f"1. {CATS}\n2. {line}\n3. {DOGS}"), 3)
    assert [item.reason for item in items] == ["", reason, ""]
    assert 0 < len(items[1].text) <= 200


def test_more_items_than_were_asked_for_are_surplus() -> None:
    assert reasons(UGLY["plain"], most=2) == ["", "", "surplus"]


def test_rejected_items_do_not_use_up_the_number() -> None:
    assert reasons(f"1. Birds?\n2. {CATS}\n3. {DOGS}", most=2) == ["too_short", "", ""]


@pytest.mark.parametrize("name", ["plain", "hyphens", "no marks", "one line"])
def test_the_last_item_of_a_cut_reply_is_cut_off(name: str) -> None:
    assert reasons(UGLY[name][:-8], finish_reason="length") == ["", "", "cut_off"]


def test_json_that_breaks_off_keeps_its_whole_items() -> None:
    text = f'["{CATS}", "{DOGS}", "Where do ow'
    assert reasons(text, finish_reason="length") == ["", "", "cut_off"]


def test_json_that_is_whole_has_no_cut_item() -> None:
    assert reasons(UGLY["json"] + "\nand on", finish_reason="length") == ["", "", ""]


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("I'm sorry, but I can't assist with that.", "stop", "refusal"),
        ("", "stop", "no_list"),
        ("Sure, here is the list:", "stop", "no_list"),
        (UGLY["plain"], "content_filter", "content_filter"),
        ("[]", "stop", "no_list"),
        ("{}", "stop", "no_list"),
        ("```json\n```", "stop", "no_list"),
    ],
)
def test_a_reply_without_a_list_is_one_rejected_item(
    text: str, finish_reason: str, reason: str
) -> None:
    assert reasons(text, finish_reason=finish_reason) == [reason]


def test_names_lose_the_remarks_behind_them() -> None:
    text = (
        "1. **Machine learning**: how it works\n2. Robotics \u2013 machines\n3. Law.\n4. Sea: waves"
    )
    assert good(text, kind="name") == ["Machine learning", "Robotics", "Law", "Sea"]


def test_other_scripts_have_words_too() -> None:
    assert good("1. 为什么天空是蓝色的?\n2. なぜ猫は鳴くの?") == [
        "为什么天空是蓝色的?",
        "なぜ猫は鳴くの?",
    ]


MARKS = st.sampled_from(
    [*"1234567890.-*•()[]{}\"'“”|<>/:#_`\n \t\x00\u2028\ud83d", "li>", "Q", "as a"]
)


@given(st.lists(st.one_of(MARKS, st.text(max_size=5)), max_size=60).map("".join), st.integers(1, 9))
@example("\ud83d", 1)
@example('["\\ud83d", "a"', 1)
def test_no_reply_breaks_the_parser_or_gives_too_many(text: str, most: int) -> None:
    for finish_reason in ("stop", "length"):
        items = parse(said(text, finish_reason), most)
        assert items
        assert sum(not item.reason for item in items) <= most
        assert all(item.text.strip() for item in items if not item.reason)
        parse_message(said(text, finish_reason))


# One message


@pytest.mark.parametrize(
    "text",
    [
        "Write a poem.\n\nIt is for Ana.",
        "Sure, here is the message:\n\nWrite a poem.\n\nIt is for Ana.",
        '"Write a poem.\n\nIt is for Ana."',
        "```\nWrite a poem.\n\nIt is for Ana.\n```",
        "User: Write a poem.\n\nIt is for Ana.\n",
    ],
)
def test_a_message_loses_what_was_put_around_it(text: str) -> None:
    assert parse_message(said(text)) == Item("Write a poem.\n\nIt is for Ana.")


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("Write a poem for", "length", "cut_off"),
        ("Write a poem.", "content_filter", "content_filter"),
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("", "stop", "too_short"),
        ("Write a poem for [name], please.", "stop", "placeholder"),
        ("word " * lists.LONGEST_MESSAGE, "stop", "too_long"),
    ],
)
def test_a_message_that_is_none_is_rejected(text: str, finish_reason: str, reason: str) -> None:
    assert parse_message(said(text, finish_reason)).reason == reason
