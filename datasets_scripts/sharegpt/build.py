"""Build the ShareGPT corpus: saved pages and dumps in, a release of clean conversations out."""

import shutil
import typing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datasets_scripts import (
    boilerplate,
    contamination,
    damage,
    dedup,
    filters,
    language,
    near_duplicates,
    parallel,
    personal_data,
    results,
    statistics,
)
from datasets_scripts.boilerplate import Preset
from datasets_scripts.pipeline import Drop, Ledger, Step
from datasets_scripts.questions import Questions
from datasets_scripts.results import Results
from datasets_scripts.sharegpt import inputs, turns, work
from datasets_scripts.sharegpt.account import Account
from datasets_scripts.sharegpt.inputs import Piece
from datasets_scripts.sharegpt.work import CORPUS, READ, Worker
from datasets_scripts.spool import Spool
from datasets_scripts.summary import print_summary
from ultra import command, files, prompts, release
from ultra.errors import InputError, SettingError

VERSION = "1.2.0"
"""Goes up whenever the same input and settings would give other bytes."""

HERE = Path(__file__).parent
SAMPLE = HERE / "sample"
Config = Literal["all", "gpt4", "en"]
CONFIGS: tuple[Config, ...] = ("all", "gpt4", "en")
NEAR, OVERLAP, CONFIGURATION = "near duplicates", "benchmark overlap", "configuration"
_OTHERS = {"gpt4": "other_model", "en": "other_language"}


@dataclass(frozen=True)
class Settings:
    """Build the ShareGPT corpus from saved pages and JSON dumps."""

    raw: str | None = None
    """A page, a dump, an archive, a folder of them, or hf://datasets/org/name@revision/path; by
    default the bundled sample."""
    out: Path = Path("out/releases")
    """Folder in which the release directory is made."""
    config_name: Config | None = None
    """The one configuration to build; by default all of them, in one release."""
    workers: int = 0
    """Processes; 0 is one a core. The bytes of the release do not depend on it."""
    doubled_turns: Literal["drop", "merge"] = "drop"
    """What to do with a conversation in which one side speaks twice in a row."""
    banners: Literal["cut", "drop", "keep"] = "cut"
    """End a conversation before an error banner of the chat page, or drop it; keep looks for no
    banner, notice, label or footer of the page."""
    refusals: str = "default"
    """Which refusals and introductions of the model are looked for: default, openchat, vicuna, none
    or a file of patterns."""
    at_refusal: Literal["cut", "drop"] = "cut"
    """End a conversation before a refusal, or drop it."""
    languages: bool = True
    """Identify the language of each conversation; the configuration en needs it."""
    keep_languages: list[str] = field(default_factory=list)
    """Codes of the only languages to keep, such as [en,de]; by default all."""
    skip_languages: list[str] = field(default_factory=list)
    """Codes of languages to leave out."""
    personal_data: Literal["redact", "drop", "keep", "off"] = "redact"
    """What to do with e-mail addresses, phone, card and IP numbers and keys: replace them, drop the
    conversation, only count them, or look for none."""
    numbering: Literal["repair", "drop", "keep"] = "repair"
    """What to do with lists that the page numbered 1. 1. 1."""
    encoding: Literal["repair", "keep"] = "repair"
    """What to do with text that was decoded wrongly."""
    near_duplicates: float = 0.8
    """Similarity, above 0 to 1, from which the shorter of two conversations goes; 0 is off."""
    questions: Path | None = None
    """Benchmark questions as JSON Lines, to look for overlap with; by default not checked."""
    drop_overlap: Literal[0, 8, 13] = 13
    """Words in a row shared with a question that drop a conversation; 0 only counts them."""
    statistics: bool = True
    """Count turns, lengths, languages and lexical diversity for the card."""
    tokenizer: Path | None = None
    """A tokenizer.json, or the folder that holds it: lengths in its tokens, by default in words."""
    test_share: float = 0.05
    """Share of conversations, 0 to below 1, that go into the test split."""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise SettingError(f"test_share: {self.test_share} is not from 0 to below 1")
        if not 0 <= self.near_duplicates <= 1:
            raise SettingError(f"near_duplicates: {self.near_duplicates} is not from 0 to 1")
        if self.raw == "":
            raise SettingError("raw: is empty; name a page, a dump, an archive or a folder")
        if self.workers < 0:
            raise SettingError(f"workers: {self.workers} is below 0")
        wants_language = self.config_name == "en" or self.keep_languages or self.skip_languages
        if wants_language and not self.languages:
            raise SettingError("languages: must be true to choose by language")


