"""What is grafted, and what orders do to it. Nothing here waits for anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from weatherlight._bus.fetch import BLEND, NO_ROOM, AttachError
from weatherlight._bus.inbox import Arrival, Drops
from weatherlight._graft.host import Host
from weatherlight._graft.seed import Seed, Stage
from weatherlight._graft.slot import Slot
from weatherlight._wire.orders import CONSERVATIVE, HALT, Order
from weatherlight._wire.reports import MAX_SEEDS

log = logging.getLogger("weatherlight")

_MAX_LATEST = 512  # seeds whose last order is remembered after they left
_MAX_FAILURES = 64
_TOLD_FOR = 8  # sent reports in which a failed attach is told

# The stage orders: from where, and to where. Each may come once more.
_STEPS = {
    "train": (Stage.TRAINING, Stage.TRAINING),
    "blend": (Stage.TRAINING, Stage.BLENDING),
    "hold": (Stage.BLENDING, Stage.SHADOWING),
    "judge": (Stage.SHADOWING, Stage.PROBATIONARY),
    "keep": (Stage.PROBATIONARY, Stage.FOSSILIZED),
    "tune": (Stage.FOSSILIZED, Stage.FOSSILIZED),
}

# Makes a kernel ready for its slot, or raises AttachError.
Prepare = Callable[[Arrival, Slot], nn.Module]


@dataclass(frozen=True)
class Failure:
    """An attach that failed, told until the service has heard of it."""

    order: int
    reason: int


@dataclass
class Graft:
    """The seeds of one network. It belongs to the training loop."""

    slots: Mapping[str, Slot]
    host: Host
    drops: Drops
    prepare: Prepare
    optimizer: Callable[[list[nn.Parameter]], Any]  # makes that of a new seed
    host_trains: bool = True  # by its own loss while a seed is on trial
    accepts: tuple[str, ...] = ()
    run_order: int = 0  # the last order to the whole run that was applied
    level: int = 0  # of the last emergency
    moment: int = 0  # counts the seeds that began to blend
    host_steps: int = 0  # steps of the host's own training without the blend
    failures: dict[str, Failure] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)

    @property
    def seeds(self) -> list[Seed]:
        """The grafted seeds, slot by slot, in the order of their attachment."""
        return [seed for slot in self.slots.values() for seed in slot.seeds]

    @property
    def halted(self) -> bool:
        """Whether an emergency told the training loop to stop."""
        return self.level >= HALT

    def find(self, seed_id: str) -> Seed | None:
        """The seed of an id."""
        return next((seed for seed in self.seeds if seed.id == seed_id), None)

    def slot(self, name: str) -> Slot | None:
        """A slot; without a name, the only one."""
        if not name and len(self.slots) == 1:
            return next(iter(self.slots.values()))
        return self.slots.get(name)

    def step(self) -> None:
        """One optimizer step has passed: ramps advance."""
        if not any(seed.share > 0 and not seed.kept for seed in self.seeds):
            self.host_steps += 1
        for seed in self.seeds:
            if seed.stage is Stage.BLENDING and not seed.paused:
                seed.steps += 1

    def apply(self, arrivals: Iterable[Arrival]) -> None:
        """Carries out what has arrived, in its order."""
        for arrival in arrivals:
            self._apply(arrival)

    def _apply(self, arrival: Arrival) -> None:
        order = arrival.order
        # A kernel that could not be had in time is told of.
        if arrival.late() and arrival.failure is None:
            return self.drops.add("late", f"{order.kind} {order.number}")
        if not order.seed:
            return self._apply_to_run(order)
        if order.number <= self.latest.get(order.seed, 0):
            return self.drops.add("overtaken", f"{order.kind} {order.number}")
        self._remember(order)
        if order.kind == "attach":
            return self._attach(arrival)
        self.failures.pop(order.seed, None)
        seed = self.find(order.seed)
        if seed is not None:
            return self._apply_to_seed(order, seed)
        if order.kind not in ("drop", "rollback"):  # otherwise it is as it is to be
            self.drops.add("no_such_seed", f"{order.kind} {order.seed}")
        return None

    def _remember(self, order: Order) -> None:
        """Keeps a seed's last number: the kernel of an older order must not come after it."""
        self.latest[order.seed] = order.number
        if len(self.latest) > _MAX_LATEST:
            middle = sorted(self.latest.values())[len(self.latest) // 2]
            self.latest = {seed: n for seed, n in self.latest.items() if n >= middle}

    # Attaching.

    def _attach(self, arrival: Arrival) -> None:
        order, present = arrival.order, self.find(arrival.order.seed)
        self.failures.pop(order.seed, None)
        if present is not None:
            if present.checksum == order.checksum and order.slot in ("", present.slot):
                present.order = present.attach_order = order.number
                return
            if present.kept:
                self._failed(order, AttachError(NO_ROOM, "it is kept with another kernel"))
                return
            self._drop(order, present)  # another kernel is a new life
        try:
            slot, kernel = self._room(order), None
            if arrival.failure is not None:
                raise arrival.failure
            kernel = self.prepare(arrival, slot)
        except AttachError as error:
            self._failed(order, error)
            return
        assert arrival.kernel is not None  # noqa: S101  (or it had a failure)
        seed = Seed(
            id=order.seed,
            blueprint=order.blueprint,
            checksum=order.checksum,
            slot=slot.name,
            kernel=kernel,
            content=arrival.kernel.content,
            blend=order.blend,
            ramp=order.ramp,
            attach_order=order.number,
            order=order.number,
        )
        seed.optimizer = self.optimizer(seed.parameters()) if seed.parameters() else None
        slot.seeds.append(seed)
        log.info("seed %s (%s) grows at %s: TRAINING", seed.id, seed.blueprint, seed.slot)

    def _room(self, order: Order) -> Slot:
        slot = self.slot(order.slot)
        if slot is None:
            raise AttachError(NO_ROOM, f"there is no slot {order.slot[:80]!r}")
        if len(self.seeds) >= MAX_SEEDS:
            raise AttachError(NO_ROOM, f"{MAX_SEEDS} seeds are attached")
        if why := order.blend.misfit(slot.shape):
            raise AttachError(BLEND, why)
        return slot

    def _failed(self, order: Order, error: AttachError) -> None:
        log.warning("seed %s (%s) not attached: %s", order.seed, order.blueprint, error)
        if len(self.failures) >= _MAX_FAILURES:
            oldest = min(self.failures, key=lambda seed: self.failures[seed].order)
            del self.failures[oldest]
        self.failures[order.seed] = Failure(order.number, error.reason)

    def standing_failures(self, told: Mapping[int, int]) -> dict[str, Failure]:
        """The failures that a report tells, given how often each was told."""
        self.failures = {
            seed: failure
            for seed, failure in self.failures.items()
            if told.get(failure.order, 0) < _TOLD_FOR
        }
        standing = {seed.id for seed in self.seeds}
        return {seed: f for seed, f in sorted(self.failures.items()) if seed not in standing}

    def revive(self, seed: Seed, optimizer: Mapping[str, Any] | None) -> None:
        """Attaches a seed of a checkpoint as it was."""
        self.slots[seed.slot].seeds.append(seed)
        self.latest[seed.id] = seed.order
        if seed.kept:
            rest(seed)
        if seed.tuned:
            self._train_along(seed)
        if self.host.owns(seed) or not seed.parameters():
            return
        seed.optimizer = self.optimizer(seed.parameters())
        if optimizer is not None:
            seed.optimizer.load_state_dict(dict(optimizer))

    # Orders for a seed.

    def _apply_to_seed(self, order: Order, seed: Seed) -> None:
        if order.kind == "drop":
            return self._drop(order, seed)
        if order.kind == "rollback":
            return self._roll_back(order, seed)
        if order.kind in ("pause", "resume"):
            return self._pause(order, seed)
        source, target = _STEPS[order.kind]
        if seed.stage not in (source, target):
            return self.drops.add("stage", f"{order.kind} in {seed.stage.name}")
        seed.order = order.number
        if order.kind == "tune" and not seed.tuned:
            self._tune(seed)
        if seed.stage is target:
            return None
        if target is Stage.BLENDING:
            seed.steps = 1
            self.moment += 1
            seed.before = self.host.snapshot(self.moment, self.host_steps, self.seeds)
            if not self.host_trains:
                self.host.clear_gradients()  # an old one would move what is to rest
        seed.stage = target
        if target is Stage.FOSSILIZED:
            rest(seed)
        log.info("seed %s (%s) at %s: %s", seed.id, seed.blueprint, seed.slot, target.name)
        return None

    def _pause(self, order: Order, seed: Seed) -> None:
        if order.kind == "pause" and seed.kept:  # it is part of the model
            self.drops.add("stage", "pause of a kept seed")
            return
        seed.paused, seed.order = order.kind == "pause", order.number

    def _tune(self, seed: Seed) -> None:
        """Has a kept seed train along."""
        seed.tuned = True
        self._train_along(seed)
        log.info("seed %s (%s) trains along", seed.id, seed.blueprint)

    def _train_along(self, seed: Seed) -> None:
        for parameter in seed.parameters():
            parameter.requires_grad_(True)
        self.host.adopt(seed)
        if self.host.owns(seed):
            seed.optimizer = None

    def _drop(self, order: Order, seed: Seed) -> None:
        """Removes a seed and what it touched; of a kept one this is a rollback."""
        if seed.kept:
            self._roll_back(order, seed)
            return
        self._remove(order, seed)
        before = seed.before
        if self.host_trains or before is None:
            return  # by its own loss alone: the seed touched nothing
        # When it trained on without the blend since, that is no longer apart, and stays.
        if before.host_steps == self.host_steps:
            self.host.restore(before, self.seeds)

    def _roll_back(self, order: Order, seed: Seed) -> None:
        """Goes back to the model before a seed: those that joined it later go too."""
        self._remove(order, seed)
        if seed.before is None:
            return  # it never was in the output
        for other in self.seeds:
            if other.before is not None and other.before.moment > seed.before.moment:
                self._remove(order, other)
        self.host.restore(seed.before, self.seeds)

    def _remove(self, order: Order, seed: Seed) -> None:
        self.slots[seed.slot].seeds.remove(seed)
        self.host.disown(seed)
        log.info("seed %s (%s) is gone: %s %s", seed.id, seed.blueprint, order.kind, order.reason)

    # Orders to the whole run.

    def _apply_to_run(self, order: Order) -> None:
        if order.kind == "emergency":
            self._alarm(order)
        elif order.kind == "optimizer":
            if "optimizer" not in self.accepts:
                self.drops.add("not_accepted", order.kind)
                return
            if why := self.host.set_hyperparameters(order.parameters):
                log.warning("optimizer order %d: %s", order.number, why)
        self.run_order = order.number

    def _alarm(self, order: Order) -> None:
        """Pauses the seeds that are not kept from level 3 on, halts the loop from 4 on."""
        self.level = order.level
        log.warning("emergency of level %d: %s", order.level, order.reason)
        if order.level >= CONSERVATIVE:
            for seed in self.seeds:
                seed.paused = seed.paused or not seed.kept


def rest(seed: Seed) -> None:
    """A kept seed rests until it is told to train along: gradients flow through it."""
    for parameter in seed.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
