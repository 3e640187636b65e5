"""Looking at a model: what it is, where seeds may grow, what shape they have there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.compute import Counter
from weatherlight._graft.randomness import PrivateRandom
from weatherlight._wire.reports import MAX_NAME, MAX_NAMES, MAX_SLOTS
from weatherlight.errors import ConfigError

_MAX_DIMENSIONS = 3
_MAX_DIMENSION = 1 << 20
_REFUSED = {
    "FullyShardedDataParallel": "a sharded model cannot grow: its layers are not whole anywhere",
    "FSDPModule": "a sharded model cannot grow: its layers are not whole anywhere",
    "DataParallel": (
        "a DataParallel model cannot grow: its copies run in threads. Hand over model.module "
        "and train on one device"
    ),
    "ScriptModule": "a scripted model cannot grow: it takes no hooks. Hand over the one before it",
}


def unwrapped(model: nn.Module) -> nn.Module:
    """The module behind torch.compile and DistributedDataParallel.

    It has its layers under their own names.

    Raises:
        ConfigError: the model is of a kind that cannot grow.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"the model is a {type(model).__name__}, not a torch.nn.Module")
    for kind in type(model).__mro__:
        if kind.__name__ in _REFUSED:
            raise ConfigError(_REFUSED[kind.__name__])
    inner = model.module if is_distributed(model) else getattr(model, "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


class Alike(nn.Module):
    """A model that somebody else hands to DistributedDataParallel, in processes that do alike."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model


def is_distributed(model: nn.Module) -> bool:
    """Whether several processes train a model together."""
    return isinstance(model, nn.parallel.DistributedDataParallel | Alike)


def named_layers(model: nn.Module, at: str | Sequence[str]) -> dict[str, nn.Module]:
    """The modules behind which seeds are to grow.

    Raises:
        ConfigError: one is not there.
    """
    names = [at] if isinstance(at, str) else list(at)
    if not 0 < len(names) <= MAX_SLOTS or len(set(names)) != len(names):
        raise ConfigError(f"at names 1 to {MAX_SLOTS} different layers, it has {names}")
    modules = dict(model.named_modules())
    for name in names:
        if not name or name not in modules:
            known = ", ".join(n for n, _ in model.named_children()) or "none"
            raise ConfigError(f"the model has no layer {name!r}; at the top it has {known}")
        if len(name.encode()) > MAX_NAME:
            raise ConfigError(f"the name of layer {name!r} has more than {MAX_NAME} bytes")
    return {name: modules[name] for name in names}


def device_of(model: nn.Module) -> torch.device:
    """Where the model is, by its first parameter."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def resting(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, each module afterwards in the mode that it had.

    Recurrent layers stay as they are: some of them run backward in training mode alone.
    """
    modules = [m for m in model.modules() if m.training and not isinstance(m, nn.RNNBase)]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


class Survey:
    """One pass of a sample through the model, and what was seen in it."""

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Module], sample: Any) -> None:
        self._layers = layers
        self._seen: dict[str, tuple[int, ...]] = {}
        self._order: list[str] = []
        self.devices: dict[str, torch.device] = {}
        watched = {**{n: m for n, m in model.named_modules() if n and not _inner(m)}, **layers}
        handles = [m.register_forward_hook(self._hook(name)) for name, m in watched.items()]
        random = PrivateRandom(device_of(model))
        try:
            with resting(model), torch.no_grad(), random.repeated(), Counter() as counter:
                call(model, sample)
        finally:
            for handle in handles:
                handle.remove()
        self._work: int = counter.count

    def _hook(self, name: str) -> Any:
        def look(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
            if name not in self._order:
                self._order.append(name)
            first = output[0] if isinstance(output, tuple) and output else output
            if isinstance(first, Tensor):
                self._seen[name] = tuple(first.shape)
                if name in self._layers:
                    self.devices[name] = first.device

        return look

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one example behind each layer.

        Raises:
            ConfigError: there is none that a seed could have.
        """
        found = {}
        for name in self._layers:
            if name not in self._seen:
                raise ConfigError(
                    f"layer {name!r} made no tensor of the sample: a slot is a layer whose "
                    "output is a tensor, or a tuple that begins with one"
                )
            shape = self._seen[name][1:]
            if not 1 <= len(shape) <= _MAX_DIMENSIONS or not _sizes_fit(shape):
                raise ConfigError(
                    f"layer {name!r} makes {list(shape)} of one example: a slot has 1 to "
                    f"{_MAX_DIMENSIONS} dimensions behind the batch (features; sequence, width; "
                    "channels, height, width)"
                )
            found[name] = shape
        return found

    def multiply_adds(self) -> int:
        """What one example costs the host, forward."""
        examples = [self._seen[name][0] for name in self._layers if self._seen.get(name)]
        return self._work // max(examples, default=1)

    def layers(self) -> list[str]:
        """The names of the host's layers, input side first; the slots always among them."""
        named = [name for name in self._order if len(name.encode()) <= MAX_NAME]
        spare = MAX_NAMES - len(self._layers)
        kept = {*self._layers, *[name for name in named if name not in self._layers][:spare]}
        return [name for name in named if name in kept]


def _sizes_fit(shape: Iterable[int]) -> bool:
    return all(1 <= size <= _MAX_DIMENSION for size in shape)


def _inner(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def call(model: nn.Module, sample: Any) -> Any:
    """Runs a model on a sample: a tensor, a tuple of arguments, or a mapping of them."""
    if isinstance(sample, Mapping):
        return model(**sample)
    if isinstance(sample, list | tuple):
        return model(*sample)
    return model(sample)
