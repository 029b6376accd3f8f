"""Make opening lines with a model: a file of them, checked before a dialogue is paid for.

Into the folder ``--out`` go

- ``openings.jsonl``: the openings in a fixed order, of which each beginning stays as it is when
  more are asked for;
- ``dropped.jsonl``: path, reason and detail of everything that did not become one;
- ``manifest.json``, written last: settings, models, counts of each step, digests.

The same settings and the same answers give the same bytes. Calls are in the journal of
``OUT.run``, so that a run that was killed, or that asks for more, pays for nothing twice.

**Shards.** Make the openings once and let every machine take its share of the dialogues of that
one file: the union is then what one machine would make. Where each machine has to make its own,
``--shard i/n`` gives shard i its own fields, kinds of material, entities and texts (those whose
place in their list is i modulo n) and as many openings as its dialogues need. Shards then share no
root and need no coordination, but an opening is compared with those of its own shard only; and with
more shards than kinds of material (20) or fields (30), some have none of these.
"""

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import Questions
from datasets_scripts.ultrachat.openings.asking import Sizes, Writer
from datasets_scripts.ultrachat.openings.flow import Flow
from datasets_scripts.ultrachat.openings.request import (
    Request,
    expected,
    identity,
    shard_of,
    streams,
)
from datasets_scripts.ultrachat.openings.sieve import Sieve
from datasets_scripts.ultrachat.openings.texts import Sources
from ultra import budget, command, files, jsonl, models
from ultra.chat import ChatModel, Sampling
from ultra.engine import Limits, Session, session
from ultra.errors import InputError

_SHOWN = 500
"""Characters of an opening that was dropped."""
OPENINGS, DROPPED, MANIFEST = "openings.jsonl", "dropped.jsonl", "manifest.json"


