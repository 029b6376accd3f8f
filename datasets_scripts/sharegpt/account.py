"""What has been read of the input, and how far a build is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from datasets_scripts.sharegpt import inputs
from datasets_scripts.sharegpt.work import CORPUS

if TYPE_CHECKING:
    from tqdm import tqdm


class Account:
    """What has been read: a count and a digest that no order changes; and the progress bar."""

    def __init__(self, root: Path) -> None:
        self.count = self.kept = self._sum = 0
        self._ignored: list[str] = []
        self._bar = _bar(root) if sys.stderr.isatty() else None

    def add(self, size: int, found: dict[str, Any]) -> None:
        self.count += found["steps"][0]["in"]
        self.kept += len(found["rows"])
        self._sum = (self._sum + int(found["digest"], 16)) % 2**128
        self._ignored += found["ignored"]
        if self._bar is None:
            return
        self._bar.update(size)
        rate = self.count / max(self._bar.format_dict["elapsed"], 1e-3)
        share = self.kept / max(self.count, 1)
        self._bar.set_postfix_str(f"{rate:,.0f} conversations/s, {share:.0%} kept", refresh=False)

    def fingerprint(self) -> dict[str, Any]:
        ignored = {"ignored": sorted(self._ignored)} if self._ignored else {}
        return {"conversations": self.count, "xxh3_128": f"{self._sum:032x}", **ignored}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(root: Path) -> "tqdm[Any]":
    from tqdm import tqdm  # takes 60 ms, which only a person who watches need pay

    return tqdm(desc=CORPUS, total=inputs.total_size(root), unit="B", unit_scale=True)
