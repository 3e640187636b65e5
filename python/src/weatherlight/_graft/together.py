"""One training in several processes: the first one talks, and all do the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, distributed, nn

from weatherlight._bus.fetch import UNSPECIFIED, AttachError
from weatherlight._bus.inbox import Arrival, Loaded
from weatherlight._wire.blend import Blend
from weatherlight._wire.orders import Order
from weatherlight._wire.ramp import Ramp

# The collective calls of older PyTorch have no types.
_dist: Any = distributed

Load = Callable[[Order, bytes], Any]


class Together:
    """The group of processes that DistributedDataParallel trains with.

    What is decided goes over a group of its own in main memory, so that no process waits
    for a GPU; gradients and statistics go the way that those of the host go.
    """

    def __init__(self, load: Load) -> None:
        self.talks = _dist.get_rank() == 0
        self._load = load
        self._control = _dist.new_group(backend="gloo")

    def text(self, text: str) -> str:
        """The first process's text, in all of them."""
        return self._broadcast(text.encode()).decode()

    def arrivals(self, arrived: Sequence[Arrival]) -> list[Arrival]:
        """What arrived at the first process, in all of them."""
        if not self.talks:
            return self._read(self._broadcast(b""))
        kept = [arrival for arrival in arrived if not arrival.late() or arrival.failure]
        self._broadcast(_written(kept) if kept else b"")
        return kept

    def all(self, good: bool) -> bool:
        """Whether something is so in all processes."""
        told = torch.tensor([float(good)])
        _dist.all_reduce(told, _dist.ReduceOp.MIN, group=self._control)
        return bool(told)

    def mean(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None] | None
    ) -> list[Tensor] | None:
        """The mean gradients over the processes that have them; None when none has."""
        flat = torch.zeros(sum(p.numel() for p in parameters) + 1, device=parameters[0].device)
        if gradients is not None:
            flat[-1] = 1
            at = 0
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    flat[at : at + parameter.numel()] = gradient.detach().flatten()
                at += parameter.numel()
        _dist.all_reduce(flat)
        count = float(flat[-1])
        if count == 0:
            return None
        parts = torch.split(torch.div(flat[:-1], count), [p.numel() for p in parameters])
        return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]

    def same(self, module: nn.Module) -> None:
        """Gives the statistics of the first process to all."""
        for buffer in module.buffers():
            if buffer.is_floating_point():
                _dist.broadcast(buffer, 0)

    def _broadcast(self, content: bytes) -> bytes:
        size = torch.tensor([len(content)])
        _dist.broadcast(size, 0, group=self._control)
        if not int(size):
            return b""
        data = torch.empty(int(size), dtype=torch.uint8)
        if self.talks:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        _dist.broadcast(data, 0, group=self._control)
        return bytes(data.numpy().tobytes())

    def _read(self, content: bytes) -> list[Arrival]:
        if not content:
            return []
        head, _, files = content.partition(b"\n")
        arrivals = []
        for told in json.loads(head):
            order = Order(
                **{
                    **told["order"],
                    "blend": Blend(
                        **{**told["order"]["blend"], "channels": tuple(told["channels"])}
                    ),
                    "ramp": Ramp(**told["order"]["ramp"]),
                    "deadline": 0.0,
                }
            )
            file, files = files[: told["bytes"]], files[told["bytes"] :]
            arrivals.append(self._arrival(order, file, told["failure"]))
        return arrivals

    def _arrival(self, order: Order, file: bytes, failure: list[Any] | None) -> Arrival:
        read_at = time.monotonic()
        if failure is not None:
            return Arrival(order, read_at, failure=AttachError(failure[0], failure[1]))
        if not file:
            return Arrival(order, read_at)
        try:
            return Arrival(order, read_at, kernel=Loaded(file, self._load(order, file)))
        except AttachError as error:
            return Arrival(order, read_at, failure=error)

    def agreed(self, prepare: Callable[..., nn.Module], *args: Any) -> nn.Module:
        """A kernel that is ready in all processes.

        Raises:
            AttachError: it is not, in one of them.
        """
        made, failure = None, AttachError(UNSPECIFIED, "it failed in another process")
        try:
            made = prepare(*args)
        except AttachError as error:
            failure = error
        if self.all(made is not None) and made is not None:
            return made
        raise failure


def _written(arrivals: Sequence[Arrival]) -> bytes:
    """Arrivals as bytes: a line of JSON, and the kernels behind it."""
    told, files = [], b""
    for arrival in arrivals:
        file = arrival.kernel.content if arrival.kernel is not None else b""
        order = {**asdict(arrival.order), "misread": None}
        failure = arrival.failure
        told.append(
            {
                "order": order,
                "channels": list(arrival.order.blend.channels),
                "bytes": len(file),
                "failure": None if failure is None else [failure.reason, str(failure)],
            }
        )
        files += file
    return json.dumps(told).encode() + b"\n" + files
