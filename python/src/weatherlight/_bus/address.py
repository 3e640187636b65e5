"""Addresses of the bus, written as for the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
import redis.backoff
import redis.retry

from weatherlight.errors import ConfigError

_SCHEMES = ("redis", "rediss", "unix")
_DEFAULT_PORT = 6379
# What the service's client is told there, and ours has no use for.
_ITS_OWN = ("dial_timeout", "write_timeout", "client_cache", "max_retries", "protocol")

_SOCKET_SECONDS = 15.0  # longer than XREAD may block
_CONNECT_SECONDS = 5.0
# Every server speaks it alike; newer clients would begin with RESP3.
_RESP2: dict[str, Any] = {"protocol": 2} if int(redis.__version__.split(".")[0]) >= 5 else {}


@dataclass(frozen=True)
class Address:
    """One server, or the servers of a cluster that are known from the start."""

    url: str = field(repr=False)  # of the first server, as redis-py reads it
    nodes: tuple[str, ...] = ()  # host:port of each, the first one included; of a cluster alone
    authority: str = ""  # file of certificate authorities that count beside the system's

    @property
    def cluster(self) -> bool:
        """Whether keys live on several servers."""
        return bool(self.nodes)

    def at(self, node: str) -> str:
        """The URL of one of the servers, with the same credentials."""
        parts = urlsplit(self.url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=user + at + node))

    @property
    def options(self) -> dict[str, Any]:
        """What redis-py is told beside the URL."""
        told = {
            "socket_timeout": _SOCKET_SECONDS,
            "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            **_RESP2,
        }
        if not self.url.startswith("unix:"):
            told["socket_connect_timeout"] = _CONNECT_SECONDS
        if self.url.startswith("rediss:"):
            told["ssl_check_hostname"] = True  # older releases do not of themselves
        if self.authority:
            told["ssl_ca_certs"] = self.authority
        return told


def read_address(url: str) -> Address:
    """Reads an address: redis://, rediss:// or unix://, a cluster by its query.

    Raises:
        ConfigError: it is none that can be used here. The text does not repeat it, for it
            may hold a password.
    """
    scheme, marked, _ = url.partition("://")
    if scheme not in _SCHEMES:
        given = f"{scheme[:20]!r}" if marked else "a text without one of them"
        raise ConfigError(
            f"the bus is redis://, rediss:// or unix://, not {given}; "
            'bus="local" starts a service with a bus of its own'
        )
    try:
        parts = urlsplit(url)
        first = node_named(parts.hostname or "localhost", parts.port or _DEFAULT_PORT)
    except ValueError:
        raise ConfigError("the URL of the bus cannot be read") from None
    query = parse_qsl(parts.query)
    told = dict(query)
    further = [value for name, value in query if name == "addr"]
    _check(scheme, told, further)
    rest = [(n, v) for n, v in query if n not in ("addr", "cluster", "ca", *_ITS_OWN)]
    cluster = bool(further) or told.get("cluster") == "true"
    # Put together of its parts, a URL without a host would lose its slashes.
    place = url.partition("#")[0].partition("?")[0]
    address = Address(
        f"{place}?{urlencode(rest)}" if rest else place,
        (first, *further) if cluster else (),
        told.get("ca", ""),
    )
    _try(address, [name for name, _ in rest])
    return address


def _try(address: Address, names: list[str]) -> None:
    """Makes a connection, which does not connect: what redis-py cannot read it says then."""
    try:
        redis.ConnectionPool.from_url(address.url, **address.options).make_connection()
    except (ValueError, TypeError, AttributeError, redis.RedisError):
        asked = f": is {', '.join(names)[:80]} known to redis-py?" if names else ""
        raise ConfigError(f"the URL of the bus cannot be read{asked}") from None


def _check(scheme: str, told: dict[str, str], further: list[str]) -> None:
    if "master_set" in told:
        raise ConfigError("Sentinel is not asked here: give the address of the server itself")
    unverified = told.get("ssl_cert_reqs", "required") != "required"
    if unverified or "skip_verify" in told or "ssl_check_hostname" in told:
        raise ConfigError("certificates are verified here: give the authority as ca=, a PEM file")
    if scheme == "unix" and (further or "cluster" in told):
        raise ConfigError("a cluster is not reached by a socket of one server")
    if any("@" in node or not node.rpartition(":")[2].isdigit() for node in further):
        raise ConfigError("addr is host:port; credentials stand in front of the first host only")
    if told.get("ca") and scheme != "rediss":
        raise ConfigError("ca is given, but the address is not rediss://")


def node_named(host: str, port: int) -> str:
    """A server as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
