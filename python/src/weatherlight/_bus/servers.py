"""The servers of the bus: each command goes to the one that has its stream."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.exceptions import MovedError

from weatherlight._bus.address import Address, node_named

_MOST_MOVES = 5  # from server to server for one command
_MOST_NODES = 256

_REDIRECTION = re.compile(r"(?:(MOVED|ASK) )?[0-9]+ (\S*):([0-9]+)")

_ONLY = ""  # the server of a bus that has one


class Nodes:
    """The servers of a cluster that are known: those of the address, and what they tell."""

    def __init__(self, address: Address) -> None:
        self._known = address.nodes or (_ONLY,)

    def turn(self, number: int) -> str:
        """The one to begin with: another one each time, for one may be gone."""
        return self._known[number % len(self._known)]

    def learn(self, nodes: list[str]) -> None:
        """Others of the same cluster."""
        fresh = [node for node in dict.fromkeys(nodes) if node not in self._known]
        self._known = (*self._known, *fresh)[:_MOST_NODES]


class Servers:
    """What one thread asks of the bus, one stream in each command.

    In a cluster a server that does not have a stream says who has. So nothing but the
    rights to the streams is needed, which the clients of redis-py for clusters go beyond:
    they ask for the table of all commands.
    """

    def __init__(self, address: Address, nodes: Nodes, turn: int) -> None:
        self._address, self._nodes = address, nodes
        self._begin = nodes.turn(turn)
        self._homes: dict[str, str] = {}
        self._clients: dict[str, Any] = {}
        self._asked = not address.cluster

    def time(self) -> tuple[int, int]:
        """Seconds and microseconds by the clock of a server."""
        client = self._client(next(iter(self._homes.values()), self._begin))
        seconds, micros = client.time()
        return int(seconds), int(micros)

    def xadd(self, stream: str, fields: Mapping[str, Any]) -> None:
        """Appends an entry."""
        self._at_home(stream, lambda client: client.xadd(stream, dict(fields)))

    def xread(self, stream: str, after: str, count: int, block: int | None) -> Any:
        """Entries behind one, as redis-py gives them."""
        return self._at_home(
            stream, lambda client: client.xread({stream: after}, count=count, block=block)
        )

    def disconnect(self) -> None:
        """Ends all connections; another thread may do it to one that waits."""
        for client in list(self._clients.values()):
            client.connection_pool.disconnect()

    def _at_home(self, stream: str, ask: Callable[[Any], Any]) -> Any:
        self._look_around()
        node = self._homes.get(stream, self._begin)
        for _ in range(_MOST_MOVES):
            try:
                return ask(self._client(node))
            except redis.ResponseError as error:
                sent = redirection(error, node) if self._address.cluster else None
                if sent is None:
                    raise
                node, for_good = sent
            if for_good:
                self._homes[stream] = node
            else:  # the stream moves just now, and this command alone goes there
                self._client(node).execute_command("ASKING")
        raise redis.ConnectionError(f"no server has {stream}: each names another one")

    def _look_around(self) -> None:
        """Asks once for the other servers, in case this one goes; who may not, goes without."""
        if self._asked:
            return
        self._asked = True
        with contextlib.suppress(redis.ResponseError):
            slots = self._client(self._begin).execute_command("CLUSTER", "SLOTS")
            told = [place for row in slots for place in row[2:]]
            self._nodes.learn([node_named(_text(p[0]), int(p[1])) for p in told if p[0]])

    def _client(self, node: str) -> Any:
        if node not in self._clients:
            url = self._address.at(node) if node else self._address.url
            options = self._address.options
            self._clients[node] = redis.Redis.from_url(url, max_connections=1, **options)
        return self._clients[node]


def redirection(error: redis.ResponseError, node: str) -> tuple[str, bool] | None:
    """The server that an answer of another names, and whether it stays that; or None.

    Older releases of redis-py have no errors of their own for it outside of their cluster
    clients, and newer ones cut the word in front.
    """
    found = _REDIRECTION.fullmatch(str(error))
    if found is None:
        return None
    kind, host, port = found.groups()
    kind = kind or ("MOVED" if isinstance(error, MovedError) else "ASK")
    host = host or node.rpartition(":")[0].strip("[]")  # without one it is who answered
    return node_named(host, int(port)), kind == "MOVED"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
