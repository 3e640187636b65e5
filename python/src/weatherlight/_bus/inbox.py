"""Orders on their way from the stream to the training loop."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weatherlight._bus.fetch import BLEND, MISMATCH, UNREACHABLE, UNSPECIFIED, AttachError
from weatherlight._wire.envelope import Dropped, open_command
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.orders import Order, order_stream, read_order

log = logging.getLogger("weatherlight")

MAX_BACKLOG = 256
_QUIET = ("number", "not_an_order", "other_trainer")  # a stream keeps what was for others
_TOLD_AT_ONCE = 8  # drops of one reason that are logged as warnings


@dataclass(frozen=True)
class Loaded:
    """A kernel that was fetched: its file, and the module made of it."""

    content: bytes
    module: Any


@dataclass(frozen=True)
class Arrival:
    """An order with what came of its kernel."""

    order: Order
    read_at: float  # by the monotonic clock
    kernel: Loaded | None = None
    failure: AttachError | None = None

    def late(self) -> bool:
        """Whether its deadline has passed."""
        deadline = self.order.deadline
        return deadline > 0 and time.monotonic() - self.read_at > deadline


class Drops:
    """Counts what was dropped, by reason, and tells of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, reason: str, detail: str = "") -> None:
        """One more."""
        self.counts[reason] += 1
        loud = reason not in _QUIET and self.counts[reason] <= _TOLD_AT_ONCE
        log.log(logging.WARNING if loud else logging.DEBUG, "order dropped: %s %s", reason, detail)


class Inbox:
    """Checks what is read from the stream, and holds it for the loop."""

    def __init__(self, keyring: Keyring, run: str, trainer_id: str) -> None:
        self.stream = order_stream(run)
        self.drops = Drops()
        self.ready: deque[Arrival] = deque()  # the loop looks whether it is empty
        self._keyring, self._run, self._trainer_id = keyring, run, trainer_id
        self._lock = threading.Lock()
        self._wanted: deque[Arrival] = deque()
        self._wake = threading.Condition(self._lock)
        self._read = 0
        self.orders = 0  # that counted

    @property
    def order_read(self) -> int:
        """The highest order received."""
        return self._read

    def resume(self, run: str, order_read: int) -> None:
        """Goes on with a run behind an order that was read before a restart."""
        with self._lock:
            self._run, self.stream = run, order_stream(run)
            self._read = max(self._read, order_read)

    def take_entry(self, entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        """Takes one entry of the stream, or drops it."""
        read_at = time.monotonic()
        try:
            command = open_command(self._keyring, self.stream, entry_id, fields)
            self._take(read_order(command), read_at)
        except Dropped as dropped:
            self.drops.add(dropped.reason, str(dropped))
        except Exception:
            # One entry that nobody thought of is not to keep the others away.
            log.exception("entry %s of %s cannot be read", entry_id, self.stream)
            self.drops.add("undecodable")

    def _take(self, order: Order, read_at: float) -> None:
        if order.run != self._run:
            raise Dropped("other_run")
        if order.trainer_id != self._trainer_id:
            raise Dropped("other_trainer")
        with self._lock:
            if order.number <= self._read:
                raise Dropped("number")
            self._read = order.number
            self.orders += 1
        arrival = Arrival(order, read_at)
        if order.misread is not None:
            if order.kind != "attach" or not order.seed:
                raise Dropped("not_understood", str(order.misread))
            arrival = Arrival(order, read_at, failure=_misread_attach(order))
        self._queue(arrival)

    def _queue(self, arrival: Arrival) -> None:
        fetched = arrival.kernel is not None or arrival.failure is not None
        with self._lock:
            queue = self.ready if arrival.order.kind != "attach" or fetched else self._wanted
            if len(queue) >= MAX_BACKLOG:
                raise Dropped("backlog")
            queue.append(arrival)
            self._wake.notify_all()

    def next_wanted(self, seconds: float) -> Arrival | None:
        """Waits for an attach order whose kernel is to be fetched."""
        with self._wake:
            if not self._wanted:
                self._wake.wait(seconds)
            return self._wanted.popleft() if self._wanted else None

    def wake(self) -> None:
        """Lets whoever waits look again."""
        with self._wake:
            self._wake.notify_all()

    def fetched(self, wanted: Arrival, got: Loaded | AttachError) -> None:
        """The kernel of an attach order has come, or cannot be had."""
        kernel, failure = (None, got) if isinstance(got, AttachError) else (got, None)
        try:
            self._queue(Arrival(wanted.order, wanted.read_at, kernel, failure))
        except Dropped as dropped:
            self.drops.add(dropped.reason)

    def arrivals(self) -> list[Arrival]:
        """Takes what is ready for the loop."""
        with self._lock:
            taken = list(self.ready)
            self.ready.clear()
        return taken


def _misread_attach(order: Order) -> AttachError:
    assert order.misread is not None  # noqa: S101
    name = order.misread.name
    if name.startswith(("blend_", "alpha_", "gate_", "confidence_")):
        reason = BLEND
    else:
        reason = {
            "checksum": MISMATCH,
            "artifact_ref": UNREACHABLE,
            "artifact_url": UNREACHABLE,
        }.get(name, UNSPECIFIED)
    return AttachError(reason, str(order.misread))
