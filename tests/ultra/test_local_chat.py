import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from training import template, vocabulary
from training.vocabulary import NewModel
from ultra.chat import Completion, Sampling
from ultra.errors import CallError, ModelError
from ultra.local_chat import LocalChat, load
from ultra.models import open_model
from ultra.schema import Message

SIZE = NewModel(vocab_size=300, hidden_size=16, layers=1, heads=2, max_positions=64)
GREEDY = Sampling(temperature=0, max_tokens=8)
HI: list[Message] = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights, its tokenizer and its chat template."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    talk = [*HI, {"role": "assistant", "content": "good day"}]
    tokenizer = vocabulary.new_tokenizer(Dataset.from_list([{"messages": talk}]), SIZE)
    tokenizer.chat_template = template.read("chatml")
    torch.manual_seed(0)
    vocabulary.new_model(tokenizer, SIZE).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(made, tmp_path / made.name))


def say(path: Path, *asked: tuple[list[Message], Sampling]) -> list[Completion]:
    async def run() -> list[Completion]:
        model = open_model(str(path))
        try:
            return await asyncio.gather(*(model.complete(*request) for request in asked))
        finally:
            await model.close()

    return asyncio.run(run())


def test_a_folder_opens_as_a_model_of_its_name(made: Path) -> None:
    (said,) = say(made, (HI, GREEDY))
    assert said.model == LocalChat(made).name
    assert said.model.startswith("tiny@")
    assert said.usage.prompt_tokens > len(HI)
    assert (said.usage.completion_tokens, said.finish_reason) == (8, "length")


def test_greedy_answers_are_the_same_each_time_and_for_any_seed(made: Path) -> None:
    one, two = say(made, (HI, GREEDY), (HI, replace(GREEDY, seed=5)))
    assert one == two == say(made, (HI, GREEDY))[0]


def test_a_draw_depends_on_its_seed_and_sample_alone(made: Path) -> None:
    hot = Sampling(temperature=2.0, max_tokens=20)
    draws = [(HI, hot), (HI, replace(hot, seed=1)), (HI, replace(hot, sample=7))]
    texts = [said.text for said in say(made, *draws)]
    assert len(set(texts)) == 3
    assert [said.text for said in say(made, *reversed(draws))] == texts[::-1]


def test_a_whole_number_is_a_temperature(made: Path) -> None:
    one, same = (Sampling(temperature=value, max_tokens=8) for value in (1, 1.0))
    assert say(made, (HI, one)) == say(made, (HI, same))


def test_an_answer_ends_at_the_end_of_the_turn(checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    ends = model.generation_config.eos_token_id
    with torch.no_grad():  # now one token is likelier than all others
        model.lm_head.weight.zero_()
        model.lm_head.weight[ends] = 1.0
        model.model.norm.weight.fill_(1.0)
        model.model.embed_tokens.weight.fill_(1.0)
    model.save_pretrained(checkpoint)
    (said,) = say(checkpoint, (HI, GREEDY))
    assert (said.text, said.finish_reason, said.usage.completion_tokens) == ("", "stop", 1)


def test_an_answer_stops_where_the_model_ends(made: Path) -> None:
    (said,) = say(made, (HI, replace(GREEDY, max_tokens=10_000)))
    assert said.usage.prompt_tokens + said.usage.completion_tokens == SIZE.max_positions
    assert said.finish_reason == "length"


def test_a_prompt_that_fills_the_model_is_a_failed_call(made: Path) -> None:
    with pytest.raises(CallError, match=r"model tiny@\w+: \d+ tokens leave no room"):
        say(made, ([{"role": "user", "content": "x" * 200}], GREEDY))


def test_a_text_that_spells_a_control_token_stays_text(made: Path) -> None:
    plain, spelled = say(
        made,
        ([{"role": "user", "content": "a"}], GREEDY),
        ([{"role": "user", "content": "a<|im_end|>"}], GREEDY),
    )
    assert spelled.usage.prompt_tokens > plain.usage.prompt_tokens + 1


# The identity, by which a journal knows it.


def test_the_identity_does_not_depend_on_the_place(made: Path, checkpoint: Path) -> None:
    assert LocalChat(made).identity == LocalChat(checkpoint).identity


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "chat_template.jinja", "tokenizer.json"]
)
def test_the_identity_changes_with_every_file_that_counts(
    name: str, made: Path, checkpoint: Path
) -> None:
    raw = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert LocalChat(made).identity != LocalChat(checkpoint).identity
    assert LocalChat(made).name != LocalChat(checkpoint).name


def test_asking_for_the_identity_loads_no_weights(made: Path) -> None:
    model = LocalChat(made)
    assert model.identity.startswith("local ")
    assert model._loaded is None


# What is no checkpoint.


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def lose(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def put(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(put("config.json", "{"), id="broken config"),
        pytest.param(put("config.json", "{}"), id="no model type"),
        pytest.param(lose("model.safetensors"), id="no weights"),
        pytest.param(put("tokenizer.json", "{"), id="broken tokenizer"),
        pytest.param(lose("chat_template.jinja"), id="no template"),
        pytest.param(lose("tokenizer.json"), id="no tokenizer"),
        pytest.param(cut_weights, id="cut weights"),
    ],
)
def test_an_unusable_checkpoint_is_one_clear_line(
    damage: Callable[[Path], Any], checkpoint: Path
) -> None:
    damage(checkpoint)
    with pytest.raises(ModelError) as caught:
        say(checkpoint, (HI, GREEDY))
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone: no checkpoint there \(no config.json\)"):
        load(tmp_path / "gone")


def test_messages_that_the_template_refuses_are_a_failed_call(checkpoint: Path) -> None:
    template = "{{ raise_exception('roles must alternate') }}"
    (checkpoint / "chat_template.jinja").write_text(template)
    with pytest.raises(CallError, match="roles must alternate"):
        say(checkpoint, (HI, GREEDY))
