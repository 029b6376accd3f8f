"""The pair of scores that a judge's words end up with: read strictly, or not at all.

Judges were asked for a line of two numbers, and wrote "(10, 4)", "Assistant 1: 10" over
"Assistant 2: 6", "2/10", or "a score of 10 and Assistant 2 a score of 4" as well. Each sentence is
cut into tokens, and only a few orders of labels and numbers, among words that are known, are a
verdict. What stands in quotation marks, quotations or code is somebody else's. Lines that are
longer than any verdict are not looked at, so time is linear in the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Scores = tuple[float, float]
"""Of the answer shown first, and of the one shown second."""

Reason = Literal["empty", "no_verdict", "one_score", "out_of_range", "contradictory"]

LOWEST, HIGHEST = 0.0, 10.0
"""Judges are asked for 1 to 10; they do write 0, for an answer that is not there."""

LONGEST_LINE = 2000
"""Characters; a verdict, with its reasons in the same line, is far shorter."""

_TOKEN = re.compile(
    r"(?P<label>\b(?:[Aa]ssistant|ASSISTANT|[Mm]odel|[Aa]nswer|[Rr]esponse)"
    r"[ #]{1,2}[12AB]\b(?:['’]s)?)"  # noqa: RUF001
    r"|(?P<number>(?<![\w.,\-−+])[0-9]{1,4}(?:\.[0-9]{1,3})?(?![\w%]|[.,][0-9])"  # noqa: RUF001
    r"(?: ?/ ?10(?!\w|\.[0-9]|/)| out of (?:10|ten)\b)?(?: points?\b)?)"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)"  # noqa: RUF001
    r"|(?P<other>\S)"
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
_BRACKETS = re.compile(r"\([^()]*\)")
_SCALE = re.compile(r",? ?\b(?:on )?a scale (?:of|from) [01] ?(?:to|-) ?10\b,?", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-+•]|[0-9]{1,2}[.)]) +(?=[^\W\d_])")
_EMPHASIS = str.maketrans("", "", "*_`#")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CUES = _set("score scores scored rating ratings rate grade grades verdict")
_GIVING = _set("give gives giving assign award gets get receives receive earns deserves")
_FINAL = _set("final finally overall conclusion verdict revised corrected")
_KNOWN = (
    _CUES
    | _GIVING
    | _FINAL
    | _set("a an the i i'd i'll we my our it they them both assistants this these above following")
    | _set("will would is are be as at of for to in on and with while whereas respectively")
    | _set("so therefore thus hence based evaluation analysis assessment summary total")
    | _set("upon after further reflection thought consideration now correct new having again")
    | _set("actually however but i've i'm reconsidered reconsidering looking let me myself should")
    | _set("can could think believe feel more carefully fair deserve quality overall each one")
)
"""Words that may stand before the last number of a verdict; others may make it a report of one."""
_AFTER = _set("and while whereas but to for because as since due with respectively")
_TURNING = _set("not no never if unless instead don't wouldn't cannot can't")
_JOINTS = set(":-–—=(|…")  # noqa: RUF001
_QUOTES = set('"“”„«»')
_PLAIN = set("()[]{},;|&")


@dataclass(frozen=True)
class _Token:
    kind: Literal["label", "number", "word", "other"]
    text: str

    @property
    def side(self) -> int:
        """0 or 1: whose label this is."""
        return int(self.text.removesuffix("'s").removesuffix("’s")[-1] in "2B")  # noqa: RUF001

    @property
    def value(self) -> float:
        return float(re.match(r"[0-9.]+", self.text)[0])  # type: ignore[index]


@dataclass(frozen=True)
class _Reading:
    """What one sentence, or two that belong together, says. ``scores`` lacks a side not named.

    ``announced``: the words or the heading above call it the scores. ``final``: or the last ones.
    """

    scores: tuple[float | None, float | None]
    line: int
    announced: bool = False
    final: bool = False
    torn: bool = False

    @property
    def complete(self) -> bool:
        return None not in self.scores

    @property
    def in_range(self) -> bool:
        return all(LOWEST <= score <= HIGHEST for score in self.scores if score is not None)


def read(text: str) -> Scores | Reason:
    """The last explicit pair of scores in a judge's words, or why there is none.

    If they give different pairs, one counts only as the clear last word: it is the end of the text,
    or calls itself final in the last paragraph. Else they are ``contradictory``. Sides are treated
    alike, and numbers from ``LOWEST`` to ``HIGHEST`` are scores, 0 among them.
    """
    lines = [line.strip() for line in text.splitlines()]
    filled = [number for number, line in enumerate(lines) if line]
    if not filled:
        return "empty"
    readings = list(_joined(_readings(lines)))
    whole = [one for one in readings if one.complete]
    # A line of two numbers that nothing calls scores, and that are too high, is something else.
    pairs = [one for one in whole if one.announced or one.in_range] or whole
    if not pairs:
        return "one_score" if readings else "no_verdict"
    first, last = filled[0], filled[-1]
    ends = (first, last)
    strong = [one for one in pairs if one.announced or one.line in ends] or pairs
    verdict = strong[-1]
    if verdict.line not in ends:  # then even a line of two numbers below it casts doubt on it
        strong += [one for one in pairs if one.line > verdict.line]
    if len({one.scores for one in strong}) > 1 or verdict.torn:
        closing = all(lines[verdict.line : last + 1])
        if verdict.torn or not (verdict.line == last or (verdict.final and closing)):
            return "contradictory"
    if not verdict.in_range:
        return "out_of_range"
    one, two = verdict.scores
    assert one is not None  # noqa: S101 (a pair is complete)
    assert two is not None  # noqa: S101
    return one, two


def _readings(lines: list[str]) -> Iterator[_Reading]:
    """What each sentence says; numbers of quoted lines and of code are somebody else's."""
    heading: list[_Token] = []
    fenced = False
    for number, raw in enumerate(lines):
        if raw.startswith(("~~~", "```")):
            fenced = not fenced
        line = _BULLET.sub("", raw.translate(_EMPHASIS).strip(), count=1)
        if not line:
            continue
        if fenced or line.startswith(">") or len(line) > LONGEST_LINE:
            heading = []
            continue
        tokens: list[_Token] = []
        found = False
        speaker = _speaker(line)
        for sentence in _SENTENCE_END.split(_without_asides(line)):
            tokens = _tokens(sentence)
            reading = _sentence(tokens, speaker)
            if reading:
                found = True
                words = _words(tokens) | _words(heading)
                announced, final = bool(words & (_CUES | _FINAL)), bool(words & _FINAL)
                yield replace(reading, line=number, announced=announced, final=final)
        if not found:  # a heading holds for all labels below it
            heading = tokens if tokens and tokens[-1].text == ":" else []


