"""What the chat page left in messages, and answers that refuse or say who they are."""

# ruff: noqa: E501, RUF001 - a line is a message, in the characters in which it is written

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.boilerplate import (
    excerpt,
    interface,
    is_page_notice,
    no_page_notices,
    refusals,
)
from datasets_scripts.code_spans import mask_code
from datasets_scripts.pipeline import Drop
from ultra.errors import InputError
from ultra.schema import Conversation, Message

REFUSES = r"""I'm sorry, but I can't assist with that.
I’m sorry, but I cannot help with that request.
I am sorry, but I am unable to provide instructions for that.
Sorry, I can't help you with breaking into an account.
I apologize, but I cannot generate explicit material.
I apologise, but I'm not able to open attachments.
My apologies, but I cannot browse the internet.
Unfortunately, I cannot view images.
Unfortunately, I do not have access to live share prices.
I'm afraid I can't do that.
I'm sorry, I cannot fulfill your request.
I'm sorry, but as an AI I can't take part in this.
I cannot provide medical advice. Please see a doctor.
I can't assist with that request.
I must decline to write this.
I refuse to help with fraud.
I'm unable to access external websites.
I do not have personal opinions, but here are two views.
I don't have the ability to see pictures.
I don't have feelings, so I am neither glad nor sad.
It is not appropriate for me to make jokes about that.
I do not have access to your files.
I'm sorry, but it goes against my programming to do so.
Hello! I'm sorry, but I cannot write hateful texts.
I understand the wish, but I cannot condone violence.
As an AI language model, I don't have a birthday.
As an AI, I don't have a body.
As a large language model, I was trained on text.
As an artificial intelligence, I cannot taste food.
As a language model trained on text, I have no eyes.
However, as an AI language model, I would ask an expert.
Please note that as an AI assistant, I may be wrong.
The dish is fine. As an AI model, my taste is limited, though.
I am an AI language model, so I do not sleep.
I'm just an AI assistant, and I do not get tired.
I am a large language model trained by a company.
I am ChatGPT, a chatbot.
I'm ChatGPT, and I answer questions.
My name is ChatGPT.
Hello, I am ChatGPT. What can I do for you?
I was created by OpenAI.
I am a model developed by OpenAI in San Francisco.
I'm based on GPT-3 and was trained by OpenAI.
I am Vicuna, a model trained by researchers.
I was trained by researchers from LMSYS.
I am Claude, made by Anthropic.
My knowledge cutoff is September 2021.
As of my knowledge cutoff in 2021, he was the mayor.
As of my last knowledge update, the tower was the highest.
My training data only goes up to 2021.
很抱歉，我无法提供这方面的信息。
抱歉，我不能帮助您做这件事。
對不起，我無法協助您完成這個要求。
作为一个AI语言模型，我没有感情。
作為一個人工智慧助手，我沒有個人意見。
我是由OpenAI训练的大型语言模型。
我是ChatGPT，一个聊天机器人。
申し訳ありませんが、そのご質問にはお答えできません。
私はAI言語モデルですので、感情はありません。
AI言語モデルとして、私は意見を持ちません。
죄송합니다. 저는 그 요청을 도와드릴 수 없습니다.
죄송하지만 그 정보를 제공할 수 없습니다.
저는 인공지능 언어 모델로서 감정이 없습니다.
Lo siento, pero no puedo ayudarte con eso.
Como modelo de lenguaje, no tengo opiniones.
Soy un modelo de lenguaje y no puedo ver imágenes.
Lo siento, no puedo proporcionar esa información.
Desculpe, mas não posso ajudar com isso.
Como um modelo de linguagem, não tenho opiniões.
Sinto muito, mas não posso fornecer esses dados.
Je suis désolé, mais je ne peux pas vous aider avec cela.
En tant que modèle de langage, je n'ai pas d'opinion.
Je suis un modèle de langage et je ne dors pas.
Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.
Es tut mir leid, aber dabei kann ich nicht helfen.
Als KI-Sprachmodell habe ich keine Gefühle.
Ich bin ein Sprachmodell und habe keine Meinung.
Извините, но я не могу помочь с этим.
Как языковая модель, я не имею собственного мнения.
"""

