"""A tokenised data set on disk: made once for the same data, tokenizer, template and settings."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from training import conversations, overflow, sources
from training.encoding import Encoder, Example
from training.overflow import Fitted, Overflow
from training.sources import Part, Source
from ultra import files, jsonl
from ultra.errors import InputError, OutputError, SettingError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

VERSION = 2
"""Raised when the same data and settings would give other examples: then no old ones are used."""

_BATCH = 500
"""Conversations that are encoded at once."""


@dataclass(frozen=True)
class Shape:
    """How conversations become examples."""

    max_length: int = 2048
    """Longest example in tokens."""
    overflow: Overflow = "split"
    """What becomes of longer conversations: several examples cut between rounds, one that is cut at
    its end (as OpenChat did), or none."""
    carry: int = 0
    """With 'split': rounds before a cut that the next example begins with, without loss on them."""
    loss: Literal["token", "sequence"] = "token"
    """What counts the same in the loss: each token, or each example; weights multiply either."""

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise SettingError(f"max_length: {self.max_length} is not 2 or more")
        if self.carry < 0:
            raise SettingError(f"carry: {self.carry} is less than 0")
        if self.carry and self.overflow != "split":
            raise SettingError("carry: is for overflow: split")


@dataclass
class Report:
    """What became of the conversations: ``dropped`` counts them, or parts of them, by reason."""

    conversations: int = 0
    examples: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    truncated: int = 0
    split: int = 0
    longest: int = 0
    weighted: bool = False
    """Whether the loss of some token has a weight that is not 1."""
    dropped: dict[str, int] = field(default_factory=dict)

    def count(self, fitted: Fitted) -> None:
        """Add what became of some more conversations."""
        self.conversations += fitted.conversations
        self.truncated += fitted.truncated
        self.split += fitted.split
        for ids, weights in fitted.examples:
            self.examples += 1
            self.tokens += len(ids)
            self.longest = max(self.longest, len(ids))
            self.supervised_tokens += int(np.count_nonzero(weights[1:]))
            self.weighted |= bool((weights != weights.astype(bool)).any())
        for reason, count in sorted(fitted.dropped.items()):
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    @property
    def reasons(self) -> str:
        """What was dropped, for a person."""
        counted = [f"{reason} {count:,}" for reason, count in self.dropped.items()]
        return ", ".join(counted) or "none"

    def line(self) -> str:
        """For a person, in one line."""
        share = self.supervised_tokens / max(1, self.tokens)
        return (
            f"{self.examples:,} examples of {self.conversations:,} conversations, "
            f"{self.tokens:,} tokens, {share:.0%} with loss, longest {self.longest:,}; "
            f"{self.split:,} split, {self.truncated:,} cut, dropped: {self.reasons}"
        )


def tokenise(
    parts: list[tuple[Part, Source]],
    tokenizer: "PreTrainedTokenizerBase",
    shape: Shape,
    seed: int = 0,
) -> tuple["Dataset", Report]:
    """The examples, as ``input_ids`` and the ``weights`` of their tokens in the loss.

    They are kept in the cache of ``datasets`` (``HF_DATASETS_CACHE``) under the digest of all that
    they depend on.

    Raises:
        SettingError: the chat template does not mark what the assistant generates.
        InputError: data that cannot be read, or nothing in it to train on.
    """
    import datasets

    encoder = Encoder(tokenizer)
    encoder.require_marks()
    digest = jsonl.digest([
        VERSION,
        [(source.digest, part.weight, part.config, part.split) for part, source in parts],
        [tokenizer.backend_tokenizer.to_str(), tokenizer.special_tokens_map, encoder.template],
        asdict(shape),
        seed,
    ])  # fmt: skip
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ultra-tokenised" / digest
    if not folder.exists():
        try:
            _make(folder, _fitted(parts, encoder, shape, seed))
        except OutputError:
            if not folder.exists():  # else another process made the same in the meantime
                raise
    report = Report(**orjson.loads((folder / "report.json").read_bytes()))
    if not report.examples:
        names = ", ".join(part.dataset for part, _ in parts)
        raise InputError(f"{names}: no conversation is left to train on; dropped: {report.reasons}")
    return datasets.Dataset.from_file(str(folder / "examples.arrow")), report


def _fitted(
    parts: list[tuple[Part, Source]], encoder: Encoder, shape: Shape, seed: int
) -> Iterator[Fitted]:
    """What became of the conversations, batch by batch, in the order of the parts."""
    from tqdm import tqdm

    for part, source in parts:
        rows = sources.chosen(sources.load(part, source), part.weight, seed)
        with tqdm(desc="tokenise", total=len(rows), disable=None) as shown:
            for columns in rows.iter(_BATCH):
                batch = [
                    dict(zip(columns, values, strict=True))
                    for values in zip(*columns.values(), strict=True)
                ]
                yield fitted(batch, encoder, shape)
                shown.update(len(batch))


def fitted(rows: list[dict[str, Any]], encoder: Encoder, shape: Shape) -> Fitted:
    """Rows of a data set as examples, and the account of what could not be one."""
    dialogues = [conversations.dialogue(row) for row in rows]
    readable = [one for one in dialogues if one is not None]
    found = overflow.fit(readable, encoder, shape.max_length, shape.overflow, shape.carry)
    for _ in range(len(rows) - len(readable)):
        found.drop("no_conversation")
    found.conversations = len(rows)
    if shape.loss == "sequence":
        found.examples = [
            Example(ids, weights / np.float32(np.count_nonzero(weights[1:])))
            for ids, weights in found.examples
        ]
    return found


def _make(folder: Path, batches: Iterator[Fitted]) -> None:
    """Write examples and report beside their place, and rename them there."""
    for left in folder.parent.glob(f"{folder.name}.*.partial"):
        with suppress(OutputError), files.locked(left):  # nobody holds it: its maker was killed
            shutil.rmtree(left)
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.partial")
    try:
        with files.locked(partial):
            _write(partial, batches)
            files.rename_tree(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, batches: Iterator[Fitted]) -> None:
    """Write examples as they come, and the report at the end."""
    import pyarrow as pa

    report = Report()
    schema = pa.schema({
        "input_ids": pa.list_(pa.int32()),
        "weights": pa.list_(pa.float32()),
    })  # fmt: skip
    place = str(folder / "examples.arrow")
    with pa.OSFile(place, "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in batches:
            report.count(batch)
            if batch.examples:
                stream.write_batch(_record_batch(batch.examples, schema))
    report.dropped = dict(sorted(report.dropped.items()))
    with files.atomic(folder / "report.json") as file:
        file.write(orjson.dumps(asdict(report)))


def _record_batch(examples: list[Example], schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    offsets = np.cumsum([0, *(len(one.ids) for one in examples)], dtype=np.int32)
    columns = (np.concatenate(one) for one in zip(*examples, strict=True))
    return pa.record_batch(
        [pa.ListArray.from_arrays(offsets, pa.array(one)) for one in columns], schema=schema
    )