def _without_asides(line: str) -> str:
    """Leave out reasons in brackets, which hold numbers of their own, and the scale."""
    line = _BRACKETS.sub(
        lambda found: "" if re.search("[a-z]", found[0]) and "core" not in found[0] else found[0],
        line,
    )
    return " ".join(_SCALE.sub("", line).split())


def _tokens(sentence: str) -> list[_Token]:
    return [
        _Token(found.lastgroup, found[0])  # type: ignore[arg-type]
        for found in _TOKEN.finditer(sentence)
    ]


def _words(tokens: list[_Token]) -> set[str]:
    return {token.text.lower() for token in tokens if token.kind == "word"}


def _speaker(line: str) -> int | None:
    """The side that a line "Assistant 1: ..." is about, if it names no other."""
    tokens = _tokens(line)
    sides = {token.side for token in tokens if token.kind == "label"}
    opens = len(tokens) > 1 and tokens[0].kind == "label" and tokens[1].text == ":"
    return tokens[0].side if opens and len(sides) == 1 else None


def _sentence(tokens: list[_Token], speaker: int | None) -> _Reading | None:
    """The scores that a sentence gives, to both sides or to one; None if it gives none."""
    marks = [(at, token) for at, token in enumerate(tokens) if token.kind in ("label", "number")]
    numbers = [(at, token) for at, token in marks if token.kind == "number"]
    if not numbers or len(numbers) > 2:
        return None
    end = numbers[-1][0]
    order = "".join(token.kind[0] for at, token in marks if at <= end)
    if order in ("nn", "nln"):
        order += "".join(token.kind[0] for at, token in marks if at > end)
        end = marks[-1][0] if order != "nn" else end
    labels = [token for at, token in marks if token.kind == "label" and at <= end]
    sides = [token.side for token in labels]
    if len(set(sides)) != len(sides) or not _is_verdict(tokens, end, order):
        return None
    values = [token.value for _, token in numbers]
    if order in ("lnln", "llnn", "nnll", "nlnl") and len(sides) == 2:
        one, two = (values[sides.index(side)] for side in (0, 1))
        return _Reading((one, two), 0)
    if order == "nn":
        return _Reading((values[0], values[1]), 0)
    side = sides[0] if order == "ln" else speaker if order == "n" else None
    if side is None:
        return None
    return _Reading((values[0], None) if side == 0 else (None, values[0]), 0)


