"""What is measured of one seed between two reports."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from typing import Any

import torch
from torch import Tensor

from weatherlight._wire.reports import MAX_COUNT

_MAX_TIMINGS = 64


class Meters:
    """Sums that stay on the device until a report asks for them."""

    def __init__(self) -> None:
        self._norms: Tensor | None = None
        self._losses: Tensor | None = None
        self._host: Tensor | None = None
        self._cosine: Tensor | None = None
        self.steps = 0
        self.faults = 0
        self.fault = ""  # the last one
        self._timings: deque[float | tuple[Any, Any]] = deque(maxlen=_MAX_TIMINGS)

    def stepped(self, loss: Tensor | None, norm: Tensor) -> None:
        """One step of the seed's own training."""
        self._norms = norm if self._norms is None else self._norms + norm
        if loss is not None:
            loss = loss.detach().float()
            self._losses = loss if self._losses is None else self._losses + loss
        self.steps += 1

    def host_gradient(self, gradient: Tensor | None) -> None:
        """What came through a blend to the host: None when there was nowhere to put it."""
        if gradient is None or gradient.numel() == 0:
            return
        largest = gradient.detach().abs().max().float()
        self._host = largest if self._host is None else torch.maximum(self._host, largest)

    def aligned(self, cosine: Tensor) -> None:
        """Whether the losses with and without the seed pull the slot's output the same way."""
        self._cosine = cosine

    def failed(self, why: str) -> None:
        """One pass in which the seed was left out."""
        self.faults += 1
        self.fault = why

    def timing(self, device: torch.device) -> _Timing:
        """Times one forward pass, in a with statement."""
        return _Timing(self._timings, device)

    def tell(self) -> dict[str, float]:
        """The metrics, and begins anew."""
        told = {
            "host_gradient_max": float(self._host) if self._host is not None else 0.0,
            "forward_faults": float(min(self.faults, MAX_COUNT)),
        }
        if self.steps and self._norms is not None:
            told["gradient_norm"] = float(self._norms) / self.steps
        if self.steps and self._losses is not None:
            told["train_loss"] = float(self._losses) / self.steps
        if self._cosine is not None and math.isfinite(cosine := float(self._cosine)):
            told["gradient_cosine"] = min(max(cosine, -1.0), 1.0)  # rounding may pass the bounds
        told.update(self._tell_timings())
        timings = self._timings
        self.__init__()  # type: ignore[misc]
        self._timings = timings
        return told

    def _tell_timings(self) -> dict[str, float]:
        ms = [timing if isinstance(timing, float) else _elapsed(timing) for timing in self._timings]
        self._timings.clear()
        if not ms:
            return {}
        mean = statistics.fmean(ms)
        spread = statistics.pstdev(ms) / mean if mean else 0.0
        return {"forward_ms": statistics.median(ms), "forward_spread": spread}


class _Timing:
    def __init__(self, timings: deque[float | tuple[Any, Any]], device: torch.device) -> None:
        self._timings, self._cuda = timings, device.type == "cuda"

    def __enter__(self) -> None:
        if self._cuda:
            self._began = torch.cuda.Event(enable_timing=True)
            self._began.record()
        else:
            self._started = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if self._cuda:
            ended = torch.cuda.Event(enable_timing=True)
            ended.record()
            self._timings.append((self._began, ended))
        else:
            self._timings.append((time.perf_counter() - self._started) * 1000)


def _elapsed(events: tuple[Any, Any]) -> float:
    began, ended = events
    ended.synchronize()
    return float(began.elapsed_time(ended))
