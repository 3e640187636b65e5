"""The errors and warnings of the package."""

from __future__ import annotations


class WeatherlightError(Exception):
    """What the package raises, and nothing else of its own."""


class ConfigError(WeatherlightError, ValueError):
    """What grow was given does not fit together; the text says what to do."""


class CheckpointError(WeatherlightError, ValueError):
    """A state that cannot be loaded here."""


class BackgroundWarning(RuntimeWarning):
    """The background thread has ended by a fault of the package; training goes on."""
