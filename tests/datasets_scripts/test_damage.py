"""Lists that start again at 1, and text that was read in the wrong encoding."""

# ruff: noqa: E501, RUF001 - a line is a message, in the characters in which it is written

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from datasets_scripts.damage import decode_again, renumber, repair
from datasets_scripts.pipeline import Drop
from tests.datasets_scripts.helpers import conversation
from ultra.schema import Conversation


def talk(question: str, answer: str) -> Conversation:
    given = conversation("u1 a2")
    given.messages[0]["content"], given.messages[1]["content"] = question, answer
    return given


def answer_of(result: Conversation | Drop) -> str:
    assert isinstance(result, Conversation), result
    return result.messages[1]["content"]


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("1. a\n\n```\nx\n```\n\n1. b", "1. a\n\n```\nx\n```\n\n2. b"),
        ("1. a\n\nText.\n\n1. b\n\nText.\n\n1. c", "1. a\n\nText.\n\n2. b\n\nText.\n\n3. c"),
        ("1. a\n\n- x\n- y\n\n1. b", "1. a\n\n- x\n- y\n\n2. b"),
        ("1. a\n2. b\n\n```\nx\n\ny\n```\n\n1. c\n2. d", "1. a\n2. b\n\n```\nx\n\ny\n```\n\n3. c\n4. d"),
        ("1. a\n1. b\n1. c", "1. a\n2. b\n3. c"),
        ("1. a\n\n1. b", "1. a\n\n2. b"),
        ("So:\n\n1. a\n\nText.\n\n1. b\n2. c\n3. d", "So:\n\n1. a\n\nText.\n\n2. b\n3. c\n4. d"),
        ("1. a\n\n   1. in\n\n   1. in\n\nText.\n\n1. b", "1. a\n\n   1. in\n\n   1. in\n\nText.\n\n2. b"),
        ("1. a\n   ```\n   1. x\n   ```\n\nText.\n\n1. b", "1. a\n   ```\n   1. x\n   ```\n\nText.\n\n2. b"),
        ("## H\n\n1. a\n\nText.\n\n1. b\n\n## I\n\n1. c", "## H\n\n1. a\n\nText.\n\n2. b\n\n## I\n\n1. c"),
    ],
)  # fmt: skip
def test_a_list_that_starts_again_is_numbered_on(broken: str, whole: str) -> None:
    assert renumber(broken) == whole
    result = repair()(talk("?", broken))
    assert answer_of(result) == whole
    assert isinstance(result, Conversation)
    assert result.changes == ["list_renumbered"]


@pytest.mark.parametrize(
    "text",
    [
        "1. a\n2. b\n3. c",
        "1. a\n2. b\n\nText.\n\n1. c\n2. d",
        "1. a\n2. b\n\n```\nx\n```\n\nText.\n\n1. c\n2. d",
        "1. a\n2. b\n\n```\nx\n```\n\n## Next\n\n1. c\n2. d",
        "1. a\n2. b\n\nUse `x`.\n\n1. c\n2. d",
        "1. a\n\n```\nx\n```\n\n2. b",
        "## One\n\n1. a\n\n## Two\n\n1. b",
        "**One**\n\n1. a\n\n**Two**\n\n1. b",
        "__One__:\n\n1. a\n\n__Two__:\n\n1. b",
        "1. a\n\n---\n\n1. b",
        "For the cook:\n\n1. a\n\nFor the guest:\n\n1. b",
        "厨师：\n\n1. a\n\n客人：\n\n1. b",
        "One\n===\n\n1. a\n\nTwo\n===\n\n1. b",
        "1. a\n\n- x\n  1. y\n\n- z\n  1. w",
        "```\n1. a\n\n1. b\n```",
        "~~~\n1. a\n1. b",
        "1. a",
        "1. a\n\n   1. b\n\n   1. c",
        "1.a\n\n1.b",
        "> 1. a\n\n> 1. b",
        "2. a\n\nText.\n\n1. b",
        "",
    ],
)
def test_lists_of_their_own_keep_their_numbers(text: str) -> None:
    given = talk("?", text)
    assert answer_of(repair()(given)) == text
    assert given.changes == []


def test_text_moves_along_when_its_number_gets_wider() -> None:
    broken = "".join(f"1. {letter}\n\n   more\n\nText.\n\n" for letter in "abcdefghij")
    items = [f"{n}. {letter}" for n, letter in enumerate("abcdefghij", 1)]
    whole = "".join(
        f"{item}\n\n{' ' * (3 if n < 9 else 4)}more\n\nText.\n\n" for n, item in enumerate(items)
    )
    assert renumber(broken) == whole
    html = MarkdownIt().render(renumber(broken))
    assert html.count("<p>more</p>\n</li>") == 10
    assert '<ol start="10">' in html


def test_code_in_a_wide_item_moves_along_and_stays_code() -> None:
    item = "1. a\n\n   ```py\n   if x:\n       1. y\n   ```\n\nText.\n\n"
    html = MarkdownIt().render(renumber(item * 11))
    assert html.count('<code class="language-py">if x:\n    1. y\n</code></pre>\n</li>') == 11
    assert html.count("<ol start=") == 10


def test_a_persons_list_stays_as_it_was_typed() -> None:
    given = talk("1. a\n\nText.\n\n1. b", "Fine.")
    assert repair()(given).messages[0]["content"] == "1. a\n\nText.\n\n1. b"  # type: ignore[union-attr]
    assert given.changes == []


