"""What goes wrong in training is one line that names the way out, and nothing is lost by it."""

import json
import os
import re
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from tests.conftest import ROOT
from tests.servers.hub import Fault, Hub
from tests.servers.hub_client import hub_for
from tests.training.test_sft import weights, with_trainer
from training import checkpoint as checkpoints
from training import sft
from training.sft import Settings
from ultra.errors import InputError, ModelError, OutputError, SettingError
from ultra.local_chat import RECORD

FULL = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from training import sft
from ultra import command
command.main(sft.Settings, sft.train, sft.RECIPES)
"""
MODEL = 143_936
"""Bytes of the weights in a checkpoint of the tiny recipe; the optimizer's are twice as many."""


@pytest.mark.parametrize(
    ("limit", "strategy", "left"),
    [
        (MODEL - 1, "steps", {"config.json"}),
        (MODEL + 50_000, "steps", {"config.json", "model.safetensors", "optimizer.pt"}),
        (MODEL - 1, "no", set()),
    ],
)
def test_a_disk_that_fills_up_is_one_line_and_with_room_the_run_goes_on(
    limit: int, strategy: str, left: set[str], tiny: Settings, checkpoint: Path, tmp_path: Path
) -> None:
    chosen = with_trainer(tiny, save_strategy=strategy)
    words = ["--config", str(tmp_path / "tiny.yaml"), "--dataset", tiny.dataset]
    words += ["--out", str(tiny.out), "--trainer.save_strategy", strategy]
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    (line,) = [one for one in ended.stderr.splitlines() if one.startswith("error")]
    assert re.search(r"no room for a checkpoint \(.*\); make room and run the same command", line)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    run = Path(f"{tiny.out}.run")
    assert {path.name for path in run.glob("checkpoint-4/*")} >= left
    assert checkpoints.last_whole(run) is None
    assert weights(sft.train(chosen)) == weights(checkpoint)


@pytest.mark.parametrize("error", [RuntimeError("shapes"), OSError(5, "Input/output error")])
def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), checkpoints.told_if_full(tmp_path):
        raise error


def test_too_little_room_is_told_before_the_first_step(
    tiny: Settings, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2 * 10**9, 2 * 10**9, 10**5))
    with pytest.raises(OutputError, match=r"0\.0 GB are free, and .* 0\.0 GB; make room"):
        sft.train(tiny)
    assert not Path(f"{tiny.out}.run").exists()
    monkeypatch.undo()
    assert weights(sft.train(tiny)) == weights(checkpoint)


def test_a_loss_that_is_no_number_names_the_step_each_time(tiny: Settings) -> None:
    chosen = with_trainer(tiny, learning_rate=1.0e30, save_steps=1)
    for _ in range(2):  # the second goes on from what the first step left
        with pytest.raises(ModelError, match=r"loss became nan in step 2; lower .*learning_rate"):
            sft.train(chosen)
    assert checkpoints.last_whole(Path(f"{tiny.out}.run"))
    assert not tiny.out.exists()


def test_a_rate_that_was_too_high_is_lowered_without_removing_anything(
    tiny: Settings, checkpoint: Path
) -> None:
    with pytest.raises(ModelError, match="step 2"):
        sft.train(with_trainer(tiny, learning_rate=1.0e30))
    assert weights(sft.train(tiny)) == weights(checkpoint)


def test_weights_that_are_no_numbers_after_the_last_step_are_not_saved(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    train = Trainer.train

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        train(self, *args, **kwargs)
        with torch.no_grad():
            self.model.lm_head.weight[3, 3] = float("inf")

    monkeypatch.setattr(Trainer, "train", poisoned)
    with pytest.raises(ModelError, match=r"lm_head\.weight is no number any more"):
        sft.train(tiny)
    assert not tiny.out.exists()


def test_a_single_checkpoint_is_refused(tiny: Settings) -> None:
    with pytest.raises(SettingError, match=r"trainer\.save_total_limit: 1 would leave none"):
        sft.train(with_trainer(tiny, save_total_limit=1))


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("train_sampling_strategy", "set 'batching'"),
        ("dataloader_drop_last", "has what is left"),
        ("remove_unused_columns", "leave it out"),
        ("auto_find_batch_size", "it would change what a step is made of"),
        ("resume_from_checkpoint", "run the same command again"),
        ("push_to_hub", "set 'push'"),
    ],
)
def test_an_argument_that_is_decided_here_names_what_to_do(
    tiny: Settings, name: str, way_out: str
) -> None:
    with pytest.raises(SettingError, match=rf"trainer\.{name}: is not yours .*{way_out}"):
        with_trainer(tiny, **{name: True})