def steps(settings: Settings) -> dict[str, Step]:
    """The steps after reading that look at one conversation, in order.

    Raises:
        InputError, SettingError: a file of patterns or a language that cannot be used.
    """
    return {name: make() for name, make in _chain(settings).items()}


def _chain(settings: Settings) -> dict[str, Callable[[], Step]]:
    """What makes each step: patterns and models take a while, and not every process needs them."""
    chain: dict[str, Callable[[], Step]] = {}
    if settings.banners != "keep":
        chain["page notices"] = lambda: boilerplate.no_page_notices
    chain["roles"] = partial(filters.repair_roles, settings.doubled_turns)
    chain["text"] = lambda: turns.to_text
    if settings.banners != "keep":
        chain["interface"] = partial(boilerplate.interface, settings.banners)
    chain["empty turns"] = lambda: filters.no_empty_turn
    if settings.refusals != "none":
        chain["refusals"] = partial(boilerplate.refusals, _patterns(settings), settings.at_refusal)
    if settings.languages:
        chain["language"] = partial(
            language.identify, settings.keep_languages, settings.skip_languages
        )
    if settings.personal_data != "off":
        chain["personal data"] = partial(personal_data.protect, settings.personal_data)
    if (settings.numbering, settings.encoding) != ("keep", "keep"):
        chain["format damage"] = partial(damage.repair, settings.numbering, settings.encoding)
    return chain


def _try_choices(settings: Settings) -> None:
    """Make the steps that a file or a code of one's own may spoil: it is better told here and now
    than by a process that works on pieces."""
    chain = _chain(settings)
    if isinstance(_patterns(settings), Path):
        chain["refusals"]()
    if settings.keep_languages or settings.skip_languages:
        chain["language"]()


def _patterns(settings: Settings) -> Preset | Path:
    for preset in typing.get_args(Preset):
        if settings.refusals == preset:
            return typing.cast(Preset, preset)
    return Path(settings.refusals)


def build(settings: Settings) -> Path:
    """Make the release, or find it already made from the same input; returns its directory.

    Raises:
        InputError: the input cannot be read, or nothing in it is kept.
        OutputError: the release directory holds something else.
    """
    if settings.raw is None:
        print(f"no --raw is set: building from the bundled sample in {SAMPLE}")
    root, origin = inputs.fetch(settings.raw) if settings.raw is not None else (SAMPLE, {})
    inputs.require(root)
    if root.is_dir() and settings.out.resolve().is_relative_to(root.resolve()):
        raise SettingError(f"out: {settings.out} is inside the input, which it would change")
    path = settings.out / f"{CORPUS}-{VERSION}"
    run = path.with_name(path.name + ".run")
    _try_choices(settings)
    made: dict[str, Any] = {"version": VERSION, "configuration": _configuration(settings)}
    if release.is_built(path, made):
        wanted = {"input": _fingerprint(root) | origin}
        files.require_same(path, release.read_manifest(path), wanted)
        print(f"{path}: already built from this input")
    else:
        with results.opened(run, made) as found, Spool(settings.out, found.file) as spool:
            made |= _fill(spool, found, root, settings)
            made["input"] |= origin
            template = prompts.load(HERE / "card.md")
            try:
                spool.to_release(path, CORPUS, made, template, _configs(settings))
            except InputError:  # nothing was kept, so there is nothing to go on with
                shutil.rmtree(run)
                raise
    shutil.rmtree(run, ignore_errors=True)
    print_summary(path)
    return path


