"""Attention that stays inside each dialogue of a packed row, on any device."""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from ultra.errors import SettingError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Attention = Literal[
    "auto", "per_document", "sdpa", "eager", "flash_attention_2", "flash_attention_3"
]

PER_DOCUMENT = "per_document_sdpa"
"""The name under which transformers knows it."""


def choose(attention: Attention, model: "PreTrainedModel", flash: bool = False) -> None:
    """Set a model's attention: ``auto`` takes FlashAttention where it runs, else our own.

    ``flash`` tells whether it may: on a GPU, multiplying in 16 bits. All attentions keep the
    dialogues of a packed row apart, ``sdpa`` and ``eager`` with a mask of tokens times tokens that
    transformers makes of the positions.

    Raises:
        SettingError: the model or this machine cannot do it.
    """
    name: str = attention
    if attention == "auto":
        name = "flash_attention_2" if flash and _has_flash() else "per_document"
        if not getattr(model, "_supports_sdpa", True) or _caps_scores(model):
            name = "eager"
    if name == "per_document":
        if _caps_scores(model):
            raise SettingError("attention: this model caps its attention scores; set it to eager")
        register()
        name = PER_DOCUMENT
    try:
        model.set_attn_implementation(name)
    except (ImportError, ValueError) as error:
        raise SettingError(f"attention: {attention} cannot be used here ({error})") from error


def require_apart(model: "PreTrainedModel") -> None:
    """Make sure that a dialogue of a packed row does not notice the one before it.

    It is tried, since no list of architectures would stay right: states of recurrent layers run on,
    and some models make masks without looking at positions. Weights on the CPU are tried with our
    own attention where FlashAttention was chosen.

    Raises:
        SettingError: it does, or the model takes no packed rows.
    """
    import torch

    chosen, training = model.config._attn_implementation, model.training
    if chosen.startswith("flash") and model.device.type == "cpu":
        choose("per_document", model)
    model.eval()
    try:
        one, other = (_second(model, first) for first in ([3, 4, 5, 6], [9, 8, 7, 6]))
    except (ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise SettingError(
            f"batching: a {model.config.model_type} model takes no packed rows ({why}); set grouped"
        ) from error
    finally:
        model.train(training)
        model.set_attn_implementation(chosen)
    if not torch.isfinite(one).all():
        return  # weights that are no numbers are told by the first step
    if (one - other).abs().max() > 1e-4 * one.abs().max():  # 0 where they are apart, as measured
        raise SettingError(
            f"batching: dialogues in a packed row of a {model.config.model_type} model would see "
            "each other with this attention; set batching: grouped"
        )


def _second(model: "PreTrainedModel", first: list[int]) -> "torch.Tensor":
    """Logits of the second of two dialogues in a row, ``[tokens, vocabulary]``."""
    import numpy as np
    import torch

    from training.packing import collate_packed

    ids = (np.array(first), np.array([7, 8, 9]))
    rows = [{"input_ids": one, "weights": np.ones(len(one), np.float32)} for one in ids]
    batch = collate_packed(rows, weighted=False, everywhere=True)
    given = {
        name: one.to(model.device) if hasattr(one, "to") else one
        for name, one in batch.items()
        if name not in ("labels", "shift_labels")
    }
    with torch.no_grad():
        return model(**given, use_cache=False).logits[0, len(first) :].float()


def _has_flash() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


def _caps_scores(model: "PreTrainedModel") -> bool:
    return bool(getattr(model.config, "attn_logit_softcapping", None))


def register() -> None:
    """Make :data:`PER_DOCUMENT` known to transformers.

    It is not registered as one that needs a mask, so none is made: neither of tokens times tokens,
    which would cost more than all else, nor for padded rows, which it must not be used on.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(PER_DOCUMENT, _forward())


def _forward() -> "Callable[..., tuple[torch.Tensor, None]]":
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    def per_document(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        sliding_window: int | None = None,
        **_: Any,  # what other attentions of transformers take
    ) -> tuple[torch.Tensor, None]:
        """Queries ``[1, heads, tokens, size]`` to ``[1, tokens, heads, size]``."""
        if attention_mask is not None:
            raise ValueError(f"{PER_DOCUMENT} is for packed rows, which have no mask")
        grouped = query.shape[1] != key.shape[1]
        borders = [0, query.shape[2]]  # of one text, such as a sample that is generated
        if packed := cu_seq_lens_q is not None:
            borders = cu_seq_lens_q.tolist()
        outputs = []
        for start, end in pairwise(borders):
            # While a text is generated, keys of earlier tokens stand before those of the queries.
            keys = slice(start, end) if packed else slice(None)
            mask = _band(end - start, key[:, :, keys].shape[2], sliding_window, query.device)
            outputs.append(
                scaled_dot_product_attention(
                    query[:, :, start:end],
                    key[:, :, keys],
                    value[:, :, keys],
                    attn_mask=mask,
                    dropout_p=dropout if module.training else 0.0,
                    is_causal=mask is None,
                    scale=scaling,
                    enable_gqa=grouped,
                )
            )
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        return joined.transpose(1, 2).contiguous(), None

    return per_document


def _band(
    queries: int, keys: int, window: int | None, device: "torch.device"
) -> "torch.Tensor | None":
    """What each query sees, ``[queries, keys]``; None where that is all up to itself."""
    import torch

    if queries == keys and (not window or keys <= window):
        return None
    at = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(
        keys, device=device
    )
    seen = at >= 0
    return seen & (at < window) if window else seen
