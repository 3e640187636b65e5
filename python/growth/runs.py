"""One run: a host, a budget of multiply-adds, and what becomes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from growth.compute import Meter
from growth.tasks import Pair, Task, judged, loss_of

POINTS = 12  # of a curve
LOOKED_AT = 2000  # test examples for a point of it
REST = 0.02  # share of the largest rate that is left at the end

Step = Callable[[Pair], None]


@dataclass
class Result:
    """What a run came to."""

    task: str
    kind: str
    seed: int
    accuracy: float = 0.0  # of the test examples, in percent
    loss: float = 0.0
    spent: int = 0  # multiply-adds
    budget: int = 0
    steps: int = 0
    weights: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)  # share of the budget, accuracy
    seeds: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


def weights_of(model: nn.Module) -> int:
    """How many weights train."""
    return sum(parameter.numel() for parameter in model.parameters())


def step_cost(task: Task, model: nn.Module) -> int:
    """Multiply-adds of one training step."""
    meter = Meter()
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    meter.run("step", lambda: loss_of(model, batch).backward())
    model.zero_grad()
    return meter.spent


def budget_of(task: Task) -> int:
    """What every run of a task may spend."""
    steps = task.epochs * (len(task.data().train[0]) // task.batch)
    return steps * step_cost(task, task.host(1.0))


def rate_at(task: Task, share: float) -> float:
    """The learning rate by the share of the budget that is spent: half a cosine."""
    falling = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return task.rate * (REST + (1 - REST) * falling)


def width_of(task: Task, weights: int) -> float:
    """The width at which a host has as many weights as that, as nearly as can be."""
    widths = [at / 100 for at in range(50, 2001)]
    low, high = 0, len(widths) - 1
    while low < high:
        middle = (low + high) // 2
        if weights_of(task.host(widths[middle])) < weights:
            low = middle + 1
        else:
            high = middle
    near = [widths[max(low - 1, 0)], widths[low]]
    return min(near, key=lambda width: abs(weights_of(task.host(width)) - weights))


class Training:
    """The loop that all runs share: batches, rate and budget are the same for each."""

    def __init__(self, task: Task, kind: str, seed: int, model: nn.Module) -> None:
        self.task, self.model = task, model
        self.meter = Meter()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
        self.result = Result(task.name, kind, seed, budget=budget_of(task))
        self.kind_of_step: Callable[[], Any] = lambda: "step"
        self.rests: Callable[[], bool] = lambda: False
        self.after_step: Step = lambda batch: None  # noqa: ARG005
        self.after_steps: Callable[[], None] = lambda: None
        self._began = time.monotonic()

    @property
    def share(self) -> float:
        """How much of the budget is spent."""
        return self.meter.spent / self.result.budget

    def run(self) -> Result:
        """Trains until the budget is spent."""
        batches = self.task.batches(torch.Generator().manual_seed(self.result.seed))
        while self.share < 1:
            batch = next(batches)
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at(self.task, self.share)
            self.meter.run(self.kind_of_step(), partial(self._step, batch))
            self.result.steps += 1
            self.after_steps()
            if self.share * POINTS >= len(self.result.curve) + 1:
                self._point()
        return self.result

    def end(self) -> Result:
        """The last measures."""
        result = self.result
        result.accuracy, result.loss = self._tested()
        if len(result.curve) < POINTS:
            self._point()
        result.spent = self.meter.spent
        result.seconds = round(time.monotonic() - self._began, 1)
        return result

    def _step(self, batch: Pair) -> None:
        if not self.rests():
            self.optimizer.zero_grad()
            loss_of(self.model, batch).backward()
            self.optimizer.step()
        self.after_step(batch)

    def _point(self) -> None:
        self.result.curve.append((round(self.share, 4), round(self._tested(LOOKED_AT)[0], 3)))

    def _tested(self, most: int | None = None) -> tuple[float, float]:
        """Accuracy and loss on the test examples; looking costs nothing."""
        inputs, labels = self.task.data().test
        step = max(1, len(inputs) // most) if most else 1
        self.model.eval()
        with torch.no_grad():
            told = judged(self.model, (inputs[::step], labels[::step]))
        self.model.train()
        return float(told["accuracy"].mean()) * 100, float(told["loss"].mean())


def host_of(task: Task, seed: int, width: float = 1.0) -> nn.Module:
    """A host with the weights of a seed."""
    torch.manual_seed(seed)
    return task.host(width)


def plain(task: Task, kind: str, seed: int, width: float = 1.0) -> Result:
    """A host that does not grow."""
    training = Training(task, kind, seed, host_of(task, seed, width))
    training.run()
    training.result.weights = weights_of(training.model)
    return training.end()
