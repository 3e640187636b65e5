"""Growing a network: what a training loop sees of the package."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from weatherlight._bus.link import Link
from weatherlight._bus.outbox import Outgoing
from weatherlight._graft import checkpoint, export
from weatherlight._graft.evidence import Evaluate, Judge, Measured
from weatherlight._graft.graft import Graft
from weatherlight._graft.inspect import device_of
from weatherlight._graft.learner import Learner, any_of, norm_of
from weatherlight._graft.randomness import PrivateRandom
from weatherlight._graft.seed import Seed
from weatherlight._graft.slot import Board
from weatherlight._graft.together import Together
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.emergencies import emergency
from weatherlight._wire.reports import MAX_COUNT, Report
from weatherlight.errors import CheckpointError

log = logging.getLogger("weatherlight")

# After so many reports and so long without an order, the log says what may be wrong.
_SILENT_REPORTS, _SILENT_SECONDS = 30, 60.0
_CLOSE_SECONDS = 2.0
_TOGETHER_STEPS = 8  # between two looks of several processes at what has arrived


@dataclass(frozen=True)
class SeedView:
    """One grafted seed as it is, for people.

    Attributes:
        id: Its name on the bus.
        slot: The layer that it grows behind.
        blueprint: What it was made from, such as `BP018`.
        stage: TRAINING, BLENDING, SHADOWING, PROBATIONARY or FOSSILIZED.
        share: Its share in the output now, 0 to 1.
        paused: Whether it is out of the output for a while.
        tuned: Whether it is kept and trains along.
        weights: The number of its weights.
        module: The seed itself.
    """

    id: str
    slot: str
    blueprint: str
    stage: str
    share: float
    paused: bool
    tuned: bool
    weights: int
    module: nn.Module


class Growth:
    """A network that grows. `weatherlight.grow` makes it.

    All of its methods belong to the thread of the training loop.
    """

    def __init__(
        self,
        board: Board,
        graft: Graft,
        link: Link,
        learner: Learner,
        *,
        run: str,
        run_given: bool,
        trainer_id: str,
        host_layers: Sequence[str],
        host_work: int,
        experiment: str,
        sample: Any,
        random: PrivateRandom,
        together: Together | None,
        on_close: Callable[[], None],
    ) -> None:
        self._board, self._graft, self._link, self._learner = board, graft, link, learner
        self._ready = link.inbox.ready  # looked at in each step
        self._run, self._trainer_id, self._resumes = run, trainer_id, ""
        self._run_given = run_given
        self._host_layers, self._experiment, self._sample = host_layers, experiment, sample
        self._host_work = host_work
        self._random, self._together, self._on_close = random, together, on_close
        self._seeds: list[Seed] = []
        self._steps = 0
        self._epoch = 0
        self._number = 0
        self._began = time.monotonic()
        self._told_silence = False
        self._started = False
        self._met = False  # with the other processes, to look at what has arrived
        self._probed = False
        self._closed = False
        self._told_fork = False

    # The two lines of the loop.

    def step(self, batch: Any) -> None:
        """One optimizer step has passed: seeds learn from the batch, and ramps advance.

        Call it behind `optimizer.step()`. Nothing in it waits; without a seed it does
        nothing but count.

        Args:
            batch: What the loss that `grow` was given takes.
        """
        self._steps += 1
        if self._together is not None:
            # Whether it has started is a matter of each process; this must be one of all.
            if self._steps % _TOGETHER_STEPS == 1 or not self._met:
                self._take_up()
        elif self._ready or not self._started:
            self._take_up()
        if not self._probed:
            self._probe(batch)
        if self._link.crash is not None:
            self._link.tell_crash()
        if self._seeds and not self._closed:
            self._train(batch)

    def report(
        self,
        evaluate: Evaluate | None = None,
        *,
        training_loss: float | None = None,
        epoch: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Measures the model and its seeds, and tells the service. Once an epoch.

        Args:
            evaluate: Takes the model and returns its loss on held-out data, or a mapping
                with `loss` and, where there is one, `accuracy` (0 to 1). Return one value
                for each example (a tensor) rather than means: what a seed gains is then
                measured by pairs, which needs far fewer reports to tell it from chance.
                It is called without gradients, in evaluation mode, for the model as it is
                and for each seed on trial without and with it, and must see the same
                examples each time. None: nothing is measured in this report.
            training_loss: Mean of the host's own loss since the last report, for observers.
            epoch: A count that rises from report to report [counted].
            metrics: More for observers.

        Returns:
            The means for the model as it is.
        """
        self._take_up(hello=False)
        self._link.tell_crash()
        if self._closed or not self._link.here:
            return {}
        measured, evidence = self._measure(evaluate)
        self._epoch = self._epoch + 1 if epoch is None else epoch
        self._send(measured, evidence, training_loss, metrics or {})
        return dict(measured.means)

    def raise_emergency(self, level: int, reason: str) -> None:
        """Raises an emergency of this run, which the service acts on and tells of.

        It leaves in the background, as soon as the bus can be reached, and before any
        report; nothing waits for it. The order that the service makes of it comes to every
        trainer of the run, this one included: `halted` and `emergency` change by that.

        Args:
            level: 1 NOTICE and 2 ELEVATED are told of, 3 CONSERVATIVE pauses the seeds that
                are not kept, 4 HALT also stops the training. A command of an operator takes
                it back, and no milder emergency does.
            reason: Why, for people.

        Raises:
            ConfigError: there is no such level.
        """
        signal = emergency(level, reason, self._run, self._trainer_id)
        if mute := self._mute():
            log.warning("nobody is told of the emergency, for %s: %s", mute, reason)
            return
        self._start()
        self._link.outbox.alarm(signal)

    # What people and loops may ask.

    @property
    def halted(self) -> bool:
        """Whether an emergency told the training loop to stop, for as long as it holds."""
        return self._graft.halted

    @property
    def emergency(self) -> int:
        """The level of the last emergency; 0 when there was none."""
        return self._graft.level

    @property
    def seeds(self) -> tuple[SeedView, ...]:
        """The grafted seeds, slot by slot."""
        return tuple(map(_view, self._graft.seeds))

    @property
    def on_trial(self) -> bool:
        """Whether a seed learns or is judged, and is neither kept nor paused.

        A host that trains on meanwhile is another one in each report: its seed runs after
        it, and many that would have helped are dropped. A loop that leaves its own
        training step out while this holds, and calls `step` alone, has better seeds and
        saves the step.
        """
        if self._closed:
            return False
        return any(not seed.kept and not seed.paused for seed in self._seeds)

    @property
    def run(self) -> str:
        """The name of the run, under which the service knows it."""
        return self._run

    @property
    def slots(self) -> dict[str, tuple[int, ...]]:
        """The slots, each with the shape of one example there."""
        return {name: slot.shape for name, slot in self._graft.slots.items()}

    @property
    def dropped(self) -> dict[str, int]:
        """How many orders were dropped, by reason."""
        return dict(self._link.inbox.drops.counts)

    def __repr__(self) -> str:
        stages = ", ".join(f"{seed.id}: {seed.stage.name}" for seed in self._graft.seeds)
        return f"<Growth run={self._run!r} slots={list(self._graft.slots)} seeds=[{stages}]>"

    def __enter__(self) -> Growth:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The end, and the way back.

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Ends growth. The model stays as it was, plus what was kept.

        Args:
            timeout: Seconds that the last report and emergencies have to leave. The log names
                the emergencies that did not.
        """
        if self._closed:
            return
        self._closed = True
        self._link.close(timeout)
        for slot in self._graft.slots.values():
            slot.close()
        if self._link.here:
            self._on_close()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the host and its kept seeds as one ONNX file."""
        export.save(path, self._board, self._graft.seeds, self._sample)

    def state_dict(self) -> dict[str, Any]:
        """All seeds with their weights and optimizers, and how far the run is.

        Put it into your checkpoint beside the model's and the optimizer's. It holds
        tensors, numbers and texts: `torch.load(..., weights_only=True)` reads it.
        """
        if self._started and self._together is None:  # one process may ask alone
            self._take_up()
        return {
            "version": checkpoint.VERSION,
            "run": self._run,
            "trainer_id": self._trainer_id,
            "order_read": self._link.inbox.order_read,
            "run_order": self._graft.run_order,
            "moment": self._graft.moment,
            "host_steps": self._graft.host_steps,
            "steps": self._steps,
            "epoch": self._epoch,
            "seeds": [checkpoint.written(seed) for seed in self._graft.seeds],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint of the same run: right behind `grow`.

        Load the model's state before it, and the optimizer's after it: the parameters of
        seeds that train along join the optimizer here. Write a checkpoint soon after:
        the one that was loaded resumes a run once.

        Raises:
            CheckpointError: the state does not fit, or reports have left.
        """
        if self._started or self._seeds:
            raise CheckpointError("load_state_dict comes before the first step and report")
        if state.get("version") != checkpoint.VERSION:
            raise CheckpointError(f"a state of version {state.get('version')!r} cannot be read")
        try:
            self._load(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"the state is damaged: {error!r}") from error

    def _load(self, state: Mapping[str, Any]) -> None:
        if self._run_given and state["run"] != self._run:
            raise CheckpointError(f"the state is of run {state['run']!r}, this is {self._run!r}")
        seeds = [checkpoint.revived(told, self._graft.slots) for told in state["seeds"]]
        for seed, told in zip(seeds, state["seeds"], strict=True):
            self._graft.revive(seed, told["optimizer"])
        self._graft.run_order = state["run_order"]
        self._graft.moment, self._graft.host_steps = state["moment"], state["host_steps"]
        self._steps, self._epoch = state["steps"], state["epoch"]
        self._run = state["run"]
        self._link.inbox.resume(self._run, state["order_read"])
        self._resumes = state["trainer_id"]
        self._seeds = self._graft.seeds

    # Inside.

    def _take_up(self, hello: bool = True) -> None:
        """Lets orders that have arrived take effect; at the first call, starts."""
        if self._closed or not self._link.here:
            self._tell_fork()
            return
        self._start(hello)
        if self._together is not None:
            self._met = True
            arrived = self._together.arrivals(self._link.inbox.arrivals())
        elif self._ready:
            arrived = self._link.inbox.arrivals()
        else:
            return
        self._graft.apply(arrived)
        self._seeds = self._graft.seeds

    def _start(self, hello: bool = True) -> None:
        """Starts the background, once, and reports that this trainer is there."""
        if self._started:
            return
        self._started = True
        self._link.start()
        # Seeds of a checkpoint are not to be judged before they are measured.
        if hello and not self._seeds:
            self._send(Measured({}, {}), {}, None, {})

    def _mute(self) -> str:
        """Why nothing can be told from here; empty when it can."""
        if self._together is not None and not self._together.talks:
            return "only the first process talks: raise it there"
        if self._closed:
            return "growth is closed"
        if not self._link.here:
            return "this is a fork of the process that grows: raise it there"
        return "the background has ended by a fault" if self._link.crash is not None else ""

    def _probe(self, batch: Any) -> None:
        """Looks at the first batch whether seeds could learn, so that it is known now."""
        if self._closed or not self._link.here:
            return
        self._probed = True
        self._learner.probe(self._graft.slots.values(), batch)

    def _tell_fork(self) -> None:
        if not self._closed and not self._told_fork:
            self._told_fork = True
            log.warning("this is a fork of the process that grows: here nothing is reported")

    def _train(self, batch: Any) -> None:
        for seed in self._seeds:
            if not seed.kept:
                self._learner.align(seed, self._graft.slots[seed.slot], batch)
            if not seed.learns:
                continue
            if seed.kept:
                self._tune(seed)
            else:
                self._learner.learn(seed, batch)
        self._graft.step()

    def _tune(self, seed: Seed) -> None:
        """Measures a kept seed by the gradients of the host's step, and makes its own."""
        if self._together is not None and seed.parameters():
            self._share_gradients(seed)
        norm = norm_of([parameter.grad for parameter in seed.parameters()])
        if norm is None:
            return
        finite = bool(torch.isfinite(norm))
        if finite:
            seed.meters.stepped(None, norm)
        if seed.optimizer is not None:  # that of the user does not train it
            if finite:
                seed.optimizer.step()
            for parameter in seed.parameters():
                parameter.grad = None

    def _share_gradients(self, seed: Seed) -> None:
        """The host's gradients are shared by its wrapper, which does not know of the seed."""
        assert self._together is not None  # noqa: S101
        parameters = seed.parameters()
        found = [parameter.grad for parameter in parameters]
        gradients = self._together.mean(parameters, found if any_of(found) else None)
        for parameter, gradient in zip(parameters, gradients or [], strict=False):
            parameter.grad = gradient

    def _measure(
        self, evaluate: Evaluate | None
    ) -> tuple[Measured, Mapping[str, Mapping[str, float]]]:
        if evaluate is None:
            return Measured({}, {}), {}
        if self._together is not None:
            for seed in self._seeds:
                self._together.same(seed.kernel)
        judge = Judge(self._board, evaluate, self._random)
        measured = judge.whole(self._seeds)
        trials = [seed for seed in self._seeds if not seed.kept]
        return measured, {seed.id: judge.compare(seed, self._seeds) for seed in trials}

    def _send(
        self,
        measured: Measured,
        evidence: Mapping[str, Mapping[str, float]],
        training_loss: float | None,
        metrics: Mapping[str, float],
    ) -> None:
        self._number += 1
        packet = leyline.SystemStatePacket(
            version=1,
            current_epoch=max(self._epoch, 0),
            validation_loss=measured.means.get("loss", 0.0),
            validation_accuracy=measured.means.get("accuracy", 0.0),
            training_loss=training_loss or 0.0,
            timestamp_ns=time.time_ns(),
            packet_id=f"{self._trainer_id}-{self._number}",
            global_step=self._steps,
            source_subsystem="tolaria",
            training_run_id=self._run,
            experiment_name=self._experiment,
        )
        device = device_of(self._board.model)
        packet.hardware_context.device_type = device.type
        packet.hardware_context.device_id = str(device)
        for name, value in {**metrics, **self._told_metrics()}.items():
            packet.training_metrics[name] = value
        packet.seed_states.extend(self._state(seed, evidence) for seed in self._seeds)
        failed = self._graft.standing_failures(
            self._link.outbox.told({f.order for f in self._graft.failures.values()})
        )
        for seed_id, failure in failed.items():
            told = {"order": failure.order, "attach_failed": 1, "attach_reason": failure.reason}
            packet.seed_states.append(leyline.SeedState(seed_id=seed_id, metrics=told))
        report = Report(
            trainer_id=self._trainer_id,
            number=self._number,
            order_read=self._link.inbox.order_read,
            slots=self.slots,
            host_layers=self._host_layers,
            kernel_access=self._link.config.kernel_access,
            accepts=self._graft.accepts,
            resumes=self._resumes,
            grafts={
                seed.id: {
                    "slot": seed.slot,
                    "blueprint": seed.blueprint,
                    "checksum": seed.checksum,
                    "order": seed.attach_order,
                }
                for seed in self._seeds
            },
        )
        orders = tuple(failure.order for failure in failed.values())
        self._link.outbox.put(Outgoing(self._number, packet, report.attributes(), orders))
        self._tell_silence()

    def _told_metrics(self) -> dict[str, float]:
        """What an observer must know to read the run."""
        told = {
            "front_rests_while_blending": float(not self._board.host_trains),
            "behind_trains_while_blending": float(not self._board.host_trains),
            "host_multiply_adds": float(self._host_work),
        }
        if self._graft.run_order:
            told["order"] = float(self._graft.run_order)
        if self.halted:
            told["halted"] = 1.0
        optimizer = self._graft.host.optimizer
        if optimizer is not None and isinstance(optimizer.param_groups[0].get("lr"), float):
            told["learning_rate"] = optimizer.param_groups[0]["lr"]
        return told

    def _state(self, seed: Seed, evidence: Mapping[str, Mapping[str, float]]) -> leyline.SeedState:
        seed.age += 1
        metrics = {
            "order": float(seed.order),
            "alpha": seed.share,
            "alpha_steps": float(min(seed.steps, MAX_COUNT)),
            "paused": float(seed.paused),
            "shared_parameters": float(self._graft.host.shared(seed)),
            **seed.meters.tell(),
            **evidence.get(seed.id, {}),
        }
        rate = seed.optimizer.param_groups[0].get("lr", 0.0) if seed.optimizer else 0.0
        return leyline.SeedState(
            seed_id=seed.id,
            stage=leyline.SeedLifecycleStage.Name(int(seed.stage)),
            metrics=metrics,
            age_epochs=seed.age,
            gradient_norm=metrics.get("gradient_norm", 0.0),
            learning_rate=rate,
            layer_depth=self._depth(seed.slot),
        )

    def _depth(self, slot: str) -> int:
        return self._host_layers.index(slot) + 1 if slot in self._host_layers else 0

    def _tell_silence(self) -> None:
        inbox, outbox = self._link.inbox, self._link.outbox
        if self._told_silence or inbox.orders or not outbox.published:
            return
        long = time.monotonic() - self._began > _SILENT_SECONDS
        if long and self._number >= _SILENT_REPORTS:
            self._told_silence = True
            log.info(
                "%d reports and no order yet. While the loss falls that is as it should be; else "
                "look whether the service runs, on this Redis and with this secret, and whether "
                "its /status names this run under second_trainer: another process reports for it",
                self._number,
            )


def new_run() -> str:
    """A name for a run that was given none."""
    return f"torch-{secrets.token_hex(6)}"


def _view(seed: Seed) -> SeedView:
    return SeedView(
        id=seed.id,
        slot=seed.slot,
        blueprint=seed.blueprint,
        stage=seed.stage.name,
        share=seed.share,
        paused=seed.paused,
        tuned=seed.tuned,
        weights=sum(parameter.numel() for parameter in seed.parameters()),
        module=seed.kernel,
    )
