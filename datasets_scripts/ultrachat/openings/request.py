"""What openings are wanted, and the streams of jobs that make them."""

import math
import re
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import Length, Questions
from datasets_scripts.ultrachat.openings import asking, creation, material, texts, world
from datasets_scripts.ultrachat.openings.asking import RECIPE, Sizes, Writer, names
from datasets_scripts.ultrachat.openings.flow import Stream
from datasets_scripts.ultrachat.openings.opening import Sector
from datasets_scripts.ultrachat.openings.sieve import Sieve
from datasets_scripts.ultrachat.openings.texts import Sources
from ultra import jsonl
from ultra.chat import ChatModel, Sampling
from ultra.errors import SettingError

TOPICS, MATERIALS, ENTITIES = (
    RECIPE / f"{name}.txt" for name in ("topics", "materials", "entities")
)
_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_ASKED, _TEXT = 420, 900
"""Tokens of a request, and of a text of the user's in one."""
_LINE, _REWRITTEN = 30, 110
"""Tokens of a line of a list, and of a message with detail."""


@dataclass(frozen=True)
class Request:
    """What openings are wanted."""

    sector: Sector | Literal["all"] = "all"
    n: int = 300
    """Of all shards together."""
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    """Which of how many."""
    sampling: Sampling = field(default_factory=lambda: Sampling(1.0, max_tokens=2048))
    sizes: Sizes = field(default_factory=Sizes)
    sources: Sources = field(default_factory=Sources)
    near_duplicates: float = 0.8
    questions: Path | None = None
    drop_overlap: Length = 8

    def __post_init__(self) -> None:
        if self.n < 1:
            raise SettingError(f"n: {self.n} is not 1 or more")
        if self.sampling.seed or self.sampling.sample or self.sampling.top_logprobs:
            raise SettingError("seed: set 'seed' alone; each call draws its own from it")
        if not 0 <= self.near_duplicates <= 1:
            raise SettingError(f"near_duplicates: {self.near_duplicates} is not from 0 to 1")

    @property
    def count(self) -> int:
        """The openings of this shard: one for each of its dialogues."""
        shard, shards = self.shard
        return len(range(shard, self.n, shards))


def shard_of(shard: str) -> tuple[int, int]:
    """Which of how many shards ``i/n`` is, i from 0; nothing is the whole, (0, 1).

    Raises:
        SettingError: it is no such thing.
    """
    found = _SHARD.fullmatch(shard or "0/1")
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not index < count:
        raise SettingError(f"shard: {shard!r} is not i/n, such as 0/4, with i below n")
    return index, count


def streams(request: Request, writer: Writer, sift: Sieve) -> list[Stream]:
    """The streams of the sectors that are wanted, with this shard's roots.

    The three sectors have equal shares, and so have the two branches of the first, about as they
    were published.
    """
    shard, shards = request.shard
    sizes, sources = request.sizes, request.sources

    def own(path: Path) -> list[str]:
        return list(islice(names(path), shard, None, shards))

    def unfit(text: texts.Text) -> Drop | None:
        return sift.unfit(text, sources.least_characters)

    entities = sources.entities or ENTITIES
    found: list[Stream] = []
    if request.sector in ("all", "world"):
        fields = world.concept_blocks(writer, own(TOPICS), TOPICS.name)
        found.append(Stream("concept", 0.5, fields, sizes.questions + sizes.further))
        things = world.entity_blocks(writer, own(entities), jsonl.scrub(entities.name))
        follow_ups = sizes.specific + sizes.extended
        found.append(Stream("entity", 0.5, things, sizes.entity_questions + follow_ups))
    if request.sector in ("all", "creation"):
        kinds = creation.blocks(writer, own(MATERIALS), MATERIALS.name)
        found.append(Stream("creation", 1.0, kinds, sizes.instructions))
    if request.sector in ("all", "material"):
        own_texts = islice(texts.read(sources), shard, None, shards)
        found.append(
            Stream("material", 1.0, material.blocks(writer, own_texts, unfit), sizes.tasks)
        )
    return found


def identity(request: Request, chat: ChatModel) -> dict[str, Any]:
    """The manifest fields that, with the model's answers and ``n``, decide the bytes."""
    questions = request.questions and Questions.load(request.questions).digest
    lists = [*sorted(RECIPE.glob("*.txt")), request.sources.entities or ENTITIES]
    read = request.sector in ("all", "material")
    own = ("seed", "sample", "top_logprobs")
    sampling = {key: value for key, value in asdict(request.sampling).items() if key not in own}
    return ({"demo": True} if chat.name == "demo" else {}) | {
        "recipe": asking.VERSION,
        "configuration": {
            "sector": request.sector,
            "seed": request.seed,
            "shard": list(request.shard),
            "sizes": asdict(request.sizes),
            "near_duplicates": request.near_duplicates,
            "questions": questions or "",
            "drop_overlap": request.drop_overlap,
        },
        "input": {
            "lists": {jsonl.scrub(path.name): jsonl.digest(names(path)) for path in lists},
            "texts": texts.identity(request.sources) if read else {},
        },
        "models": {"opening": chat.name},
        "sampling": {"opening": sampling},
        "prompts": {one.name: one.digest for one in asking.load_prompts().values()},
    }


def expected(request: Request) -> tuple[int, int, int]:
    """About how many calls the openings take, and the tokens that these read and write.

    Blocks are made whole, so a few openings take as many calls as a block of each stream.
    """
    sizes, all_sectors = request.sizes, request.sector == "all"
    entity_lines = sizes.entity_questions + sizes.specific + sizes.extended
    calls = read = written = 0.0
    for sector, share, block, lines, lists in (
        ("world", 1 / 6 if all_sectors else 1 / 2, world.BLOCK, sizes.questions + sizes.further, 3),
        ("world", 1 / 6 if all_sectors else 1 / 2, world.BLOCK, entity_lines, 3),
        ("creation", 1 / 3 if all_sectors else 1, creation.BLOCK, sizes.instructions, 1),
        ("material", 1 / 3 if all_sectors else 1, material.BLOCK, sizes.tasks, 1),
    ):
        if sector == request.sector or all_sectors:
            jobs = block * math.ceil(request.count * share / lines / block)
            rewritten = jobs * lines * sizes.detailed if sector == "creation" else 0
            calls += jobs * lists + rewritten
            read += (jobs * lists + rewritten) * _ASKED + (sector == "material") * jobs * _TEXT
            written += jobs * lines * _LINE + rewritten * _REWRITTEN
    return round(calls), round(read), round(written)
