"""Saved pages cleaned OpenChat's way, to compare with: ``openchat_way.py PAGES OUT``.

Written from a description of ``ochat.data.clean_sharegpt``: BeautifulSoup over the whole page, the
converter it shares with FastChat on every turn, human ones too. One process and no ray, whose
workers would escape the account of CPU time. Runs in the peers' virtual environment.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import bs4
from fastchat.data.clean_sharegpt import html_to_markdown

_BLOCKED = "openai"
_ROLES = ("human", "gpt")


def page_data(page: str) -> Any:
    """What the page's script holds of the conversation; None if it holds none."""
    script = bs4.BeautifulSoup(page, "html.parser").find("script", {"id": "__NEXT_DATA__"})
    return json.loads(script.string)["props"]["pageProps"]


def clean(items: list[dict[str, str]]) -> list[dict[str, str]] | str:
    """The turns as Markdown, or the reason why they are left out."""
    if items and items[0]["from"] != "human":
        items = items[1:]
    if items and items[-1]["from"] == "human":
        items = items[:-1]
    if len(items) < 2:
        return "too_short"
    turns = []
    for number, item in enumerate(items):
        if item["from"] != _ROLES[number % 2]:
            return "wrong_format"
        if _BLOCKED in item["value"].lower():
            return "blocked_words"
        turns.append({"from": item["from"], "value": html_to_markdown(item["value"])})
    return turns


def main(pages: str, out: str) -> None:
    """Write one line a conversation; print the count of kept and of dropped for each reason."""
    dropped: Counter[str] = Counter()
    kept = []
    seen: set[int] = set()
    files = sorted(Path(pages).glob("*.html"))
    for file in files:
        data = page_data(file.read_text(encoding="utf-8"))
        content = data.get("content")
        turns = clean(content["items"]) if content else "no_content"
        if isinstance(turns, str):
            dropped[turns] += 1
            continue
        key = hash("\n".join(turn["value"] for turn in turns))
        if key in seen:
            dropped["duplicate"] += 1
            continue
        seen.add(key)
        kept.append({"id": data["id"], "views": data.get("views"), "items": turns})
    with Path(out).open("w", encoding="utf-8") as lines:
        for row in kept:
            lines.write(json.dumps(row) + "\n")
    print(json.dumps({"total": len(files), "kept": len(kept), "dropped": dropped}))


if __name__ == "__main__":
    main(*sys.argv[1:])
