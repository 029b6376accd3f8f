"""The forward pass of a Llama and nothing around it, documents side by side in one row."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)


def attend(query: Any, key: Any, value: Any, lengths: Sequence[int]) -> Any:
    """Causal attention within each document; all are (1, heads, tokens, size)."""
    documents = zip(*(one.split(lengths, dim=2) for one in (query, key, value)), strict=True)
    return torch.cat(
        [F.scaled_dot_product_attention(q, k, v, is_causal=True) for q, k, v in documents], dim=2
    )


def hidden(model: Any, ids: Any, lengths: Sequence[int]) -> Any:
    """What the last layer of a ``LlamaForCausalLM`` says of a row of token ids, (tokens, width)."""
    cosine, sine = rotary(model, lengths)
    heads, epsilon = model.config.num_attention_heads, model.config.rms_norm_eps
    state = model.model.embed_tokens(ids)

    def normed(norm: Any) -> Any:
        return F.rms_norm(state, state.shape[-1:], norm.weight, epsilon)

    for layer in model.model.layers:
        part, seen = layer.self_attn, normed(layer.input_layernorm)
        query, key, value = (
            projection(seen).view(len(ids), heads, -1).transpose(0, 1)[None]
            for projection in (part.q_proj, part.k_proj, part.v_proj)
        )
        query, key = (one * cosine + _half_turned(one) * sine for one in (query, key))
        said = attend(query, key, value, lengths)[0].transpose(0, 1).flatten(1)
        state = state + part.o_proj(said)
        part, seen = layer.mlp, normed(layer.post_attention_layernorm)
        state = state + part.down_proj(F.silu(part.gate_proj(seen)) * part.up_proj(seen))
    return normed(model.model.norm)


def rotary(model: Any, lengths: Sequence[int]) -> tuple[Any, Any]:
    """Cosines and sines of the positions within the documents, (tokens, size of a head)."""
    positions = torch.cat([torch.arange(length) for length in lengths])
    angles = positions[:, None] * model.model.rotary_emb.inv_freq
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def _half_turned(one: Any) -> Any:
    first, second = one.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
