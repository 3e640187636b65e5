"""The training of seeds: passes of their own, which touch nothing but them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.inspect import resting
from weatherlight._graft.randomness import PrivateRandom
from weatherlight._graft.seed import Seed, Stage
from weatherlight._graft.slot import Board, Route, Slot
from weatherlight._graft.together import Together
from weatherlight.errors import WeatherlightError

log = logging.getLogger("weatherlight")

# Batches of a seed from one measurement of its alignment to the next. It takes two passes
# without the backward part in front of the slot: at most two steps of the host in so many.
ALIGN_EVERY = 200

Loss = Callable[[Any, Any], Tensor]


class Learner:
    """Trains one seed on one batch at a time.

    The host is in evaluation mode meanwhile, so that its statistics and its random
    numbers stay what they would be without the seed; gradients are asked for by name,
    so that none is left at a parameter of the host.
    """

    def __init__(
        self, board: Board, loss: Loss, random: PrivateRandom, together: Together | None = None
    ) -> None:
        self._board, self._loss, self._random = board, loss, random
        self._together = together
        self._faulty: set[str] = set()  # seeds of whose faults was told
        self._whole = False  # gradients are recorded in front of the slots, too

    def probe(self, slots: Iterable[Slot], batch: Any) -> None:
        """Looks whether seeds could learn: before the first one comes, hours later.

        Raises:
            WeatherlightError: the loss is not a number, or has no gradient by a slot.
        """
        with self._random.swapped(), resting(self._board.model):
            for slot in slots:
                while not self._felt(slot, batch):
                    if self._whole:
                        raise WeatherlightError(
                            f"the loss has no gradient by the output of {slot.name!r}: is "
                            "something between them detached, or computed under torch.no_grad()?"
                        )
                    self._whole = True  # the model sets what is recorded by itself

    def _felt(self, slot: Slot, batch: Any) -> bool:
        """Whether the loss has a gradient by what is behind a slot."""
        route = Route(probed=slot)
        loss = self._forward(route, batch)
        if not loss.requires_grad or not route.entries:
            return False
        found = torch.autograd.grad(loss, route.entries, allow_unused=True)
        return any(gradient is not None for gradient in found)

    def learn(self, seed: Seed, batch: Any) -> None:
        """One step of a seed's training; the host trains on whatever a seed cannot do."""
        parameters = seed.parameters()
        if not parameters:
            return
        loss, gradients = None, None
        try:
            loss, gradients = self._gradients(seed, parameters, batch)
        except Exception as error:
            seed.meters.failed(str(error))
            if seed.id not in self._faulty:
                self._faulty.add(seed.id)
                log.exception("seed %s did not learn from a batch; told once", seed.id)
        if self._together is not None:
            gradients = self._together.mean(parameters, gradients)
        if gradients is not None:
            _step(seed, loss, parameters, gradients)

    def _gradients(
        self, seed: Seed, parameters: list[nn.Parameter], batch: Any
    ) -> tuple[Tensor | None, Sequence[Tensor | None] | None]:
        route = Route(learner=seed, full=seed if seed.stage is Stage.TRAINING else None)
        with self._random.swapped(), resting(self._board.model):
            loss = self._forward(route, batch)
            if not (route.reached and loss.requires_grad):
                return None, None
            found = torch.autograd.grad(loss, [*parameters, *route.entries], allow_unused=True)
        for gradient in found[len(parameters) :]:
            seed.meters.host_gradient(gradient)
        return loss, found[: len(parameters)]

    def align(self, seed: Seed, slot: Slot, batch: Any) -> None:
        """Measures now and then whether a seed pulls the slot's output as the host does.

        It is the cosine between two gradients by that output: of the loss without the seed,
        and of the loss with the seed fully in.
        """
        seed.batches += 1
        if seed.batches % ALIGN_EVERY or seed.paused:
            return
        faults = seed.meters.faults
        try:
            alone = self._pull(Route(without=seed, opened=slot), batch)
            grown = self._pull(Route(full=seed, opened=slot), batch)
            cosine = None if alone is None or grown is None else _cosine(alone, grown)
        except Exception:
            # Whoever learns from the batch tells of it.
            log.debug("the alignment of seed %s cannot be measured", seed.id, exc_info=True)
            return
        if faults == seed.meters.faults and cosine is not None:
            seed.meters.aligned(cosine)

    def _pull(self, route: Route, batch: Any) -> Sequence[Tensor | None] | None:
        """The gradients of the loss by the outputs of the opened slot."""
        # The same random numbers each time.
        with self._random.repeated(), resting(self._board.model):
            loss = self._forward(route, batch)
            if not route.entries or not loss.requires_grad:
                return None
            return torch.autograd.grad(loss, route.entries, allow_unused=True)

    def _forward(self, route: Route, batch: Any) -> Tensor:
        self._board.route = route
        try:
            with torch.set_grad_enabled(self._whole):
                loss = self._loss(self._board.model, batch)
        finally:
            self._board.route = None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise WeatherlightError("loss(model, batch) must return a tensor of one number")
        return torch.squeeze(loss)


def _step(
    seed: Seed,
    loss: Tensor | None,
    parameters: list[nn.Parameter],
    gradients: Sequence[Tensor | None],
) -> None:
    norm = norm_of(gradients)
    if norm is None:
        return
    if not bool(torch.isfinite(norm)):
        seed.meters.failed("its gradient is not finite")
        return
    seed.meters.stepped(loss, norm)
    if seed.optimizer is None:
        return
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    seed.optimizer.step()
    for parameter in parameters:
        parameter.grad = None


def _cosine(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> Tensor:
    """0 where either is. It is summed entry by entry: together they may be large."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    lengths = norm_of(a), norm_of(b)
    if not pairs or lengths[0] is None or lengths[1] is None:
        return torch.zeros(())
    dot = torch.stack([torch.dot(x.flatten().float(), y.flatten().float()) for x, y in pairs]).sum()
    both = lengths[0] * lengths[1]
    return torch.div(dot, both.clamp(min=torch.finfo(both.dtype).tiny))


def norm_of(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """The norm over all gradients; None when there is none."""
    norms = [torch.linalg.vector_norm(g.detach().float()) for g in gradients if g is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else None


def any_of(gradients: Sequence[Tensor | None]) -> bool:
    """Whether there is a gradient among them."""
    return any(gradient is not None for gradient in gradients)
