"""The card of a release: YAML that tells the Hub and ``load_dataset`` everything, and a body.

All figures come from the manifest; nothing is computed from the rows here.
"""

from typing import Any

import yaml

from ultra import schema
from ultra.errors import InputError
from ultra.prompts import Prompt

_DEMO_NOTE = (
    "> **Demo data.** These dialogues were made by the rule-based offline `demo` model, to show "
    "the pipeline at work. They are not for training a real model.\n\n"
)


def render(manifest: dict[str, Any], template: Prompt) -> str:
    """Fill a corpus's ``card.md`` (its own YAML front matter, then a body with slots).

    Raises:
        InputError: the template has no front matter.
    """
    parts = template.text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise InputError(f"{template.name}: starts with no YAML front matter between two '---'")
    front = yaml.safe_load(parts[1]) | _dataset_yaml(manifest)
    if manifest.get("demo"):
        front["tags"] = [*front.get("tags", []), "demo"]
    body = Prompt(template.name, parts[2])
    figures = {
        "version": manifest["version"],
        "demo_note": _DEMO_NOTE if manifest.get("demo") else "",
        "splits": _splits_table(manifest),
        "steps": _steps_table(manifest["steps"]),
        "contamination": _contamination(manifest),
        "models": _models(manifest.get("models", {})),
        "default_config": default_config(manifest),
    }
    text = body.fill({slot: figures[slot] for slot in body.slots & set(figures)})
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n{text}\n"


def default_config(manifest: dict[str, Any]) -> str:
    """The configuration that ``load_dataset`` takes when none is named."""
    return "all" if "all" in manifest["splits"] else next(iter(manifest["splits"]))


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


def _splits_table(manifest: dict[str, Any]) -> str:
    lines = ["| configuration | split | conversations |", "|---|---|---|"]
    for config, splits in manifest["splits"].items():
        lines += [f"| {config} | {split} | {size['rows']:,} |" for split, size in splits.items()]
    return "\n".join(lines)


def _steps_table(steps: list[dict[str, Any]]) -> str:
    """What each step saw, kept, dropped and changed, as a Markdown table."""
    lines = [
        "| step | in | kept | dropped | reasons | changed |",
        "|---|---|---|---|---|---|",
    ]
    for step in steps:
        dropped = sum(step["dropped"].values())
        cells = [step["step"], *(f"{n:,}" for n in (step["in"], step["in"] - dropped, dropped))]
        cells += [_counts(step["dropped"]), _counts(step.get("changed", {}))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _contamination(manifest: dict[str, Any]) -> str:
    found = manifest.get("contamination", "not checked")
    return str(found if isinstance(found, str) else found["summary"])


def _models(models: dict[str, Any]) -> str:
    return "\n".join(f"- {job}: `{name}`" for job, name in models.items())
