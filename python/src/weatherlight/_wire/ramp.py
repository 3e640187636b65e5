"""The ramp of a seed's share, by optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from weatherlight._wire.fields import Misread, count

_SHAPES = ("sigmoid", "linear", "cosine")
_MAX_STEPS = 1 << 24


@dataclass(frozen=True)
class Ramp:
    """The share after a number of steps."""

    shape: str = "sigmoid"
    steps: int = 20
    temperature: float = 2.0
    warm_up: int = 0
    hold: int = 0

    def share(self, step: int) -> float:
        """The share after so many steps, 0 to 1."""
        step -= self.warm_up
        if step < 0:
            return 0.0
        if self.steps == 0:
            return 1.0
        if self.warm_up and step == 0:
            return 0.0
        part = min(step / self.steps, 1.0)
        if self.shape == "linear":
            return part
        if self.shape == "cosine":
            return (1 - math.cos(math.pi * part)) / 2
        return (1 + math.tanh((step - self.steps / 2) / max(self.temperature, 1e-6) / 2)) / 2

    def done(self, step: int) -> bool:
        """Whether it is over after so many steps."""
        return step >= self.warm_up + self.steps + self.hold


def read_ramp(annotations: Mapping[str, str]) -> Ramp:
    """Reads the annotations of a ramp.

    Raises:
        Misread: one of them is not understood.
    """
    shape = annotations.get("alpha_schedule", "") or "sigmoid"
    if shape not in _SHAPES:
        raise Misread("alpha_schedule", f"unknown shape {shape[:32]!r}")
    return Ramp(
        shape,
        _steps(annotations, "alpha_steps", 20),
        _temperature(annotations.get("alpha_temperature", "")),
        _steps(annotations, "alpha_warmup_steps", 0),
        _steps(annotations, "alpha_hold_steps", 0),
    )


def _steps(annotations: Mapping[str, str], name: str, fallback: int) -> int:
    text = annotations.get(name, "")
    return count(name, text, _MAX_STEPS) if text else fallback


def _temperature(text: str) -> float:
    if not text:
        return 2.0
    try:
        value = float(text)
    except ValueError as error:
        raise Misread("alpha_temperature", "is no number") from error
    if not 0 < value < math.inf:
        raise Misread("alpha_temperature", "is not a positive number")
    return value
