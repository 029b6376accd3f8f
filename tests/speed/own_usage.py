"""Run a module as a command and write what its process used, apart from what its workers used.

``python -m tests.speed.own_usage REPORT MODULE ARGUMENT ...``
"""

import atexit
import json
import resource
import runpy
import sys
from pathlib import Path

from tests.speed.meter import RSS_UNIT


def main(report: str, module: str, *arguments: str) -> None:
    """Have ``own`` and ``workers`` written, each with ``cpu_s`` and its largest ``peak_bytes``.

    Written as the last thing of all: a pool that was not waited for is joined at the exit.
    """
    atexit.register(_write, Path(report))
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _write(report: Path) -> None:
    used = {"own": _used(resource.RUSAGE_SELF), "workers": _used(resource.RUSAGE_CHILDREN)}
    report.write_text(json.dumps(used), encoding="utf-8")


def _used(who: int) -> dict[str, float]:
    used = resource.getrusage(who)
    return {"cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * RSS_UNIT}


if __name__ == "__main__":
    main(*sys.argv[1:])