HARMLESS = r"""A language model assigns probabilities to sequences of words.
As a language model grows, its loss falls in a predictable way.
Training a language model takes data, time and money.
The OpenAI library is imported with `import openai`.
OpenAI published the paper in 2020.
ChatGPT is a chatbot developed by OpenAI.
GPT-4 was trained by OpenAI on public and licensed data.
You can call the API of ChatGPT from Python.
As an AI researcher, I would start with the data, says the article.
As an AI engineer you need statistics.
I am an AI engineer from Oslo.
I'm an AI enthusiast.
It is not appropriate to discuss salaries at the table.
It is unethical to create false reviews.
I have to decline your kind invitation.
I must decline the offer of a second cake.
我是人工智能专业的学生。
私はAIエンジニアです。
저는 AI 엔지니어입니다.
Als KI-Experte rate ich zu mehr Daten.
Ich bin ein KI-Ingenieur.
En tant qu'assistant commercial, je réponds au téléphone.
Lo siento, no puedo ir a la fiesta.
Desculpe, não posso ir à festa.
An AI assistant can sort your mail.
The phrase "As an AI language model, I cannot" is a common opening.
He wrote: "I'm sorry, but I can't assist with that."
The robot says “I am an AI language model” and bows.
Search for `I'm sorry, but I cannot help` in the log.
«Je suis un modèle de langage», dit le robot.
I'm sorry to hear that you lost your keys.
I'm sorry for the confusion. Here is the right table.
I apologize for the mistake in my last answer. The sum is 12.
I apologize, but could you say which file you mean?
Sorry, I made an error. The capital is Canberra.
Sorry for the delay!
I'm sorry, I misread the question. It is 7.
I can't wait to see your garden!
I can't help but admire that plan.
I cannot stress enough how useful tests are.
I can't recommend this book enough.
I cannot find a bug in this function.
I can help you with that. First, open the file.
I am able to assist with that. Which city?
I don't have any questions.
I do not have enough details yet. Which version is it?
I have access to the text that you pasted.
Unfortunately, the server cannot provide that file.
Unfortunately, the train will not stop here.
You cannot access the internet from this network.
If you cannot open the file, check its rights.
What should I do if I can't access my account?
The user cannot provide more than one address.
The program is unable to access external websites.
They declined to help with the move.
She must decline the offer politely.
It is not appropriate to wear shorts to a funeral.
It is unethical to sell personal data.
The cutoff date for your application is in May.
The knowledge cutoff of a model is the date of its last data.
Your training data should be shuffled.
My last train leaves at ten, wrote the sailor.
Update your knowledge base every month.
Artificial intelligence is a field of computer science.
An artificial intelligence such as this can play chess.
Bard was the name of a chatbot.
Claude Monet painted water lilies.
Hi, I am Anna, and I study biology.
I am a large dog person.
I am a model from Paris, says the woman in the picture.
作为一个学生，我每天都要学习。
作为一种语言模型，GPT可以生成文本。
我是一名医生，住在北京。
抱歉让您久等了，这是修改后的代码。
语言模型可以预测下一个词。
对不起，我刚才的答案有错误，正确答案是12。
申し訳ありません。先ほどの答えを訂正します。
言語モデルは次の単語を予測します。
죄송합니다. 앞의 답을 고치겠습니다.
인공지능은 컴퓨터 과학의 한 분야입니다.
Lo siento mucho, debe de ser un momento difícil.
Un modelo de lenguaje predice la palabra siguiente.
Como asistente de ventas, debes escuchar al cliente.
La inteligencia artificial es un campo de la informática.
Desculpe pela confusão. A resposta certa é 12.
Um modelo de linguagem prevê a próxima palavra.
Désolé pour l'erreur, la bonne réponse est 12.
Un modèle de langage prédit le mot suivant.
Tut mir leid für den Fehler, richtig ist 12.
Ein Sprachmodell sagt das nächste Wort voraus.
Leider ist der Zug heute nicht gekommen.
Извините за ошибку, правильный ответ 12.
Языковая модель предсказывает следующее слово.
Dear Sam,\n\nI'm sorry, but I cannot help you with the move.
Here is a reply:\n\nI'm sorry, but I can't assist with that.
```\nAs an AI language model, I cannot do that.\n```
"""

