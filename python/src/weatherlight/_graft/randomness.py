"""Random numbers of the seeds, apart from those of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class PrivateRandom:
    """The global generators, swapped for private ones for a while.

    Dropout in a seed, or in the passes that train one, would otherwise change what the
    host draws next, and with it the training of a host that nothing was done to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states: list[Tensor] | None = None

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Private random numbers, which go on from one use to the next."""
        stood = self._get()
        if self._states is not None:
            self._set(self._states)
        else:
            self._seed(torch.initial_seed() ^ 0x57454154)
        try:
            yield
        finally:
            self._states = self._get()
            self._set(stood)

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """The host's random numbers, which are as before afterwards."""
        stood = self._get()
        try:
            yield
        finally:
            self._set(stood)

    def _seed(self, seed: int) -> None:
        """Seeds the generators that are swapped, and no others."""
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                torch.cuda.manual_seed(seed)

    def _get(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
