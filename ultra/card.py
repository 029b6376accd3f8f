"""The card of a release: YAML that tells the Hub and ``load_dataset`` everything, and a body.

All figures come from the manifest; nothing is computed from the rows here. A corpus's ``card.md``
says the rest: its front matter is the Hub's, but for ``words``, which explain the names of
``steps``, ``reasons`` and ``changes``; its body has slots for what is made here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import yaml

from ultra import schema
from ultra.errors import InputError
from ultra.prompts import Prompt

_DEMO_NOTE = (
    "> **Demo data.** These dialogues were made by the rule-based offline `demo` model, to show "
    "the pipeline at work. They are not for training a real model.\n\n"
)
_NAMED_LANGUAGES = 10
"""Languages in the card's table; the manifest has all."""

Words = Mapping[str, Mapping[str, str]]


def render(manifest: dict[str, Any], template: Prompt) -> str:
    """Fill a corpus's ``card.md``.

    Raises:
        InputError: the template has no front matter.
    """
    parts = template.text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise InputError(f"{template.name}: starts with no YAML front matter between two '---'")
    front = yaml.safe_load(parts[1])
    words = front.pop("words", {})
    front |= _languages_yaml(manifest) | _dataset_yaml(manifest)
    if manifest.get("demo"):
        front["tags"] = [*front.get("tags", []), "demo"]
    body = Prompt(template.name, parts[2])
    title = str(front.get("pretty_name", manifest["corpus"]))
    slots: dict[str, Callable[[dict[str, Any]], str]] = {
        "version": lambda manifest: str(manifest["version"]),
        "demo_note": lambda manifest: _DEMO_NOTE if manifest.get("demo") else "",
        "splits": _splits,
        "steps": partial(_steps, words=words),
        "statistics": _statistics,
        "languages": _languages,
        "contamination": _contamination,
        "models": _models,
        "default_config": default_config,
        "load": _load,
        "citation": partial(_citation, title=title),
    }
    text = body.fill({slot: fill(manifest) for slot, fill in slots.items() if slot in body.slots})
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n{text}\n"


def default_config(manifest: dict[str, Any]) -> str:
    """The configuration that ``load_dataset`` takes when none is named."""
    return "all" if "all" in manifest["splits"] else next(iter(manifest["splits"]))


# What the Hub and load_dataset read


def _languages_yaml(manifest: dict[str, Any]) -> dict[str, Any]:
    """The languages of at least one conversation in a hundred, most spoken first."""
    found = _figures(manifest)
    told = {code: count for code, count in found.get("languages", {}).items() if code}
    named = [code for code, count in told.items() if 100 * count >= found["conversations"]]
    return {"language": named} if named else {}


def _dataset_yaml(manifest: dict[str, Any]) -> dict[str, Any]:
    """``configs`` and ``dataset_info``.

    The digest in ``description`` is part of the key under which ``datasets`` caches a local
    directory; without it, a rebuilt release of the same shape would come back with its old rows.
    """
    rows = sum(split["rows"] for split in manifest["splits"][default_config(manifest)].values())
    configs, infos = [], []
    for config, splits in manifest["splits"].items():
        configs.append(
            {
                "config_name": config,
                "default": config == default_config(manifest),
                "version": manifest["version"],
                "description": f"sha256:{manifest['data_digest']}",
                "data_files": [
                    {"split": split, "path": f"data/{config}/{split}-*.jsonl"} for split in splits
                ],
            }
        )
        sizes = [
            {"name": split, "num_bytes": size["bytes"], "num_examples": size["rows"]}
            for split, size in splits.items()
        ]
        features = schema.columns(manifest["corpus"])
        infos.append({"config_name": config, "features": features, "splits": sizes})
    return {
        "size_categories": [_size_category(rows)],
        "configs": configs,
        "dataset_info": infos,
    }


def _size_category(rows: int) -> str:
    """The Hub's own names of sizes (huggingface.co/docs/hub/datasets-cards)."""
    if rows < 1000:
        return "n<1K"
    names = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    power = len(str(rows)) - 4
    return f"{names[power]}<n<{names[power + 1]}"


# What a person reads: tables of few columns, which stay readable on a telephone


