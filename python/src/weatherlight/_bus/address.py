"""Addresses of the bus, written as for the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from weatherlight.errors import ConfigError

_SCHEMES = ("redis", "rediss", "unix")
_DEFAULT_PORT = 6379
# What the service's client is told there, and ours has no use for.
_ITS_OWN = ("dial_timeout", "write_timeout", "client_cache", "max_retries", "protocol")


@dataclass(frozen=True)
class Address:
    """One server, or the servers of a cluster that are known from the start."""

    url: str = field(repr=False)  # of the first server, as redis-py reads it
    nodes: tuple[str, ...] = ()  # host:port of each, the first one included; of a cluster alone
    authority: str = ""  # file of the certificate authorities that count [the system's]

    @property
    def cluster(self) -> bool:
        """Whether keys live on several servers."""
        return bool(self.nodes)

    def at(self, node: str) -> str:
        """The URL of one of the servers, with the same credentials."""
        parts = urlsplit(self.url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=user + at + node))


def read_address(url: str) -> Address:
    """Reads an address: redis://, rediss:// or unix://, a cluster by its query.

    Raises:
        ConfigError: it is none that can be used here. The text does not repeat it, for it
            may hold a password.
    """
    scheme = url.partition(":")[0]
    if scheme not in _SCHEMES:
        raise ConfigError(
            f"the bus is redis://, rediss:// or unix://, not {scheme[:20]!r}; "
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
    return Address(
        urlunsplit(parts._replace(query=urlencode(rest))),
        (first, *further) if cluster else (),
        told.get("ca", ""),
    )


def _check(scheme: str, told: dict[str, str], further: list[str]) -> None:
    if "master_set" in told:
        raise ConfigError("Sentinel is not asked here: give the address of the server itself")
    if "skip_verify" in told:
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
