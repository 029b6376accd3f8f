"""Tokenizers and models: taken from a checkpoint, or made small and new from the data itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEMPLATES = Path(__file__).parent / "templates"
TURN_START, TURN_END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"


@dataclass(frozen=True)
class NewModel:
    """Size of a Llama-architecture model with random weights."""

    vocab_size: int = 1024
    """Tokens of the byte-level BPE vocabulary that is trained on the data."""
    hidden_size: int = 128
    """Width; the feed-forward layers are 4 times as wide."""
    layers: int = 4
    """Decoder layers."""
    heads: int = 4
    """Attention heads."""
    max_positions: int = 2048
    """Longest sequence, in tokens."""


def new_tokenizer(rows: "Dataset", size: NewModel) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE tokenizer on all messages; it ends a turn with ``<|im_end|>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def texts() -> Iterator[str]:
        for messages in rows["messages"]:
            yield from (turn["content"] for turn in messages)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocab_size,
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=TURN_END,
        extra_special_tokens=[TURN_START],
        model_max_length=size.max_positions,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: "PreTrainedTokenizerBase", size: NewModel) -> "PreTrainedModel":
    """A Llama-architecture model with random float32 weights, from torch's current seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if size.layers < 1 or size.max_positions < 2:
        raise SettingError("new: layers must be 1 or more, and max_positions 2 or more")
    pair = 2 * size.heads  # rotary positions turn pairs of a head's dimensions
    if pair < 1 or size.hidden_size < 1 or size.hidden_size % pair:
        raise SettingError(f"new.hidden_size: {size.hidden_size} is no multiple of 2 * new.heads")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=4 * size.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.max_positions,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def from_checkpoint(model: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load model and tokenizer from a folder or the Hub.

    Raises:
        InputError: there is none, or it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        loaded = AutoModelForCausalLM.from_pretrained(model)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise InputError(
            f"model {model}: no folder with a checkpoint, nor found on the Hub ({why})"
        ) from error
    if tokenizer.pad_token_id is None:
        raise InputError(f"model {model}: its tokenizer has no pad token")
    return loaded, tokenizer


def template(name: str) -> str:
    """A chat template: a name in ``training/templates`` or the path of a Jinja file.

    Raises:
        SettingError: there is no such template.
    """
    path = TEMPLATES / f"{name}.jinja" if "/" not in name and "." not in name else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(known.stem for known in TEMPLATES.glob("*.jinja")))
        raise SettingError(f"template {name}: no such file, and no template of that name ({known})")
    return path.read_text(encoding="utf-8").rstrip("\n")