def test_a_strategy_that_yaml_reads_as_false_is_no(tiny: Settings) -> None:
    chosen = with_trainer(tiny, save_strategy=False, eval_strategy=False)
    arguments = sft._arguments(chosen, Path("o.run"))
    assert (arguments.save_strategy, arguments.eval_strategy) == ("no", "no")


def test_a_tracker_that_is_not_installed_is_named(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = "transformers.integrations.integration_utils.is_tensorboard_available"
    monkeypatch.setattr(there, lambda: False)
    with pytest.raises(SettingError, match=r"trainer: .*tensorboard.* to be installed"):
        sft.train(with_trainer(tiny, report_to="tensorboard"))


def test_one_process_does_not_take_several_gpus(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.TrainingArguments.n_gpu", 2)
    with pytest.raises(SettingError, match="2 GPUs are visible to one process: start one for each"):
        sft.train(tiny)


def test_a_model_of_the_hub_that_is_not_here_is_one_line_without_a_network(tiny: Settings) -> None:
    with pytest.raises(InputError, match=r"model org/absent: no folder .*, nor found") as caught:
        sft.train(replace(tiny, new=None, model="org/absent"))
    assert "\n" not in str(caught.value)


def test_the_card_says_what_the_model_was_made_of_and_not_where(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    card = (checkpoint / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ultra", "sft"],
    }
    record = json.loads((checkpoint / RECORD).read_text())
    (dataset,) = record["datasets"]
    assert f"| sharegpt 1.0.0 | train | 1 | `{dataset['digest']}` |" in body
    assert f"Last training loss: {record['losses'][-1]['loss']:.4f}" in body
    assert "evaluation loss: not evaluated" in body.replace("\n", " ")
    assert str(tmp_path_factory.getbasetemp()) not in card  # where model and data are
    settings = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert settings == record["settings"]


def test_a_card_names_a_base_and_data_of_the_hub(checkpoint: Path) -> None:
    record = json.loads((checkpoint / RECORD).read_text())
    record["datasets"][0] |= {"name": "org/data", "demo": True}
    card = checkpoints.card("out", record, "org/base@" + "a" * 40)
    head = yaml.safe_load(card.split("---\n", 2)[1])
    assert (head["base_model"], head["datasets"]) == ("org/base", ["org/data"])
    assert head["tags"][-1] == "demo"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_for(tmp_path, monkeypatch) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        yield server


def on_hub(hub: Hub) -> SimpleNamespace:
    found = hub.repository("org/model", "models")
    commit = found.resolve("main")
    tree = {path: one for path, one in found.tree(commit).items() if not one.folder}
    files = {path: found.content(one) for path, one in tree.items()}
    return SimpleNamespace(commits=len(found.history(commit)), files=files)


def test_a_checkpoint_is_pushed_whole_and_once(
    hub: Hub, tiny: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sft.train(replace(tiny, push="org/model"))
    there = on_hub(hub)
    ours = {str(path.relative_to(out)): path.read_bytes() for path in out.iterdir()}
    assert there.files.keys() - {".gitattributes"} == ours.keys()
    assert {name: there.files[name] for name in ours} == ours
    assert sft.train(replace(tiny, push="org/model")) == out
    assert "already trained" in capsys.readouterr().out
    assert on_hub(hub).commits == there.commits


@pytest.mark.parametrize("refuses", ["create", "commit", "upload", "is down"])
def test_a_hub_that_refuses_is_one_line_and_the_checkpoint_is_kept(
    hub: Hub, tiny: Settings, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    if refuses == "is down":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    elif refuses == "upload":
        hub.site = replace(hub.site, lfs=True)  # then files go to Xet, which is not served here
    else:
        hub.faults.append(Fault("POST", f".*/{refuses}.*", "412"))
    with pytest.raises(OutputError, match=r"push: org/model cannot be written \(") as caught:
        sft.train(replace(tiny, push="org/model"))
    assert f"the checkpoint is in {tiny.out}, run the same command" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert weights(tiny.out) == weights(checkpoint)
    hub.site = replace(hub.site, lfs=False)
    if refuses != "is down":
        sft.train(replace(tiny, push="org/model"))
        assert RECORD in on_hub(hub).files
