"""What is to leave, on its way from the training loop to the bus."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weatherlight._wire import leyline_pb2 as leyline

log = logging.getLogger("weatherlight")

MAX_ALARMS = 16
LEAST_PAUSE, MOST_PAUSE = 0.02, 5.0


@dataclass(frozen=True)
class Outgoing:
    """One report, to be signed as it leaves."""

    number: int
    packet: leyline.SystemStatePacket
    attributes: Mapping[str, str]
    failures: tuple[int, ...] = ()  # attach orders whose failure it tells of


def bounded(
    alarms: Sequence[leyline.EmergencySignal],
) -> tuple[list[leyline.EmergencySignal], leyline.EmergencySignal | None]:
    """Emergencies that wait; of too many, the oldest of the mildest is left out, and told."""
    if len(alarms) <= MAX_ALARMS:
        return list(alarms), None
    mildest = min(range(len(alarms)), key=lambda at: alarms[at].level)
    return [alarm for at, alarm in enumerate(alarms) if at != mildest], alarms[mildest]


class Outbox:
    """A slot of one: a newer report takes the place of one that was not sent.

    Emergencies wait beside it, one behind the other.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._pending: Outgoing | None = None
        self._alarms: list[leyline.EmergencySignal] = []
        self._alarms_at, self._pause = 0.0, LEAST_PAUSE  # of the next try, and behind it
        self.last = 0  # number of the report queued last
        self.sent = 0  # number of the report that the bus took last
        self.published = 0
        self._told: dict[int, int] = {}

    def put(self, report: Outgoing) -> None:
        """Makes a report the next to leave."""
        with self._moved:
            self._pending, self.last = report, report.number
            self._moved.notify_all()

    def alarm(self, signal: leyline.EmergencySignal) -> None:
        """Makes an emergency leave before any report."""
        with self._moved:
            self._alarms, left_out = bounded([*self._alarms, signal])
            self._moved.notify_all()
        if left_out is not None:
            log.warning(
                "nobody is told of an emergency of level %d, for too many wait: %s",
                left_out.level,
                left_out.reason,
            )

    @property
    def alarms(self) -> list[leyline.EmergencySignal]:
        """The emergencies that have not left."""
        with self._moved:
            return list(self._alarms)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be sent now."""
        with self._moved:
            return self._pending is None and not self._due()

    def _due(self) -> bool:
        return bool(self._alarms) and time.monotonic() >= self._alarms_at

    def wait(self, seconds: float) -> Outgoing | None:
        """Waits until something is to leave: the report to send next."""
        with self._moved:
            if self._pending is None and not self._due():
                until_alarm = self._alarms_at - time.monotonic() if self._alarms else seconds
                self._moved.wait(min(seconds, max(until_alarm, 0.0)))
            return self._pending

    def next_alarm(self) -> leyline.EmergencySignal | None:
        """The emergency to send next, when it is time for one."""
        with self._moved:
            return self._alarms[0] if self._due() else None

    def raised(self, signal: leyline.EmergencySignal) -> None:
        """The bus took an emergency."""
        with self._moved:
            self._alarms = [other for other in self._alarms if other is not signal]
            self._alarms_at, self._pause = 0.0, LEAST_PAUSE
            self._moved.notify_all()

    def refused(self) -> None:
        """The bus refused an emergency: all wait a while, each time a longer one."""
        with self._moved:
            self._alarms_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, MOST_PAUSE)

    def done(self, report: Outgoing) -> None:
        """The bus took a report."""
        with self._moved:
            if self._pending is report:
                self._pending = None
            self.sent = report.number
            self.published += 1
            for order in report.failures:
                self._told[order] = self._told.get(order, 0) + 1
            self._moved.notify_all()

    def told(self, orders: set[int]) -> dict[int, int]:
        """In how many sent reports the failure of each of these orders was told."""
        with self._moved:
            self._told = {order: n for order, n in self._told.items() if order in orders}
            return dict(self._told)

    def flush(self, seconds: float) -> bool:
        """Waits until the last report and all emergencies have left."""
        until = time.monotonic() + seconds
        with self._moved:
            self._alarms_at = 0.0  # a last try
            self._moved.notify_all()
            while self.sent < self.last or self._alarms:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._moved.wait(left)
        return True

    def wake(self) -> None:
        """Lets whoever waits look again."""
        with self._moved:
            self._moved.notify_all()
