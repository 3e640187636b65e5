"""Slots: the places behind layers of the host where seeds grow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.seed import Seed, joined
from weatherlight._wire.blend import Blend
from weatherlight.kernels import KernelError


@dataclass(eq=False)
class Route:
    """The way that one pass takes through the seeds."""

    full: Seed | None = None  # in at a share of 1
    without: Seed | None = None  # left out
    learner: Seed | None = None  # whose parameters this pass is for
    probed: Slot | None = None  # of which is asked whether the loss has a gradient by it
    opened: Slot | None = None  # by whose output a gradient is asked for, through all seeds
    entries: list[Tensor] = field(default_factory=list)  # by which gradients are asked for
    reached: bool = False  # the learner took part

    def share(self, seed: Seed) -> float:
        """The share of a seed on this way."""
        if seed is self.without:
            return 0.0
        return 1.0 if seed is self.full else seed.share


class Board:
    """What all slots of one model look at: the model, and the way of the present pass."""

    def __init__(self, model: nn.Module, host_trains: bool = True) -> None:
        self.model = model
        self.host_trains = host_trains  # by its own loss, without the seeds on trial
        self.route: Route | None = None


class Slot:
    """A forward hook with seeds, one behind the other in the order of their attachment."""

    def __init__(self, name: str, module: nn.Module, shape: tuple[int, ...], board: Board) -> None:
        self.name, self.shape = name, shape
        self.device = torch.device("cpu")  # of what the layer made last
        self.seeds: list[Seed] = []
        self._board, self._module = board, module
        self._handle = module.register_forward_hook(self)

    def close(self) -> None:
        """Takes the hook off; what was kept stays behind the layer."""
        self._handle.remove()
        if any(seed.kept for seed in self.seeds):
            self._module.register_forward_hook(self.kept())

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG002
        """What the model sees at the slot; None leaves the output as it is."""
        return self._output(output)

    def _output(self, output: Any) -> Any:
        first = output[0] if type(output) is tuple and output else output
        if isinstance(first, Tensor):
            self.device = first.device
        if not self.seeds and self._board.route is None:
            return None
        return first_replaced(output, self.through)

    # A compiled model asks for what is there now: this is no part of a graph.
    _output._torchdynamo_disable = True  # type: ignore[attr-defined]

    def through(self, host: Tensor) -> Tensor:
        """Takes the host's output along the route of this pass."""
        route = self._board.route
        if route is not None:
            return self._routed(host, route)
        running = host
        training = self._board.model.training
        for seed in self.seeds:
            if seed.kept:
                running = self._kept(seed, running, training and seed.learns)
            elif not training or not self._board.host_trains:
                running = self._blended(seed, seed.share, running)
        return running

    def _kept(self, seed: Seed, running: Tensor, training: bool) -> Tensor:
        """A seed that is a layer; it takes no part in a pass of another shape."""
        if tuple(running.shape[1:]) == self.shape:
            return seed.join(1.0, running, training)
        seed.meters.failed(f"the slot has {tuple(running.shape[1:])}, not {self.shape}")
        return running

    def _blended(self, seed: Seed, share: float, running: Tensor) -> Tensor:
        """A seed on trial in a pass that is not its own: no gradient flows through it."""
        if share <= 0:
            return running
        with torch.no_grad():
            mixed = self._join(seed, share, running.detach(), False)
        if mixed is None:
            return running
        # A loss right behind the slot must have something to run backward to.
        return mixed.requires_grad_() if torch.is_grad_enabled() else mixed

    def _routed(self, host: Tensor, route: Route) -> Tensor:
        running = host
        if self in (route.probed, route.opened):
            torch.set_grad_enabled(True)
            running = host.detach().requires_grad_(True)
            route.entries.append(running)
        if route.probed is self:
            return running
        if route.learner is not None and route.learner in self.seeds:
            torch.set_grad_enabled(True)  # the layers in front have no need of it
        for seed in self.seeds:
            share = route.share(seed)
            if share <= 0:
                continue
            if seed is route.learner:
                running = self._learning(seed, share, running, route)
            elif seed.kept:
                running = self._kept(seed, running, False)
            else:
                # Open: the gradient of the learner flows through it, and nothing else is asked for.
                mixed = self._join(seed, share, running, False)
                running = running if mixed is None else mixed
            if seed is route.learner and seed is route.full:
                break  # in isolation: without the seeds behind it
        return running

    def _learning(self, seed: Seed, share: float, running: Tensor, route: Route) -> Tensor:
        """The blend of a seed that learns, measured where the host enters it."""
        entry = running.detach().requires_grad_(True)
        mixed = self._join(seed, share, entry.detach(), True)
        if mixed is None:
            return running.detach()
        route.entries.append(entry)
        route.reached = True
        return mixed

    def _join(self, seed: Seed, share: float, base: Tensor, training: bool) -> Tensor | None:
        """The blend, or None when the seed fails: it is left out of this pass."""
        try:
            if tuple(base.shape[1:]) != self.shape:
                raise ValueError(f"the slot has {tuple(base.shape[1:])}, not {self.shape}")
            return seed.join(share, base, training)
        except (RuntimeError, ValueError, TypeError, IndexError, KernelError) as error:
            if bool(torch.isfinite(base).all()):  # otherwise the fault is the host's
                seed.meters.failed(str(error))
            return None

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        """A copy of the model, as for an average of weights, has the kept seeds as they are."""
        return copy.deepcopy(self.kept(), memo)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled model has the kept seeds as they are."""
        return Kept, (self.kept().layers, self.shape)

    def kept(self) -> Kept:
        """The kept seeds as layers and no more."""
        layers = [(seed.blend, seed.kernel) for seed in self.seeds if seed.kept]
        return Kept(layers, self.shape)


class Kept:
    """A forward hook of seeds that are layers of the network and no more."""

    def __init__(self, layers: list[tuple[Blend, nn.Module]], shape: tuple[int, ...]) -> None:
        self.layers, self._shape = layers, shape

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG002
        """What the model sees behind the layer."""
        return first_replaced(output, self._through) if self.layers else None

    def _through(self, running: Tensor) -> Tensor:
        if tuple(running.shape[1:]) != self._shape:
            return running
        for blend, kernel in self.layers:
            running = joined(kernel, blend, 1.0, running)
        return running


def first_replaced(output: Any, through: Callable[[Tensor], Tensor]) -> Any:
    """A layer's output with its tensor, or the first one of several, replaced."""
    if isinstance(output, Tensor):
        return through(output)
    if type(output) is tuple and output and isinstance(output[0], Tensor):
        return (through(output[0]), *output[1:])
    return None
