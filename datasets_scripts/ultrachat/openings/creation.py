"""Openings of sector 2, creation: requests for a piece of writing, most of them with detail.

A job is one list of requests for a kind of material, from one field and with one occasion in mind;
field and occasion are drawn, so that two lists of one kind have little in common. The kinds take
turns.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from datasets_scripts.ultrachat.openings import lists
from datasets_scripts.ultrachat.openings.asking import (
    RECIPE,
    Ask,
    Job,
    Offer,
    Reply,
    Steps,
    Want,
    Writer,
    failed,
    names,
    offers,
)
from datasets_scripts.ultrachat.openings.opening import Opening
from ultra.errors import CallError

BLOCK = 5
"""Kinds that are taken together, an offer of each in turn."""
DETAILS = 3
"""Matters on which a request is to say more."""


class Setting(NamedTuple):
    """What a list of requests is for."""

    kind: str
    area: str
    occasion: str


def blocks(writer: Writer, kinds: list[str], source: str) -> Iterator[list[Job]]:
    """Jobs for the kinds of material, until each has met every field on every occasion.

    Each kind goes through all fields, in an order of its own, before it meets one again.
    """
    fields, occasions = names(RECIPE / "topics.txt"), names(RECIPE / "occasions.txt")
    details = names(RECIPE / "details.txt")
    for page in range(len(fields) * len(occasions)):
        turn, place = divmod(page, len(fields))
        jobs: list[Job] = []
        for kind in writer.shuffled(kinds, "creation", str(page)):
            area = writer.shuffled(fields, "areas", kind)[place]
            occasion = writer.shuffled(occasions, "occasions", kind, area)[turn]
            setting = Setting(kind, area, occasion)
            jobs.append(partial(_requests, writer, setting, details, source))
        yield from (jobs[start : start + BLOCK] for start in range(0, len(jobs), BLOCK))


def _requests(
    writer: Writer, setting: Setting, details: list[str], source: str
) -> Steps[list[Offer]]:
    """Offer the requests of one list, a share of them after a second call with more detail."""
    path = ("creation", *setting)
    want = Want("instructions", path, writer.sizes.instructions, setting._asdict())
    [listed] = yield from writer.lists([want])
    found = offers(want, listed, Opening("creation", setting.area, "", source, setting.kind))
    drawn = {
        place: offer.opening
        for place, offer in enumerate(found)
        if offer.opening and _share(writer, offer.path) < writer.sizes.detailed
    }
    replies = yield [_detailed(writer, found[place].path, drawn[place], details) for place in drawn]
    for (place, opening), reply in zip(drawn.items(), replies, strict=True):
        found[place] = _rewritten(found[place].path, opening, reply)
    return found


def _share(writer: Writer, path: str) -> float:
    return writer.draw("detailed", path) / 2**64


def _detailed(writer: Writer, path: str, opening: Opening, details: list[str]) -> Ask:
    chosen = writer.shuffled(details, "details", path)[:DETAILS]
    slots = {
        "message": opening.text,
        "kind": opening.kind,
        "details": "\n".join(f"- {one}" for one in chosen),
    }
    return writer.ask("detail", "detailed", (path,), slots)


def _rewritten(path: str, opening: Opening, reply: Reply) -> Offer:
    item = failed(reply) if isinstance(reply, CallError) else lists.parse_message(reply)
    if item.reason:
        return Offer(path, None, item.reason, item.text)
    return Offer(path, replace(opening, text=item.text))
