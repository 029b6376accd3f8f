"""What the card of simulated dialogues says beyond any other: role health, openings, topics, judge.

The figures are those of the manifest; the words for them stand in ``card.md``.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from datasets_scripts.ultrachat.health import PARTS
from ultra import prompts
from ultra.card import code, table
from ultra.prompts import Prompt

_CARD = Path(__file__).parent / "card.md"
_OF_ONE = ("helpful", "honest", "harmless")


def template(made: Mapping[str, Any]) -> Prompt:
    """The card's template, its own slots filled from what the manifest will say.

    Raises:
        InputError: it cannot be read.
    """
    card = prompts.load(_CARD)
    words = yaml.safe_load(card.text.split("---\n", 2)[1])["words"]
    sections = {
        "openings": _openings(made["openings"]["steps"], words["openings"]),
        "role_health": _role_health(made["role_health"], words["reasons"]),
        "rejected": _rejected(made["rejected"]),
        "topics": _topics(made["topics"]),
        "judged": _judged(made.get("judged", {})),
    }
    text = card.text
    for slot, section in sections.items():
        text = text.replace(f"{{{slot}}}", _slotless(section))
    return Prompt(card.name, text)


def print_openings(steps: list[dict[str, Any]]) -> None:
    """Say on a line how many openings do not become dialogues, if any, and why."""
    dropped = Counter[str]()
    for step in steps:
        dropped.update(step["dropped"])
    if dropped:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items()))
        print(f"openings: {dropped.total():,} of {steps[0]['in']:,} left out ({why})")


def _slotless(section: str) -> str:
    """A name with braces in it would be taken for a slot of the card."""
    return section.replace("{", "(").replace("}", ")")


def _openings(steps: list[dict[str, Any]], words: Mapping[str, str]) -> str:
    flow, why = [], []
    for step in steps:
        dropped = sum(step["dropped"].values())
        flow.append([step["step"], step["in"], step["in"] - dropped, dropped])
        for reason, count in step["dropped"].items():
            why.append([count, f"{words.get(reason, '')} {code(reason)}".strip()])
    parts = [table(["openings", "in", "kept", "dropped"], flow)]
    if why:
        parts += [
            "What was left out, and why:",
            table(["count", "why"], why, "rl"),
        ]
    return "\n\n".join(parts)


def _role_health(health: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """Turns that were asked for, and the share of them with each fault."""
    dialogues, early, lost = (health[name] for name in ("dialogues", "ended_early", "dropped"))
    intro = (
        f"Of {dialogues:,} dialogues {early['count']:,} ({_percent(early)}) ended before their "
        f"planned round and {lost['count']:,} ({_percent(lost)}) were dropped. "
        f"{health['asked_again']:,} turns were asked again, and {health['thanks_pairs_removed']:,} "
        "closing pairs of thanks and reply were taken away."
    )
    asked = " and ".join(f"{health[part]['turns']:,} of the {part}" for part in PARTS)
    rows = [
        [one["count"], _percent(one), f"{reasons.get(f'{part}_{fault}', '')} {code(fault)}".strip()]
        for part in PARTS
        for fault, one in health[part]["faults"].items()
    ]
    found = f"Of the turns that were asked for, {asked}, these had a fault:"
    none = f"Of the turns that were asked for, {asked}, none had a fault that is looked for."
    return "\n\n".join(
        [intro, *([found, table(["turns", "share", "what"], rows, "rrl")] if rows else [none])]
    )


def _percent(one: Mapping[str, Any]) -> str:
    return f"{100 * one['rate']:.2f} %"


def _rejected(rejected: Mapping[str, Any]) -> str:
    if not rejected["calls"]:
        return "No completion was left out."
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in rejected.items())
    return f"What was asked again, cut away or dropped took {told}."


def _topics(topics: Mapping[str, Any]) -> str:
    rows = [
        [code(config), one["dialogues"], f"{one['mean_cosine']:.4f}"]
        for config, one in topics["configs"].items()
        if "mean_cosine" in one
    ]
    if not rows:
        return "There are too few dialogues to compare their topics."
    return (
        "Topic similarity is the mean cosine over all pairs of dialogues, lower for more various "
        f"ones, here by {topics['method']}. A figure by another method, such as that of the "
        "UltraChat paper, cannot be compared with it.\n\n"
        + table(["configuration", "dialogues", "mean cosine"], rows)
    )


def _judged(made: Mapping[str, Any]) -> str:
    if not made:
        return "No dialogues were judged."
    asked, scored = made["dialogues"], made["scored"]
    judge = f"{code(made['judge'])} (named by its server: {code(made['judge_model'])})"
    unscored = ", ".join(f"{count:,} {code(reason)}" for reason, count in made["unscored"].items())
    told = f"{judge} graded {scored:,} of {asked:,} dialogues, chosen by hash"
    told += f"; unscored: {unscored}." if unscored else "."
    if not scored:
        return told
    means = [["coherence", "1 to 10", made["coherence"]]]
    means += [[name, "0 to 1", made[name]] for name in _OF_ONE]
    return f"{told}\n\n{table(['mean of', 'scale', 'grade'], means, 'llr')}"
