"""Context extension: longer sequences than those that the base model was trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ultra.errors import SettingError
from ultra.local_chat import positions

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Context:
    """Positions beyond those that the base model was trained on."""

    length: int = 0
    """Longest sequence in tokens, for instance 8192; 0 keeps the model's."""
    rope: Literal["extrapolate", "linear", "dynamic", "yarn"] = "extrapolate"
    """What becomes of the rotary frequencies; extrapolate, as OpenChat did, leaves them."""

    def __post_init__(self) -> None:
        if self.length < 0:
            raise SettingError(f"context.length: {self.length} is not 0 or more")
        if self.rope != "extrapolate" and not self.length:
            raise SettingError(f"context.rope: {self.rope} needs a context.length")


def extend(config: "PreTrainedConfig", context: Context) -> None:
    """Change the config of a model in place, before the model is built.

    With the factor ``length / trained length``, both in tokens:

    - ``extrapolate`` only allows more positions. OpenChat trained its 8192 tokens so; its code for
      interpolation was switched off (``extend_context_to`` in github.com/imoneoi/openchat, July
      2023).
    - ``linear`` divides all frequencies by the factor (Chen et al., arXiv:2306.15595). FastChat
      does so too, but rounds the factor up (``fastchat/train/train.py``).
    - ``dynamic`` raises the base of the frequencies with each sequence that is longer than the
      trained length, and leaves shorter ones as they were (NTK scaling), one at a time.
    - ``yarn`` interpolates low frequencies only (Peng et al., arXiv:2309.00071).

    ``linear`` and ``dynamic`` leave ``max_position_embeddings``: for ``dynamic`` it is the length
    from which it sets in, and vLLM multiplies it by the factor for both
    (``_get_and_verify_max_len`` in ``vllm/config/model.py``). So read the length with
    :func:`ultra.local_chat.positions`. A model that takes ``length`` already is left as it is.

    Raises:
        SettingError: no rotary positions, frequencies that are scaled already or differ by layer,
            or a length below the model's.
    """
    text: Any = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    trained = positions(config)
    kinds = {part["rope_type"] for part in _parts(rope)} or {"default"}
    if not context.length or (context.length == trained and kinds <= {"default", context.rope}):
        return
    if not rope or trained is None or getattr(text, "alibi", False):
        raise SettingError(
            f"context.length: a {text.model_type} model has no rotary positions that can be "
            f"extended (it takes {trained or 'no stated number of'} tokens); leave it out"
        )
    if kinds != {"default"}:
        raise SettingError(
            f"context.length: the model's rotary positions are scaled already "
            f"({', '.join(sorted(kinds))}, up to {trained} tokens); start from the model before "
            "that, or leave it out"
        )
    if context.length < trained:
        raise SettingError(
            f"context.length: {context.length} is less than the model's {trained}; leave it out, "
            "and set max_length for shorter examples"
        )
    if context.rope != "extrapolate":
        _scale(text, context, trained)
    if context.rope in ("extrapolate", "yarn"):
        text.max_position_embeddings = context.length


def _parts(rope: dict[str, Any]) -> list[dict[str, Any]]:
    """The frequencies' settings: one for all layers, or one for each type of layer."""
    return [rope] if "rope_type" in rope else [part for part in rope.values() if part]


def _scale(text: Any, context: Context, trained: int) -> None:
    """Write the scaling where transformers 5 reads it, and let the model's config judge it."""
    if "rope_type" not in text.rope_parameters:
        raise SettingError(
            f"context.rope: {context.rope} is for models with the same rotary frequencies in all "
            "layers; use extrapolate"
        )
    scaling = {"rope_type": context.rope, "factor": context.length / trained}
    if context.rope == "yarn":
        scaling["original_max_position_embeddings"] = trained
    # Not rope_scaling, the name of transformers 4: assigning to it loses rope_theta.
    text.rope_parameters = {**text.rope_parameters, **scaling}
    try:
        text.validate_rope()
    except ValueError as error:
        why = " ".join(str(error).split())
        raise SettingError(
            f"context.rope: {context.rope} does not fit the model ({why})"
        ) from error


def require_own_frequencies(config: "PreTrainedConfig", together: int) -> None:
    """Make sure that the length of one dialogue does not change the frequencies of another.

    ``dynamic`` and ``longrope`` look at the longest sequence that a model is given at once;
    ``together`` is how many dialogues it is.

    Raises:
        SettingError: they would.
    """
    text: Any = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in _parts(rope)} & {"dynamic", "longrope"}
    if kinds and together > 1:
        raise SettingError(
            f"context.rope: {kinds.pop()} depends on the longest dialogue of a micro-batch; set "
            "trainer.per_device_train_batch_size to 1, or take yarn or linear"
        )
