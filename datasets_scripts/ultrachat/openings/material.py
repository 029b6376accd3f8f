"""Openings of sector 3, assistance on existing material: a text of the user's and an instruction.

A job is one text. The tasks that are asked for, their order and the template that puts text and
instruction together are drawn by hash. A text that is too short, repeats another one or holds a
benchmark question costs no call.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

from datasets_scripts.pipeline import Drop
from datasets_scripts.ultrachat.openings.asking import Job, Offer, Steps, Want, Writer, offers
from datasets_scripts.ultrachat.openings.opening import Opening
from datasets_scripts.ultrachat.openings.texts import Text
from ultra import jsonl
from ultra.prompts import Prompt

BLOCK = 10
"""Texts that are taken together, an offer of each in turn."""
TASKS = (
    "to rewrite it, or a part of it, for another reader, purpose or tone",
    "to translate it, or a part of it, into a language that the instruction names",
    "to summarise it, for somebody and at a length that are named",
    "a question whose answer stands in it",
    "to continue it in its own manner, or to write what could stand before it",
    "what follows from it, or what its writer takes for granted, with the passages that show it",
)
"""Rewrite, translate, summarise, question, continue, infer."""
_BACKWARD, _FORWARD = ("above", "preceding"), ("below", "following", "attached")


def blocks(
    writer: Writer, texts: Iterable[Text], unfit: Callable[[Text], Drop | None]
) -> Iterator[list[Job]]:
    """Jobs for the texts in their order; ``unfit`` says why one is not worth a call."""
    shared = iter(texts)
    while chosen := list(islice(shared, BLOCK)):
        yield [partial(_instructions, writer, text, unfit(text)) for text in chosen]


def _instructions(writer: Writer, text: Text, drop: Drop | None) -> Steps[list[Offer]]:
    """Offer a text with each of several instructions."""
    path = ("material", jsonl.digest([text.text, text.source])[:16])
    if drop is not None:
        return [Offer("/".join(path), None, drop.reason, drop.detail)]
    chosen = writer.shuffled(TASKS, "tasks", *path)[: writer.sizes.tasks]
    tasks = "\n".join(f"{number}. {task}" for number, task in enumerate(chosen, 1))
    slots = {"kind": text.kind, "text": text.text, "tasks": tasks}
    want = Want("tasks", path, len(chosen), slots)
    [listed] = yield from writer.lists([want])
    like = Opening("material", "", "", text.source, text.kind, text.text)
    return [_glued(writer, offer) for offer in offers(want, listed, like)]


def _glued(writer: Writer, offer: Offer) -> Offer:
    """An offer with its text in it, by a template that fits the words of the instruction."""
    if offer.opening is None:
        return offer
    instruction = offer.opening.text
    templates = [Prompt("", one) for one in writer.prompts["templates"].text.split("\n---\n")]
    fitting = [one for one in templates if _fits(one.text, instruction.lower().split())]
    chosen = (fitting or templates)[writer.draw("template", offer.path) % len(fitting or templates)]
    glued = chosen.fill({"instruction": instruction, "text": offer.opening.material})
    return offer._replace(opening=replace(offer.opening, text=glued))


def _fits(template: str, said: list[str]) -> bool:
    text_comes_first = template.index("{text}") < template.index("{instruction}")
    words = {word.strip(".,:;!?") for word in said}
    return not words & set(_FORWARD if text_comes_first else _BACKWARD)