def test_broken_numbering_can_drop_a_conversation_or_stay() -> None:
    broken = "Do:\n\n1. a\n\nText.\n\n1. b"
    assert repair("drop")(talk("?", broken)) == Drop("broken_numbering", "1. b")
    assert answer_of(repair("drop")(talk("?", "1. a\n2. b"))) == "1. a\n2. b"
    assert answer_of(repair("keep")(talk("?", broken))) == broken


GARBLED = [
    ("I donâ€™t know", "I don’t know"),
    ("CafÃ© olÃ©", "Café olé"),
    ("naÃ¯ve rÃ©sumÃ©", "naïve résumé"),
    ("It costs â‚¬5", "It costs €5"),
    ("He said â€œyesâ€\x9d.", "He said “yes”."),
    ("He said â€œyesâ€.", "He said “yes”."),
    ("Ã¼ber die StraÃŸe", "über die Straße"),
    ("el Ã±andÃº", "el ñandú"),
    ("SÃ£o Paulo", "São Paulo"),
    ("one â€“ two", "one – two"),
    ("âœ” done", "✔ done"),
    ("Â£5 a day", "£5 a day"),
    ("20Â°C", "20°C"),
    ("5Â\xa0km", "5\xa0km"),
    ("Ã\xa0 la carte", "à la carte"),
    ("Ã€ bientÃ´t", "À bientôt"),
    ("ðŸ˜Š hello", "😊 hello"),
    ("Ã¢â‚¬â„¢s", "’s"),
    ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
    ("РџСЂРёРІРµС‚ РјРёСЂ", "Привет мир"),
    ("fine\nIt isnâ€™t\nÉ…", "fine\nIt isn’t\nÉ…"),
    ("see `donâ€™t` and itâ€™s", "see `donâ€™t` and it’s"),
]
SOUND = [
    "naïve café – ‘ok’",
    "É… fine",
    "SÃO PAULO",
    "PARÂMETRO ÂNGELA",
    "Ça va «É»",
    "à la carte",
    "Tiếng Việt rất hay",
    "Größe 10 µm",
    "½ cup",
    "été… L’Été – «Là»",
    "Привет… «мир»",
    "你好“世界”",
    "مرحبا ٪",
    "π ≈ 3.14 ± 2",
    "€5–€10",
    "Île-de-France™",
    "ÀÉÎÕÜ ñ–b",
    "a × b² ÷ 3",
    "ñ¿Qué? ¡Olé!",
    "Où ça ?",
    "😀 🇩🇪 👨‍👩‍👧",
    "ﬁne ｗｉｄｅ “quotes” don’t",
    "日本語テキスト…",
    "한국어 텍스트 “예”",
]


@pytest.mark.parametrize(("garbled", "meant"), GARBLED)
@pytest.mark.parametrize("side", [0, 1])
def test_garbled_text_is_decoded_again(garbled: str, meant: str, side: int) -> None:
    given = talk("Hello", "Hello")
    given.messages[side]["content"] = garbled
    result = repair()(given)
    assert isinstance(result, Conversation)
    assert result.messages[side]["content"] == meant
    assert result.messages[1 - side]["content"] == "Hello"
    assert result.changes == ["encoding_repaired"]


@pytest.mark.parametrize("text", SOUND)
def test_sound_text_stays_as_it_is(text: str) -> None:
    given = talk(text, text)
    assert answer_of(repair()(given)) == text
    assert given.changes == []


@pytest.mark.parametrize(
    "question",
    [
        "Why does my page show â€™ after I changed the encoding?",
        "utf-8: CafÃ©",
        "CafÃ© 是乱码吗？",
        "¿Qué codificación da CafÃ©?",
    ],
)
def test_a_talk_about_encodings_keeps_what_it_talks_about(question: str) -> None:
    given = talk(question, "It is CafÃ©, I donâ€™t doubt it.")
    assert answer_of(repair()(given)) == "It is CafÃ©, I donâ€™t doubt it."
    assert given.messages[0]["content"] == question
    assert given.changes == []


def test_code_and_settings_keep_garbled_text() -> None:
    code = "```\nprint('donâ€™t')\n```"
    assert answer_of(repair()(talk("?", code))) == code
    assert answer_of(repair(encoding="keep")(talk("?", "donâ€™t"))) == "donâ€™t"


@given(st.text(alphabet="Ââ€™™ÃÐŸРџ\x80\x9d\xa0\ufffd` a\n\0😀", max_size=60))
def test_decoding_again_adds_no_control_character_and_no_line(text: str) -> None:
    again = decode_again(text)
    assert again.count("\n") == text.count("\n")
    assert again.count("\ufffd") <= text.count("\ufffd") + sum(text.count(c) for c in "\x80\x9d\0")


@given(st.text(alphabet="1. \n`#*-:a2", max_size=80))
def test_numbering_on_changes_numbers_and_blanks_only(text: str) -> None:
    again = renumber(text)
    assert again.count("\n") == text.count("\n")
    letters = str.maketrans("", "", "0123456789 ")
    assert again.translate(letters) == text.translate(letters)
    assert renumber(again) == again


@pytest.mark.parametrize(
    "piece",
    ["1. ", "1. a\n", "1. a\n\n", "â€™", "Ã", "Â ", "`", "```\n", "   \n1. a\n", "Ã©\n", "Р°"],
)
def test_much_of_anything_comes_back_soon(piece: str) -> None:
    text = piece * (2**18 // len(piece))
    repair()(talk(text, text))
