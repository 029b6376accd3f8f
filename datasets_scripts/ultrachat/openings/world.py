"""Openings of sector 1, questions about the world: from fields of knowledge, and from entities.

Both trees have one shape. A root (a subtopic of a field, or an entity) gets questions, its heads,
and each head gets follow-ups. A job takes one root in one round: the first round offers all heads
and the follow-ups of one of them, each later round the follow-ups of the next head, drawn by hash.
So a corpus of any size has all sorts of questions, covers every field first and goes deeper as it
grows, and pays for no level that it does not use.
"""

from collections.abc import Callable, Iterator
from functools import partial

from datasets_scripts.ultrachat.openings.asking import (
    Job,
    Offer,
    Steps,
    Want,
    Writer,
    offers,
    rejected,
)
from datasets_scripts.ultrachat.openings.opening import Opening

BLOCK = 10
"""Roots that are taken together, an offer of each in turn."""


def concept_blocks(writer: Writer, fields: list[str], source: str) -> Iterator[list[Job]]:
    """Jobs for subtopics of the fields, in the order in which they are wanted."""
    for turn in range(writer.sizes.questions):
        for place in range(writer.sizes.subtopics):
            order = writer.shuffled(fields, "concept", str(turn), str(place))
            for start in range(0, len(order), BLOCK):
                chosen, at = order[start : start + BLOCK], (place, turn)
                yield [partial(concept, writer, name, source, at) for name in chosen]


def entity_blocks(writer: Writer, entities: list[str], source: str) -> Iterator[list[Job]]:
    """Jobs for entities, in the order of their list."""
    for turn in range(writer.sizes.entity_questions):
        for start in range(0, len(entities), BLOCK):
            chosen = entities[start : start + BLOCK]
            yield [partial(entity, writer, name, source, turn) for name in chosen]


def concept(writer: Writer, name: str, source: str, at: tuple[int, int]) -> Steps[list[Offer]]:
    """Offer questions on one subtopic of a field; ``at`` is its place, and the round."""
    place, turn = at
    sizes, path = writer.sizes, ("concept", name)
    want = Want("subtopics", path, sizes.subtopics, {"field": name}, "name")
    [subtopics] = yield from writer.lists([want])
    found = rejected(want, subtopics) if at == (0, 0) else []
    if place >= len(subtopics.good):
        return found
    subtopic = subtopics.good[place]
    slots = {"field": name, "subtopic": subtopic}
    heads = Want("questions", (*path, str(place)), sizes.questions, slots)

    def more(path: tuple[str, ...], question: str) -> list[Want]:
        return [Want("further", path, sizes.further, {"question": question})]

    opening = Opening("world", f"{name}: {subtopic}", "", source, "concept")
    return found + (yield from _grow(writer, opening, turn, heads, more))


def entity(writer: Writer, name: str, source: str, turn: int) -> Steps[list[Offer]]:
    """Offer questions on an entity, in one round."""
    sizes, path = writer.sizes, ("entity", name)
    heads = Want("entity", path, sizes.entity_questions, {"entity": name})

    def more(path: tuple[str, ...], question: str) -> list[Want]:
        slots = {"entity": name, "question": question}
        return [
            Want("specific", path, sizes.specific, slots),
            Want("extended", path, sizes.extended, slots),
        ]

    opening = Opening("world", name, "", source, "entity")
    return (yield from _grow(writer, opening, turn, heads, more))


def _grow(
    writer: Writer, like: Opening, turn: int, heads: Want, more: Callable[..., list[Want]]
) -> Steps[list[Offer]]:
    """The heads of a root in the first round, and the follow-ups of one of them in each."""
    [listed] = yield from writer.lists([heads])
    found = offers(heads, listed, like) if turn == 0 else []
    order = writer.shuffled(listed.good, "heads", *heads.path)
    if turn >= len(order):
        return found
    wants = more((*heads.path, str(listed.good.index(order[turn]))), order[turn])
    for want, follow_ups in zip(wants, (yield from writer.lists(wants)), strict=True):
        found += offers(want, follow_ups, like)
    return found
