"""Seeds as plain data, for the user's own checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._bus.fetch import AttachError
from weatherlight._graft.seed import Before, Seed, Stage
from weatherlight._graft.slot import Slot
from weatherlight._wire.blend import Blend
from weatherlight._wire.ramp import Ramp
from weatherlight.errors import CheckpointError
from weatherlight.kernels import KernelError, load

VERSION = 1


def written(seed: Seed) -> dict[str, Any]:
    """A seed as tensors, numbers and texts: torch.load(weights_only=True) reads it."""
    before = seed.before
    return {
        "id": seed.id,
        "blueprint": seed.blueprint,
        "checksum": seed.checksum,
        "slot": seed.slot,
        "kernel": torch.frombuffer(bytearray(seed.content), dtype=torch.uint8),
        "weights": seed.weights(),
        "optimizer": seed.optimizer.state_dict() if seed.optimizer is not None else None,
        "blend": {**asdict(seed.blend), "channels": list(seed.blend.channels)},
        "ramp": asdict(seed.ramp),
        "attach_order": seed.attach_order,
        "order": seed.order,
        "stage": int(seed.stage),
        "paused": seed.paused,
        "tuned": seed.tuned,
        "steps": seed.steps,
        "age": seed.age,
        "before": None if before is None else dict(vars(before)),
    }


def revived(told: Mapping[str, Any], slots: Mapping[str, Slot]) -> Seed:
    """The seed of what was written, without its optimizer.

    Raises:
        CheckpointError: it does not fit this model.
    """
    slot = slots.get(told["slot"])
    if slot is None:
        raise CheckpointError(f"seed {told['id']}: there is no slot {told['slot']!r} here")
    content = bytes(told["kernel"].numpy().tobytes())
    try:
        kernel: nn.Module = load(content, slot=slot.shape).to(slot.device)
    except (KernelError, AttachError) as error:
        raise CheckpointError(f"seed {told['id']}: {error}") from error
    blend = Blend(**{**told["blend"], "channels": tuple(told["blend"]["channels"])})
    seed = Seed(
        id=told["id"],
        blueprint=told["blueprint"],
        checksum=told["checksum"],
        slot=slot.name,
        kernel=kernel,
        content=content,
        blend=blend,
        ramp=Ramp(**told["ramp"]),
        attach_order=told["attach_order"],
        order=told["order"],
        stage=Stage(told["stage"]),
        paused=told["paused"],
        tuned=told["tuned"],
        steps=told["steps"],
        age=told["age"],
        before=None if told["before"] is None else Before(**told["before"]),
    )
    seed.restore(_matching(seed, told["weights"]))
    return seed


def _matching(seed: Seed, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = {name: tuple(value.shape) for name, value in seed.weights().items()}
    if {name: tuple(value.shape) for name, value in weights.items()} != own:
        raise CheckpointError(f"seed {seed.id}: the weights are of another kernel")
    return dict(weights)
