"""What the held-out data say of the model, and of each seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.inspect import resting
from weatherlight._graft.randomness import PrivateRandom
from weatherlight._graft.seed import Seed
from weatherlight._graft.slot import Board, Route
from weatherlight._wire.reports import MAX_COUNT
from weatherlight.errors import WeatherlightError

Evaluate = Callable[[Any], Any]
_NAMES = ("loss", "accuracy")


@dataclass(frozen=True)
class Measured:
    """What one evaluation said: a mean of each measure, and its examples where told."""

    means: Mapping[str, float]
    examples: Mapping[str, Tensor]


def read(result: Any) -> Measured:
    """Reads what evaluate returned.

    Raises:
        WeatherlightError: it is nothing that can be reported.
    """
    if not isinstance(result, Mapping):
        result = {"loss": result}
    means, examples = {}, {}
    for name in _NAMES:
        value = result.get(name)
        if value is None:
            continue
        if isinstance(value, list | tuple):
            value = torch.as_tensor(value)
        if isinstance(value, Tensor) and value.numel() > 1:
            examples[name] = value.detach().to("cpu", torch.float64).flatten()
            means[name] = float(examples[name].mean())
        else:
            means[name] = float(value)
    if "loss" not in means:
        raise WeatherlightError('evaluate(model) must return a loss, or {"loss": …}')
    if not 0 <= means.get("accuracy", 0.0) <= 1:
        raise WeatherlightError("accuracy is a share from 0 to 1, not a percentage")
    return Measured(means, examples)


class Judge:
    """Evaluates the model as it is, and without and with each seed, on the same examples."""

    def __init__(self, board: Board, evaluate: Evaluate, random: PrivateRandom) -> None:
        self._board, self._evaluate, self._random = board, evaluate, random
        self._known: dict[tuple[tuple[str, float], ...], Measured] = {}

    def whole(self, seeds: Sequence[Seed]) -> Measured:
        """The model as it is, seeds with their present share."""
        return self._measure(Route(), seeds)

    def compare(self, seed: Seed, seeds: Sequence[Seed]) -> dict[str, float]:
        """The evidence metrics of one seed."""
        before = self._measure(Route(without=seed), seeds)
        after = self._measure(Route(full=seed), seeds)
        told: dict[str, float] = {}
        for name in _NAMES:
            if name not in before.means or name not in after.means:
                continue
            told[f"{name}_before"] = before.means[name]
            told[f"{name}_after"] = after.means[name]
            pair = before.examples.get(name), after.examples.get(name)
            if pair[0] is not None and pair[1] is not None and pair[0].shape == pair[1].shape:
                told[f"{name}_error"] = paired_error(pair[0], pair[1])
                told["held_out"] = float(min(pair[0].numel(), MAX_COUNT))
        return told

    def _measure(self, route: Route, seeds: Sequence[Seed]) -> Measured:
        """One evaluation, unless one of the same shares was made."""
        shares = tuple((seed.id, route.share(seed)) for seed in seeds if route.share(seed) > 0)
        if shares not in self._known:
            self._known[shares] = self._run(route)
        return self._known[shares]

    def _run(self, route: Route) -> Measured:
        model = self._board.model
        self._board.route = route
        try:
            # The same random numbers each time: a loader that shuffles does so alike.
            with resting(model), torch.no_grad(), self._random.repeated():
                modes = _modes(model)
                try:
                    result = self._evaluate(model)
                finally:
                    for module, mode in modes:
                        module.training = mode
        finally:
            self._board.route = None
        return read(result)


def _modes(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    return [(module, module.training) for module in model.modules()]


def paired_error(before: Tensor, after: Tensor) -> float:
    """The standard error of the mean of the paired differences."""
    difference = after - before
    return float(difference.std(unbiased=True)) / math.sqrt(difference.numel())
