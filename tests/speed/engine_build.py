"""The UltraChat build, stopped after so many calls: ``python -m tests.speed.engine_build URL ...``.

Prints a line of JSON for :mod:`tests.speed.engine`. The endpoint's answers are no questions, so
that user turns are asked again and dropped: it is the memory of a long plan that is looked at.
"""

import argparse
import contextlib
import json
import time
from pathlib import Path

from datasets_scripts.ultrachat import build
from datasets_scripts.ultrachat.settings import Settings
from ultra.errors import BudgetError


def main() -> None:
    parser = argparse.ArgumentParser(description="The UltraChat build, stopped early")
    parser.add_argument("url")
    parser.add_argument("--dialogues", type=int, required=True)
    parser.add_argument("--flight", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for releases")
    parser.add_argument("--calls", type=int, required=True, help="stop after so many")
    options = parser.parse_args()
    settings = Settings(
        out=options.folder,
        n=options.dialogues,
        sector="creation",
        user_model="loopback",
        assistant_model="loopback",
        base_url=options.url,
        concurrency=options.flight,
        budget_calls=options.calls,
    )
    start, cpu = time.perf_counter(), time.process_time()
    with contextlib.suppress(BudgetError):  # is how --calls ends a run
        build.build(settings)
    found = {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "calls": options.calls,
        "server_s": 0.0,
        "slowest_s": 0.0,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
