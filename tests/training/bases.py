"""Small checkpoints of the architectures that recipes start from, with tokenizers like theirs."""

import json
from pathlib import Path
from typing import Any

SMALLER = 16
"""How many times fewer tokens a small checkpoint takes than the published one."""


def llama(folder: Path, texts: list[str]) -> Path:
    """LLaMA-1: blanks that stand before words, bytes for what is unknown, three control tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    control = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    vocab, merges = _trained(tokenizer, trainers.BpeTrainer, texts, control)
    config = LlamaConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048 // SMALLER,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    LlamaTokenizer(
        vocab=vocab, merges=merges, legacy=True, model_max_length=2048 // SMALLER
    ).save_pretrained(folder)
    return folder


def starcoder(folder: Path, texts: list[str]) -> Path:
    """StarCoderPlus: GPTBigCode with one key for all heads, bytes, and no token that begins."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Tokenizer, GPTBigCodeConfig, GPTBigCodeForCausalLM

    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    control = [end, "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]
    vocab, merges = _trained(tokenizer, trainers.BpeTrainer, texts, control, alphabet)
    config = GPTBigCodeConfig(
        vocab_size=len(vocab),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=8192 // SMALLER,
        multi_query=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPTBigCodeForCausalLM(config).save_pretrained(folder)
    of = {"bos_token": end, "eos_token": end, "unk_token": end}
    GPT2Tokenizer(
        vocab=vocab, merges=merges, extra_special_tokens=control[1:], **of
    ).save_pretrained(folder)
    return folder


def _trained(
    tokenizer: Any,
    trainer: Any,
    texts: list[str],
    control: list[str],
    alphabet: list[str] | None = None,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges that are learned from texts."""
    tokenizer.train_from_iterator(
        iter(texts),
        trainer(
            vocab_size=600,
            special_tokens=control,
            initial_alphabet=alphabet or [],
            show_progress=False,
        ),
    )
    learned = json.loads(tokenizer.to_str())["model"]
    return learned["vocab"], [tuple(pair) for pair in learned["merges"]]


MAKE = {
    "huggyllama/llama-7b": llama,
    "huggyllama/llama-13b": llama,
    "bigcode/starcoderplus": starcoder,
}
"""What stands in for each published checkpoint."""
