"""Packed dialogues do not see each other: each token's loss is that of its dialogue alone."""

from typing import Any

import numpy as np
import pytest
import torch

from training import attention, loss, packing
from ultra.errors import SettingError

VOCAB = 97
TOLERANCE = 1e-5


def llama(**more: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, **sizes, **heads, **more))


def mistral() -> Any:
    """Sees the last 16 tokens only, fewer than most of the dialogues have."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return MistralForCausalLM(MistralConfig(vocab_size=VOCAB, sliding_window=16, **sizes, **heads))


def starcoder() -> Any:
    """One key for all heads, and learned positions."""
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    torch.manual_seed(0)
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
    drop = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    return GPTBigCodeForCausalLM(GPTBigCodeConfig(vocab_size=VOCAB, **sizes, **drop))


MODELS = {"llama": llama, "mistral": mistral, "starcoder": starcoder}


def dialogues(count: int = 12) -> list[dict[str, Any]]:
    """Random tokens; what is supervised begins and ends anywhere."""
    generator = np.random.default_rng(1)
    rows = []
    for _ in range(count):
        length = int(generator.integers(3, 70))
        weights = (generator.random(length) < 0.6).astype(np.float32)
        weights[-1] = 1
        ids = generator.integers(0, VOCAB, length).astype(np.int32)
        rows.append({"input_ids": ids, "weights": weights})
    return rows


def token_losses(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """The loss of each supervised token, in its order."""
    given = {name: one for name, one in batch.items() if name not in ("labels", "shift_labels")}
    with torch.no_grad():
        logits = model(**given).logits[0]
    return torch.nn.functional.cross_entropy(logits, batch["shift_labels"][0], reduction="none")


def alone(model: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    """Each dialogue by itself, with the attention of transformers that nobody changed."""
    model.set_attn_implementation("eager")
    losses = []
    for row in rows:
        ids = torch.tensor(row["input_ids"], dtype=torch.long)[None]
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        losses.append(each[torch.tensor(row["weights"][1:] > 0)])
    return torch.cat(losses)


def difference(model: Any, chosen: str, batch: dict[str, Any]) -> float:
    """The greatest difference of a token's loss, packed and alone."""
    expected = alone(model, dialogues())
    attention.choose(chosen, model)  # type: ignore[arg-type]
    return float((token_losses(model, batch) - expected).abs().max())


@pytest.mark.parametrize("chosen", ["per_document", "sdpa", "eager", "auto"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_packed_and_unpacked_losses_are_the_same_token_by_token(name: str, chosen: str) -> None:
    model = MODELS[name]().eval()
    model.config.use_cache = False
    batch = packing.collate_packed(dialogues(), weighted=False)
    assert difference(model, chosen, batch) <= TOLERANCE


@pytest.mark.parametrize("weighted", [True, False])
def test_a_model_that_cannot_leave_out_logits_has_the_same_loss(weighted: bool) -> None:
    model = llama().train()
    model.config.use_cache = False
    attention.choose("per_document", model)
    if weighted:
        model.loss_function = loss.weighted
    some, all_of_them = (
        model(**packing.collate_packed(dialogues(), weighted, everywhere)).loss
        for everywhere in (False, True)
    )
    assert all_of_them.item() == pytest.approx(some.item(), abs=1e-6)


@pytest.mark.parametrize("chosen", ["sdpa", "eager"])
@pytest.mark.parametrize("leak", ["use_cache", "mask of ones", "no positions"])
def test_settings_that_leak_fail_the_same_test(chosen: str, leak: str) -> None:
    model = llama().eval()
    model.config.use_cache = leak == "use_cache"
    batch = packing.collate_packed(dialogues(), weighted=False)
    if leak == "mask of ones":
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if leak == "no positions":
        del batch["position_ids"]
    assert difference(model, chosen, batch) > 1000 * TOLERANCE


def test_our_attention_needs_the_borders() -> None:
    model = llama().eval()
    batch = packing.collate_packed(dialogues(), weighted=False)
    del batch["cu_seq_lens_q"]
    assert difference(model, "per_document", batch) > 1000 * TOLERANCE


def test_our_attention_refuses_a_mask() -> None:
    model = llama().eval()
    attention.choose("per_document", model)
    batch = packing.collate_packed(dialogues(), weighted=False)
    mask = torch.ones(1, 1, batch["input_ids"].shape[1], batch["input_ids"].shape[1])
    with pytest.raises(ValueError, match="packed rows, which have no mask"):
        model(**batch, attention_mask=mask)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_text_can_be_generated_with_our_attention(name: str) -> None:
    model = MODELS[name]().eval()
    prompt = torch.arange(20)[None]

    def said() -> list[int]:
        mask = torch.ones_like(prompt)
        out = model.generate(
            input_ids=prompt, attention_mask=mask, max_new_tokens=20, do_sample=False
        )
        return list(out[0].tolist())

    model.set_attn_implementation("eager")
    expected = said()
    attention.choose("per_document", model)
    assert said() == expected


def test_a_model_that_caps_its_scores_is_not_given_an_attention_that_does_not() -> None:
    model = llama()
    model.config.attn_logit_softcapping = 50.0
    with pytest.raises(SettingError, match="set it to eager"):
        attention.choose("per_document", model)
    attention.choose("auto", model)
    assert model.config._attn_implementation == "eager"


def test_an_attention_that_is_not_installed_is_one_line() -> None:
    with pytest.raises(SettingError, match="attention: flash_attention_3 cannot be used here"):
        attention.choose("flash_attention_3", llama())


def test_what_was_chosen_is_not_saved_with_the_model(tmp_path: Any) -> None:
    model = llama()
    attention.choose("per_document", model)
    model.save_pretrained(tmp_path)
    assert attention.PER_DOCUMENT not in (tmp_path / "config.json").read_text()


def bloom() -> Any:
    from transformers import BloomConfig, BloomForCausalLM

    return BloomForCausalLM(BloomConfig(vocab_size=VOCAB, hidden_size=32, n_layer=2, n_head=2))


def falcon() -> Any:
    from transformers import FalconConfig, FalconForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return FalconForCausalLM(FalconConfig(vocab_size=VOCAB, **sizes))


def mamba() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2))


@pytest.mark.parametrize("made", [bloom, falcon, mamba])
def test_a_model_whose_packed_dialogues_see_each_other_is_refused(made: Any) -> None:
    model = made()
    attention.choose("auto", model)
    with pytest.raises(SettingError, match=r"see each other.*batching: grouped"):
        attention.require_apart(model)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_that_keeps_them_apart_is_taken_as_it_was(name: str) -> None:
    model = MODELS[name]().train()
    attention.choose("auto", model)
    before = torch.get_rng_state()
    attention.require_apart(model)
    assert model.training
    assert model.config._attn_implementation == attention.PER_DOCUMENT
    assert torch.equal(torch.get_rng_state(), before)
