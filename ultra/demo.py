"""The offline ``demo`` model: rules and a handful of sentences, to see everything without a key.

It is deterministic, plays assistant, simulated user, judge and writer of opening lines, and is told
apart from a real model in every row, card and table by its name, ``demo``. Which part it plays it
reads in the system message's first line, which is ours; nothing in anybody's text can change it.
"""

import re
from collections.abc import Sequence

from ultra import jsonl
from ultra.chat import Completion, Sampling
from ultra.schema import Message

VERSION = 2
"""Part of the identity: goes up whenever any output changes, so that journals never mix."""

PLAYS_USER = "you play the user"
JUDGES = "you are an impartial judge"
WRITES_LISTS = "you write lists"
REWRITES = "you rewrite one message"

_OPENERS = (
    "A good way into {topic} is to start small.",
    "The short answer about {topic}: it depends on what you want from it, but some things hold.",
    "Let us take {topic} one step at a time.",
    "People often ask about {topic}, and the useful part is simpler than it looks.",
    "With {topic}, the first decision matters more than the later ones.",
)
_POINTS = (
    "Begin with {topic} as it is today, and write down what you already know about {other}.",
    "Compare two cases that differ only in {other}; the difference shows what {topic} does.",
    "Keep {other} separate from {topic}, because mixing them hides the cause.",
    "Check the result with someone who knows {topic} well before you build on it.",
    "Change one thing at a time, and give {other} long enough to show an effect.",
    "Look for the limit: {topic} stops helping once {other} gets in its way.",
    "Name the goal first, then choose the part of {topic} that serves it.",
)
_CLOSERS = (
    "If you tell me more about {other}, I can be more exact.",
    "That is usually enough for a first try with {topic}.",
    "The rest of {topic} follows from these points.",
    "Start there, and come back to {other} when it works.",
)
_FOLLOW_UPS = (
    "Could you give me a concrete example of {topic}?",
    "Why does {other} matter here?",
    "I am not sure I agree about {topic}. What speaks against it?",
    "What would you do first if you only had a day for {topic}?",
    "Can you say the part about {other} again in simpler words?",
    "How would I notice that {topic} is going wrong?",
    "What changes if {other} is not available at all?",
    "And where does {topic} stop being a good idea?",
    "Could you put the steps for {topic} into a short checklist?",
)
_FACETS = (
    *("early years", "everyday mistakes", "tools", "hidden costs", "old quarrels", "first lessons"),
    *("small towns", "rules", "measurements", "famous failures", "seasons", "craft", "words"),
    *("beginners", "experts", "children", "trade", "machines", "rumours", "safety", "waste"),
    *("fashions", "maps", "records", "travellers", "winters", "kitchens", "schools", "savings"),
    *("night work", "repairs", "borders", "festivals", "competitions", "statistics", "accidents"),
    *("apprentices", "volunteers", "rivals", "turning points"),
)
_QUESTIONS = (
    "Why do {other} matter so much when people talk about {topic}?",
    "Explain {topic} to a child of nine, with {other} as the example.",
    "what happens to {topic} once {other} are gone",
    "Which came first, {topic} or the {other} that we connect with it, and how is that known?",
    "I keep mixing up {topic} and {other}. How do I tell them apart?",
    "Is it a myth that {other} ruin {topic}?",
    "Compare {topic} fifty years ago with today: what did {other} change?",
    "How would you measure the effect of {other} on {topic}?",
    "Name three cases in which {topic} went wrong because of {other}.",
    "If I have one weekend and little money, where do I begin with {topic} and {other}?",
    "My neighbour says {other} have nothing to do with {topic}. Who is right?",
    "Where are the limits of {topic}, and do {other} have a part in them?",
    "Walk me through {topic} step by step, but leave {other} for the end.",
    "who decides what counts as {topic}? and do {other} get a say?",
    "What does a specialist see in {topic} that the rest of us miss, {other} included?",
)
_REQUESTS = (
    "Write one for {other} that has {topic} at its centre and stays under 200 words.",
    "I want something short about {topic} in which {other} turn up only once.",
    "Draft the opening of a piece on {topic}, addressed to {other}.",
    "Please make {topic} sound exciting to readers who only care for {other}.",
    "A plain version, please: {topic}, two paragraphs, with {other} in the second.",
    "Put together a first draft about {topic} and the trouble with {other}.",
    "Turn a quarrel over {other} into a text on {topic} that makes both sides smile.",
    "Could you write about {topic} the way somebody from the trade of {other} would?",
    "Compose one for an anniversary: {topic}, a little sad, with {other} as a refrain.",
    "Something that can be read aloud in a minute about {topic}, without naming {other}.",
)
_TASKS = (
    "Rewrite the text about {topic} for readers who know nothing of {other}.",
    "Translate the passage on {topic} into Spanish and keep its tone.",
    "Summarise what is said about {topic} in two sentences.",
    "According to the text, how do {topic} and {other} belong together?",
    "Continue the text on {topic} by one paragraph in the same manner.",
    "What does the writer take for granted about {topic}? Point to the words that show it.",
)
_DETAILS = (
    "It is for people who have never heard of it.",
    "Keep it under 250 words, and leave out every joke.",
    "Two names should turn up in it: Ruth Adeyemi and the village of Lower Marle.",
    "Begin with a sound, and end with a question.",
    "My last attempt was too stiff, so keep the sentences short.",
    "It will be read aloud on a windy square, so nothing may be easy to mishear.",
)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        about above after again also answer because been before being below between both could does
        doing down each enough even every first from give good have help here into just keep know
        like look make many more most much need only other over part people please point really says
        should show simple some start still such take tell than that their them then there these
        they thing things this those through under until very want well were what when where which
        while will with without words would write your
        """,
    )
)


class DemoChat:
    """The ``demo`` model. Answers at once and never fails."""

    name = "demo"
    identity = f"demo {VERSION}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        part = system.partition("\n")[0].lower()  # further down it may quote what it is about
        draw = int(jsonl.digest([messages, sampling.seed, sampling.sample]), 16)
        if JUDGES in part:
            text = _judge(messages[-1]["content"])
        elif PLAYS_USER in part:
            text = _ask(messages, draw)
        elif WRITES_LISTS in part:
            text = _list(messages[-1]["content"], draw)
        elif REWRITES in part:
            text = _rewrite(messages[-1]["content"], draw)
        else:
            text = _answer(messages, draw)
        return Completion(text, "stop", "demo")

    async def close(self) -> None:
        pass


def _answer(messages: Sequence[Message], draw: int) -> str:
    """An opening sentence, three points as prose or as a list, and a closing one."""
    topic, other = _topics(messages[-1]["content"], "this", "the details")
    count = len(_POINTS)
    points = [_POINTS[(draw + step * (1 + draw % (count - 1))) % count] for step in range(3)]
    body = "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))
    if draw % 3 == 0:
        body = " ".join(points)
    closer = _CLOSERS[draw // 7 % len(_CLOSERS)]
    text = f"{_OPENERS[draw // 3 % len(_OPENERS)]}\n\n{body}\n\n{closer}"
    return text.format(topic=topic, other=other)


def _ask(messages: Sequence[Message], draw: int) -> str:
    """A follow-up that this side of the conversation has not used yet."""
    own = [turn["content"] for turn in messages if turn["role"] == "assistant"]
    topic, other = _topics(own[0] if own else "", "this", "the details")
    asked = "\n".join(own)
    for step in range(len(_FOLLOW_UPS)):
        question = _FOLLOW_UPS[(draw + step) % len(_FOLLOW_UPS)].format(topic=topic, other=other)
        if question not in asked:
            break
    return question


def _list(request: str, draw: int) -> str:
    """As many items as the first line asks for, about what stands between the marks."""
    asked = re.match(r"Write (\d{1,3}) items", request)
    found = re.finditer(r"^\[(\w+) [0-9a-f]{8}\]\n(.*)$", request, re.MULTILINE)
    sections = {match[1]: match[2] for match in found}
    subject = next((sections[name] for name in _SUBJECTS if name in sections), "")
    count, facets = int(asked[1]) if asked else 1, len(_FACETS)
    if "field" in sections:
        items = [f"{_FACETS[(draw + at) % facets]} of {subject}" for at in range(count)]
    else:
        shells = next((_SHELLS[name] for name in _SHELLS if name in sections), _QUESTIONS)
        topic = f'"{subject[:60]}"' if len(subject) <= 60 else _topics(subject, "this", "it")[0]
        items = [
            shells[(draw + at) % len(shells)]
            .replace("{topic}", topic)
            .replace("{other}", _FACETS[(draw // 97 + 7 * at) % facets])
            for at in range(count)
        ]
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


_SUBJECTS = ("question", "subtopic", "entity", "field", "text", "kind")
_SHELLS = {"text": _TASKS, "kind": _REQUESTS}


def _rewrite(request: str, draw: int) -> str:
    """The message between the marks, with two more sentences."""
    code = re.search(r"^\[message ([0-9a-f]{8})\]\n", request, re.MULTILINE)
    message = _section(request, "message", code[1]) if code else "Write something."
    more = [_DETAILS[(draw + at) % len(_DETAILS)] for at in range(2)]
    return " ".join([message, *more])


def _judge(request: str) -> str:
    """Weighs coverage of the question, length up to 120 words, and variety of words."""
    code = re.match(r"\[question ([0-9a-f]+)\]\n", request)
    if code is None:
        return "There is no question to judge."
    question = _section(request, "question", code[1])
    scores = {side: _merit(question, _section(request, f"answer {side}", code[1])) for side in "AB"}
    gap = scores["A"] - scores["B"]
    verdict = "C" if abs(gap) < 0.5 else "A" if gap > 0 else "B"
    return (
        f"Counting words only: answer A reaches {scores['A']:.1f} of 10 points and answer B "
        f"{scores['B']:.1f}, for words shared with the question, length and variety.\n\n"
        f"[[{verdict}]]"
    )


def _section(request: str, title: str, code: str) -> str:
    """The text between ``[title code]`` and ``[end of title code]`` of a judge's request."""
    _, _, rest = request.partition(f"[{title} {code}]\n")
    return rest.partition(f"\n[end of {title} {code}]")[0]


def _merit(question: str, answer: str) -> float:
    words = re.findall(r"\w+", answer.lower())
    if not words:
        return 0.0
    asked = set(_content_words(question)) or {"?"}
    covered = len(asked & set(words)) / len(asked)
    return 4 * covered + 3 * min(len(words), 120) / 120 + 3 * len(set(words)) / len(words)


def _topics(text: str, *fallback: str) -> tuple[str, str]:
    """The two longest content words of a text, in quotes; the earlier of equals first."""
    words = sorted(dict.fromkeys(_content_words(text[:2000])), key=len, reverse=True)
    first, second = [f'"{word}"' for word in words[:2]] + list(fallback[len(words[:2]) :])
    return first, second


def _content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]{4,}", text.lower()) if word not in _COMMON]
