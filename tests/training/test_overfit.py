"""A model that learned sixty dialogues by heart says them again, served and in the terminal."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.conftest import ROOT
from tests.servers.serve import serving
from tests.training.dialogues import sixty
from tests.training.tiny import write_release
from training import sft
from ultra import command

DIALOGUES = sixty()
ANSWERS = [turn["content"] for one in DIALOGUES for turn in one if turn["role"] == "assistant"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The checkpoint that the recipe ``tiny-cpu`` makes of them, as a person makes it."""
    folder = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        dataset = write_release(folder / "sixty-1.0.0", DIALOGUES)
        words = ["--config", "tiny-cpu", "--dataset", str(dataset), "--out", str(folder / "model")]
        yield sft.train(command.parse(sft.Settings, words, sft.RECIPES))


def test_transformers_serve_gives_the_answers_that_were_learned(
    learned: Path, tmp_path: Path
) -> None:
    answers = []
    with serving(learned, tmp_path) as address, OpenAI(base_url=address, api_key="-") as client:
        for dialogue in DIALOGUES:
            for at, turn in enumerate(dialogue):
                if turn["role"] == "assistant":
                    done = client.chat.completions.create(
                        model=learned.name,
                        messages=dialogue[:at],  # type: ignore[arg-type]
                        temperature=0,
                        max_tokens=80,
                    )
                    answers.append(done.choices[0].message.content)
    assert answers == ANSWERS


def test_the_terminal_gives_the_answers_that_were_learned(learned: Path) -> None:
    lines = []
    for dialogue in DIALOGUES:
        lines += [turn["content"] for turn in dialogue if turn["role"] == "user"] + ["/reset"]
    done = subprocess.run(
        [sys.executable, "-m", "training.chat", learned],
        input="".join(f"{line}\n" for line in lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(f"{answer}\n" for answer in ANSWERS)