def _is_verdict(tokens: list[_Token], end: int, order: str) -> bool:
    """Whether the words around the numbers make them scores, and nobody else's."""
    if order == "nn" and _words(tokens) <= {"and"}:
        others = [token.text for token in tokens if token.kind == "other"]
        return _PLAIN.issuperset(others[:-1]) and _PLAIN.issuperset({*others[-1:]} - {"."})
    if not all(_ends(tokens, at) for at, token in enumerate(tokens) if token.kind == "number"):
        return False
    if not _known_up_to(tokens, end, asides=order == "lnln"):
        return False
    cued = bool(_words(tokens[:end]) & (_CUES | _GIVING))
    return cued or (order in ("ln", "lnln") and _joined_by_mark(tokens))


def _ends(tokens: list[_Token], at: int) -> bool:
    """Whether a number ends there, instead of counting what follows it ("5 tips")."""
    if at + 1 == len(tokens):
        return True
    after = tokens[at + 1]
    if after.kind == "word":
        return after.text.lower() in _AFTER
    return after.kind in ("label", "number") or after.text in set(".,;:!)]}|-–—…&")  # noqa: RUF001


def _joined_by_mark(tokens: list[_Token]) -> bool:
    """Whether a colon or the like joins each number to the label before it."""
    joined = False
    for token in tokens:
        if token.kind == "number" and not joined:
            return False
        joined = token.kind != "label" and (joined or token.text in _JOINTS)
    return True


def _known_up_to(tokens: list[_Token], end: int, asides: bool) -> bool:
    """Whether all words before the last score are known; with ``asides`` but for reasons.

    Those stand behind the first score, up to the next label: "Assistant 1 gets a score of 10 for
    its proof and Assistant 2 a score of 4".
    """
    aside = False
    for token in tokens[:end]:
        word = token.text.lower()
        if token.kind == "word" and (word in _TURNING or not (aside or word in _KNOWN)):
            return False
        if (
            token.kind == "other"
            and word not in _PLAIN | _JOINTS
            and (word in _QUOTES or not aside)
        ):
            return False
        if token.kind in ("label", "number"):
            aside = asides and token.kind == "number"
    return True


def _joined(readings: Iterator[_Reading]) -> Iterator[_Reading]:
    """Put scores of one side together with those of the other that follow them."""
    held: _Reading | None = None
    for reading in readings:
        if reading.complete:
            held = None
            yield reading
            continue
        if held is None:
            held = reading
            continue
        side = 0 if reading.scores[0] is not None else 1
        if held.scores[side] is None:
            one, two = (
                a if a is not None else b for a, b in zip(held.scores, reading.scores, strict=True)
            )
            yield replace(
                held,
                scores=(one, two),
                line=reading.line,
                announced=held.announced or reading.announced,
                final=held.final or reading.final,
            )
            held = None
        elif held.scores != reading.scores:
            held = replace(reading, torn=True)
    if held:
        yield held
