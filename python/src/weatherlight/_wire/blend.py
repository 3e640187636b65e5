"""How a seed joins the host's output: what an attach order says of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weatherlight._wire.fields import Misread, is_true

_MODES = ("CONVEX", "RESIDUAL", "CHANNEL", "CONFIDENCE")
_MAX_CHANNELS = 64
_MAX_LOGITS = 4096


@dataclass(frozen=True)
class Blend:
    """One way to blend; see docs/trainers.md for the formulas."""

    mode: str = "CONVEX"
    channels: tuple[float, ...] = field(default=())
    gate_k: float = 4.0
    gate_tau: float = 0.2
    low: float = 0.0
    top: float = 1.0

    def misfit(self, slot: Sequence[int]) -> str:
        """Why it cannot be made at a slot of this shape; empty when it can."""
        if self.mode == "CHANNEL" and len(self.channels) != slot[0]:
            return f"{len(self.channels)} channel weights for a slot of {tuple(slot)}"
        if self.mode == "CONFIDENCE" and slot[0] < 2:
            return f"a confidence gate needs two channels, the slot is {tuple(slot)}"
        return ""


def read_blend(annotations: Mapping[str, str]) -> Blend:
    """Reads the annotations of a blend.

    Raises:
        Misread: it is of no known mode, or a number is missing or not finite.
    """
    logits_required = is_true(annotations.get("confidence_logits_required", ""))
    logits = annotations.get("confidence_logits", "").strip()
    if logits_required and not logits:
        raise Misread("confidence_logits", "is required and missing")
    mode = annotations.get("blend_mode", "").strip().upper() or "CONVEX"
    if mode not in _MODES:
        raise Misread("blend_mode", f"unknown mode {mode[:32]!r}")
    if mode == "CHANNEL":
        return Blend(mode, channels=_channels(annotations))
    if mode != "CONFIDENCE":
        return Blend(mode)
    if logits_required and not _are_logits(logits):
        raise Misread("confidence_logits", "is no list of finite numbers")
    low = _clamp(_number(annotations, "alpha_lo", 0.0))
    top = _clamp(_number(annotations, "alpha_hi", 1.0))
    return Blend(
        mode,
        gate_k=max(_number(annotations, "gate_k", 4.0), 0.0),
        gate_tau=max(_number(annotations, "gate_tau", 0.2), 0.0),
        low=min(low, top),
        top=max(low, top),
    )


def _clamp(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _number(annotations: Mapping[str, str], name: str, fallback: float) -> float:
    """A finite number; text that is none gives the fallback."""
    try:
        value = float(annotations.get(name, "").strip())
    except ValueError:
        return fallback
    if not math.isfinite(value):
        raise Misread(name, "is not finite")
    return value


def _are_logits(text: str) -> bool:
    try:
        values = [float(value) for value in json.loads(text)]
    except (TypeError, ValueError, RecursionError):
        return False
    return 0 < len(values) <= _MAX_LOGITS and all(map(math.isfinite, values))


def _channels(annotations: Mapping[str, str]) -> tuple[float, ...]:
    text = annotations.get("alpha_vec", "").strip()
    try:
        values = _listed(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise Misread("alpha_vec", "is no list of numbers") from error
    if not 0 < len(values) <= _MAX_CHANNELS:
        raise Misread("alpha_vec", f"has {len(values)} entries")
    if not all(map(math.isfinite, values)):
        raise Misread("alpha_vec", "is not finite")
    announced = annotations.get("alpha_vec_len", "").strip()
    if announced and announced != str(len(values)):
        raise Misread("alpha_vec_len", "is not the number of entries")
    return tuple(map(_clamp, values))


def _listed(text: str) -> list[float]:
    """A JSON list of numbers, or numbers separated by commas."""
    try:
        parsed = json.loads(text)
    except ValueError:
        if text.startswith("[") != text.endswith("]"):
            raise
        inner = text[1:-1] if text.startswith("[") else text
        return [float(item) for item in inner.split(",") if item.strip()]
    if not isinstance(parsed, list):
        return [float(text)]
    return [float(value) for value in parsed]
