"""Longer contexts: which frequencies the built model has, and what its config says afterwards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPTBigCodeConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
)

from training.context import Context, extend, require_own_frequencies
from ultra.errors import SettingError
from ultra.local_chat import positions

TRAINED, LENGTH = 64, 160  # a factor of 2.5
SIZE = {"vocab_size": 32, "hidden_size": 64, "intermediate_size": 8, "num_hidden_layers": 1}
BASE = 10_000 ** (-torch.arange(0, 32, 2) / 32)  # two heads of 32: sixteen frequencies


def llama(**more: Any) -> Any:
    positions = {"max_position_embeddings": TRAINED, "num_attention_heads": 2}
    return LlamaConfig(**SIZE, **positions, **more)


def extended(rope: Any, folder: Path) -> Any:
    """The config of a small Llama, extended, saved and read again."""
    config = llama()
    extend(config, Context(LENGTH, rope))
    config.save_pretrained(folder)
    return AutoConfig.from_pretrained(folder)


def built(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def frequencies(model: Any) -> Any:
    return model.model.rotary_emb.inv_freq


@pytest.mark.parametrize("rope", ["extrapolate", "linear", "dynamic", "yarn"])
def test_the_limit_is_the_length_asked_for(rope: Any, tmp_path: Path) -> None:
    assert positions(extended(rope, tmp_path)) == LENGTH


@pytest.mark.parametrize(("trained", "length"), [(3000, 8192), (2047, 8191), (2500, 11300)])
@pytest.mark.parametrize("rope", ["linear", "dynamic", "yarn"])
def test_the_limit_is_exact_for_any_ratio(rope: Any, trained: int, length: int) -> None:
    config = LlamaConfig(max_position_embeddings=trained)
    extend(config, Context(length, rope))
    assert positions(config) == length


@pytest.mark.parametrize("rope", ["extrapolate", "linear", "dynamic", "yarn"])
def test_a_model_runs_at_the_new_length(rope: Any, tmp_path: Path) -> None:
    with torch.inference_mode():
        logits = built(extended(rope, tmp_path))(torch.arange(LENGTH)[None] % 32).logits
    assert logits.shape == (1, LENGTH, 32)
    assert logits.isfinite().all()


def test_extrapolation_leaves_the_frequencies(tmp_path: Path) -> None:
    config = extended("extrapolate", tmp_path)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 10_000.0}
    assert config.max_position_embeddings == LENGTH
    torch.testing.assert_close(frequencies(built(config)), BASE)


def test_linear_divides_every_frequency_by_the_exact_factor(tmp_path: Path) -> None:
    config = extended("linear", tmp_path)
    scaling = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.5}
    assert config.rope_parameters == scaling
    assert config.max_position_embeddings == TRAINED  # which vLLM multiplies by the factor
    torch.testing.assert_close(frequencies(built(config)), BASE / 2.5)


def test_dynamic_sets_in_beyond_the_trained_length(tmp_path: Path) -> None:
    config = extended("dynamic", tmp_path)
    scaling = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.5}
    assert config.rope_parameters == scaling
    assert config.max_position_embeddings == TRAINED
    model = built(config)
    torch.testing.assert_close(frequencies(model), BASE)
    with torch.inference_mode():
        model(torch.zeros(1, TRAINED, dtype=torch.long))
        torch.testing.assert_close(frequencies(model), BASE)
        model(torch.zeros(1, LENGTH, dtype=torch.long))
    raised = 10_000 * (2.5 * LENGTH / TRAINED - 1.5) ** (32 / 30)
    expected = raised ** (-torch.arange(0, 32, 2) / 32)
    torch.testing.assert_close(frequencies(model), expected)


def test_yarn_keeps_high_frequencies_and_interpolates_low_ones(tmp_path: Path) -> None:
    config = extended("yarn", tmp_path)
    assert config.rope_parameters == {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 2.5,
        "original_max_position_embeddings": TRAINED,
    }
    assert config.max_position_embeddings == LENGTH
    model = built(config)
    found = frequencies(model)
    torch.testing.assert_close(found[0], BASE[0])
    turns = TRAINED * BASE / (2 * torch.pi)
    torch.testing.assert_close(found[turns < 0.5], (BASE / 2.5)[turns < 0.5])
    between = found[1:4]
    assert (between < BASE[1:4]).all()
    assert (between > BASE[1:4] / 2.5).all()
    assert model.model.rotary_emb.attention_scaling == pytest.approx(0.1 * 0.9162907 + 1)


def test_the_rotary_base_and_share_of_the_model_are_kept() -> None:
    rope = {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5}
    config = llama(rope_parameters=rope)
    extend(config, Context(LENGTH, "linear"))
    assert config.rope_parameters == rope | {"rope_type": "linear", "factor": 2.5}


def test_length_zero_changes_nothing() -> None:
    config = llama()
    before = config.to_dict()
    extend(config, Context())
    assert config.to_dict() == before


@pytest.mark.parametrize("rope", ["extrapolate", "linear", "dynamic", "yarn"])
def test_a_model_that_has_the_length_is_left_as_it_is(rope: Any, tmp_path: Path) -> None:
    config = extended(rope, tmp_path)
    before = config.to_dict()
    extend(config, Context(LENGTH, rope))
    assert config.to_dict() == before


def test_a_length_below_the_models_is_refused() -> None:
    with pytest.raises(SettingError, match=r"context\.length: 32 is less than the model's 64"):
        extend(llama(), Context(32))


@pytest.mark.parametrize("rope", ["extrapolate", "linear", "dynamic", "yarn"])
def test_scaling_upon_scaling_is_refused(rope: Any, tmp_path: Path) -> None:
    config = extended("yarn", tmp_path)
    with pytest.raises(SettingError, match=r"context\.length: .*scaled already \(yarn, up to 160"):
        extend(config, Context(2 * LENGTH, rope))


def test_another_scaling_to_the_same_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="scaled already"):
        extend(extended("yarn", tmp_path), Context(LENGTH, "linear"))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (GPTBigCodeConfig(n_positions=64), "gpt_bigcode.* 64 tokens"),
        (BloomConfig(), "bloom.* no stated number"),
        (FalconConfig(alibi=True), "falcon"),
    ],
)
def test_a_model_without_rotary_positions_cannot_be_extended(config: Any, kind: str) -> None:
    with pytest.raises(SettingError, match=rf"context\.length: a {kind}"):
        extend(config, Context(8192))


def test_learned_positions_of_the_length_asked_for_are_fine() -> None:
    config = GPTBigCodeConfig(n_positions=8192)
    extend(config, Context(8192))
    assert positions(config) == 8192


def test_frequencies_that_differ_by_layer_can_only_be_extrapolated() -> None:
    config = Gemma3TextConfig(max_position_embeddings=TRAINED, num_hidden_layers=6)
    rope = config.rope_parameters
    with pytest.raises(SettingError, match=r"context\.rope: yarn .*use extrapolate"):
        extend(config, Context(LENGTH, "yarn"))
    extend(config, Context(LENGTH))
    assert positions(config) == LENGTH
    assert config.rope_parameters == rope


def test_a_scaling_that_the_model_does_not_know_is_refused() -> None:
    config = Phi3Config(pad_token_id=0)
    with pytest.raises(SettingError, match=r"context\.rope: linear does not fit"):
        extend(config, Context(8192, "linear"))


def test_sliding_windows_stay() -> None:
    config = MistralConfig(max_position_embeddings=TRAINED, sliding_window=16)
    extend(config, Context(LENGTH, "yarn"))
    assert (positions(config), config.sliding_window) == (LENGTH, 16)


def test_a_limit_that_others_wrote_is_counted_as_vllm_does() -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    assert positions(llama(rope_parameters=rope)) == 256  # as Qwen's cards say to write it
    assert positions(BloomConfig()) is None


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"length": -1}, r"context\.length"), ({"rope": "linear"}, r"context\.rope")],
)
def test_settings_without_sense_are_refused(settings: Any, name: str) -> None:
    with pytest.raises(SettingError, match=name):
        Context(**settings)


@pytest.mark.parametrize("rope", ["linear", "yarn", "dynamic", "extrapolate"])
def test_frequencies_that_depend_on_the_row_want_one_dialogue_in_it(
    rope: Any, tmp_path: Path
) -> None:
    config = extended(rope, tmp_path)
    require_own_frequencies(config, together=1)
    if rope == "dynamic":
        with pytest.raises(SettingError, match="per_device_train_batch_size to 1"):
            require_own_frequencies(config, together=2)
    else:
        require_own_frequencies(config, together=2)
