"""Build the ShareGPT corpus: saved pages and dumps in, a release of clean conversations out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from datasets_scripts import dedup, filters, pipeline
from datasets_scripts.pipeline import Drop, Ledger, Step
from datasets_scripts.sharegpt import turns
from datasets_scripts.sharegpt.pages import RawConversation, RawInput, Unreadable
from datasets_scripts.spool import Spool
from datasets_scripts.summary import print_summary
from ultra import command, files, prompts, release, schema
from ultra.errors import SettingError

CORPUS = "sharegpt"
VERSION = "1.0.0"
"""Goes up whenever the same input and settings would give other bytes."""

HERE = Path(__file__).parent
SAMPLE = HERE / "sample"


@dataclass(frozen=True)
class Settings:
    """Build the ShareGPT corpus from saved pages and JSON dumps."""

    raw: Path | None = None
    """A page, a dump, or a folder of them; by default the bundled sample."""
    out: Path = Path("out/releases")
    """Folder in which the release directory is made."""
    doubled_turns: Literal["drop", "merge"] = "drop"
    """What to do with a conversation in which one side speaks twice in a row."""
    test_share: float = 0.05
    """Share of conversations, 0 to below 1, that go into the test split."""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise SettingError(f"test_share: {self.test_share} is not from 0 to below 1")


def steps(settings: Settings) -> dict[str, Step]:
    """The steps after reading, in order."""
    return {
        "roles": filters.repair_roles(settings.doubled_turns),
        "text": turns.to_text,
        "empty turns": filters.no_empty_turn,
    }


def build(settings: Settings) -> Path:
    """Make the release, or find it already made from the same input; returns its directory.

    Raises:
        InputError: the input cannot be read, or nothing in it is kept.
        OutputError: the release directory holds something else.
    """
    if settings.raw is None:
        print(f"no --raw is set: building from the bundled sample in {SAMPLE}")
    raw = RawInput(settings.raw or SAMPLE)
    path = settings.out / f"{CORPUS}-{VERSION}"
    configuration = {"doubled_turns": settings.doubled_turns, "test_share": settings.test_share}
    made: dict[str, Any] = {"version": VERSION, "configuration": configuration}
    if release.is_built(path, made):
        for _ in raw:
            pass
        files.require_same(path, release.read_manifest(path), {"input": raw.fingerprint()})
        print(f"{path}: already built from this input")
    else:
        with Spool(settings.out) as spool:
            made["steps"] = _fill(spool, raw, steps(settings))
            made["input"] = raw.fingerprint()
            spool.to_release(path, CORPUS, made, prompts.load(HERE / "card.md"))
    print_summary(path)
    return path


def _fill(spool: Spool, raw: RawInput, chain: dict[str, Step]) -> list[dict[str, Any]]:
    """Read and convert the whole input into the spool; returns the account of the steps."""
    ledger = Ledger(["read", *chain, dedup.STEP])
    for record in tqdm(raw, desc=CORPUS, unit=" conversations", disable=None):
        ledger.enter("read")
        start = _start(record)
        if isinstance(start, Drop):
            ledger.drop("read", start.reason)
            spool.drop(record.id, record.source, "read", start)
            continue
        result = pipeline.apply(chain, start, ledger)
        if isinstance(result, tuple):
            step, drop = result
            spool.drop(start.id, record.source, step, drop)
        else:
            spool.add(dedup.entry(result), result.row())
    dedup.drop_duplicates(spool, ledger)
    return ledger.table()


def _start(record: RawConversation | Unreadable) -> schema.Conversation | Drop:
    return record.drop if isinstance(record, Unreadable) else turns.to_conversation(record)


if __name__ == "__main__":
    command.main(Settings, build)