BANNERS = r"""Too many requests in 1 hour. Try again later.
!Too many requests in 1 hour. Try again later.
Too many requests, please slow down
network error
Network Error
**Network error**
Error in body stream
Error in message stream.
Failed to fetch
TypeError: Failed to fetch
There was an error generating a response
An error occurred. If this issue persists please contact us through our help center at help.openai.com.
Something went wrong. If this issue persists please contact us through our help center at help.openai.com.
Something went wrong\n\nIf this issue persists please contact us through our help center at help.openai.com.
Hmm...something seems to have gone wrong. Maybe try me again in a little bit.
Conversation not found
The message you submitted was too long, please reload the conversation and submit something shorter.
ChatGPT is at capacity right now
We’re experiencing exceptionally high demand. Please hang tight as we work on scaling our systems.
Only one message at a time. Please allow any other responses to complete before sending another message, or wait one minute.
You've reached the current usage cap for GPT-4, please try again after 3:45 PM.
Your session has expired. Please log in again to continue using the app.
Our systems have detected unusual activity from your system. Please try again later.
The server had an error while processing your request. Sorry about that!
This content may violate our content policy. If you believe this to be in error, please submit your feedback - your input will aid our research in this area.
Request timed out. Please try again later.
There was an error generating a response\n\nRegenerate response
Regenerate response
The first step is to open the\n\nnetwork error
Here is a poem about the sea and\nError in body stream
"""

NO_BANNERS = r"""Too many requests in 1 hour means that the limit of the server was hit.
The page says: Too many requests in 1 hour. Try again later.
A network error is a fault between two machines.
Network errors are common.
This is a network error
Error in body stream is what the browser shows when a connection ends.
The text of the page should be:\n\nConversation not found
Show this message：\n\nInternal server error
```\nnetwork error\n```
Print this:\n\n```\nFailed to fetch\n```
Something went wrong in the second line of your proof.
Something went wrong with the war of 1812
- Network error
An error occurred in line 12, as the name is not defined.
If this issue persists, please contact your bank.
"Conversation not found"
`Internal server error`
There was an error generating a response for three of the users.
The request timed out because the server was busy.
Your session has expired cookies in it, so clear them.
This content may violate our trust in the author.
Rate limit
Internal Server Error
Too Many Requests
502 Bad Gateway
Failed to fetch the file: check its name.
ChatGPT is at capacity when many people use it.
"""


def lines_of(text: str) -> list[str]:
    """One message a line; a backslash and an n is a line end in it."""
    return [line.replace("\\n", "\n") for line in text.strip().split("\n")]


def talk(*contents: str) -> Conversation:
    """A conversation, the person first."""
    roles = ("user", "assistant")
    messages: list[Message] = [
        {"role": "user" if roles[n % 2] == "user" else "assistant", "content": content}
        for n, content in enumerate(contents)
    ]
    return Conversation("x", messages, {})


def contents_of(result: Conversation | Drop) -> list[str]:
    assert isinstance(result, Conversation), result
    return [turn["content"] for turn in result.messages]


REFUSE = refusals("default", "drop")
CLEAN = interface("cut")


@pytest.mark.parametrize("answer", lines_of(REFUSES))
def test_an_answer_that_refuses_or_introduces_a_model_is_found(answer: str) -> None:
    result = REFUSE(talk("Please", answer))
    assert isinstance(result, Drop)
    assert result.reason == "refusal"
    assert 0 < len(result.detail) <= 100


@pytest.mark.parametrize("answer", lines_of(HARMLESS))
def test_an_answer_that_only_sounds_like_it_stays(answer: str) -> None:
    given = talk("Please", answer)
    assert REFUSE(given) is given


