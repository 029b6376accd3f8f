"""What is asked of the opening-line model: every request follows from a path in the recipe's tree.

A job is a generator: it yields the calls that it needs at this point, is sent their replies in the
same order, and returns what it offers. Whoever drives it may make the calls one job after the
other, many jobs at a time, or level by level through the Batch API; what comes out is the same.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import xxhash

from datasets_scripts.ultrachat.openings import lists
from datasets_scripts.ultrachat.openings.lists import Item, Kind
from datasets_scripts.ultrachat.openings.opening import Opening
from ultra import jsonl, prompts
from ultra.chat import Completion, Sampling
from ultra.errors import CallError, InputError, SettingError
from ultra.prompts import Prompt
from ultra.schema import Message

VERSION = "1.0.0"
"""Of the recipe for openings: goes up whenever the same settings would ask or read otherwise."""

HERE = Path(__file__).parent
RECIPE = HERE / "recipe"
LEVELS = (
    *("subtopics", "questions", "further", "entity", "specific", "extended"),
    *("instructions", "detail", "detailed", "tasks", "templates", "lists"),
)
MANNERS = 4
"""Ways of writing that one list is asked to show."""

T = TypeVar("T")
Reply = Completion | CallError


class Ask(NamedTuple):
    """A call that a job needs."""

    messages: list[Message]
    sampling: Sampling


Steps = Generator[list[Ask], list[Reply], T]


class Offer(NamedTuple):
    """An opening, or with a ``reason`` what became of one; ``path`` is its place in the tree."""

    path: str
    opening: Opening | None = None
    reason: str = ""
    detail: str = ""

    @property
    def is_paid(self) -> bool:
        """Whether the model wrote it; a text that is left out has cost nothing."""
        return not self.reason.startswith("text_")


Job = Callable[[], Steps[list[Offer]]]


class Listed(NamedTuple):
    """What a reply holds, and who the server says wrote it."""

    items: list[Item]
    model: str

    @property
    def good(self) -> list[str]:
        return [item.text for item in self.items if not item.reason]


class Want(NamedTuple):
    """A list to be asked for: its prompt, its place in the tree, its length and its slots."""

    level: str
    path: tuple[str, ...]
    size: int
    slots: Mapping[str, str]
    kind: Kind = "message"


@dataclass(frozen=True)
class Sizes:
    """How much is asked for at each level; the published recipe's numbers, but for two.

    It asked for 10 specific and 20 extended questions for each of an entity's, and kept some 1 : 4
    : 5 of the three; here as many are asked for as are kept.
    """

    subtopics: int = 40
    """Subtopics of a field; 30 to 50 were published."""
    questions: int = 10
    """Questions about a subtopic."""
    further: int = 10
    """Further questions from each of these."""
    entity_questions: int = 5
    """Questions about an entity."""
    specific: int = 4
    """Narrower ones from each of these."""
    extended: int = 5
    """Ones of its kind about something else."""
    instructions: int = 10
    """Requests for a piece of writing in one list; there is a list for each kind, field and
    occasion."""
    detailed: float = 0.8
    """Share of these, 0 to 1, that are rewritten with more detail."""
    tasks: int = 5
    """Instructions for a text of the user's, at most 6."""

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            if name != "detailed" and not 1 <= size <= 100:
                raise SettingError(f"sizes.{name}: {size} is not from 1 to 100")
        if not 0 <= self.detailed <= 1 or self.tasks > 6:
            raise SettingError("sizes: detailed must be from 0 to 1, and tasks at most 6")


@dataclass(frozen=True)
class Writer:
    """Puts the questions to the opening-line model; the same for the same seed and settings."""

    seed: int
    sampling: Sampling
    sizes: Sizes = field(default_factory=Sizes)
    prompts: Mapping[str, Prompt] = field(default_factory=lambda: load_prompts())
    manners: Sequence[str] = field(default_factory=lambda: names(RECIPE / "manners.txt"))

    def draw(self, *path: str) -> int:
        """64 bits that follow from the recipe, the seed and a path."""
        return xxhash.xxh3_64_intdigest("\0".join((VERSION, str(self.seed), *path)).encode())

    def shuffled(self, items: Sequence[str], *path: str) -> list[str]:
        """The items in an order that is drawn for a path; a new one moves no other past another."""
        return sorted(items, key=lambda item: (self.draw("order", *path, item), item))

    def ask(self, level: str, rules: str, path: tuple[str, ...], slots: Mapping[str, str]) -> Ask:
        """The call for a place in the tree: rules, then the request with its data between marks."""
        prompt = self.prompts[level]
        filled = {**slots, "code": self._code(path, slots)}
        if "manners" in prompt.slots:
            chosen = self.shuffled(self.manners, "manners", level, *path)[:MANNERS]
            filled["manners"] = "\n".join(f"- {manner}" for manner in chosen)
        request = prompt.fill(filled)
        messages: list[Message] = [
            {"role": "system", "content": self.prompts[rules].text},
            {"role": "user", "content": request},
        ]
        return Ask(messages, replace(self.sampling, seed=self.draw("seed", level, *path) % 2**31))

    def lists(self, wants: Sequence[Want]) -> Steps[list[Listed]]:
        """Ask for lists, all at the same time."""
        replies = yield [
            self.ask(want.level, "lists", want.path, {"count": str(want.size), **want.slots})
            for want in wants
        ]
        return [_listed(reply, want) for reply, want in zip(replies, wants, strict=True)]

    def _code(self, path: tuple[str, ...], slots: Mapping[str, str]) -> str:
        """What the marks around data carry: it stands nowhere in the data."""
        tries = 0
        while True:
            code = f"{self.draw('code', str(tries), *path):016x}"[:8]
            if not any(code in value for value in slots.values()):
                return code
            tries += 1


def _listed(reply: Reply, want: Want) -> Listed:
    if isinstance(reply, CallError):
        return Listed([failed(reply)], "")
    return Listed(lists.parse(reply, want.size, want.kind), reply.model)


def offers(want: Want, listed: Listed, like: Opening) -> list[Offer]:
    """The items of a list as openings like another one, those rejected with their reason."""
    return [
        Offer(place, None, item.reason, item.text)
        if item.reason
        else Offer(place, replace(like, text=item.text, model=listed.model))
        for place, item in _placed(want, listed)
    ]


def rejected(want: Want, listed: Listed) -> list[Offer]:
    """Those items of a list that are rejected; the others are no openings."""
    return [
        Offer(place, None, item.reason, item.text)
        for place, item in _placed(want, listed)
        if item.reason
    ]


def _placed(want: Want, listed: Listed) -> Iterator[tuple[str, Item]]:
    start = "/".join((*want.path, want.level))
    return ((f"{start}/{number}", item) for number, item in enumerate(listed.items))


def failed(error: CallError) -> Item:
    """What stands for the items of a call that failed."""
    return Item(jsonl.scrub(str(error))[:200], f"call_{error.reason}")


def load_prompts() -> dict[str, Prompt]:
    """The prompts of all levels, by level."""
    return {level: prompts.load(HERE / "prompts" / f"opening_{level}.md") for level in LEVELS}


def names(path: Path) -> list[str]:
    """The lines of a list of names, one each, without empty and repeated ones.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list, one name a line ({error})") from error
    found = list(dict.fromkeys(" ".join(lists.clean(line).split()) for line in lines))
    found = [name for name in found if name]
    if not found:
        raise InputError(f"{path}: holds no name; one a line is expected")
    return found
