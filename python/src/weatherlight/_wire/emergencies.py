"""Emergencies: what this trainer raises of its own."""

from __future__ import annotations

import time

from weatherlight._wire import leyline_pb2 as leyline
from weatherlight.errors import ConfigError

LEVELS = range(leyline.EMERGENCY_LEVEL_NOTICE, leyline.EMERGENCY_LEVEL_HALT + 1)
_MAX_REASON = 1024


def checked_level(level: int) -> int:
    """The level, when it is one that can be raised.

    Raises:
        ConfigError: there is no such level.
    """
    if not isinstance(level, int) or isinstance(level, bool) or level not in LEVELS:
        raise ConfigError(f"an emergency has a level from 1 to {LEVELS[-1]}, not {level!r}")
    return level


def emergency(level: int, reason: str, run: str, trainer_id: str) -> leyline.EmergencySignal:
    """An emergency of one run. The service knows it again by its origin and moment.

    Raises:
        ConfigError: there is no such level.
    """
    signal = leyline.EmergencySignal(
        version=1,
        reason=reason[:_MAX_REASON].encode(errors="replace").decode(),
        origin=trainer_id,
        monotonic_time_ms=time.monotonic_ns() // 1_000_000,
        run_id=run,
    )
    signal.level = checked_level(level)  # type: ignore[assignment]
    signal.triggered_at.FromNanoseconds(time.time_ns())
    return signal


def told_of(signal: leyline.EmergencySignal) -> dict[str, str]:
    """The attributes of its envelope."""
    return {"origin": signal.origin, "reason": signal.reason, "level": str(int(signal.level))}