@pytest.mark.parametrize("text", lines_of(REFUSES)[:20])
def test_a_person_may_say_it(text: str) -> None:
    given = talk(text, "Fine.")
    assert REFUSE(given) is given


def test_a_conversation_ends_before_the_question_that_was_refused() -> None:
    given = talk("1", "one", "2", "As an AI language model, I cannot do that.", "3", "three")
    result = refusals("default", "cut")(given)
    assert contents_of(result) == ["1", "one"]
    assert isinstance(result, Conversation)
    assert result.changes == ["cut_at_refusal"]


def test_nothing_is_left_of_a_conversation_that_was_refused_at_once() -> None:
    result = refusals("default", "cut")(talk("1", "I'm sorry, but I can't help with that."))
    assert result == Drop("refusal", "I'm sorry, but I can't help with that.")


def test_a_system_prompt_alone_is_no_conversation() -> None:
    given = talk("1", "I'm sorry, but I can't help with that.")
    given.messages.insert(0, {"role": "system", "content": "Be kind."})
    assert isinstance(refusals("default", "cut")(given), Drop)


def test_what_is_reported_shows_where_it_stands() -> None:
    answer = "word " * 50 + "done. As an AI language model, I stop. " + "word " * 50
    result = REFUSE(talk("1", answer))
    assert isinstance(result, Drop)
    assert "done. As an AI language model, I" in result.detail
    assert len(result.detail) <= 100


@pytest.mark.parametrize(
    ("preset", "text", "kept"),
    [
        ("openchat", "import OPENAI", False),
        ("openchat", "ChatGPT", True),
        ("openchat", "I'm sorry, but I can't assist with that.", True),
        ("vicuna", "import openai", False),
        ("vicuna", "what is chatgpt?", False),
        ("vicuna", "!Too many requests in 1 hour. Try again later.", False),
        ("vicuna", "It said: too many requests in 1 hour. Try again later.", True),
        ("vicuna", "I'm sorry, but I can't assist with that.", True),
        ("none", "As an AI language model developed by OpenAI, I stop.", True),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_presets_drop_what_the_pipelines_of_2023_dropped(
    preset: str, text: str, kept: bool, place: int
) -> None:
    contents = ["1", "2", "3", "4"]
    contents[place] = text
    step = {p: refusals(p) for p in ("openchat", "vicuna", "none")}[preset]
    given = talk(*contents)
    assert step(given) == (given if kept else Drop("refusal", text))


def test_own_patterns_are_tried_anywhere_in_any_case(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n\nblue (?:moon|sun)\n^never\n", encoding="utf-8")
    step = refusals(file, "drop")
    assert step(talk("1", "A Blue Moon.")) == Drop("refusal", "A Blue Moon.")
    assert step(talk("1", "Well, never.")) == Drop("refusal", "Well, never.")
    assert isinstance(
        step(talk("1", "I never saw a blue star, blue moon-less or `blue sun`.")), Drop
    )
    assert isinstance(step(talk("blue moon", "I never saw a `blue sun`.")), Conversation)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pattern"),
        ("# only this\n", "no pattern"),
        ("fine\n(\n", "mine.txt:2: not a regular expression"),
        ("fine\n\na|\n", "mine.txt:3: matches the empty text"),
        ("(a)\\1\n", "mine.txt:1: write"),
        ("fine\n(?i)b\n", "mine.txt:2: not a regular expression"),
    ],
)
def test_a_file_of_patterns_that_cannot_be_used_names_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        refusals(file)


def test_a_file_of_patterns_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.txt: cannot be read"):
        interface("cut", tmp_path / "absent.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.txt: cannot be read"):
        interface("cut", tmp_path / "latin.txt")


@pytest.mark.parametrize("name", ["absent/opnchat", "a\0", "x" * 999, "."])
def test_what_is_neither_a_preset_nor_a_file_is_told_of_both(name: str) -> None:
    with pytest.raises(InputError, match="no file; give one of patterns, or one of default, open"):
        refusals(Path(name))


def test_the_nearest_preset_is_named() -> None:
    with pytest.raises(InputError, match=r"opnchat: .*did you mean 'openchat'\?"):
        refusals(Path("opnchat"))


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        (f"{'w ' * 60}Ask me. I am an AI. {'w ' * 60}", "I am an AI.", "I am an AI."),
        ("I am an AI at john.doe.the.longest.of.all@mail.com", "I am an AI", "mail.com"),
        (f"{'x' * 300} I am an AI {'y' * 300}", "I am an AI", "I am an AI"),
        (f"{'x' * 300}openai", "openai", "…"),
        (f"{'x' * 300}@web.de, I am an AI. john.doe@{'y' * 99}.com", "I am", "I am an AI."),
        ("Call +1 415 867 5309, I am an AI, +1 415 867 5309", "I am an AI", "I am an AI,"),
        (f"my phone, {'v' * 20} 9876543211, I am an AI", "I am", "I am an AI"),
        (f"I am an AI {'z' * 70} +1 415 867 5309 ok", "I am", "I am an AI"),
        ("作" * 300 + "我是AI" + "者" * 300, "我是AI", "作我是AI者"),
    ],
)
def test_a_report_shows_whole_words_and_no_part_of_a_number(
    text: str, found: str, shown: str
) -> None:
    start = text.index(found)
    detail = excerpt(text, start, start + len(found))
    assert shown in detail
    assert 0 < len(detail) <= 100
    tokens = {token.strip(",") for token in text.split()} | {"…"}
    assert text.startswith("作") or {token.strip(",") for token in detail.split()} <= tokens | {""}
    assert not set("0123456789") & set(detail)


