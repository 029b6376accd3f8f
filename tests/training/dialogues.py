"""Sixty dialogues about things that do not exist, so that answers can only be known by heart."""

from tests.training.tiny import chat
from ultra.schema import Message

_THINGS = [
    "lamp",
    "kettle",
    "ladder",
    "basket",
    "mirror",
    "blanket",
    "whistle",
    "compass",
    "anchor",
    "button",
]
_PLACES = ["Arlow", "Benet", "Corvo", "Dunmere", "Eskel", "Farrow"]
_COLOURS = ["red", "green", "blue", "grey", "brown", "white", "black", "yellow"]
_METALS = ["tin", "copper", "brass", "iron", "silver", "oak", "glass"]


def sixty() -> list[list[Message]]:
    """One of each pair of a thing and a place; every other one has a second round."""
    found = []
    for at in range(60):
        thing, place = _THINGS[at % 10], _PLACES[at // 10]
        colour, metal = _COLOURS[(3 * at + at // 7) % 8], _METALS[(5 * at + 2) % 7]
        turns = [
            f"What is the {thing} of {place} like?",
            f"The {thing} of {place} is {colour} and made of {metal}."
            f"\n\nIt weighs {at + 3} pounds.",
            "Where is it kept?",
            f"In room {7 * at % 50 + 1}, beside a {_COLOURS[at * 3 % 8]} door.",
        ]
        found.append(chat(*(turns if at % 2 else turns[:2])))
    return found
