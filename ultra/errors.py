"""Every error that a person can cause or cure.

::

    UltraError            one clear line for a person; commands print it and exit 2
    ├── SettingError      a setting, flag, recipe or environment variable is wrong or missing
    ├── InputError        what was read cannot be used: missing, broken, wrong digest
    ├── OutputError       what would be written is in the way of something, or in use
    ├── ModelError        a model or its endpoint refuses us, so no later call can succeed
    └── CallError         one call failed for good; others may still succeed

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


class CallError(UltraError):
    """One call failed for good; others may still succeed."""
