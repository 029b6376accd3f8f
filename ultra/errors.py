"""Every error that a person can cause or cure.

::

    UltraError            one clear line for a person; commands print it and exit 2
    ├── SettingError      a setting, flag, recipe or environment variable is wrong or missing
    ├── InputError        what was read cannot be used: missing, broken, wrong digest
    ├── OutputError       what would be written is in the way of something, or in use
    ├── ModelError        a model or its endpoint refuses us, so no later call can succeed
    ├── BudgetError       the next call could pass the budget; a higher one goes on from there
    └── CallError         one call failed for good; others may still succeed
        └── PassingError  one try of a call failed; the engine tries again

A message names the file, row or setting and the way out. Library code raises; only
:func:`ultra.command.main` catches. A ``CallError`` ends one dialogue or judgment and is counted
there, never a run.
"""


class UltraError(Exception):
    """Base of all errors that are shown to a person as one line."""


class SettingError(UltraError):
    """A setting, flag, recipe or environment variable is wrong or missing."""


class InputError(UltraError):
    """What was read cannot be used."""


class OutputError(UltraError):
    """What would be written is in the way of something, or in use."""


class ModelError(UltraError):
    """A model or its endpoint refuses us, so no later call can succeed."""


class BudgetError(UltraError):
    """The next call could pass the budget, so it was not made."""


class CallError(UltraError):
    """One call failed for good; others may still succeed.

    ``reason`` is what failures are counted by: ``context_length``, ``content_filter``, ``refused``
    (the server takes other requests), ``no_answer`` (after all tries) or ``not_a_completion``.
    """

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class PassingError(CallError):
    """One try of a call failed in a way that may pass; the engine tries again.

    ``kind`` is ``limited`` (429; ``after`` is the wait in seconds that the server asks for, or 0),
    ``unreachable`` (no connection came about), ``refused`` (5xx) or ``broken`` (a timeout, a
    connection that broke, an answer that is none: the server may have worked on it).
    """

    def __init__(self, message: str, reason: str, kind: str, after: float = 0.0) -> None:
        super().__init__(message, reason)
        self.kind, self.after = kind, after
