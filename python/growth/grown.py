"""Runs that grow, through a service and its bus."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import weatherlight
from growth.runs import Result, Training, host_of, weights_of
from growth.tasks import Task, judged, loss_of
from weatherlight._graft.inspect import Survey
from weatherlight.kernels import load
from weatherlight.local import LocalService

REPORTS = 150  # in a budget
TRIAL_STEPS = 20  # between two reports while a seed is on trial
GROWS_UNTIL = 0.4  # share of the budget: what comes later cannot pay any more
_ANSWER_SECONDS = 60.0
_COMMAND_SECONDS = 0.5  # that a command may take to become an order


class Growing:
    """A training that grows."""

    def __init__(self, task: Task, kind: str, seed: int, service: LocalService) -> None:
        self.service = service
        self.training = Training(task, kind, seed, host_of(task, seed))
        self.result = self.training.result
        held = task.data().held
        self.evaluate = lambda model: judged(model, held)
        self.next_report = 1 / REPORTS
        self.reports = 0
        self.before_report: Callable[[], None] = lambda: None
        self.growth = weatherlight.grow(
            self.training.model,
            at=task.slots,
            sample=task.sample(),
            loss=loss_of,
            optimizer=self.training.optimizer,
            run=f"{task.name}-{kind}-{seed}-{random.randrange(1 << 32):08x}",  # noqa: S311
            bus=service.url,
            secret=service.secret,
        )
        self.training.after_step = self.growth.step
        self.training.rests = lambda: self.growth.on_trial
        self.trial_steps = 0
        self.closed = False
        self.training.kind_of_step = self.standing
        self.training.after_steps = self.reported
        self.seen: dict[str, dict[str, Any]] = {}

    def standing(self) -> tuple[Any, ...]:
        """What a step costs goes by what is grafted, and by whether the host rests.

        The first one tries the slots besides.
        """
        if self.result.steps == 0:
            return ("first",)
        seeds = self.growth._graft.seeds
        stages = ((seed.id, seed.stage, seed.paused, seed.optimizer is None) for seed in seeds)
        return (self.closed, self.growth.on_trial, *stages)

    def reported(self) -> None:
        """Reports when it is time, and waits for the answer: these steps are far too quick."""
        if self.training.share >= GROWS_UNTIL:
            self.closed = True
            self.growth.close()
            return
        self.trial_steps += self.growth.on_trial
        if self.training.share < self.next_report and self.trial_steps < TRIAL_STEPS:
            return
        self.trial_steps = 0
        self.before_report()
        self.training.meter.run(
            ("report", *self.standing()), lambda: self.growth.report(self.evaluate)
        )
        self.next_report = self.training.share + 1 / REPORTS
        self.reports += 1
        self._await_answer()
        self._look()

    def _await_answer(self) -> None:
        """Until the service has decided on the last report, and its orders have come.

        A training takes minutes where this one takes seconds: it would be over before a
        kernel is made.
        """
        began = time.monotonic()
        while time.monotonic() - began < _ANSWER_SECONDS:
            told = self.record()
            if self._decided(told, time.monotonic() - began):
                break
            time.sleep(0.004)
        else:
            raise RuntimeError(f"the service does not answer: {self.record()}")
        self._await_orders(told["kasmina"]["last_order"])

    def _decided(self, told: dict[str, Any], waited: float) -> bool:
        kasmina, tamiyo = told.get("kasmina"), told.get("tamiyo")
        number = self.growth._number
        if not kasmina or not tamiyo:
            return False
        if kasmina["trainer"]["report"] < number or tamiyo["report"] < number:
            return False
        if any(seed.get("waiting") for seed in kasmina["seeds"]):
            return False  # for its kernel
        asked = any(
            seed.get("pending", {}).get("since") == tamiyo["evaluated"]
            for seed in tamiyo.get("seeds", [])
        )
        ordered = kasmina["last_order"] > self.growth._link.inbox.order_read
        return ordered or not asked or waited > _COMMAND_SECONDS

    def _await_orders(self, last: int) -> None:
        inbox = self.growth._link.inbox
        if inbox.order_read >= last and not inbox._wanted:
            return
        until = time.monotonic() + _ANSWER_SECONDS
        while inbox.order_read < last or not inbox.ready:
            if time.monotonic() > until:
                raise RuntimeError(f"order {last} does not come")
            time.sleep(0.002)

    def record(self) -> dict[str, Any]:
        """What the service knows of the run."""
        url = f"http://{self.service.http}/runs/{self.growth.run}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                told: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return told

    def _look(self) -> None:
        for seed in self.growth.seeds:
            told = self.seen.setdefault(
                seed.id, {"slot": seed.slot, "blueprint": seed.blueprint, "weights": seed.weights}
            )
            told.setdefault(seed.stage, round(self.training.share, 4))
            if seed.tuned:
                told.setdefault("tuned", round(self.training.share, 4))

    def run(self, kernels: Path | None = None) -> Result:
        """Trains until the budget is spent."""
        self.training.run()
        grown = [seed for seed in self.growth._graft.seeds if seed.kept]
        self.result.weights = weights_of(self.training.model) + sum(
            parameter.numel() for seed in grown for parameter in seed.parameters()
        )
        self.result.seeds = list(self.seen.values())
        result = self.training.end()
        self.growth.close()
        if kernels is not None:
            kernels.mkdir(parents=True, exist_ok=True)
            for at, seed in enumerate(grown):  # slot by slot, one behind the other
                (kernels / f"{at}.{seed.slot}.onnx").write_bytes(seed.content)
        return result


class Final(nn.Module):
    """A host with kernels behind its layers, from the start."""

    def __init__(self, task: Task, seed: int, kernels: Path) -> None:
        super().__init__()
        self.host = host_of(task, seed)
        self.kernels = nn.ModuleList()
        shapes = slot_shapes(task, self.host)
        for path in sorted(kernels.glob("*.onnx")):
            name = path.name.split(".")[1]
            kernel = load(path.read_bytes(), slot=shapes[name])
            self.kernels.append(kernel)
            self.host.get_submodule(name).register_forward_hook(_behind(kernel))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of the classes."""
        out: Tensor = self.host(inputs)
        return out


def _behind(kernel: nn.Module) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Any:  # noqa: ARG001
        return kernel(output)

    return hook


def slot_shapes(task: Task, host: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes at a task's slots."""
    survey = Survey(host, {name: host.get_submodule(name) for name in task.slots}, task.sample())
    return survey.shapes()


def from_start(task: Task, seed: int, kernels: Path) -> Result:
    """The architecture that grew, trained from the start."""
    training = Training(task, "final", seed, Final(task, seed, kernels))
    training.run()
    training.result.weights = weights_of(training.model)
    return training.end()