@given(st.text(alphabet="ab1@. \n中\0", max_size=400), st.data())
def test_whatever_is_found_a_short_piece_of_the_text_is_shown(
    text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text)))
    detail = excerpt(text, start, data.draw(st.integers(start, len(text))))
    assert 0 < len(detail) <= 100
    assert detail == "…" or detail in " ".join(text.split())


def test_a_long_address_is_whole_in_what_a_drop_shows() -> None:
    address = "john.doe.the.longest.of.all@mail.com"
    answer = f"I'm sorry, I cannot write to {address}, OpenAI to {address}. {'w ' * 99}"
    for step in (REFUSE, refusals("vicuna")):
        result = step(talk("1", answer))
        assert isinstance(result, Drop)
        assert result.detail.count("john") == result.detail.count(address) > 0


def test_a_banner_is_shown_by_whole_words() -> None:
    banner = "An error occurred. If this issue persists please contact us through our help center "
    drop = interface("drop")(talk("1", banner + "at help.openai.com."))
    assert isinstance(drop, Drop)
    assert drop.detail == banner + "at"


@pytest.mark.parametrize("answer", lines_of(BANNERS))
def test_an_error_of_the_page_ends_the_conversation(answer: str) -> None:
    result = CLEAN(talk("1", "one", "2", answer, "3", "three"))
    assert contents_of(result) == ["1", "one"]
    assert isinstance(result, Conversation)
    assert result.changes[-1] == "cut_at_banner"
    result = interface("drop")(talk("1", "one", "2", answer))
    assert isinstance(result, Drop)
    assert result.reason == "error_banner"
    assert 0 < len(result.detail) <= 100
    assert isinstance(CLEAN(talk("1", answer)), Drop)


@pytest.mark.parametrize("answer", lines_of(NO_BANNERS))
def test_an_answer_about_an_error_stays(answer: str) -> None:
    given = talk("1", answer)
    assert CLEAN(given) is given
    assert contents_of(given) == ["1", answer]
    assert given.changes == []


