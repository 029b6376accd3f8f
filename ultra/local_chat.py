"""A checkpoint on this machine as a chat model, through transformers."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from ultra.chat import Completion, Sampling, Usage
from ultra.errors import CallError, ModelError, SettingError
from ultra.schema import Message

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

RECORD = "training.json"
"""What a checkpoint was trained on, how, and how long."""


class LocalChat:
    """A folder as ``save_pretrained`` writes it, tokenizer and chat template included.

    Weights are loaded at the first call, so that a run whose answers are all in the journal never
    loads them. Calls run one after the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = ""
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        self._turn = asyncio.Lock()

    @property
    def digest(self) -> str:
        """xxh3-128 of the checkpoint's files, 32 hex digits."""
        if not self._digest:
            self._digest = checkpoint_digest(self.path)
        return self._digest

    @property
    def name(self) -> str:
        """The folder's name and the start of the digest: two checkpoints never share a name."""
        return f"{self.path.resolve().name}@{self.digest[:8]}"

    @property
    def identity(self) -> str:
        """The whole digest: where the checkpoint lies does not matter."""
        return f"local {self.digest}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        async with self._turn:
            return await asyncio.to_thread(self._generate, messages, sampling)

    def _generate(self, messages: list[Message], sampling: Sampling) -> Completion:
        model, tokenizer = self._load()
        import torch
        from jinja2 import TemplateError

        try:
            encoded: Any = tokenizer.apply_chat_template(
                [dict(turn) for turn in messages],
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=True,  # a text that spells a control token stays text
            )
        except TemplateError as error:
            raise CallError(f"model {self.name}: its chat template refuses ({error})") from error
        prompt = encoded["input_ids"].shape[1]
        room = (positions(model.config) or 2**20) - prompt
        if room < 1:
            raise CallError(f"model {self.name}: {prompt} tokens leave no room for an answer")
        torch.manual_seed(sampling.draw)
        with torch.inference_mode():
            output: Any = model.generate(
                **encoded.to(model.device),
                max_new_tokens=min(room, sampling.max_tokens),
                **draw_arguments(sampling),
            )
        new = output[0, prompt:].tolist()
        ends = model.generation_config.eos_token_id
        stopped = bool(new) and new[-1] in (ends if isinstance(ends, list) else [ends])
        return Completion(
            text=str(tokenizer.decode(new, skip_special_tokens=True)).strip(),
            finish_reason="stop" if stopped else "length",
            model=self.name,
            usage=Usage(prompt, len(new)),
        )

    def _load(self) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        if self._loaded is None:
            self._loaded = load(self.path)
        return self._loaded

    async def close(self) -> None:
        self._loaded = None


def load(path: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a checkpoint's weights, ready to answer, and its tokenizer, which has a chat template.

    Raises:
        ModelError: the folder holds no usable checkpoint, or one without a chat template.
        SettingError: torch or transformers is not installed.
    """
    if not (path / "config.json").is_file():  # transformers would look for the name on the Hub
        raise ModelError(f"{path}: no checkpoint there (no config.json)")
    try:
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise SettingError(
            f"{path}: a local checkpoint needs torch and transformers; "
            "install them with the extra 'train' (any make target that trains does)"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, device_map="auto")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: not a usable checkpoint ({why})") from error
    if not tokenizer.chat_template:
        raise ModelError(f"{path}: the tokenizer has no chat template")
    return model.eval(), tokenizer


def positions(config: "PreTrainedConfig") -> int | None:
    """How many tokens a model takes, scaled positions counted in; None if it states no limit.

    Counted as vLLM counts them. Where frequencies differ by layer (Gemma 3),
    ``max_position_embeddings`` has the scaling in it.
    """
    text: Any = config.get_text_config()
    stated: int | None = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if stated is None:
        return None
    factor: float = rope.get("factor") or 1
    if rope.get("rope_type") in ("linear", "dynamic"):
        return round(stated * factor)
    if rope.get("rope_type") == "yarn":
        trained: int = rope["original_max_position_embeddings"]
        return max(stated, round(trained * factor))
    return stated


def draw_arguments(sampling: Sampling) -> dict[str, Any]:
    """What tells ``generate`` how to draw a token; the checkpoint's own habits do not count."""
    if not sampling.temperature:
        return {"do_sample": False}
    heat = {"temperature": float(sampling.temperature), "top_p": sampling.top_p}  # 1 is refused
    return {"do_sample": True, "top_k": 0, **heat}


def checkpoint_digest(path: Path) -> str:
    """xxh3-128 over the names and bytes of the files that make up a checkpoint, 32 hex digits.

    The record of its training is not one of them: it tells how long that took.
    """
    digest = xxhash.xxh3_128()
    kinds = {".json", ".jinja", ".safetensors", ".bin", ".model", ".txt"}
    for file in sorted(path.iterdir()):
        if file.suffix in kinds and file.name != RECORD:
            digest.update(file.name.encode("utf-8") + b"\0")
            with file.open("rb") as opened:
                while block := opened.read(2**20):
                    digest.update(block)
    return digest.hexdigest()
