"""Tokenizers and models: taken from a checkpoint, or made small and new from the data itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training import conversations
from training.context import Context, extend
from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NORMAL_STD = 0.02
"""OpenChat's README, "StarCoder"; also GPT-2's and LLaMA's initializer_range."""
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


@dataclass(frozen=True)
class Tokens:
    """Control tokens of a checkpoint that is trained further."""

    end_of_turn: str = ""
    """Ends every turn, added if it is lacking; by default the tokenizer's eos_token."""
    pad: str = ""
    """Padding, added if it is lacking; by default the tokenizer's own, or one that ends nothing."""
    extra: list[str] = field(default_factory=list)
    """Further ones that the chat template writes, such as <|im_start|>; added if lacking."""
    init: Literal["mean", "normal"] = "mean"
    """New rows of the embeddings: the mean of those in use, or drawn from N(0, 0.02)."""
    multiple_of: int = 0
    """Rows of the embeddings become a multiple of this, as 64; 0 adds no more than tokens need."""

    def __post_init__(self) -> None:
        if self.multiple_of < 0:
            raise SettingError(f"tokens.multiple_of: {self.multiple_of} is not 0 or more")


def new_tokenizer(rows: "Dataset", size: NewModel) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE tokenizer on all messages; it ends a turn with ``<|im_end|>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def texts() -> Iterator[str]:
        for row in rows:
            found = conversations.dialogue(row)
            yield from (turn["content"] for turn in (found.messages if found else []))

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


def pinned(model: str) -> str:
    """A checkpoint as a name that stays the same: a folder, or ``org/name@commit`` on the Hub.

    Raises:
        InputError: there is none of that name.
    """
    if Path(model).is_dir():
        return model
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    name, _, revision = model.partition("@")
    try:
        config = hf_hub_download(name, "config.json", revision=revision or None)
    except (OSError, HfHubHTTPError, HFValidationError, httpx.HTTPError) as error:
        raise _not_found(model, error) from error
    return f"{name}@{Path(config).parent.name}"


def label(model: str) -> str:
    """What a checkpoint is called in records and cards: of a folder only its own name.

    Its path is one of this machine; what is in it is known by a digest.
    """
    return Path(model).resolve().name if Path(model).is_dir() else model


def _not_found(model: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:300]
    if Path(model).is_dir():
        return InputError(f"model {model}: the folder holds no whole checkpoint ({why})")
    return InputError(f"model {model}: no folder with a checkpoint, nor found on the Hub ({why})")


def from_checkpoint(
    model: str, context: Context | None = None, dtype: str = "float32", quantization: Any = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load model and tokenizer from a folder, or from the Hub as ``org/name[@revision]``.

    ``dtype`` is that of the weights: ``float32``, ``bfloat16``, or ``auto`` for the checkpoint's.
    ``quantization`` is what :func:`training.adapters.quantization` returns.

    Raises:
        InputError: there is none, it cannot be loaded, or its tokenizer is not a fast one.
        SettingError: the model's context cannot be extended so.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    name, version = named(model)
    tokenizer = _tokenizer(model)
    more = {"quantization_config": quantization} if quantization is not None else {}
    try:
        config = AutoConfig.from_pretrained(name, **version)
        extend(config, context or Context())
        loaded = AutoModelForCausalLM.from_pretrained(
            name, config=config, dtype=dtype, **version, **more
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise _not_found(model, error) from error
    if context and context.length:
        tokenizer.model_max_length = context.length
    return loaded, tokenizer


def named(model: str) -> tuple[str, dict[str, str]]:
    """What ``from_pretrained`` takes for a folder, or for a name with or without a revision."""
    name, _, revision = (model, "", "") if Path(model).is_dir() else model.partition("@")
    return name, {"revision": revision} if revision else {}


def _tokenizer(model: str) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    name, version = named(model)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, **version)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise _not_found(model, error) from error
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"model {model}: its tokenizer is not a fast one; save one with a tokenizer.json"
        )
    return tokenizer


def tokenizer_with(model: str, tokens: Tokens) -> "PreTrainedTokenizerBase":
    """A checkpoint's tokenizer, without its model, with the control tokens that training adds.

    Raises:
        InputError: there is none, or it is not a fast one.
        SettingError: as :func:`add_tokens`.
    """
    tokenizer = _tokenizer(model)
    end = tokenizer.eos_token_id
    _name_tokens(tokenizer, tokens, [] if end is None else [end])
    return tokenizer


