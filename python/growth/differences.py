"""Means, spreads and paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t at 97.5 %, by degrees of freedom.
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and half of its 95 % confidence interval."""

    mean: float
    half: float

    @property
    def better(self) -> bool:
        """Whether it is above zero beyond the spread."""
        return self.mean - self.half > 0

    @property
    def worse(self) -> bool:
        """Whether it is below zero beyond the spread."""
        return self.mean + self.half < 0

    def __str__(self) -> str:
        """As the tables have it."""
        return f"{self.mean:+.2f} ± {self.half:.2f}"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """How much better ours are, seed by seed."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    count = len(differences)
    spread = statistics.stdev(differences)
    return Difference(statistics.fmean(differences), _T[count - 1] * spread / math.sqrt(count))


def mean_and_spread(values: Sequence[float]) -> str:
    """As the tables have it."""
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"
