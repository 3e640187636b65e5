"""Kernels: fetching the bytes that an attach order announces."""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from http.client import HTTPException, HTTPMessage
from typing import IO, Protocol
from urllib.parse import urlsplit

from weatherlight._bus.config import CA_FILE_ENV, BusConfig
from weatherlight._wire.orders import Order
from weatherlight.errors import ConfigError

MAX_KERNEL = 16 << 20
MAX_SIGNATURE = 8 << 10
FETCH_SECONDS = 30.0
_HOT = 8
_CHUNK = 256 << 10

UNSPECIFIED, UNREACHABLE, MISMATCH, UNSIGNED = 0, 1, 2, 3
BLEND, NO_ROOM = 7, 8


class AttachError(Exception):
    """Why a kernel cannot be attached; reason is an attach_reason of docs/trainers.md."""

    def __init__(self, reason: int, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        return None


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None of what is not http or names a user."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname.lower(), port or {"http": 80, "https": 443}[parts.scheme]


def _https(ca_file: str) -> urllib.request.HTTPSHandler:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # as is what ssl says of it
            raise ConfigError(f"{CA_FILE_ENV} cannot be read: {error}") from None
    return urllib.request.HTTPSHandler(context=context)


class Fetcher:
    """Reads kernels by path or from one origin, within bounds of time and size."""

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        self._origin = origin_of(config.kernel_origin) if config.kernel_origin else None
        if config.kernel_origin and self._origin is None:
            raise ConfigError(f"kernel_origin {config.kernel_origin[:80]!r} is no http(s)://host")
        self._hot: OrderedDict[str, bytes] = OrderedDict()
        # No proxy: the token is for the origin alone.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect, _https(config.ca_file)
        )

    def fetch(self, order: Order, seconds: float = FETCH_SECONDS) -> bytes:
        """The bytes of an attach order's kernel.

        Raises:
            AttachError: they cannot be had, or are not those announced.
        """
        if order.checksum in self._hot:
            self._hot.move_to_end(order.checksum)
            return self._hot[order.checksum]
        until = time.monotonic() + seconds
        worst, told = UNREACHABLE, []
        for way in self._config.kernel_access:
            where = order.ref if way == "path" else order.url
            if not where:
                continue
            try:
                content = self._checked(way, where, order.checksum, until)
            except AttachError as error:
                worst = max(worst, error.reason)
                told.append(str(error))
                continue
            self._keep(order.checksum, content)
            return content
        raise AttachError(worst, "; ".join(told) or "the kernel lies nowhere that can be reached")

    def _keep(self, checksum: str, content: bytes) -> None:
        self._hot[checksum] = content
        if len(self._hot) > _HOT:
            self._hot.popitem(last=False)

    def _checked(self, way: str, where: str, checksum: str, until: float) -> bytes:
        content = self._read(way, where, MAX_KERNEL, until, UNREACHABLE)
        if (got := hashlib.sha256(content).hexdigest()) != checksum:
            raise AttachError(MISMATCH, f"{where[:200]!r} has the SHA-256 {got}, not the announced")
        keys = self._config.trusted_keys
        if keys:
            signature = self._read(way, where + ".minisig", MAX_SIGNATURE, until, UNSIGNED)
            if not any(key.signed(content, signature) for key in keys):
                raise AttachError(UNSIGNED, f"{where[:200]!r} is signed by no trusted key")
        return content

    def _read(self, way: str, where: str, most: int, until: float, reason: int) -> bytes:
        try:
            return self._by_path(where, most) if way == "path" else self._get(where, most, until)
        except (OSError, ValueError, HTTPException) as error:
            why = self._config.redact(f"{where[:200]!r} cannot be read: {error}")
            raise AttachError(reason, why) from None

    def _by_path(self, where: str, most: int) -> bytes:
        path = where[len("file://") :] if where.startswith("file://") else where
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("no regular file")
            return _bounded(file, most, None)

    def _get(self, url: str, most: int, until: float) -> bytes:
        if self._origin is None or origin_of(url) != self._origin:
            raise ValueError("not of the origin that this trainer takes kernels from")
        request = urllib.request.Request(url)  # noqa: S310  (the scheme was looked at)
        if self._config.token:
            request.add_header("Authorization", "Bearer " + self._config.token)
        left = max(until - time.monotonic(), 0.01)
        with self._opener.open(request, timeout=left) as answer:
            return _bounded(answer, most, until)


def _bounded(reader: _Reader, most: int, until: float | None) -> bytes:
    parts, size = [], 0
    while part := reader.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > most:
            raise ValueError(f"larger than {most} bytes")
        if until is not None and time.monotonic() > until:
            raise ValueError("it took too long")
    return b"".join(parts)
