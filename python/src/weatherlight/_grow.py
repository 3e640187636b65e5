"""Making a network grow: from what the user hands over to a `Growth`."""

from __future__ import annotations

import atexit
import logging
import secrets
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from weatherlight._bus.address import Address
from weatherlight._bus.config import BusConfig, read_config
from weatherlight._bus.fetch import NO_ROOM, AttachError
from weatherlight._bus.inbox import Arrival
from weatherlight._bus.link import Link, SilentLink
from weatherlight._graft.graft import Graft
from weatherlight._graft.host import Host
from weatherlight._graft.inspect import Survey, device_of, is_distributed, named_layers, unwrapped
from weatherlight._graft.learner import Learner, Loss
from weatherlight._graft.randomness import PrivateRandom
from weatherlight._graft.slot import Board, Slot
from weatherlight._graft.together import Together
from weatherlight._growth import Growth, new_run
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.orders import Order
from weatherlight._wire.reports import MAX_NAME
from weatherlight.errors import ConfigError
from weatherlight.kernels import Kernel, KernelError, load, try_kernel

log = logging.getLogger("weatherlight")

SEED_RATE = 3e-3

SeedOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

_open: weakref.WeakSet[Growth] = weakref.WeakSet()


def grow(
    model: nn.Module,
    at: str | Sequence[str],
    *,
    sample: Any,
    loss: Loss,
    run: str | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    join_optimizer: bool = True,
    seed_optimizer: SeedOptimizer | None = None,
    seed_lr: float = SEED_RATE,
    host: str = "trains",
    rollback: bool = True,
    accept_optimizer_orders: bool = False,
    bus: str | None = None,
    secret: str | None = None,
    kernel_origin: str | None = None,
    token: str | None = None,
    trusted_keys: Sequence[str] = (),
    experiment: str = "",
) -> Growth:
    """Has a network grow while it trains.

    Args:
        model: The host. Nothing is done to it but for a forward hook at each slot.
        at: The layer, or the layers, behind which seeds may grow, named as by
            `model.named_modules()`.
        sample: A small batch for the model (a tensor, a tuple of arguments or a mapping):
            one pass of it shows the shapes at the slots.
        loss: Takes the model and a batch, and returns the loss that trains it, as a tensor
            of one number. Seeds learn by it.
        run: The name of the run on the bus [made up; that of a checkpoint]. Two trainings
            at a time have two names.
        optimizer: That of the model: it takes up the parameters of seeds that were kept.
            Without it an optimizer of the package trains them.
        scheduler: That of the optimizer, or a list of them.
        join_optimizer: Whether the optimizer takes up what was kept. If not, it is still
            put back by a rollback, and an optimizer of the package trains what was kept.
        seed_optimizer: Makes the optimizer of a new seed from its parameters [Adam].
        seed_lr: The learning rate of that Adam.
        host: What the model does while a seed blends and is on trial. "trains": it trains
            on by its own loss, without the seed in its training passes, as if there were
            none. "behind": its training passes have the seed in them, so that the layers
            behind the slot train along and those in front rest; a seed that is dropped
            then takes back what they learnt.
        rollback: Whether a copy of model and optimizer is kept, in main memory, for each
            seed that began to blend, so that the service can order to go back.
        accept_optimizer_orders: Whether the service may set learning rate and the like.
        bus: The URL of the Redis [REDIS_URL]. "local" starts a service of its own.
        secret: The service's [ESPER_LEYLINE_SECRET].
        kernel_origin: scheme://host:port of kernels by HTTP [WEATHERLIGHT_KERNEL_ORIGIN;
            none: they are read by their paths].
        token: The bearer token for that origin [the first of WEATHERLIGHT_HTTP_TOKEN_FILE,
            or WEATHERLIGHT_HTTP_TOKEN]. By https, ESPER_CA_FILE names those who sign its
            certificate beside the machine's.
        trusted_keys: Minisign public keys, one of which must have signed a kernel [none:
            unsigned ones count].
        experiment: A name for observers.

    Raises:
        ConfigError: something does not fit; the text says what to do.
    """
    inner = unwrapped(model)
    _check(run, optimizer, host, loss)
    layers = named_layers(inner, at)
    _check_alone(layers)
    survey = Survey(inner, layers, sample)
    shapes = survey.shapes()
    loader = _loader(shapes)
    together = Together(loader) if is_distributed(model) else None
    trainer_id, name = "torch-" + secrets.token_hex(12), run or new_run()
    if together is not None:
        trainer_id, name = together.text(trainer_id), together.text(name)
    link: Link
    on_close: Callable[[], None] = _nothing
    if together is None or together.talks:
        config, on_close = _bus(bus, secret, kernel_origin, token, trusted_keys)
        link = Link(config, name, trainer_id, loader)
    else:
        silent = BusConfig(Address("redis://"), Keyring("of a process that does not talk"))
        link = SilentLink(silent, name, trainer_id, loader)

    random = PrivateRandom(device_of(inner))
    board = Board(inner, host_trains=host == "trains")
    graft = Graft(
        slots={n: Slot(n, module, shapes[n], board) for n, module in layers.items()},
        host=Host(
            inner,
            optimizer,
            scheduler,
            joins=join_optimizer and together is None,
            rollback=rollback,
        ),
        drops=link.inbox.drops,
        prepare=_preparer(together),
        optimizer=seed_optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=seed_lr)),
        host_trains=board.host_trains,
        accepts=("optimizer",) if accept_optimizer_orders else (),
    )
    for slot_name, device in survey.devices.items():
        graft.slots[slot_name].device = device
    growth = Growth(
        board,
        graft,
        link,
        Learner(board, loss, random, together),
        run=name,
        run_given=run is not None,
        trainer_id=trainer_id,
        host_layers=survey.layers(),
        host_work=survey.multiply_adds(),
        experiment=experiment,
        sample=sample,
        random=random,
        together=together,
        on_close=on_close,
    )
    if not _open:
        atexit.register(_close_all)
    _open.add(growth)
    log.info("run %s grows at %s", name, ", ".join(f"{n} {list(s)}" for n, s in shapes.items()))
    return growth


