"""LoRA and QLoRA through peft."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training import vocabulary
from ultra.errors import SettingError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters in the place of all weights (Hu et al., 2021)."""

    rank: int = 8
    """Rank of the adapters."""
    alpha: float = 16
    """Scale: what an adapter adds is multiplied by alpha / rank."""
    dropout: float = 0.05
    """Dropout before the adapters."""
    targets: list[str] = field(default_factory=list)
    """Names of the layers that get one; by default all linear layers but the last."""
    bits: Literal[0, 4, 8] = 0
    """Bits of the frozen weights (QLoRA); 0 keeps them as they are. Needs bitsandbytes."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise SettingError(f"lora.rank: {self.rank} is less than 1")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"lora.dropout: {self.dropout} is not from 0 to below 1")


def quantization(lora: Lora | None) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config``; None for whole weights.

    Raises:
        SettingError: bitsandbytes is not installed.
    """
    if lora is None or not lora.bits:
        return None
    import torch
    from transformers import BitsAndBytesConfig
    from transformers.utils import is_bitsandbytes_available

    if not is_bitsandbytes_available():
        raise SettingError("lora.bits: needs a GPU and bitsandbytes (pip install bitsandbytes)")
    if lora.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def add(model: "PreTrainedModel", lora: Lora, new_tokens: list[int]) -> Any:
    """Put adapters around a model; of its embeddings, only the rows of new tokens are trained.

    Raises:
        SettingError: peft is not installed, or the model has no such layers.
    """
    try:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    except ImportError as error:
        raise SettingError("lora: needs peft: the extra 'train'") from error
    if lora.bits:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets or "all-linear",
        trainable_token_indices=_rows(model, new_tokens) if new_tokens else None,
        task_type="CAUSAL_LM",
    )
    try:
        with _quiet():
            tuned = get_peft_model(model, config)
    except ValueError as error:
        raise SettingError(f"lora.targets: {' '.join(str(error).split())[:300]}") from error
    found = tuned.base_model.targeted_module_names
    for target in lora.targets:  # peft is content with one of them
        if not any(f".{name}".endswith(f".{target}") for name in found):
            raise SettingError(f"lora.targets: the model has no layer {target}")
    # With a name, peft looks there for the size of the embeddings, and saves all of them with each
    # checkpoint if ours have more rows.
    config.base_model_name_or_path = ""
    return tuned


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what peft 0.21 calls by its name in transformers 4 from being told to a person."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield


def _rows(model: "PreTrainedModel", ids: list[int]) -> dict[str, list[int]]:
    """The rows of new tokens, by the name of the layer that holds them."""
    layers = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:  # else they are the same rows
        layers.append(model.get_output_embeddings())
    names = {id(layer): name.rpartition(".")[2] for name, layer in model.named_modules()}
    return {names[id(layer)]: ids for layer in layers}


def save(model: Any, base: str, folder: Path) -> None:
    """Write the adapters alone; ``base`` is what they belong to, a folder or a name on the Hub."""
    (config,) = model.peft_config.values()
    name, version = vocabulary.named(vocabulary.label(base))
    config.base_model_name_or_path, config.revision = name, version.get("revision")
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty form; ours is beside the whole model


def merged(model: Any, lora: Lora, base: str, adapter: Path) -> "PreTrainedModel":
    """The whole model with what the adapters add, which any server loads as it is.

    ``adapter`` is where they were saved; ``base`` is read again where its weights were quantised,
    since adding to rounded weights would round again.
    """
    if not lora.bits:
        whole: PreTrainedModel = model.merge_and_unload()
        return whole
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rounded = model.get_base_model()
    name, version = vocabulary.named(base)
    fresh = AutoModelForCausalLM.from_pretrained(name, dtype=rounded.dtype, **version)
    rows = rounded.get_input_embeddings().weight.shape[0]
    fresh.resize_token_embeddings(rows, mean_resizing=False)
    with _quiet():
        tuned = PeftModel.from_pretrained(fresh, adapter)
    there: PreTrainedModel = tuned.merge_and_unload()
    # These know of the new tokens and of the longer context.
    there.config, there.generation_config = rounded.config, rounded.generation_config
    if hasattr(there.config, "quantization_config"):
        del there.config.quantization_config
    return there
