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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    GenerationConfig,
    GPTBigCodeConfig,
    GPTJConfig,
    LlamaConfig,
    LlamaTokenizer,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from training import template, vocabulary
from training.context import Context
from training.vocabulary import PAD, TURN_END, TURN_START, NewModel, Tokens
from ultra.errors import InputError, SettingError
from ultra.local_chat import positions

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
    assert template.read(str(own)) == "{% generation %}x{% endgeneration %}"
    assert "<|im_start|>" in template.read("chatml")


@pytest.mark.parametrize("name", ["chatmi", "missing/own.jinja", "own.jinja", ""])
def test_an_unknown_template_names_the_known_ones(name: str) -> None:
    with pytest.raises(SettingError, match=r"\(.*chatml.*\)"):
        template.read(name)


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder"])
def test_a_checkpoint_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match=f"model {name}: no folder with a checkpoint") as caught:
        vocabulary.from_checkpoint(name)
    assert "\n" not in str(caught.value)


END = "<|end_of_turn|>"
PROBE = f"one{END}two </s> three{END}\n<|pad|> four"


def base_tokenizer(*control: str) -> Any:
    """Of a base model: no end of turn, no padding. The control tokens come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        special_tokens=list(control), initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator([], trainer)
    names = dict(zip(("unk_token", "bos_token", "eos_token"), control * 3, strict=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def llama_like() -> Any:
    return base_tokenizer("<unk>", "<s>", "</s>")  # and 256 bytes: 259 tokens


def gpt_like() -> Any:
    return base_tokenizer("<|endoftext|>")  # is all three


def model_of(name: str, rows: int = 259, dtype: Any = torch.float32) -> Any:
    """A tiny model of a base checkpoint, whose means are far from zero."""
    size = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    wide = {**size, "intermediate_size": 16, "vocab_size": rows, "max_position_embeddings": 64}
    config = {
        "llama": lambda: LlamaConfig(**wide),
        "llama tied": lambda: LlamaConfig(**wide, tie_word_embeddings=True),
        "mistral": lambda: MistralConfig(**wide, num_key_value_heads=1),
        "gpt_bigcode": lambda: GPTBigCodeConfig(
            vocab_size=rows, n_embd=16, n_head=2, n_layer=1, n_positions=64
        ),
        "gptj": lambda: GPTJConfig(
            vocab_size=rows, n_embd=16, n_head=2, n_layer=1, n_positions=64, rotary_dim=4
        ),
        "gemma3": lambda: Gemma3Config(
            text_config={**wide, "num_key_value_heads": 1, "head_dim": 8},
            vision_config={**size, "intermediate_size": 16, "image_size": 8, "patch_size": 4},
            mm_tokens_per_image=4,
        ),
    }[name]()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    with torch.no_grad():
        for number, values in enumerate(matrices(model)):
            values += 1 + number + torch.arange(rows).reshape(-1, *[1] * (values.dim() - 1)) / rows
    return model


def matrices(model: Any) -> list[Any]:
    """Input embeddings; if they are not tied, output embeddings; if there is one, the bias."""
    given, head = model.get_input_embeddings(), model.get_output_embeddings()
    untied = [head.weight] if head.weight is not given.weight else []
    return [given.weight, *untied, *([head.bias] if head.bias is not None else [])]


MODELS = {
    "llama": (llama_like, 2),
    "llama tied": (llama_like, 1),
    "mistral": (llama_like, 2),
    "gpt_bigcode": (gpt_like, 1),
    "gptj": (gpt_like, 3),
    "gemma3": (llama_like, 1),
}
EVERY_MODEL = pytest.mark.parametrize("name", MODELS)


def prepared(name: str, tokens: Tokens) -> tuple[Any, Any, list[int]]:
    tokenizer = MODELS[name][0]()
    model = model_of(name, len(tokenizer))
    return model, tokenizer, vocabulary.add_tokens(model, tokenizer, tokens)


@EVERY_MODEL
def test_new_rows_start_as_the_mean_of_the_old_ones(name: str) -> None:
    rows = len(MODELS[name][0]())
    before = [values.clone() for values in matrices(model_of(name, rows))]
    model, _, new = prepared(name, Tokens(END, "<|pad|>"))
    assert new == [rows, rows + 1]
    after = matrices(model)
    assert len(before) == len(after) == MODELS[name][1]
    for old, values in zip(before, after, strict=True):
        assert torch.equal(values[:rows], old)
        torch.testing.assert_close(values[rows:], old.mean(0).expand(2, *old.shape[1:]))


@EVERY_MODEL
def test_a_saved_checkpoint_loads_as_it_was(name: str, tmp_path: Path) -> None:
    model, tokenizer, _ = prepared(name, Tokens(END, "<|pad|>"))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(PROBE)["input_ids"]
    assert again(PROBE)["input_ids"] == ids
    assert ids.count(tokenizer.eos_token_id) == 2
    assert ids.count(tokenizer.pad_token_id) == 1
    assert (again.eos_token, again.pad_token) == (END, "<|pad|>")
    assert again.decode(ids, skip_special_tokens=True).split() == (
        ["onetwo", "three", "four"]
        if "</s>" in again.get_vocab()
        else ["onetwo", "</s>", "three", "four"]
    )
    assert len(matrices(loaded)) == MODELS[name][1]  # what was tied is tied
    for values, read in zip(matrices(model), matrices(loaded), strict=True):
        assert torch.equal(values, read)
    text = loaded.config.get_text_config()
    assert text.vocab_size == len(matrices(loaded)[0]) == len(again)


@EVERY_MODEL
def test_generation_stops_at_the_new_end_and_at_the_old_one(name: str, tmp_path: Path) -> None:
    old = MODELS[name][0]().eos_token_id
    model, tokenizer, (end, pad) = prepared(name, Tokens(END, "<|pad|>"))
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (end, pad)
    model.save_pretrained(tmp_path)
    generation = GenerationConfig.from_pretrained(tmp_path)
    assert generation.eos_token_id[0] == end
    assert old in generation.eos_token_id
    assert generation.pad_token_id == pad
    for config in (model.config, AutoConfig.from_pretrained(tmp_path)):
        text = config.get_text_config()
        assert (text.eos_token_id, text.pad_token_id) == (end, pad)
        assert text.bos_token_id == tokenizer.bos_token_id


def test_the_mean_of_a_bfloat16_model_is_taken_in_float32() -> None:
    tokenizer = llama_like()
    model = model_of("llama", dtype=torch.bfloat16)
    before = [values.clone() for values in matrices(model)]
    new = vocabulary.add_tokens(model, tokenizer, Tokens(END))
    for old, values in zip(before, matrices(model), strict=True):
        assert values.dtype == torch.bfloat16
        exact = old.float().mean(0)
        assert torch.equal(values[new[0]], exact.bfloat16())
        running = torch.zeros_like(old[0])
        for row in old:
            running += row  # in bfloat16: 259 summands are enough to lose a twentieth
        assert ((running / len(old)).float() / exact - 1).abs().min() > 0.02


def test_other_rows_may_start_from_a_normal_distribution() -> None:
    tokenizer = llama_like()
    model = model_of("llama")
    before = [values.clone() for values in matrices(model)]
    torch.manual_seed(7)
    new = vocabulary.add_tokens(model, tokenizer, Tokens(END, init="normal", multiple_of=512))
    for old, values in zip(before, matrices(model), strict=True):
        assert torch.equal(values[:259], old)
        assert values[259:].std().item() == pytest.approx(0.02, rel=0.05)
        assert values[259:].mean().abs().item() < 0.002
    assert not torch.equal(matrices(model)[0][new[0]], matrices(model)[1][new[0]])


def test_normal_rows_follow_the_seed() -> None:
    def row(seed: int) -> Any:
        tokenizer, model = llama_like(), model_of("llama")
        torch.manual_seed(seed)
        new = vocabulary.add_tokens(model, tokenizer, Tokens(END, init="normal"))
        return matrices(model)[1][new[0]]

    assert torch.equal(row(1), row(1))
    assert not torch.equal(row(1), row(2))


@pytest.mark.parametrize("init", ["mean", "normal"])
def test_a_bias_of_the_output_starts_as_the_mean(init: Any) -> None:
    model, _, new = prepared("gptj", Tokens(END, init=init))
    bias = matrices(model)[2]
    torch.testing.assert_close(bias[new], bias[: new[0]].mean().expand(len(new)))


@EVERY_MODEL
@pytest.mark.parametrize("multiple", [64, 100])
def test_rows_are_padded_to_a_multiple(name: str, multiple: int) -> None:
    model, tokenizer, new = prepared(name, Tokens(END, "<|pad|>", multiple_of=multiple))
    assert len(new) == 2
    rows = {len(values) for values in matrices(model)}
    assert rows == {-(-len(tokenizer) // multiple) * multiple}
    assert rows == {model.config.get_text_config().vocab_size}
    for values in matrices(model):  # padding starts as tokens do
        assert torch.equal(values[new[0] :], values[new[0]].expand_as(values[new[0] :]))


def test_a_new_token_takes_an_unused_row_which_counts_in_no_mean() -> None:
    tokenizer = llama_like()
    model = model_of("llama", 320)
    with torch.no_grad():
        for values in matrices(model):
            values[259:] = 1e6
    before = [values.clone() for values in matrices(model)]
    new = vocabulary.add_tokens(model, tokenizer, Tokens(END))
    assert new == [259]
    assert model.config.vocab_size == 320
    for old, values in zip(before, matrices(model), strict=True):
        torch.testing.assert_close(values[259], old[:259].mean(0))
        assert torch.equal(values[260:], old[260:])


def test_a_token_whose_row_is_missing_counts_as_new() -> None:
    tokenizer = llama_like()
    tokenizer.add_tokens(["[PAD]"])  # as some old checkpoints have it: 32,001 tokens, 32,000 rows
    model = model_of("llama", 259)
    assert vocabulary.add_tokens(model, tokenizer, Tokens(END)) == [259, 260]
    assert len(matrices(model)[0]) == 261


def test_tokens_that_are_there_change_no_weight(byte_tokenizer: Any) -> None:
    model = vocabulary.new_model(byte_tokenizer, NewModel(hidden_size=32, layers=1))
    before = [values.clone() for values in matrices(model)]
    assert vocabulary.add_tokens(model, byte_tokenizer, Tokens(TURN_END, PAD)) == []
    assert all(map(torch.equal, before, matrices(model)))
    assert model.generation_config.eos_token_id == [byte_tokenizer.eos_token_id]


def test_a_word_of_the_vocabulary_becomes_a_control_token(tmp_path: Path) -> None:
    tokenizer = llama_like()
    tokenizer.add_tokens(["<turn>"])  # known, but not special
    model = model_of("llama", 260)
    assert vocabulary.add_tokens(model, tokenizer, Tokens("<turn>")) == []
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    ids = again("a<turn>")["input_ids"]
    assert ids[-1] == again.eos_token_id == 259
    assert again.decode(ids, skip_special_tokens=True) == "a"


@pytest.mark.parametrize(
    ("make", "tokens", "pad"),
    [
        (llama_like, Tokens(), "<unk>"),
        (llama_like, Tokens(END), "<unk>"),
        (llama_like, Tokens(END, "</s>"), "</s>"),
        (gpt_like, Tokens(), PAD),  # its unknown token ends texts
        (gpt_like, Tokens(END), PAD),
    ],
)
def test_padding_is_chosen_so_that_it_ends_no_turn(make: Any, tokens: Tokens, pad: str) -> None:
    tokenizer = make()
    model = model_of("llama", len(tokenizer))
    vocabulary.add_tokens(model, tokenizer, tokens)
    assert tokenizer.pad_token == pad
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_what_ended_texts_before_is_no_padding() -> None:
    tokenizer = gpt_like()
    tokenizer.bos_token = None
    vocabulary.add_tokens(model_of("llama", 257), tokenizer, Tokens(END))
    assert (tokenizer.unk_token, tokenizer.pad_token) == ("<|endoftext|>", PAD)


def test_padding_that_was_the_end_is_replaced_and_other_padding_kept() -> None:
    shared, own = llama_like(), llama_like()
    shared.pad_token = "</s>"  # noqa: S105 (a token, no password)
    own.add_special_tokens({"pad_token": "<own>"})
    for tokenizer, pad in ((shared, "<unk>"), (own, "<own>")):
        vocabulary.add_tokens(model_of("llama"), tokenizer, Tokens())
        assert (tokenizer.eos_token, tokenizer.pad_token) == ("</s>", pad)


@pytest.mark.parametrize("tokens", [Tokens(END, END), Tokens(pad="</s>")])
def test_padding_that_is_the_end_of_a_turn_is_refused(tokens: Tokens) -> None:
    with pytest.raises(SettingError, match=r"tokens\.pad: .* is the end of a turn"):
        vocabulary.add_tokens(model_of("llama"), llama_like(), tokens)


def test_a_tokenizer_that_ends_nothing_needs_an_end_of_turn() -> None:
    with pytest.raises(SettingError, match=r"tokens\.end_of_turn: .*name one"):
        vocabulary.add_tokens(model_of("llama", 256), base_tokenizer(), Tokens())


def test_a_negative_multiple_is_refused() -> None:
    with pytest.raises(SettingError, match=r"tokens\.multiple_of: -8"):
        Tokens(multiple_of=-8)


def test_a_temperature_without_sampling_does_not_stop_the_checkpoint_from_being_saved(
    tmp_path: Path,
) -> None:
    written = {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 2}  # as Vicuna's
    (tmp_path / "generation_config.json").write_text(json.dumps(written))
    model = model_of("llama")
    model.generation_config = GenerationConfig.from_pretrained(tmp_path)
    vocabulary.add_tokens(model, llama_like(), Tokens(END))
    model.save_pretrained(tmp_path)
    generation = GenerationConfig.from_pretrained(tmp_path)
    assert generation.eos_token_id == [259, 2]
    assert (generation.do_sample, generation.temperature) == (True, 0.9)


def test_a_generation_config_that_cannot_be_saved_is_refused_before_training() -> None:
    model = model_of("llama")
    model.generation_config.num_return_sequences = 4
    model.generation_config.num_beams = 2
    with pytest.raises(InputError, match=r"generation_config\.json cannot be saved"):
        vocabulary.add_tokens(model, llama_like(), Tokens(END))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base checkpoint in bfloat16, without padding. Read it, never change it."""
    folder = tmp_path_factory.mktemp("base")
    model_of("llama", dtype=torch.bfloat16).save_pretrained(folder)
    llama_like().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.bfloat16)],
)
def test_weights_are_loaded_as_asked(base: Path, dtype: str, expected: torch.dtype) -> None:
    model, tokenizer = vocabulary.from_checkpoint(str(base), dtype=dtype)
    assert {values.dtype for values in model.parameters()} == {expected}
    assert tokenizer.pad_token is None


