"""The background: one thread publishes, one follows, one fetches kernels."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from weatherlight._bus.config import BusConfig
from weatherlight._bus.fetch import FETCH_SECONDS, UNREACHABLE, UNSPECIFIED, AttachError, Fetcher
from weatherlight._bus.inbox import Arrival, Inbox, Loaded
from weatherlight._bus.outbox import LEAST_PAUSE, MOST_PAUSE, Outbox
from weatherlight._bus.servers import Nodes, Servers
from weatherlight._wire.emergencies import told_of
from weatherlight._wire.envelope import MAX_ENVELOPE, TYPES, Message, seal
from weatherlight._wire.orders import Order
from weatherlight.errors import BackgroundWarning

log = logging.getLogger("weatherlight")

_BLOCK_MS = 5000
_CLOCK_SECONDS = 60.0
_HEALTHY_SECONDS = 5.0  # a connection that held so long was none of the outage
_LOOK_BACK_SECONDS = 10.0
_COUNT = 64

Loader = Callable[[Order, bytes], Any]  # makes a module of a kernel's file, or raises AttachError


class Episode:
    """An outage, told of once however many threads meet it.

    That the bus refuses something is another one than that it is away: what is refused for
    long does not hide that.
    """

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        self._moved = threading.Condition()
        self._failing: set[tuple[str, bool]] = set()  # who, and whether it was refused
        self._healings = 0
        self.count = 0

    def failed(self, who: str, error: Exception) -> None:
        """One of the threads has met it."""
        refused = isinstance(error, redis.ResponseError)
        with self._moved:
            first = refused not in self._kinds()
            self._failing.add((who, refused))
            self.count += first
        if first:
            log.warning(
                "the bus %s, training goes on: %s",
                "refuses what it is asked" if refused else "cannot be reached",
                self._config.redact(str(error)),
            )

    def _kinds(self) -> set[bool]:
        return {refused for _, refused in self._failing}

    def healed(self, who: str) -> None:
        """One of the threads has done its work again: the others need not wait any longer."""
        with self._moved:
            left = {met for met in self._failing if met[0] != who}
            if left == self._failing:
                return
            before, self._failing = self._kinds(), left
            self._healings += 1
            self._moved.notify_all()
            over = before != self._kinds()
        if over:
            log.info("the bus is back")

    def rest(self, seconds: float, stop: threading.Event) -> None:
        """Waits, until another thread has got through or it is time to stop."""
        with self._moved:
            seen = self._healings
            self._moved.wait_for(lambda: stop.is_set() or self._healings != seen, seconds)

    def wake(self) -> None:
        """Lets whoever rests look again."""
        with self._moved:
            self._moved.notify_all()


class Clock:
    """The clock of the bus: the local one, set by TIME."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._asked = -1e9

    def ask(self, client: Servers) -> None:
        """Asks the bus, unless that was done a moment ago."""
        if time.monotonic() - self._asked < _CLOCK_SECONDS:
            return
        before = time.time()
        seconds, micros = client.time()
        middle = (before + time.time()) / 2
        self._offset = seconds + micros / 1e6 - middle
        self._asked = time.monotonic()

    def forget(self) -> None:
        """Has the next ask ask: this is another connection."""
        self._asked = -1e9

    def now_ms(self) -> int:
        """Unix milliseconds by the clock of the bus."""
        return int((time.time() + self._offset) * 1000)


@dataclass
class _Position:
    """How far the stream of orders was read."""

    last: str = "0-0"
    looked_back: float = field(default=-1e9)