POLICY = (
    "This content may violate our content policy. If you believe this to be in error, please "
    "submit your feedback — your input will aid our research in this area."
)


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        (POLICY, True),
        (f"\n {POLICY} \n", True),
        ("This prompt may violate our content policy.", True),
        ("This content may violate our usage policies. Did we get it wrong? Please tell us.", True),
        (f"Why do I see this? {POLICY}", False),
        (f"{POLICY} Why?\nI only asked about cats.", False),
        ("network error", False),
        ("", False),
    ],
)
def test_a_notice_of_the_page_is_told_from_a_question(text: str, notice: bool) -> None:
    assert is_page_notice(text) is notice
    assert isinstance(CLEAN(talk(text, "Let me see.")), Drop) is notice


def test_notices_of_the_page_are_taken_out_of_what_a_person_said() -> None:
    given = talk(POLICY, "1", POLICY, POLICY, f"Why? {POLICY}")
    given.changes = ["earlier"]
    result = no_page_notices(given)
    assert contents_of(result) == ["1", POLICY, f"Why? {POLICY}"]
    assert result.changes == ["earlier", "page_notice_removed", "page_notice_removed"]


def test_a_conversation_without_notices_stays() -> None:
    given = talk("1", "one")
    assert no_page_notices(given) is given
    assert (contents_of(given), given.changes) == (["1", "one"], [])


def test_a_person_may_paste_an_error_of_the_page() -> None:
    given = talk("network error", "Is the cable in?")
    assert CLEAN(given) is given


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("Yes.\n\nCopy123 chars / 45 words\n\nNo.", "Yes.\n\nNo.", "copy_label_removed"),
        ("Yes.Copy7 chars / 2 words", "Yes.", "copy_label_removed"),
        ("Run:\n\npythonCopy code\nprint(1)", "Run:\nprint(1)", "copy_label_removed"),
        ("Copy code\nprint(1)", "print(1)", "copy_label_removed"),
        ("```pythonCopy code\nx\n```", "```python\nx\n```", "copy_label_removed"),
        ("Done.\n\nRegenerate response", "Done.", "page_footer_removed"),
        ("Done.\nRegenerate response\n\nContinue generating", "Done.", "page_footer_removed"),
        (
            "Done.\n\nFree Research Preview. ChatGPT may produce inaccurate information.",
            "Done.",
            "page_footer_removed",
        ),
    ],
)
def test_what_the_page_left_in_an_answer_is_removed(before: str, after: str, change: str) -> None:
    result = CLEAN(talk("1", before))
    assert contents_of(result) == ["1", after]
    assert isinstance(result, Conversation)
    assert result.changes == [change]


@pytest.mark.parametrize(
    "answer",
    [
        "The label Copy code stays.",
        "```\nCopy code\nCopy12 chars / 3 words\n```",
        "Press `Copy code`.",
        "Regenerate response is a button.",
        "1 / 2 cup of flour",
        "1 / 2",
        "```\nx\nRegenerate response\n```",
        "Copy the file / 3 words",
    ],
)
def test_what_only_looks_like_the_page_stays(answer: str) -> None:
    given = talk("1", answer)
    assert contents_of(CLEAN(given)) == ["1", answer]
    assert given.changes == []


def test_code_that_nobody_closed_reaches_to_the_end() -> None:
    text = "a `b` c\n```py\nnetwork error\n"
    assert mask_code(text) == "a xxx c\nxxxxx\nxxxxxxxxxxxxx\n"


@given(st.text(alphabet="` ~\n>1.-ax\0Copy code", max_size=80))
def test_hostile_code_is_masked_in_place(text: str) -> None:
    masked = mask_code(text)
    assert len(masked) == len(text)
    assert masked.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "piece",
    ["`", "```\n", "~~~a\n", " ", "\n", '"', "Copy code", "As an AI language model, ", "\0", "1. ",
     "network error\n", "Regenerate response\n", "i'm sorry ", "“", "an AI ", "1 / 2\n", "!"],
)  # fmt: skip
def test_a_megabyte_of_anything_comes_back_soon(piece: str) -> None:
    text = piece * (2**20 // len(piece))
    for step in (CLEAN, refusals("default", "drop"), refusals("vicuna")):
        step(talk(text, text))
