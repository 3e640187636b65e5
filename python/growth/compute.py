"""Compute, counted in multiply-adds as they are carried out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from weatherlight._graft.compute import Counter


class Meter:
    """What a run has spent. Work of the same kind is counted once."""

    def __init__(self) -> None:
        self.spent = 0
        self._known: dict[Hashable, int] = {}

    def run(self, kind: Hashable, work: Callable[[], Any]) -> Any:
        """Does work, and adds what it costs; work of one kind costs the same each time."""
        known = self._known.get(kind)
        if known is not None:
            self.spent += known
            return work()
        with Counter() as counter:
            result = work()
        self._known[kind] = counter.count
        self.spent += counter.count
        return result

    def add(self, count: int) -> None:
        """Adds work that was counted elsewhere."""
        self.spent += count

    def forget(self) -> None:
        """What work costs is to be counted anew: the model has changed."""
        self._known.clear()
