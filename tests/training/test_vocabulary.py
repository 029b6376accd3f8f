"""Tokenizers and models made new, and taken from checkpoints."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from training import vocabulary
from training.vocabulary import PAD, TURN_END, TURN_START, NewModel
from ultra.errors import InputError, SettingError

DIGEST = """
import hashlib
from datasets import Dataset
from training.vocabulary import NewModel, new_tokenizer
from tests.training.tiny import CHATS
tokenizer = new_tokenizer(Dataset.from_dict({"messages": CHATS}), NewModel(vocab_size=290))
print(hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(), len(tokenizer))
"""


def test_the_same_texts_give_the_same_tokenizer_in_any_process() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (run.communicate()[0] for run in runs)
    assert first == second
    assert first.split()[1] == "290"


@given(st.text())
@hypothesis_settings(deadline=None, database=None)
def test_any_text_survives_the_tokenizer(code_tokenizer: Any, text: str) -> None:
    ids = code_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert code_tokenizer.decode(ids) == text


def test_padding_is_not_the_end_of_a_turn(byte_tokenizer: Any) -> None:
    assert (byte_tokenizer.pad_token, byte_tokenizer.eos_token) == (PAD, TURN_END)
    control = byte_tokenizer.convert_tokens_to_ids([PAD, TURN_START, TURN_END])
    assert len(set(control)) == 3
    assert byte_tokenizer(TURN_START, add_special_tokens=False)["input_ids"] == [control[1]]


def test_a_new_model_fits_its_tokenizer_and_size(byte_tokenizer: Any) -> None:
    size = NewModel(hidden_size=32, layers=2, heads=4, max_positions=64)
    config = vocabulary.new_model(byte_tokenizer, size).config
    assert config.vocab_size == len(byte_tokenizer) == 259
    assert (config.hidden_size, config.intermediate_size) == (32, 128)
    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 4)
    assert config.max_position_embeddings == 64
    assert config.eos_token_id == byte_tokenizer.eos_token_id
    assert config.pad_token_id == byte_tokenizer.pad_token_id


def test_the_weights_of_a_new_model_follow_the_seed(byte_tokenizer: Any) -> None:
    def weights(seed: int) -> Any:
        torch.manual_seed(seed)
        model = vocabulary.new_model(byte_tokenizer, NewModel(hidden_size=32, layers=1))
        return model.get_output_embeddings().weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("hidden_size", "heads"),
    [(30, 4), (32, 0), (32, -2), (20, 4), (4, 4)],
)
def test_heads_that_do_not_fit_the_width_are_refused(
    byte_tokenizer: Any, hidden_size: int, heads: int
) -> None:
    with pytest.raises(SettingError, match=rf"new\.hidden_size: {hidden_size} .*new\.heads"):
        vocabulary.new_model(byte_tokenizer, NewModel(hidden_size=hidden_size, heads=heads))


def test_a_template_is_a_name_or_a_file(tmp_path: Path) -> None:
    own = tmp_path / "own.jinja"
    own.write_text("{% generation %}x{% endgeneration %}\n")
    assert vocabulary.template(str(own)) == "{% generation %}x{% endgeneration %}"
    assert "<|im_start|>" in vocabulary.template("chatml")


@pytest.mark.parametrize("name", ["chatmi", "missing/own.jinja", "own.jinja", ""])
def test_an_unknown_template_names_the_known_ones(name: str) -> None:
    with pytest.raises(SettingError, match=r"\(.*chatml.*\)"):
        vocabulary.template(name)


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder"])
def test_a_checkpoint_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match=f"model {name}: no folder with a checkpoint") as caught:
        vocabulary.from_checkpoint(name)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_padding_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    config = json.loads((copy / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="no pad token"):
        vocabulary.from_checkpoint(str(copy))