@dataclass(frozen=True)
class Settings(Limits):
    """Make opening lines for UltraChat dialogues with a model."""

    out: Path = Path("out/openings")
    """Folder for openings.jsonl, dropped.jsonl and manifest.json."""
    sector: Literal["all", "world", "creation", "material"] = "all"
    """Sector of openings to make."""
    n: int = 300
    """How many to make; more of them leave the first ones as they were."""
    seed: int = 0
    """Decides everything that is drawn, and is sent with every call."""
    shard: str = ""
    """i/n, i from 0: make only what shard i of n needs, from roots of its own."""
    opening_model: str = ""
    """Who writes: demo, a checkpoint folder, or a model's name at the endpoint."""
    base_url: str = ""
    """OpenAI-compatible endpoint; by default OPENAI_BASE_URL."""
    opening_sampling: Sampling = field(default_factory=lambda: Sampling(1.0, max_tokens=2048))
    """Sampling of the writer."""
    sizes: Sizes = field(default_factory=Sizes)
    """How much is asked for at each level."""
    sources: Sources = field(default_factory=Sources)
    """Entities and texts to make openings from."""
    near_duplicates: float = 0.8
    """Similarity, above 0 to 1, from which an opening repeats an earlier one; 0 looks for none."""
    questions: Path | None = None
    """Benchmark questions as JSON Lines: an opening that asks one is dropped."""
    drop_overlap: Literal[8, 13] = 8
    """Words in a row shared with a question that drop an opening."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.request

    @property
    def request(self) -> Request:
        """The part of the settings that decides what is made."""
        return Request(
            self.sector,
            self.n,
            self.seed,
            shard_of(self.shard),
            self.opening_sampling,
            self.sizes,
            self.sources,
            self.near_duplicates,
            self.questions,
            self.drop_overlap,
        )


def make(settings: Settings) -> Path:
    """Make the openings, or find them made from the same settings; returns their file.

    Raises:
        InputError: a list, a text or a question cannot be read, or no opening is kept.
        OutputError: the folder holds openings of other settings, or another run is at work.
        ModelError: the endpoint refuses us; finished calls are in the journal.
        BudgetError: the next call could pass the budget; likewise.
    """
    name = models.chosen(settings.opening_model, "openings", "--opening-model")
    chat = models.open_model(name, settings.base_url)

    async def run() -> Path:
        folder = settings.out.with_name(f"{settings.out.name}.run")
        async with session(settings, folder, "openings") as talks:
            return await generate(settings.request, talks, chat, settings.out)

    path = asyncio.run(run())
    print(path)
    return path


async def generate(
    request: Request, talks: Session, chat: ChatModel, folder: Path, anew: bool = False
) -> Path:
    """Write the openings that are wanted, unless they are there; returns their file.

    ``anew``: openings of other settings there are replaced, where it would be an error.

    ``manifest.json`` beside it has ``openings`` (their number), ``steps``, ``models``, ``prompts``,
    ``sampling``, ``configuration`` and the digests of both files. Where trees and texts hold fewer
    openings than are wanted, or the model writes nothing of use any more, a warning says so.

    Raises: see :func:`make`.
    """
    path, made = folder / OPENINGS, identity(request, chat)
    if _is_made(folder, made, request.n, anew):
        await chat.close()
        return path
    writer = Writer(request.seed, request.sampling, request.sizes)
    questions = Questions.load(request.questions) if request.questions else None
    print(f"openings: {budget.estimate(talks.budget.prices, chat.name, *expected(request))}")
    with ExitStack() as stack:
        stack.enter_context(files.locked(folder))
        (folder / MANIFEST).unlink(missing_ok=True)
        sift = stack.enter_context(
            Sieve(folder, request.near_duplicates, questions, request.drop_overlap)
        )
        kept, dropped = (
            stack.enter_context(files.atomic(folder / name)) for name in (OPENINGS, DROPPED)
        )
        flow = Flow(streams(request, writer, sift), writer, talks, talks.model(chat))
        count, authors = await _write(request.count, flow, sift, (kept, dropped))
        if not count:
            raise InputError(f"{folder}: no opening is kept: {flow.end}")
    if count < request.count:
        print(f"only {count:,} of {request.count:,} openings: {flow.end}", file=sys.stderr)
    made |= {"n": request.n, "openings": count, "written_by": authors}
    made |= {"steps": sift.ledger.table(), "files": _listed(folder)}
    manifest = orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    files.write_text(folder / MANIFEST, manifest.decode())
    return path


async def _write(
    wanted: int, flow: Flow, sift: Sieve, out: tuple[BinaryIO, BinaryIO]
) -> tuple[int, list[str]]:
    """Write what is kept and what is not, in order; returns how many are, and who wrote them."""
    kept, dropped = out
    count, authors = 0, set[str]()
    while count < wanted and (offer := await flow.next(count, wanted - count)) is not None:
        found = sift.take(offer)
        flow.judge(offer, found)
        if isinstance(found, Drop):
            row = {"path": offer.path, "reason": found.reason, "detail": found.detail}
            if offer.opening is not None:
                row["opening"] = offer.opening.text[:_SHOWN]
            dropped.write(jsonl.dump(row))
        else:
            kept.write(jsonl.dump({**found.row(), "path": offer.path}))
            authors.add(found.model)
            count += 1
    return count, sorted(authors)


def _is_made(folder: Path, made: dict[str, Any], n: int, anew: bool) -> bool:
    """Whether a folder holds these openings, this many; another number of them is made anew."""
    try:
        found = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return False
    except orjson.JSONDecodeError as error:
        raise InputError(f"{folder / MANIFEST}: damaged ({error}); remove it") from error
    if not isinstance(found, dict):
        raise InputError(f"{folder / MANIFEST}: no manifest of openings; remove it")
    if anew and any(found.get(key) != value for key, value in made.items()):
        return False
    files.require_same(folder, found, made)
    return bool(found.get("n") == n and found.get("files") == _listed(folder))


def _listed(folder: Path) -> list[dict[str, Any]]:
    """The files that are there, as a manifest lists them."""
    found = []
    for path in (folder / OPENINGS, folder / DROPPED):
        if path.is_file():
            with path.open("rb") as file:
                rows = sum(1 for _ in file)
            size, digest = path.stat().st_size, files.sha256(path)
            found.append({"path": path.name, "rows": rows, "bytes": size, "sha256": digest})
    return found


if __name__ == "__main__":
    command.main(Settings, make)