def add_tokens(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", tokens: Tokens
) -> list[int]:
    """Give a model and its tokenizer their control tokens, so that what is saved stops at them.

    A new row of the embeddings starts as the mean of the rows in use, taken in float32 whatever
    the weights' dtype, or as a draw from N(0, 0.02) with torch's current seed. Input and output
    embeddings each have their own mean, unless they are tied; a bias of the output always starts
    as its mean. Both ways are OpenChat's (github.com/imoneoi/openchat): the mean is in
    ``ochat/scripts/hf_add_tokens.py`` (its first script, for LLaMA, took it in float16), the draw
    in the README for StarCoder, whose script takes the mean.

    A new token takes an unused row of the matrix, if the checkpoint has one; none is cut off.
    ``generation_config.json`` then stops at the end of a turn and wherever it stopped before.

    Returns:
        Ids of the tokens whose rows are new, in ascending order.

    Raises:
        SettingError: the padding would be the end of a turn, or nothing ends a turn.
        InputError: the checkpoint's generation config cannot be saved.
    """
    given: Any = model.get_input_embeddings()
    rows = given.num_embeddings
    used = {row for row in tokenizer.get_vocab().values() if row < rows}
    stops = _stops(model, tokenizer)
    _name_tokens(tokenizer, tokens, stops)
    ids = set(tokenizer.get_vocab().values())
    needed = max(rows, max(ids) + 1)
    if tokens.multiple_of:
        needed = -(-needed // tokens.multiple_of) * tokens.multiple_of
    if needed > rows:
        # Its own means come with a covariance and noise; what it writes is replaced below.
        model.resize_token_embeddings(needed, mean_resizing=False)
    _fill(model, sorted(used), sorted((ids - used) | set(range(rows, needed))), tokens.init)
    _tell_configs(model, tokenizer, stops)
    return sorted(ids - used)


def _stops(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a text so far, by the tokenizer and by what generation uses."""
    told = model.generation_config.eos_token_id
    if told is None:
        told = model.config.get_text_config().eos_token_id
    found = [tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])]
    return [stop for stop in dict.fromkeys(found) if stop is not None]


def _name_tokens(tokenizer: Any, tokens: Tokens, stops: list[int]) -> None:
    """Make the tokens the tokenizer's own, adding those that it lacks."""
    if tokens.end_of_turn:
        tokenizer.add_special_tokens({"eos_token": tokens.end_of_turn})
    if tokenizer.eos_token_id is None:
        raise SettingError("tokens.end_of_turn: the tokenizer has none of its own; name one")
    pad = tokens.pad
    if not pad and tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        # GPT-2's unknown token is its end of text, too: what may end a text is no padding.
        taken = {None, tokenizer.eos_token_id, tokenizer.bos_token_id, *stops}
        pad = PAD if tokenizer.unk_token_id in taken else tokenizer.unk_token
    if pad == tokenizer.eos_token:
        raise SettingError(f"tokens.pad: {pad} is the end of a turn; name another, or none")
    if pad:
        tokenizer.add_special_tokens({"pad_token": pad})
    lacking = [token for token in tokens.extra if token not in tokenizer.get_vocab()]
    tokenizer.add_tokens(lacking, special_tokens=True)


def _fill(model: Any, used: list[int], new: list[int], init: str) -> None:
    """Write the new rows of the input and output embeddings, and of the output's bias."""
    import torch

    given, head = model.get_input_embeddings(), model.get_output_embeddings()
    matrices = [given.weight]
    if head is not None and head.weight is not given.weight:
        matrices.append(head.weight)
    bias = getattr(head, "bias", None)
    with torch.no_grad(), _whole([*matrices, *([] if bias is None else [bias])]):
        for matrix in matrices if new else []:
            if init == "mean":
                matrix[new] = _mean(matrix, used)
            else:
                draws = torch.normal(0.0, NORMAL_STD, (len(new), matrix.shape[1]))
                matrix[new] = draws.to(matrix)
        if bias is not None and new:
            bias[new] = _mean(bias, used)


@contextmanager
def _whole(parameters: "list[Tensor]") -> Iterator[None]:
    """Weights that DeepSpeed's ZeRO-3 spread over processes, put together to be written."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if not is_deepspeed_zero3_enabled():
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
        yield


def _mean(values: "Tensor", used: list[int]) -> "Tensor":
    """Mean over the rows in use, summed in float32: too many summands for 16 bits."""
    import torch

    return values[used].mean(dim=0, dtype=torch.float32).to(values.dtype)


def _tell_configs(model: Any, tokenizer: Any, stops: list[int]) -> None:
    """Put the ids where transformers and vLLM look for them."""
    end, start, pad = tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id
    generation = model.generation_config
    for config in (model.config, model.config.get_text_config(), generation):
        config.eos_token_id, config.pad_token_id = end, pad
        if start is not None:
            config.bos_token_id = start
    generation.eos_token_id = [end, *(stop for stop in stops if stop != end)]
    _make_savable(generation)


def _make_savable(generation: Any) -> None:
    """Mend what would be refused at the end of all the training, or refuse it now.

    Older checkpoints name a temperature and leave sampling off. transformers 5 saves such a
    config as it was read, but not with other stop tokens.
    """
    try:
        generation.validate(strict=True)
        return
    except ValueError:
        generation.do_sample = True
    try:
        generation.validate(strict=True)
    except ValueError as error:
        why = " ".join(str(error).split())[:300]
        raise InputError(f"model: its generation_config.json cannot be saved ({why})") from error
