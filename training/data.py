"""From a release to token ids and labels: loss on what the assistant says, and on nothing else."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra import jsonl, release
from ultra.errors import InputError, SettingError
from ultra.schema import ROLES, Message

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

IGNORED = -100
"""Label of a token without loss, torch's own default."""


@dataclass(frozen=True)
class Source:
    """What is trained on. ``digest`` names the rows: a release's data digest or a Hub revision."""

    name: str
    digest: str
    demo: bool


@dataclass(frozen=True)
class Report:
    """What became of the conversations: ``dropped`` counts them by reason."""

    examples: int
    tokens: int
    supervised_tokens: int
    truncated: int
    dropped: dict[str, int]


def locate(dataset: str) -> Source:
    """Find a release directory, or a Hub dataset given as ``org/name`` or ``org/name@revision``.

    Raises:
        InputError: a local release is incomplete or damaged, or the Hub has no such dataset.
    """
    path = Path(dataset)
    if path.is_dir():
        manifest = release.verify(path)
        name = f"{manifest['corpus']} {manifest['version']}"
        return Source(name, manifest["data_digest"], bool(manifest.get("demo")))
    name, _, revision = dataset.partition("@")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) or name.endswith((".json", ".jsonl")):
        raise InputError(f"{dataset}: neither a release directory nor a Hub dataset org/name[@rev]")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        found = HfApi().dataset_info(name, revision=revision or None)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, httpx.HTTPError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"dataset {dataset}: no such folder, and not found on the Hub ({why})"
        ) from error
    return Source(name, f"{found.sha}", "demo" in (found.tags or []))


def load(dataset: str, source: Source, config: str, split: str) -> "Dataset":
    """Load one split of what :func:`locate` found.

    Raises:
        InputError: no such configuration or split, or no ``messages`` column.
    """
    from datasets import load_dataset

    local = Path(dataset).is_dir()
    name, revision = (dataset, None) if local else (dataset.partition("@")[0], source.digest)
    try:
        rows = load_dataset(name, config or None, split=split, revision=revision)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"dataset {dataset}: {' '.join(str(error).split())}") from error
    if "messages" not in rows.column_names:
        raise InputError(f"dataset {dataset}: has no 'messages' column, only {rows.column_names}")
    return rows


def tokenise(
    rows: "Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple["Dataset", Report]:
    """Turn conversations into ``input_ids`` and ``labels``; says what was cut and dropped.

    Raises:
        SettingError: the chat template does not mark what the assistant generates.
        InputError: no conversation is left to train on.
    """
    if not _GENERATION.search(str(tokenizer.chat_template or "")):
        raise SettingError(
            "template: the chat template has no {% generation %} marks, so the assistant's tokens "
            "cannot be told; name one from training/templates"
        )
    counts = Counter[str]()
    dropped = Counter[str]()

    def encode_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
        for messages in batch["messages"]:
            example = encode(messages, tokenizer, max_length)
            if isinstance(example, str):
                dropped[example] += 1
                continue
            ids, labels, whole = example
            columns["input_ids"].append(ids)
            columns["labels"].append(labels)
            counts.update(
                examples=1,
                tokens=len(ids),
                supervised_tokens=sum(label != IGNORED for label in labels),
                truncated=int(len(ids) < whole),
            )
        return columns

    # Its cache would not notice a change in encode(), so it is not used.
    encoded = rows.map(
        encode_batch,
        batched=True,
        remove_columns=rows.column_names,
        load_from_cache_file=False,
        keep_in_memory=True,
        desc="tokenise",
    )
    if not len(encoded):
        raise InputError(f"no conversation is left to train on; dropped: {dict(dropped)}")
    report = Report(
        examples=counts["examples"],
        tokens=counts["tokens"],
        supervised_tokens=counts["supervised_tokens"],
        truncated=counts["truncated"],
        dropped=dict(sorted(dropped.items())),
    )
    return encoded, report


def encode(
    messages: list[Message], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[int], list[int], int] | str:
    """Ids, labels and length before truncation of one conversation; or why it is not used.

    The ids are those of the rendered text, but for two borders that no token may reach over: where
    an answer begins, because at inference the prompt ends there, and around a control token that a
    text spells, which stays text.
    """
    if any(turn["role"] not in ROLES or not isinstance(turn["content"], str) for turn in messages):
        return "no_message"
    from jinja2 import TemplateError

    try:
        pieces = segments(messages, tokenizer)
    except TemplateError:  # a template may, for instance, demand that a user speaks first
        return "template_refuses"
    if pieces is None:
        return "template_changes_text"
    ids: list[int] = []
    labels: list[int] = []
    for text, plain, said in pieces:
        encoded: list[int] = tokenizer.encode(
            text, add_special_tokens=False, split_special_tokens=plain
        )
        ids += encoded
        labels += encoded if said else [IGNORED] * len(encoded)
    if all(label == IGNORED for label in labels[1:max_length]):
        return "nothing_supervised"
    return ids[:max_length], labels[:max_length], len(ids)


def segments(
    messages: list[Message], tokenizer: "PreTrainedTokenizerBase"
) -> list[tuple[str, bool, bool]] | None:
    """The rendered conversation in pieces that are to be encoded one by one.

    Each is a text, whether a control token in it is plain text, and whether the assistant says it,
    that is, whether it stands between the template's ``{% generation %}`` marks. None if the
    template changes the texts that are put into it, so that they cannot be followed.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(turns: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        (rendered,), (spans,) = render_jinja_template(
            conversations=[turns],
            chat_template=tokenizer.chat_template,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
        return rendered, spans

    code = jsonl.digest(messages)  # in the marks, so that no text can hold one
    marked = [{**turn, "content": f"<{code} {n}>"} for n, turn in enumerate(messages)]
    rendered, spans = render(marked)
    controls = _control_tokens(tokenizer)
    pieces: list[tuple[str, bool, bool]] = []
    for part, said in _cut(rendered, spans):
        mark = re.fullmatch(rf"<{code} (\d+)>", part)
        texts = controls.split(messages[int(mark[1])]["content"]) if mark else [part]
        for number, text in enumerate(texts):
            plain = mark is not None and number % 2 == 1
            joins = bool(pieces) and not plain and pieces[-1][1:] == (False, said)
            if joins:
                pieces[-1] = (pieces[-1][0] + text, False, said)
            elif text:
                pieces.append((text, plain, said))
    unmarked, _ = render([{**turn} for turn in messages])
    return pieces if "".join(text for text, _, _ in pieces) == unmarked else None


def _cut(rendered: str, spans: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """Cut at the marks and at the ends of what is said; says of each part whether it is said."""
    edges = {0, len(rendered), *(edge for span in spans for edge in span)}
    edges |= {edge for mark in re.finditer(r"<[0-9a-f]{32} \d+>", rendered) for edge in mark.span()}
    for start, end in pairwise(sorted(edges)):
        yield rendered[start:end], any(first <= start and end <= last for first, last in spans)


def _control_tokens(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str]:
    """Matches, as its one group, a token that means something to the template or the model."""
    tokens = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or (token.content in tokenizer.chat_template and token.content.strip())
    ]
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
