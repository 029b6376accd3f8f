"""A build in a process of its own, over many small pieces, that ends where it is told to.

``BUILD_ENDS`` in the environment says where, in the words of :data:`ENDS`; ``BUILD_OUT`` is the
folder of releases. Each worker writes the keys of the pieces that it works on into ``worked``
there. What is set here is set in the worker processes too, which import this module again.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasets_scripts.results import Results
from datasets_scripts.sharegpt import build, inputs
from datasets_scripts.sharegpt.inputs import Piece
from datasets_scripts.sharegpt.work import Worker
from ultra import command, files

ENDS = {
    "": "as any build",
    "result N": "killed when N pieces are finished and their results written",
    "release": "killed when the release is whole and has no name yet",
    "named": "killed when the release has its name and the results are still there",
    "worker": "a worker dies at the page 06.html",
    "wait": "workers wait at the page 06.html and those after it for a file ``go``",
    "start": "interrupted, with its workers, while these start",
}
OUT = Path(os.environ["BUILD_OUT"])
END, _, COUNT = os.environ["BUILD_ENDS"].partition(" ")

inputs.FILES = 2


class Watched(Worker):
    """Notes what it works on, and may wait or die."""

    def __call__(self, piece: Piece) -> Any:
        with (OUT / "worked").open("a") as log:
            log.write(f"{piece.key.hex()}\n")
        last = max(source for source, _ in piece.files)
        if END == "worker" and last >= "06.html":
            os._exit(1)
        while END == "wait" and last >= "06.html" and not (OUT / "go").exists():
            time.sleep(0.01)
        return super().__call__(piece)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


add, rename_tree = Results.add, files.rename_tree
added: list[bytes] = []


def add_or_end(self: Results, key: bytes, result: Any) -> Any:
    done = add(self, key, result)
    added.append(key)
    if END == "result" and len(added) == int(COUNT):
        kill()
    return done


def rename_or_end(source: Path, target: Path) -> None:
    if END == "release":
        kill()
    rename_tree(source, target)
    if END == "named":
        kill()


build.Worker = Watched  # type: ignore[attr-defined]
Results.add = add_or_end  # type: ignore[method-assign]
files.rename_tree = rename_or_end

if END == "start" and __name__ != "__main__":  # a worker, not yet at work
    with suppress(FileExistsError):  # the first of them
        (OUT / "interrupted").touch(exist_ok=False)
        os.killpg(0, signal.SIGINT)
if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    command.main(build.Settings, build.build)
    sys.exit("not reached")