def _configuration(settings: Settings) -> dict[str, Any]:
    """The settings that decide the bytes; of files their digests."""
    chosen = asdict(settings)
    for name in ("raw", "out", "workers", "config_name"):
        del chosen[name]
    chosen["configs"] = _configs(settings)
    if isinstance(patterns := _patterns(settings), Path):
        chosen["refusals"] = files.sha256(patterns)
    if settings.questions:
        chosen["questions"] = Questions.load(settings.questions).digest
    chosen["tokenizer"] = statistics.identity(settings.tokenizer)
    return chosen


def _configs(settings: Settings) -> list[str]:
    if settings.config_name:
        return [settings.config_name]
    return [config for config in CONFIGS if settings.languages or config != "en"]


def _worker(settings: Settings) -> Worker:
    questions = Questions.load(settings.questions) if settings.questions else None
    redacts = settings.personal_data in ("redact", "drop")
    shown = personal_data.redacted if redacts else str
    count = statistics.counter(settings.tokenizer) if settings.statistics else None
    return Worker(steps(settings), questions, settings.near_duplicates > 0, shown, count)


def _fill(spool: Spool, found: Results, root: Path, settings: Settings) -> dict[str, Any]:
    """Convert the whole input into the spool; returns the account of it for the manifest."""
    ledger = Ledger([READ, *_chain(settings), *_steps_over_all(settings)])
    account = Account(root)

    def take(piece: Piece, what: dict[str, Any], place: int) -> None:
        ledger.merge(what["steps"])
        for id, source, step, reason, detail in what["dropped"]:
            spool.drop(id, source, step, Drop(reason, detail))
        spool.refer(work.placed(what["rows"], place))
        account.add(piece.size, what)

    def unfinished() -> Iterator[Piece]:
        for piece in inputs.pieces(root):
            done = found.get(piece.key)
            if done is None:
                yield piece
            else:
                take(piece, *done)

    with account:
        prepare = partial(_worker, settings)
        for piece, result in parallel.ordered(prepare, unfinished(), settings.workers):
            take(piece, *found.add(piece.key, result))
    made = {"contamination": _over_all(spool, ledger, settings)}
    return {"steps": ledger.table(), "input": account.fingerprint(), **made}


def _over_all(spool: Spool, ledger: Ledger, settings: Settings) -> dict[str, Any] | str:
    """The steps that need all conversations at once; returns the account of contamination."""
    dedup.drop_duplicates(spool, ledger)
    if settings.near_duplicates:
        near_duplicates.drop_near_duplicates(spool.db, settings.near_duplicates)
        spool.settle(NEAR, ledger)
    if settings.questions:
        contamination.mark_overlaps(spool.db, settings.drop_overlap)
        spool.settle(OVERLAP, ledger)
    if settings.config_name in _OTHERS:
        spool.keep_only(settings.config_name, _OTHERS[settings.config_name])
        spool.settle(CONFIGURATION, ledger)
    if settings.questions:
        return contamination.account_for(spool.db, Questions.load(settings.questions))
    return contamination.NOT_CHECKED


def _steps_over_all(settings: Settings) -> list[str]:
    """The steps that need all conversations at once, in order."""
    chosen = {
        dedup.STEP: True,
        NEAR: settings.near_duplicates,
        OVERLAP: settings.questions,
        CONFIGURATION: settings.config_name in _OTHERS,
    }
    return [step for step, wanted in chosen.items() if wanted]


def _fingerprint(root: Path) -> dict[str, Any]:
    """The account of an input that is only read."""
    with Account(root) as account:
        for piece in inputs.pieces(root):
            account.add(piece.size, Worker({}).look(piece))
    return account.fingerprint()


if __name__ == "__main__":
    command.main(Settings, build)
