"""Run one command and write down what it cost, all its descendants counted.

``meter.py REPORT COMMAND ...`` stands between the harness and the command because Linux lets a
program start with the peak memory of the process that started it, so that process must be small;
and because whoever outlives the command is adopted and waited for here, and so is counted too.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes; getrusage(2) of each system


def main(report: str, *command: str) -> int:
    """Write ``cpu_s`` (user and system) and ``peak_bytes`` of the largest process, as JSON.

    Returns the command's status; of one that a signal ended, as a shell does, 128 and the signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    status = subprocess.call(command)
    _wait_for_orphans()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * RSS_UNIT,
    }
    Path(report).write_text(json.dumps(cost), encoding="utf-8")
    return status if status >= 0 else 128 - status


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
