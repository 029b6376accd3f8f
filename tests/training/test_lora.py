"""Low-rank adapters: nothing else is trained, little is kept, and a whole model comes out."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.training.runs import interrupt, start
from tests.training.test_sft import weights, with_trainer
from training import adapters, sft
from training.adapters import Lora
from training.context import Context
from training.sft import Settings
from training.vocabulary import Tokens
from ultra.errors import SettingError
from ultra.local_chat import RECORD, positions

END = "<|end_of_turn|>"
BOTH = {"model.embed_tokens.weight", "lm_head.weight"}


@pytest.fixture
def tuned(tiny: Settings, checkpoint: Path) -> Settings:
    """Adapters on the shared checkpoint, which gets a new end of turn."""
    return replace(
        tiny,
        new=None,
        model=str(checkpoint),
        lora=Lora(rank=4, dropout=0.1),
        template="openchat",
        tokens=Tokens(END),
    )


def state(out: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(out / "model.safetensors"))


def with_adapter(chosen: Settings, adapter: Path) -> Any:
    """The base with what was saved of the adapters, as peft itself puts them together."""
    from peft import PeftModel

    with adapters._quiet():
        return PeftModel.from_pretrained(start(chosen)[0], adapter)


def test_adapters_and_the_row_of_the_new_end_of_turn_are_trained_and_nothing_else(
    tuned: Settings,
) -> None:
    before, tokenizer, (row,) = start(tuned)
    assert tokenizer.convert_ids_to_tokens(row) == END
    out = sft.train(tuned)
    after = state(out)
    for name, one in before.state_dict().items():
        changed = (after[name] != one).flatten(1).any(1) if one.dim() > 1 else after[name] != one
        if name in BOTH:
            assert changed.nonzero().flatten().tolist() == [row]
        else:
            assert changed.any() == (one.dim() > 1)  # norms have no adapter
    assert {*after} == {*before.state_dict()}


def test_the_merged_model_is_the_base_with_its_adapter(tuned: Settings) -> None:
    from transformers import AutoModelForCausalLM

    out = sft.train(tuned)
    assert {path.name for path in (out / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        expected = with_adapter(tuned, out / "adapter").eval()(ids).logits
        found = AutoModelForCausalLM.from_pretrained(out)(ids).logits
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_run_goes_on_from_adapters_alone(tuned: Settings, tmp_path: Path) -> None:
    interrupt(tuned, calls=11)
    kept = Path(f"{tuned.out}.run", "checkpoint-8")
    assert not (kept / "model.safetensors").exists()
    from safetensors.torch import load_file

    saved = load_file(kept / "adapter_model.safetensors")
    trained = start(tuned)[0].num_parameters() / 4
    assert sum(one.numel() for one in saved.values()) < trained
    assert all("lora_" in name or "token" in name for name in saved)
    done = sft.train(tuned)
    undisturbed = sft.train(replace(tuned, out=tmp_path / "other"))
    assert weights(done) == weights(undisturbed)


def test_adapters_of_rounded_weights_are_merged_into_whole_ones(
    tuned: Settings, tmp_path: Path
) -> None:
    """What bitsandbytes does not touch: the base is read again, and its config has what is new."""
    chosen = replace(tuned, context=Context(512))
    base, _, added = start(chosen)
    model = adapters.add(base, Lora(rank=4), added)
    generator = torch.Generator().manual_seed(5)
    for one in model.parameters():
        if one.requires_grad:
            one.data = torch.randn(one.shape, generator=generator) / 10
    adapters.save(model, chosen.model, tmp_path / "adapter")
    again = adapters.merged(model, Lora(rank=4, bits=4), chosen.model, tmp_path / "adapter")
    plain = adapters.merged(model, Lora(rank=4), chosen.model, tmp_path / "adapter")
    for name, one in plain.state_dict().items():
        assert torch.allclose(again.state_dict()[name], one, atol=1e-6)
    assert positions(again.config) == 512
    assert again.generation_config.eos_token_id == plain.generation_config.eos_token_id


def test_no_path_of_this_machine_is_in_what_is_shared(
    tuned: Settings,
    tmp_path: Path,
    checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    own = tmp_path / "own.jinja"
    own.write_text((checkpoint / "chat_template.jinja").read_text())
    chosen = with_trainer(replace(tuned, template=str(own), tokens=Tokens()), max_steps=1)
    out = sft.train(chosen)
    files = [path for path in out.rglob("*") if path.suffix in (".json", ".md", ".jinja")]
    texts = {path.name: path.read_text() for path in files}
    shared = {"README.md", RECORD, "config.json", "tokenizer_config.json", "adapter_config.json"}
    assert shared <= texts.keys()
    for place in (str(tmp_path_factory.getbasetemp()), str(ROOT)):
        assert not [name for name, text in texts.items() if place in text]
    made = json.loads(texts[RECORD])
    assert (made["settings"]["model"], made["settings"]["template"]) == ("tiny", "own.jinja")
    assert json.loads(texts["adapter_config.json"])["base_model_name_or_path"] == "tiny"
    assert sft.train(chosen) == out  # and it is still known for what it is


@pytest.mark.parametrize("fsdp", [True, "full_shard"])
def test_adapters_are_not_sharded(tuned: Settings, fsdp: Any) -> None:
    with pytest.raises(SettingError, match="lora: is not sharded; leave fsdp out"):
        sft.train(with_trainer(tuned, fsdp=fsdp))


def test_rounded_weights_need_bitsandbytes(
    tuned: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: False)
    with pytest.raises(SettingError, match=r"lora\.bits: .*pip install bitsandbytes"):
        sft.train(replace(tuned, lora=Lora(bits=4)))


def test_adapters_need_peft(tuned: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingError, match="lora: needs peft: the extra 'train'"):
        sft.train(tuned)


@pytest.mark.parametrize("targets", [["query_key"], ["q_proj", "query_key"]])
def test_layers_that_the_model_has_not_are_named(tuned: Settings, targets: list[str]) -> None:
    with pytest.raises(SettingError, match=r"lora\.targets: .*query_key"):
        sft.train(replace(tuned, lora=Lora(targets=targets)))
