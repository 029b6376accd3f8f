"""What all sides of the comparison of training start from: dialogues, a tokenizer, a model.

Pages are generated (:mod:`tests.speed.sharegpt_inputs`) and built with the ShareGPT build; of what
is kept, those are chosen whose lengths spread as those of real ShareGPT do. The tokenizer carries
our chat template, and stands with the model in one checkpoint.
"""

import hashlib
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.speed import sharegpt_inputs
from tests.speed.harness import ROOT, RunError
from training.vocabulary import NewModel, new_tokenizer
from ultra import release
from ultra.prompts import Prompt

PAGES = 4_000
TEMPLATE = ROOT / "training" / "templates" / "chatml.jinja"
VOCABULARY = 8_192
"""Rows of the embedding; the generated texts have too few words to fill that many tokens."""
LONGEST = 8_192
MEDIAN, SIGMA = 888, 0.906
"""Of the log-normal distribution that has the median and the ninth decile of ShareGPT's lengths, in
tokens: 888 and 2837."""
CARD = Prompt("card.md", "---\nlicense: other\n---\n# Generated dialogues, to measure with\n")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Inputs:
    """Releases of many dialogues, to tokenise, and of few, to train on; and the checkpoint."""

    many: Path
    few: Path
    checkpoint: Path
    lengths: dict[str, float]


def make(many: int, few: int, tools: Path, cache: Path) -> Inputs:
    """Make them, unless they are there.

    Raises:
        InputError: the generator is not there.
        RunError: the generator or the build failed.
    """
    raw = sharegpt_inputs.make(PAGES, tools, cache)
    code = hashlib.sha256(Path(__file__).read_bytes() + TEMPLATE.read_bytes()).hexdigest()[:8]
    folder = cache / f"training-{raw.pages.parent.name}-{many}-{few}-{code}"
    if not folder.exists():
        print(f"  making dialogues, a tokenizer and a model in {folder} ...", flush=True)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _make(raw.pages, (many, few), partial)
        partial.rename(folder)
    lengths = json.loads((folder / "lengths.json").read_bytes())
    return Inputs(folder / "many", folder / "few", folder / "checkpoint", lengths)


def _make(pages: Path, counts: tuple[int, int], folder: Path) -> None:
    rows = _build(pages, folder / "build")
    tokenizer = _checkpoint(rows, folder / "checkpoint")
    lengths = [_length(row, tokenizer) for row in rows]
    for name, count in zip(("many", "few"), counts, strict=True):
        chosen = spread(lengths, count)
        with release.Writer(folder / name, "sharegpt") as writer:
            for number in chosen:
                writer.add("all", "train", rows[number])
            writer.finish({"version": "1.0.0", "demo": True, "steps": []}, CARD)
    figures = describe([lengths[number] for number in chosen])
    (folder / "lengths.json").write_text(json.dumps(figures), encoding="utf-8")


def _build(pages: Path, folder: Path) -> Rows:
    """The rows that the ShareGPT build keeps of the pages."""
    words = [sys.executable, "-m", "datasets_scripts.sharegpt.build", "--raw", str(pages)]
    words += ["--out", str(folder)]
    if subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
        raise RunError(f"{' '.join(words)}: failed")
    return [
        json.loads(line)
        for path in sorted(folder.glob("*/data/all/train-*.jsonl"))
        for line in path.read_text(encoding="utf-8").split("\n")
        if line
    ]


def _checkpoint(rows: Rows, folder: Path) -> Any:
    """Write a tokenizer of these rows and a random Llama; returns the tokenizer."""
    import torch
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM

    said = Dataset.from_list([{"messages": row["messages"]} for row in rows])
    tokenizer = new_tokenizer(said, NewModel(vocab_size=VOCABULARY, max_positions=LONGEST))
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8").rstrip("\n")
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _length(row: dict[str, Any], tokenizer: Any) -> int:
    ids = tokenizer.apply_chat_template(row["messages"], return_dict=False)
    return len(ids)


def spread(lengths: Sequence[int], count: int) -> list[int]:
    """Numbers of those that spread over the log-normal distribution, in the order they came in.

    For each of its quantiles the nearest is taken, the longest first, none twice.

    Raises:
        RunError: there are not so many.
    """
    free = [number for number, length in enumerate(lengths) if length <= LONGEST]
    if count > len(free):
        raise RunError(f"{count} dialogues are wanted, and {len(free)} are short enough")
    normal = statistics.NormalDist(math.log(MEDIAN), SIGMA)
    chosen = []
    for at in range(count - 1, -1, -1):
        wanted = math.exp(normal.inv_cdf((at + 0.5) / count))
        nearest = min(free, key=lambda number: abs(lengths[number] - wanted))
        free.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen)


def describe(lengths: Sequence[int]) -> dict[str, float]:
    """Mean, median and more of lengths in tokens."""
    ordered = sorted(lengths)
    return {
        "dialogues": len(ordered),
        "mean": round(statistics.mean(ordered)),
        "median": round(statistics.median(ordered)),
        "ninth_decile": ordered[len(ordered) * 9 // 10],
        "longest": ordered[-1],
        "percent_longer_than_2048": round(100 * sum(n > 2048 for n in ordered) / len(ordered), 1),
    }
