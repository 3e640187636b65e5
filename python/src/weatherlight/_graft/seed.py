"""One grafted seed."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.blending import mix
from weatherlight._graft.meters import Meters
from weatherlight._wire.blend import Blend
from weatherlight._wire.ramp import Ramp


class Stage(IntEnum):
    """Where a seed stands; the numbers are those of the contract."""

    TRAINING = 3
    BLENDING = 4
    SHADOWING = 5
    PROBATIONARY = 6
    FOSSILIZED = 7


@dataclass
class Before:
    """What the model was as a seed began to blend.

    Everything in it is by name, so that it can be written down.
    """

    moment: int  # counts the seeds that began to blend
    host_steps: int = 0  # of the host's own training by then
    model: dict[str, Tensor] | None = None  # parameters and buffers of the host
    optimizer: dict[str, dict[str, Any]] | None = None  # its state, by parameter
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # weights of kept seeds


@dataclass(eq=False)
class Seed:
    """A grafted seed. It belongs to the training loop."""

    id: str
    blueprint: str
    checksum: str  # of the kernel as it was attached
    slot: str
    kernel: nn.Module
    content: bytes  # the kernel's file
    blend: Blend
    ramp: Ramp
    attach_order: int
    order: int
    stage: Stage = Stage.TRAINING
    paused: bool = False
    tuned: bool = False
    steps: int = 0  # of the ramp
    age: int = 0  # reports since it was attached
    batches: int = 0  # that it has seen in this process
    before: Before | None = None
    optimizer: torch.optim.Optimizer | None = None
    meters: Meters = field(default_factory=Meters)

    @property
    def kept(self) -> bool:
        """Whether it is a part of the network: no blend, nothing detached."""
        return self.stage is Stage.FOSSILIZED

    @property
    def learns(self) -> bool:
        """Whether its parameters may change now."""
        if self.paused:
            return False
        return self.stage in (Stage.TRAINING, Stage.BLENDING) or (self.kept and self.tuned)

    @property
    def share(self) -> float:
        """Its share in the output now."""
        if self.paused or self.stage is Stage.TRAINING:
            return 0.0
        return self.ramp.share(self.steps) if self.stage is Stage.BLENDING else 1.0

    def parameters(self) -> list[nn.Parameter]:
        """What of it trains."""
        return list(self.kernel.parameters())

    def weights(self) -> dict[str, Tensor]:
        """Copies of what it has learnt: parameters and statistics."""
        return {name: value.detach().clone() for name, value in self._named().items()}

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Puts copies back, bit by bit."""
        named = self._named()
        with torch.no_grad():
            for name, value in weights.items():
                named[name].copy_(value)

    def _named(self) -> dict[str, Tensor]:
        return {**dict(self.kernel.named_parameters()), **dict(self.kernel.named_buffers())}

    def join(self, share: float, base: Tensor, training: bool) -> Tensor:
        """Its output, blended with what it stands behind, in the type of that."""
        if self.kernel.training != training:
            self.kernel.train(training)
        with self.meters.timing(base.device):
            return joined(self.kernel, self.blend, share, base, finite=not self.kept)


def joined(
    kernel: nn.Module, blend: Blend, share: float, base: Tensor, finite: bool = False
) -> Tensor:
    """A kernel's output blended with what it stands behind.

    Kernels compute in float32, whatever the host does around them.
    """
    with _without_autocast(base.device):
        host = base.float()
        out: Tensor = kernel(host)
        if out.shape != host.shape:
            raise ValueError(f"it made {tuple(out.shape)} of {tuple(host.shape)}")
        if finite and not bool(torch.isfinite(out).all()):
            raise ValueError("its output is not finite")
        blended: Tensor = mix(blend, share, host, out).to(base.dtype)
        return blended


_autocast: Any = torch.autocast  # type: ignore[attr-defined,unused-ignore]


def _without_autocast(device: torch.device) -> Any:
    if device.type in ("cpu", "cuda"):
        return _autocast(device.type, enabled=False)
    return nullcontext()