def _splits(manifest: dict[str, Any]) -> str:
    return table(
        ["configuration", "split", "conversations"],
        (
            [code(config), split, size["rows"]]
            for config, splits in manifest["splits"].items()
            for split, size in splits.items()
        ),
        "llr",
    )


def _steps(manifest: dict[str, Any], words: Words) -> str:
    """What each step does, saw, kept, dropped and changed, and why."""
    steps, explained = manifest["steps"], words.get("steps", {})
    names = [step["step"] for step in steps]
    told = [f"1. **{name}**: {explained[name]}" for name in names if name in explained]
    flow = []
    for step in steps:
        dropped = sum(step["dropped"].values())
        flow.append([step["step"], step["in"], step["in"] - dropped, dropped])
    parts = ["\n".join(told), table(["step", "in", "kept", "dropped"], flow)]
    for what, glossary, title in (
        ("dropped", "reasons", "What was dropped, and why:"),
        ("changed", "changes", "What was changed on the way, and how often:"),
    ):
        meant = words.get(glossary, {})
        rows = [
            [count, f"{step['step']}: {meant.get(name, '')} {code(name)}".replace("  ", " ")]
            for step in steps
            for name, count in step.get(what, {}).items()
        ]
        if rows:
            parts += [title, table([what, "what"], rows, "rl")]
    return "\n\n".join(part for part in parts if part)


def _figures(manifest: dict[str, Any]) -> dict[str, Any]:
    """The statistics of the default configuration; empty if none were taken."""
    found: dict[str, Any] = manifest.get("statistics", {}).get(default_config(manifest), {})
    return found


def _statistics(manifest: dict[str, Any]) -> str:
    """Sums of every configuration, and how the lengths of the default one are spread."""
    default, found = code(default_config(manifest)), _figures(manifest)
    if not found:
        return "No statistics were taken for this release."
    total, sampled = found["conversations"], found["sampled"]
    measured = f"{sampled:,} of the {total:,}" if sampled < total else f"all {total:,}"
    chosen = ", chosen by hash" if sampled < total else ""
    mtld = (
        "MTLD measures lexical diversity (McCarthy and Jarvis, 2010, "
        "[doi:10.3758/BRM.42.2.381](https://doi.org/10.3758/BRM.42.2.381)): the mean number of "
        "words over which different ones stay above 0.72 of all. Given is the mean over turns of "
        f"at least {found['mtld_words']} words; in {default}, those of {measured} conversations"
        f"{chosen}."
    )
    lengths = f"Lengths in {default}:\n\n{_lengths(found)}"
    return "\n\n".join([_totals(manifest, found), _unit(manifest, found["unit"]), mtld, lengths])


def _totals(manifest: dict[str, Any], default: dict[str, Any]) -> str:
    """What the configurations hold, and below it who said how much in them."""
    taken = {config: manifest["statistics"].get(config) for config in manifest["splits"]}
    configs = {code(config): found for config, found in taken.items() if found}
    sums = [[name, one["conversations"], one["turns"]["sum"]] for name, one in configs.items()]
    means = [[name, *_means(one)] for name, one in configs.items()]
    said = [
        [f"{what} in {name}", *(_at(found["roles"], role, *keys) for role in default["roles"])]
        for what, *keys in (
            ("turns", "turns"),
            (default["unit"], "length", "sum"),
            ("characters", "characters"),
            ("MTLD", "mtld", "mean"),
        )
        for name, found in configs.items()
    ]
    first = table(["configuration", "conversations", "turns"], sums, "lrr")
    unit = default["unit"]
    heads = ["mean of", "turns", f"{unit} in all", f"{unit} a turn"]
    return "\n\n".join([first, table(heads, means), table(["", *default["roles"]], said)])


def _means(found: dict[str, Any]) -> list[str]:
    """Of a conversation of a configuration: turns, length, and length of a turn."""
    conversations, turns = found["conversations"], found["turns"]["sum"]
    length = sum(one["length"]["sum"] for one in found["roles"].values())
    return [
        f"{turns / conversations:,.1f}",
        f"{length / conversations:,.1f}",
        f"{length / turns:,.1f}",
    ]


def _at(found: Any, *keys: str) -> Any:
    for key in keys:
        if key not in found:  # a role that is silent in this configuration, or says little
            return "\N{EN DASH}"
        found = found[key]
    return found