def _names_a_run(run: str) -> bool:
    return run == run.strip() and 0 < len(run.encode()) <= MAX_NAME and run not in (".", "..")


def _check(run: str | None, optimizer: object, host: str, loss: object) -> None:
    if run is not None and not _names_a_run(run):
        raise ConfigError(
            f"run is a name of 1 to {MAX_NAME} bytes without blanks around it, and not . or .."
        )
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(f"optimizer is a {type(optimizer).__name__}, no torch.optim.Optimizer")
    if host not in ("trains", "behind"):
        raise ConfigError(f'host is "trains" or "behind", not {host!r}')
    if not callable(loss):
        raise ConfigError("loss is called with the model and a batch")


def _check_alone(layers: dict[str, nn.Module]) -> None:
    for name, module in layers.items():
        if any(isinstance(hook, Slot) for hook in module._forward_hooks.values()):
            raise ConfigError(f"something grows at {name!r} already: close() it first")


def _bus(
    bus: str | None,
    secret: str | None,
    kernel_origin: str | None,
    token: str | None,
    trusted_keys: Sequence[str],
) -> tuple[BusConfig, Callable[[], None]]:
    if bus != "local":
        return read_config(bus, secret, kernel_origin, token, trusted_keys=trusted_keys), _nothing
    from weatherlight.local import start  # noqa: PLC0415  (few need it)

    service = start()
    config = read_config(service.url, service.secret, trusted_keys=trusted_keys, environ={})
    return config, service.stop


def _loader(shapes: dict[str, tuple[int, ...]]) -> Callable[[Order, bytes], Kernel]:
    """Makes modules of kernel files, in the background."""

    def loaded(order: Order, content: bytes) -> Kernel:
        only = next(iter(shapes.values())) if len(shapes) == 1 else None
        shape = shapes.get(order.slot, only if not order.slot else None)
        if shape is None:
            raise AttachError(NO_ROOM, f"there is no slot {order.slot[:80]!r}")
        try:
            return load(content, slot=shape)
        except KernelError as error:
            raise AttachError(error.reason, str(error)) from error

    return loaded


def _preparer(together: Together | None = None) -> Callable[[Arrival, Slot], nn.Module]:
    """Tries kernels and takes them to where their slot is, in the training loop."""

    def prepared(arrival: Arrival, slot: Slot) -> nn.Module:
        assert arrival.kernel is not None  # noqa: S101  (or the attach has failed)
        kernel: Kernel = arrival.kernel.module
        try:
            try_kernel(kernel)
        except KernelError as error:
            raise AttachError(error.reason, str(error)) from error
        return kernel.to(slot.device)

    if together is None:
        return prepared
    return partial(together.agreed, prepared)


def _nothing() -> None:
    """There is nothing to end."""


def _close_all() -> None:
    for growth in list(_open):
        growth.close()
