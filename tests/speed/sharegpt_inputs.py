"""Generated ShareGPT pages and the same conversations as a dump, made once and kept."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.speed.harness import RunError
from ultra.errors import InputError

_SEED = "7"


@dataclass(frozen=True)
class Inputs:
    """A folder of saved pages, and what of them FastChat reads: one JSON array."""

    pages: Path
    json: Path


def make(count: int, tools: Path, cache: Path) -> Inputs:
    """``count`` pages of the mix that crashes no peer; ``tools`` holds the generator.

    The name of the folder carries a digest of the generator and the mix, so that what another
    generator made is not taken for it.

    Raises:
        InputError: the generator is not there.
        RunError: the generator failed.
    """
    generator, mix = tools / "make_sharegpt.py", tools / "nocrash_mix.json"
    for file in (generator, mix):
        if not file.is_file():
            raise InputError(
                f"{file}: not there; pages are made with it: set --tools to its folder"
            )
    digest = hashlib.sha256(generator.read_bytes() + mix.read_bytes()).hexdigest()[:8]
    folder = cache / f"sharegpt-{count}-seed{_SEED}-{digest}"
    if not folder.exists():
        print(f"  making {count:,} pages in {folder} ...", flush=True)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _generate([sys.executable, str(generator), "--n", str(count)], mix, partial)
        partial.rename(folder)
    return Inputs(folder / "pages", folder / "sharegpt.json")


def _generate(command: list[str], mix: Path, folder: Path) -> None:
    pages = folder / "pages"
    pages.mkdir(parents=True)
    command += ["--seed", _SEED, "--mix", mix.read_text(encoding="utf-8")]
    command += ["--out", str(pages), "--json", str(folder / "sharegpt.json")]
    status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if status:
        raise RunError(f"{' '.join(command)}: ended with status {status}")
    # The generator's own account is no input.
    (pages / "manifest.jsonl").rename(folder / "manifest.jsonl")