def test_weights_are_loaded_in_float32_unless_told_otherwise(base: Path) -> None:
    assert vocabulary.from_checkpoint(str(base))[0].dtype == torch.float32


def test_a_checkpoint_is_extended_before_it_is_built(base: Path, tmp_path: Path) -> None:
    model, tokenizer = vocabulary.from_checkpoint(str(base), Context(256, "linear"))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    inverse = model.model.rotary_emb.inv_freq
    plain = vocabulary.from_checkpoint(str(base))[0].model.rotary_emb.inv_freq
    torch.testing.assert_close(inverse, plain / 4)
    again, tokenizer = vocabulary.from_checkpoint(str(tmp_path))
    assert torch.equal(again.model.rotary_emb.inv_freq, inverse)
    assert positions(again.config) == tokenizer.model_max_length == 256


def test_a_context_that_does_not_fit_names_the_setting(base: Path) -> None:
    with pytest.raises(SettingError, match=r"context\.length: 32 is less"):
        vocabulary.from_checkpoint(str(base), Context(32))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_sentencepiece_tokenizer_reads_control_tokens_alike_after_saving(
    base: Path, tmp_path: Path, legacy: bool
) -> None:
    """The blank that it puts before words is what goes wrong after a control token."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "o", "n"]
    vocabulary_of = {word: number for number, word in enumerate([*words, "on"])}
    first = LlamaTokenizer(vocab=vocabulary_of, merges=[("o", "n")], legacy=legacy)
    copy = shutil.copytree(base, tmp_path / "copy")
    first.save_pretrained(copy)
    model, tokenizer = vocabulary.from_checkpoint(str(copy))
    *_, end, pad = vocabulary.add_tokens(model, tokenizer, Tokens(END, "<|pad|>"))
    tokenizer.save_pretrained(tmp_path / "out")
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = f"on{END}on on{END}\n<|pad|> on"
    ids = tokenizer(text)["input_ids"]
    assert again(text)["input_ids"] == ids
    assert (type(again), ids.count(end), ids.count(pad)) == (LlamaTokenizer, 2, 1)


def test_a_folder_with_an_at_sign_is_a_folder(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "llama@v2")
    assert vocabulary.from_checkpoint(str(copy))[0].config.vocab_size == 259


def test_model_and_tokenizer_are_of_the_revision_that_was_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hub cache as a download leaves it: two revisions, the older one without padding."""
    cache = tmp_path / "models--org--base"
    padded = llama_like()
    padded.add_special_tokens({"pad_token": "<own>"})
    for number, name in enumerate(("v1", "main")):
        snapshot = shutil.copytree(base, cache / "snapshots" / (str(number) * 40))
        (cache / "refs").mkdir(exist_ok=True)
        (cache / "refs" / name).write_text(str(number) * 40)
    padded.save_pretrained(snapshot)
    model_of("llama", 260).save_pretrained(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model, tokenizer = vocabulary.from_checkpoint("org/base@v1")
    assert (model.config.vocab_size, tokenizer.pad_token) == (259, None)
    model, tokenizer = vocabulary.from_checkpoint("org/base")
    assert (model.config.vocab_size, tokenizer.pad_token) == (260, "<own>")


@pytest.mark.parametrize("name", ["no/such-model@v1", "@", "a@b@c"])
def test_a_revision_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match=f"model {name}: no folder with a checkpoint") as caught:
        vocabulary.from_checkpoint(name)
    assert "\n" not in str(caught.value)


def test_torn_weights_are_named(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:500])
    with pytest.raises(InputError, match=r"model .*copy"):
        vocabulary.from_checkpoint(str(copy))


def test_a_tokenizer_that_is_not_fast_is_refused(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    written = {"tokenizer_class": "CanineTokenizer"}  # has no fast form
    (copy / "tokenizer_config.json").write_text(json.dumps(written))
    with pytest.raises(InputError, match="its tokenizer is not a fast one"):
        vocabulary.from_checkpoint(str(copy))
