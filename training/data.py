"""From a release to token ids and labels: loss on what the assistant says, and on nothing else."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra import release
from ultra.errors import InputError, SettingError
from ultra.schema import Message

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

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
    if name.count("/") != 1 or path.suffix or dataset.startswith((".", "/")):
        raise InputError(f"{dataset}: neither a release directory nor a Hub dataset org/name[@rev]")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        found = HfApi().dataset_info(name, revision=revision or None)
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"dataset {dataset}: not found on the Hub ({why})") from error
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
    if "generation" not in (tokenizer.chat_template or ""):
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

    A text that spells one of the tokenizer's control tokens would turn into that token, and could
    forge the end of a turn; such a conversation is dropped.
    """
    control = [token.content for token in tokenizer.added_tokens_decoder.values()]
    if any(token in turn["content"] for turn in messages for token in control):
        return "control_token_in_text"
    encoded: Any = tokenizer.apply_chat_template(
        [dict(turn) for turn in messages], return_dict=True, return_assistant_tokens_mask=True
    )
    ids: list[int] = encoded["input_ids"]
    mask: list[int] = encoded["assistant_masks"]
    labels = [token if said else IGNORED for token, said in zip(ids, mask, strict=True)]
    if all(label == IGNORED for label in labels[1:max_length]):
        return "nothing_supervised"
    return ids[:max_length], labels[:max_length], len(ids)