class Link:
    """Everything that waits for the network, so that the training loop does not."""

    def __init__(self, config: BusConfig, run: str, trainer_id: str, load: Loader) -> None:
        self.config = config
        self._load = load
        self.inbox = Inbox(config.keyring, run, trainer_id)
        self.outbox = Outbox()
        self.episode = Episode(config)
        self.clock = Clock()
        self.crash: BaseException | None = None
        self._told_crash = False
        self._fetcher = Fetcher(config)
        self._position = _Position()
        self._stop = threading.Event()
        self._pid = os.getpid()
        self._nodes = Nodes(config.address)
        self._clients: weakref.WeakSet[Servers] = weakref.WeakSet()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the threads; once."""
        if self._threads or self._stop.is_set():
            return
        works = {"sender": self._send, "follower": self._follow, "fetcher": self._fetch}
        self._threads = [
            threading.Thread(
                target=self._guard, args=(name, work), name=f"weatherlight-{name}", daemon=True
            )
            for name, work in works.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def here(self) -> bool:
        """Whether this is the process that the threads run in, and not a fork of it."""
        return os.getpid() == self._pid

    def tell_crash(self) -> None:
        """Warns, once, that the background has ended by a fault of its own."""
        if self.crash is not None and not self._told_crash:
            self._told_crash = True
            warnings.warn(
                f"weatherlight's background thread has ended by {self.crash!r}: nothing is "
                "reported or ordered any more; training goes on with what is grafted",
                BackgroundWarning,
                stacklevel=4,
            )

    def close(self, seconds: float) -> None:
        """Lets the last report and emergencies leave, if they can in so many seconds, and stops."""
        if not self.here:
            return
        if self._threads and self.crash is None:
            self.outbox.flush(seconds)
        self._stop.set()
        self.outbox.wake()
        self.inbox.wake()
        self.episode.wake()
        for client in list(self._clients):
            # The thread that waits on it may close it at the same moment.
            with contextlib.suppress(Exception):
                client.disconnect()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(1.0)
        if left := self.outbox.alarms:
            log.warning(
                "nobody is told of %d emergencies, which could not leave: %s",
                len(left),
                "; ".join(alarm.reason for alarm in left),
            )

    # What follows runs in the threads.

    def _guard(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            if self._stop.is_set():
                return
            self.crash = error
            log.exception("the thread %s has ended by a fault; training goes on", name)
            self._stop.set()

    def _connect(self, turn: int = 0) -> Servers:
        client = Servers(self.config.address, self._nodes, turn)
        self._clients.add(client)
        return client

    def _again(self, who: str, work: Callable[[Servers], None]) -> None:
        """Does work with a connection until the end, over all outages."""
        pause, turn = LEAST_PAUSE, 0
        while not self._stop.is_set():
            client = self._connect(turn)
            turn += 1
            worked = time.monotonic()
            try:
                self.clock.forget()
                self.clock.ask(client)
                work(client)
            except (redis.RedisError, OSError) as error:
                if self._stop.is_set():
                    return
                self.episode.failed(who, error)
            finally:
                client.disconnect()
            if time.monotonic() - worked > _HEALTHY_SECONDS:
                pause = LEAST_PAUSE
            # It is random to spread many trainers.
            self.episode.rest(pause * (0.5 + random.random()), self._stop)  # noqa: S311
            pause = min(pause * 2, MOST_PAUSE)

    def _send(self) -> None:
        self._again("sender", self._send_all)

    def _send_all(self, client: Servers) -> None:
        if self.outbox.empty:
            self.episode.healed("sender")
        while not self._stop.is_set():
            report = self.outbox.wait(_BLOCK_MS / 1000)
            self._raise_alarms(client)
            if report is not None:
                self._publish(client, self.config.normal, report.packet, report.attributes)
                self.outbox.done(report)
            self.episode.healed("sender")

    def _raise_alarms(self, client: Servers) -> None:
        """Sends what is urgent; a stream that may not be written to holds no report up."""
        while (alarm := self.outbox.next_alarm()) is not None:
            try:
                self._publish(client, self.config.emergency, alarm, told_of(alarm))
            except redis.exceptions.ReadOnlyError:
                raise  # it is of a replica, where no stream may be written to
            except redis.ResponseError as error:
                self.episode.failed("alarms", error)
                self.outbox.refused()
                return
            self.outbox.raised(alarm)
            self.episode.healed("alarms")

    def _publish(
        self, client: Servers, stream: str, message: Message, attributes: Mapping[str, str]
    ) -> None:
        self.clock.ask(client)
        now_ms = self.clock.now_ms()
        data, signature = seal(
            self.config.keyring, stream, TYPES[type(message)], message, attributes, now_ms=now_ms
        )
        if len(data) > MAX_ENVELOPE:
            log.error("a message to %s is left out: it has %d bytes", stream, len(data))
            return
        client.xadd(stream, {"payload": data, "signature": signature})

    def _follow(self) -> None:
        self._again("follower", self._follow_all)

    def _follow_all(self, client: Servers) -> None:
        self._position.looked_back = -1e9
        while not self._stop.is_set():
            if time.monotonic() - self._position.looked_back > _LOOK_BACK_SECONDS:
                self._look_back(client)
                self.clock.ask(client)
                self.episode.healed("follower")
            answer = self._read(client, self._position.last, _BLOCK_MS)
            self._hand_on(answer)

    def _look_back(self, client: Servers) -> None:
        """Begins anew when the stream is another one, which ends below where we stand."""
        answer = self._read(client, "0-0", None)
        last = answer[-1][0] if answer else "0-0"
        if _order(last) < _order(self._position.last):
            self._position.last = "0-0"
            self._hand_on(answer)
        self._position.looked_back = time.monotonic()

    def _read(
        self, client: Servers, after: str, block: int | None
    ) -> list[tuple[str, dict[bytes, bytes]]]:
        answer = client.xread(self.inbox.stream, after, _COUNT, block)
        streams = answer.items() if isinstance(answer, dict) else (answer or [])
        entries: list[tuple[str, dict[bytes, bytes]]] = []
        for _, found in streams:
            nested = found[0] if found and isinstance(found[0], list) else found
            entries += [(_text(entry_id), fields or {}) for entry_id, fields in nested]
        return entries

    def _hand_on(self, entries: list[tuple[str, dict[bytes, bytes]]]) -> None:
        for entry_id, fields in entries:
            self._position.last = entry_id
            self.inbox.take_entry(entry_id, fields)

    def _fetch(self) -> None:
        while not self._stop.is_set():
            wanted = self.inbox.next_wanted(1.0)
            if wanted is not None:
                self.inbox.fetched(wanted, self._kernel_of(wanted))

    def _kernel_of(self, wanted: Arrival) -> Loaded | AttachError:
        seconds = FETCH_SECONDS
        if wanted.order.deadline > 0:
            left = wanted.order.deadline - (time.monotonic() - wanted.read_at)
            seconds = min(seconds, left)
        if seconds <= 0:
            return AttachError(UNREACHABLE, "there was no time left to fetch it")
        try:
            content = self._fetcher.fetch(wanted.order, seconds)
            return Loaded(content, self._load(wanted.order, content))
        except AttachError as error:
            return error
        except Exception as error:
            log.exception("the kernel of %s cannot be loaded", wanted.order.seed)
            return AttachError(UNSPECIFIED, repr(error))


class SilentLink(Link):
    """That of a process that another one talks for."""

    def start(self) -> None:
        """Starts nothing."""

    def close(self, seconds: float) -> None:
        """Ends nothing."""


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _order(entry_id: str) -> tuple[int, int]:
    first, _, second = entry_id.partition("-")
    return int(first), int(second or 0)
