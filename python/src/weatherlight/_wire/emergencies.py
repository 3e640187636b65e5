"""Emergencies: what this trainer raises of its own."""

from __future__ import annotations

import time

from weatherlight._wire import leyline_pb2 as leyline

LEVELS = range(leyline.EMERGENCY_LEVEL_NOTICE, leyline.EMERGENCY_LEVEL_HALT + 1)
_MAX_REASON = 1024


def emergency(level: int, reason: str, run: str, trainer_id: str) -> leyline.EmergencySignal:
    """An emergency of one run. The service knows it again by its origin and moment."""
    signal = leyline.EmergencySignal(
        version=1,
        reason=reason[:_MAX_REASON].encode(errors="replace").decode(),
        origin=trainer_id,
        monotonic_time_ms=time.monotonic_ns() // 1_000_000,
        run_id=run,
    )
    signal.level = level  # type: ignore[assignment]
    signal.triggered_at.FromNanoseconds(time.time_ns())
    return signal


def told_of(signal: leyline.EmergencySignal) -> dict[str, str]:
    """The attributes of its envelope."""
    return {"origin": signal.origin, "reason": signal.reason, "level": str(int(signal.level))}
