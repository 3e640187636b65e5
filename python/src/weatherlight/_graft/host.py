"""The host: its weights, the user's optimizer and scheduler."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.seed import Before, Seed


class Host:
    """The model with the optimizer and the scheduler that the user trains it with."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scheduler: Any,
        *,
        joins: bool = True,
        rollback: bool = True,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self._joins, self._remembers = joins, rollback

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def shared(self, seed: Seed) -> int:
        """How many parameters a seed has in common with the host."""
        own = {parameter.data_ptr() for parameter in seed.kernel.parameters()}
        return sum(p.data_ptr() in own for p in self.model.parameters() if p.numel())

    # Going back.

    def clear_gradients(self) -> None:
        """Forgets the gradients of the last step: optimizers pass over what has none."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def snapshot(self, moment: int, host_steps: int, seeds: Iterable[Seed]) -> Before:
        """The model and its optimizer as they are, kept seeds included, in main memory."""
        before = Before(moment, host_steps)
        if not self._remembers:
            return before
        before.model = {name: _stored(value) for name, value in self.tensors().items()}
        kept = [seed for seed in seeds if seed.kept]
        before.kept = {
            seed.id: {name: _stored(value) for name, value in seed.weights().items()}
            for seed in kept
        }
        if self.optimizer is not None:
            before.optimizer = {
                name: {key: _stored(value) for key, value in self.optimizer.state[p].items()}
                for name, p in self._named(kept).items()
                if p in self.optimizer.state
            }
        return before

    def restore(self, before: Before, seeds: Iterable[Seed]) -> None:
        """Puts everything back, bit by bit.

        What a scheduler sets, learning rates above all, stays: it goes with the time.
        """
        if before.model is None:
            return
        tensors = self.tensors()
        with torch.no_grad():
            for name, value in before.model.items():
                tensors[name].copy_(value)
        kept = [seed for seed in seeds if seed.id in before.kept]
        for seed in kept:
            seed.restore(before.kept[seed.id])
        if self.optimizer is None or before.optimizer is None:
            return
        for name, parameter in self._named(kept).items():
            had = before.optimizer.get(name)
            if had is None:
                self.optimizer.state.pop(parameter, None)
            else:
                self.optimizer.state[parameter] = _revived(
                    had, self.optimizer.state.get(parameter, {}), parameter
                )

    def _named(self, kept: Iterable[Seed]) -> dict[str, nn.Parameter]:
        named = {"host." + name: p for name, p in self.model.named_parameters()}
        for seed in kept:
            for name, parameter in seed.kernel.named_parameters():
                named[f"seed.{seed.id}.{name}"] = parameter
        return named

    # What was kept trains along.

    def adopt(self, seed: Seed) -> None:
        """Has the user's optimizer and scheduler train a kept seed's parameters."""
        optimizer = self.optimizer
        if optimizer is None or not self._joins or not seed.parameters():
            return
        first = optimizer.param_groups[0]
        group = {key: copy.deepcopy(value) for key, value in first.items() if key != "params"}
        group["params"] = seed.parameters()
        group["weatherlight"] = seed.id
        if "param_names" in group:  # of newer optimizers that were given names
            group["param_names"] = [
                f"seed.{seed.id}.{n}" for n, _ in seed.kernel.named_parameters()
            ]
        groups = len(optimizer.param_groups)
        optimizer.add_param_group(group)
        if seed.optimizer is not None and _alike(seed.optimizer, optimizer):
            # Without its moments Adam would begin with steps of the full rate.
            for parameter, state in seed.optimizer.state.items():
                optimizer.state[parameter] = _revived(state, {}, parameter)
        for scheduler in _schedulers(self.scheduler):
            for values in _lists_of_groups(scheduler, groups):
                values.append(copy.copy(values[0]))

    def disown(self, seed: Seed) -> None:
        """Takes a seed's parameters away from the user's optimizer and scheduler."""
        if self.optimizer is None:
            return
        groups = self.optimizer.param_groups
        for parameter in seed.parameters():
            self.optimizer.state.pop(parameter, None)
        for at in reversed(range(len(groups))):
            if groups[at].get("weatherlight") != seed.id:
                continue
            for scheduler in _schedulers(self.scheduler):
                for values in _lists_of_groups(scheduler, len(groups)):
                    del values[at]
            del groups[at]

    def owns(self, seed: Seed) -> bool:
        """Whether the user's optimizer trains a seed."""
        return self.optimizer is not None and any(
            group.get("weatherlight") == seed.id for group in self.optimizer.param_groups
        )

    def set_hyperparameters(self, parameters: Mapping[str, float]) -> str:
        """Carries out an optimizer order; it returns what was wrong with it."""
        if self.optimizer is None:
            return "there is no optimizer to set"
        wanted = {"lr" if n == "learning_rate" else n: v for n, v in parameters.items()}
        for name, value in wanted.items():
            for group in self.optimizer.param_groups:
                if type(group.get(name)) is not float or not math.isfinite(value) or value < 0:
                    return f"{name[:40]!r} cannot be set to {value}"
        for group in self.optimizer.param_groups:
            group.update(wanted)
        return ""


def _alike(one: torch.optim.Optimizer, other: torch.optim.Optimizer) -> bool:
    """Whether two optimizers keep the same state of a parameter."""
    kinds = (torch.optim.Adam, torch.optim.AdamW)
    groups = [*one.param_groups, *other.param_groups]
    plain = not any(g.get("amsgrad") or g.get("capturable") or g.get("fused") for g in groups)
    return type(one) in kinds and type(other) in kinds and plain


def _schedulers(scheduler: Any) -> list[Any]:
    """A scheduler, and those that it is made of."""
    if scheduler is None:
        return []
    if isinstance(scheduler, list | tuple):
        return [one for each in scheduler for one in _schedulers(each)]
    return [scheduler, *_schedulers(getattr(scheduler, "_schedulers", None))]


def _lists_of_groups(scheduler: Any, groups: int) -> list[list[Any]]:
    """The lists in a scheduler that have one entry for each group of parameters."""
    names = ("base_lrs", "_last_lr", "lr_lambdas", "min_lrs", "max_lrs", "base_momentums")
    lists = [getattr(scheduler, name, None) for name in (*names, "max_momentums")]
    found = {id(values): values for values in lists if isinstance(values, list)}
    return [values for values in found.values() if len(values) == groups]


def _stored(value: Any) -> Any:
    """A copy in main memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    return copy.deepcopy(value)


def _revived(had: Mapping[str, Any], now: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """A stored state of an optimizer on the devices where it belongs."""
    state = {}
    for key, value in had.items():
        if not isinstance(value, Tensor):
            state[key] = copy.deepcopy(value)
            continue
        present = now.get(key)
        if isinstance(present, Tensor):
            device = present.device
        else:  # counters of steps stay in main memory, as optimizers have them
            device = value.device if value.dim() == 0 else parameter.device
        state[key] = value.to(device, copy=True)
    return state