def _lengths(found: dict[str, Any]) -> str:
    spread = {"turns in a conversation": found["turns"]}
    spread |= {
        f"{role}: {found['unit']} in a turn": one["length"] for role, one in found["roles"].items()
    }
    quantiles = {"5%": "5%", "median": "50%", "95%": "95%", "max": "max"}
    rows = [[name, *(one[key] for key in quantiles.values())] for name, one in spread.items()]
    return table(["", *quantiles], rows)


def _unit(manifest: dict[str, Any], unit: str) -> str:
    tokenizer = manifest.get("configuration", {}).get("tokenizer")
    if tokenizer:
        return (
            f"Tokens are those of the tokenizer {code(tokenizer['name'])} "
            f"(`tokenizer.json` with the sha256 `{tokenizer['sha256'][:16]}…`)."
        )
    return (
        f"The {unit} are what stands between blanks; where a script has none, as Chinese, Japanese "
        "and Thai, each character is one."
    )


def _languages(manifest: dict[str, Any]) -> str:
    found = _figures(manifest).get("languages", {})
    if not found:
        return "Languages were not identified."
    shown = list(found.items())[:_NAMED_LANGUAGES]
    rows = [[code(name) if name else "not told", count] for name, count in shown]
    rest = len(found) - len(shown)
    more = f"\n\n{rest:,} more, each with fewer, are in `manifest.json`." if rest else ""
    return table(["language", "conversations"], rows) + more


def _contamination(manifest: dict[str, Any]) -> str:
    found = manifest.get("contamination", "not checked")
    if isinstance(found, str):
        return "Overlap with the questions of benchmark suites was **not checked**."
    rows = [
        [code(suite), one["questions"], one["found"]["8"], one["found"]["13"]]
        for suite, one in found["by_suite"].items()
    ]
    summary = str(found["summary"])
    return (
        f"{_text(summary[:1].upper() + summary[1:])}. "
        "Questions of which 8 or 13 words in a row stand in a conversation:\n\n"
        + table(["suite", "questions", "at 8", "at 13"], rows)
    )


def _models(manifest: dict[str, Any]) -> str:
    """Who spoke which part, how it was sampled, and what it was told."""
    sampling = manifest.get("sampling", {})
    lines = []
    for part, name in manifest.get("models", {}).items():
        settings = sampling.get(part, {}).items()
        drawn = (f", {setting.replace('_', ' ')} {value}" for setting, value in settings)
        lines.append(f"- {part}: {code(name)}{''.join(drawn)}")
    for name, digest in manifest.get("prompts", {}).items():
        lines.append(f"- prompt {code(name)}, sha256 `{digest[:16]}…`")
    told = "\n".join(lines)
    if usage := manifest.get("usage"):
        spent = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in usage.items())
        told += f"\n\nThe dialogues that were kept took {spent}."
    return told


def _load(manifest: dict[str, Any]) -> str:
    """The form that is right online and offline.

    ``load_dataset(repository, revision=...)`` ignores the revision when the Hub is out of reach.
    """
    version, config = manifest["version"], default_config(manifest)
    split = next(iter(manifest["splits"][config]))
    return f"""```python
from datasets import load_dataset
from huggingface_hub import snapshot_download

folder = snapshot_download(
    "ORGANISATION/NAME",  # of this page
    repo_type="dataset",
    revision="v{version}",
)
dialogs = load_dataset(
    folder, "{config}", split="{split}"
)
```"""


def _citation(manifest: dict[str, Any], title: str) -> str:
    return f"""```bibtex
@misc{{{manifest["corpus"]}-{manifest["version"]},
  title   = {{{{{title}}}}},
  version = {{{manifest["version"]}}},
  note    = {{sha256 of the data:
             {manifest["data_digest"]}}}
}}
```"""


def table(head: list[str], rows: Iterable[list[Any]], align: str = "") -> str:
    """A Markdown table; ``align`` has ``l`` or ``r`` for each column, by default one ``l``."""
    align = align or "l".ljust(len(head), "r")
    lines = [head, [{"l": "---", "r": "--:"}[side] for side in align]]
    lines += [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)  # in code, too
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def code(text: str) -> str:
    """A name that somebody chose, as code."""
    text = "".join(char if char.isprintable() else " " for char in text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text.strip() or ' '}{blank}{fence}"


def _text(text: str) -> str:
    """A sentence with names in it that somebody chose, as text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
