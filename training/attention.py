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
