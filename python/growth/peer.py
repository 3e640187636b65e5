"""A peer that grows by another method: GroMo, through its public API.

Its multi-layer perceptron (`GrowingMLP`) is the host of the digits, of the same widths. It
starts as large and grows neurons in its hidden layers by TINY, at fixed shares of the
budget: as many as it may, until its widths reach those of the wider host.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from growth.runs import Result, Training, weights_of
from growth.tasks import Pair, Task, loss_of

GROWTHS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)  # shares of the budget
BATCHES = 8  # that statistics are made of


def installed() -> bool:
    """Whether GroMo can be imported here."""
    try:
        importlib.import_module("gromo.containers.growing_mlp")
    except ImportError:
        return False
    return True


def gromo(task: Task, seed: int, weights: int) -> Result:
    """The digits by a perceptron that GroMo grows to about as many weights as that."""
    containers: Any = importlib.import_module("gromo.containers.growing_mlp")
    torch.manual_seed(seed)
    model: nn.Module = containers.GrowingMLP(64, 10, 32, 2, activation=nn.ReLU())
    training = Training(task, "gromo", seed, model)
    growing = _Peer(training, weights)
    training.after_steps = growing.look
    training.after_step = growing.remember
    training.run()
    training.result.weights = weights_of(model)
    return training.end()


class _Peer:
    def __init__(self, training: Training, weights: int) -> None:
        self.training, self.weights = training, weights
        self.left = list(GROWTHS)
        self.batches: list[Pair] = []

    def remember(self, batch: Pair) -> None:
        self.batches = [*self.batches[1 - BATCHES :], batch]

    def look(self) -> None:
        if self.left and self.training.share >= self.left[0]:
            self.left.pop(0)
            self.training.meter.run(("growth", len(self.left)), self._grow)
            self.training.meter.forget()
            self._adopt()

    def _grow(self) -> None:
        model: Any = self.training.model
        for layer in (1, 2):  # the inputs of which are hidden neurons
            room = (self.weights - weights_of(model)) // (2 * len(self.left) + 3 - layer)
            neurons = room // 107 if layer == 1 else room // 75
            if neurons < 1:
                continue
            model.set_growing_layers(index=layer - 1)
            model.init_computation()
            for batch in self.batches:
                model.zero_grad()
                loss_of(model, batch).backward()
                model.update_computation()
            model.compute_optimal_updates(
                maximum_added_neurons=int(neurons),
                compute_delta=False,
                statistical_threshold=1e-6,
            )
            model.reset_computation()
            model.dummy_select_update()
            self._scale(model)
            model.apply_change()

    def _scale(self, model: Any) -> None:
        """The best of some scales, on the batches that the statistics are of."""
        best, chosen = float("inf"), 0.0
        for factor in (0.1, 0.3, 1.0):
            model.set_scaling_factor(factor)
            with torch.no_grad():
                loss = sum(
                    float(nn.functional.cross_entropy(model.extended_forward(inputs), labels))
                    for inputs, labels in self.batches
                )
            if loss < best:
                best, chosen = loss, factor
        model.set_scaling_factor(chosen)

    def _adopt(self) -> None:
        """A new optimizer for the new weights; the old moments fit no longer."""
        self.training.optimizer = torch.optim.Adam(
            self.training.model.parameters(), lr=self.training.task.rate
        )
