"""A side that works step by step: it does a step when told to, and says what that took.

The child's end of the pipes (:class:`Pace`) imports nothing that a peer's virtual environment might
lack. What a library prints goes to standard error, so that it cannot be taken for a report.
"""

import json
import os
import sys
import time
from typing import Any, TextIO


class Pace:
    """Waits for a line before each step, and writes one after it.

    ``amount`` is what the step under way got done, in supervised tokens or in dialogues.
    """

    def __init__(self) -> None:
        self.reports: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self.amount = 0
        self._start = (time.perf_counter(), time.process_time())

    def turn(self) -> None:
        """The end of a step and the start of the next; the first call says that all is loaded.

        Raises:
            SystemExit: no further step is wanted.
        """
        now = (time.perf_counter(), time.process_time())
        seconds, cpu_s = (end - start for end, start in zip(now, self._start, strict=True))
        report = {"seconds": seconds, "cpu_s": cpu_s, "amount": self.amount}
        self.reports.write(json.dumps(report) + "\n")
        self.reports.flush()
        self.amount = 0
        if not sys.stdin.readline():
            raise SystemExit
        self._start = (time.perf_counter(), time.process_time())


def pace_trainers(pace: Pace) -> None:
    """Make every ``transformers.Trainer`` of this process wait for its turn.

    A step lasts from the end of the one before it to its own end: fetching, collating and logging
    are part of it. The code under measurement is not touched, nor told.
    """
    from transformers import Trainer, TrainerCallback, trainer

    class Paced(TrainerCallback):  # type: ignore[misc]
        """Takes a turn before the first step and after every step."""

        def on_train_begin(self, *_: object, **__: object) -> None:
            pace.turn()

        def on_step_end(self, *_: object, **__: object) -> None:
            pace.turn()

    whole = Trainer.get_batch_samples

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        found = whole(self, *arguments, **named)
        pace.amount += sum(supervised(batch) for batch in found[0])
        return found

    Trainer.get_batch_samples = counted
    trainer.DEFAULT_CALLBACKS.append(Paced)


def supervised(batch: Any) -> int:
    """Positions of a batch whose next token has a label: labels are shifted, or are to be."""
    labels = batch["shift_labels"] if "shift_labels" in batch else batch["labels"][..., 1:]
    return int((labels != -100).sum())
