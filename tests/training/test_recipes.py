"""Every recipe that is shipped trains, on a small model of the architecture that it names."""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training import bases
from tests.training.bases import SMALLER
from tests.training.runs import start
from tests.training.tiny import CHATS, chat, write_release
from training import sft, template
from training.sft import RECIPES, Settings
from training.vocabulary import NewModel
from ultra import command
from ultra.local_chat import RECORD, positions

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
LONG = [
    chat(*(f"{what} water {n} times {times} for leaf {n * 7 % 13}." for n in range(80)))
    for times, what in enumerate(["Pour", "Boil", "Taste"])
]
"""Dialogues that are longer than any recipe takes."""


def as_typed(name: str, dataset: Path | str, out: Path | str) -> Settings:
    words = ["--config", name, "--dataset", str(dataset), "--out", str(out)]
    return command.parse(Settings, words, RECIPES)


PUBLISHED = [name for name in NAMES if as_typed(name, "d", "o").model]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("releases") / "long-1.0.0", CHATS + LONG)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small checkpoint in the place of a published one."""
    texts = [turn["content"] for messages in CHATS + LONG for turn in messages]
    texts += [template.read(name) for name in ("vicuna", "openchat")]

    def make(model: str) -> Path:
        name = bases.MAKE[model].__name__
        folder = tmp_path_factory.getbasetemp() / "bases" / name
        if not folder.exists():
            torch.manual_seed(1)
            bases.MAKE[model](folder, texts)
        return folder

    return make


def smaller(chosen: Settings, base: Callable[[str], Path]) -> Settings:
    """The recipe with what a machine without a GPU cannot do made smaller, and nothing else."""
    arguments = dict(chosen.trainer)
    rounds = min(2, arguments.get("gradient_accumulation_steps", 1))
    arguments |= {"gradient_accumulation_steps": rounds}
    arguments |= {"max_steps": 3, "use_cpu": True, "bf16": False}
    if chosen.new:
        return replace(chosen, new=NewModel(300, 32, 2, 2), trainer=arguments)
    return replace(
        chosen,
        model=str(base(chosen.model)),
        max_length=chosen.max_length // SMALLER,
        context=replace(chosen.context, length=chosen.context.length // SMALLER),
        trainer=arguments,
    )


@pytest.fixture(scope="module", params=NAMES)
def trained(
    request: pytest.FixtureRequest,
    release: Path,
    base: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """A recipe after three steps: its settings, record, model, and the model before training."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        chosen = smaller(as_typed(request.param, release, folder / "model"), base)
        out = sft.train(chosen)
        before, _, added = start(chosen)
    return SimpleNamespace(
        settings=chosen,
        out=out,
        record=json.loads((out / RECORD).read_text()),
        model=AutoModelForCausalLM.from_pretrained(out),
        tokenizer=AutoTokenizer.from_pretrained(out),
        before=before,
        base=AutoConfig.from_pretrained(chosen.model) if chosen.model else None,
        added=added,
    )


def test_three_steps_are_taken_with_a_loss_that_is_a_number(trained: Any) -> None:
    assert trained.record["steps"] == 3
    chosen = trained.settings.trainer
    logged = [entry["loss"] for entry in trained.record["losses"]]
    assert len(logged) == (3 if chosen["logging_steps"] == 1 else 0)
    assert all(0 < loss < 8 for loss in logged)
    for name in ("lr_scheduler_type", "learning_rate", "warmup_steps", "activation_checkpointing"):
        if name in chosen:
            assert trained.record["arguments"][name] == chosen[name]


def test_long_dialogues_are_cut_as_the_recipe_says_and_fill_the_context(trained: Any) -> None:
    data, longest = trained.record["data"], trained.settings.max_length
    if trained.settings.new:
        return
    cut = {"split": data["split"], "truncate": data["truncated"]}
    assert [how for how, count in cut.items() if count] == [trained.settings.overflow]
    assert longest - 60 < data["longest"] <= longest
    assert positions(trained.model.config) == longest <= trained.tokenizer.model_max_length
    if trained.settings.context.length:
        assert trained.tokenizer.model_max_length == longest > positions(trained.base)


def test_an_answer_ends_where_generation_stops_and_padding_ends_nothing(trained: Any) -> None:
    tokenizer, model = trained.tokenizer, trained.model
    assert tokenizer.chat_template == template.read(trained.settings.template)
    said = tokenizer.apply_chat_template(chat("Tea?", "Yes."), tokenize=False).rstrip("\n")
    assert said.endswith(f"Yes.{tokenizer.eos_token}")
    assert tokenizer.eos_token in (trained.settings.tokens.end_of_turn or "<|im_end|>")
    stops = model.generation_config.eos_token_id
    assert tokenizer.eos_token_id in (stops if isinstance(stops, list) else [stops])
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    rows = model.get_input_embeddings().num_embeddings
    assert rows == model.get_output_embeddings().out_features == model.config.vocab_size
    assert rows == len(tokenizer)


def test_all_weights_that_the_recipe_trains_have_moved_and_no_others(trained: Any) -> None:
    lora = trained.settings.lora
    start = trained.before.state_dict()
    after = trained.model.state_dict()
    assert after.keys() == start.keys()
    moved = {name for name, one in after.items() if not torch.equal(one, start[name])}
    wanted = set(after)
    if lora:
        wanted = {name for name in after if name.split(".")[-2] in lora.targets}
    assert moved == wanted
    assert (trained.out / "adapter" / "adapter_model.safetensors").exists() == bool(lora)


def test_rows_of_new_tokens_are_trained(trained: Any) -> None:
    tokens = trained.settings.tokens
    made = {"<|end_of_turn|>", "<pad>"} & {tokens.end_of_turn, tokens.pad}
    assert {*trained.tokenizer.convert_ids_to_tokens(trained.added)} == made
    for row in trained.added:
        heads = (one.get_output_embeddings().weight[row] for one in (trained.before, trained.model))
        assert not torch.equal(*heads)
        if row == trained.tokenizer.eos_token_id:
            inputs = (
                one.get_input_embeddings().weight[row] for one in (trained.before, trained.model)
            )
            assert not torch.equal(*inputs)


def comment(name: str) -> str:
    lines = (RECIPES / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_says_where_its_values_stand_and_has_their_batch_on_eight_gpus(name: str) -> None:
    said = comment(name)
    assert re.search(r"Source: .*(github\.com/[\w-]+/[\w-]+|arxiv\.org/abs/\d+\.\d+)", said)
    arguments = as_typed(name, "d", "o").trainer
    shape = [arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]]
    stated = re.search(r"a step: 8 GPUs x (\d+) x (\d+) = (\d+)", said)
    assert stated
    assert [int(stated[1]), int(stated[2])] == shape
    assert int(stated[3]) == 8 * shape[0] * shape[1]
    published = {int(batch) for batch in re.findall(r"batch (\d+),", said)}
    assert published <= {int(stated[3])}
    assert published or name in ("lora-7b", "openchat-8192-13b", "opencoderplus-15b")


@pytest.mark.parametrize("name", NAMES)
def test_transformers_knows_every_argument_of_a_recipe(name: str) -> None:
    from transformers import TrainingArguments

    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    chosen = as_typed(name, "d", "o")
    assert chosen.trainer.keys() <= known
    assert chosen.trainer.get("save_total_limit") != 1
