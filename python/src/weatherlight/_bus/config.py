"""Where the bus is, and what is trusted: from arguments and the environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from weatherlight._bus.address import Address, read_address
from weatherlight._bus.minisign import PublicKey
from weatherlight._wire.keyring import Keyring
from weatherlight.errors import ConfigError

DEFAULT_URL = "redis://localhost:6379/0"
SECRET_ENV = "ESPER_LEYLINE_SECRET"  # noqa: S105  (the name of the variable)
CA_FILE_ENV = "ESPER_CA_FILE"
_TOKEN_ENV = "WEATHERLIGHT_HTTP_TOKEN"  # noqa: S105  (the name of the variable)
_MAX_SECRET_FILE = 64 << 10


@dataclass(frozen=True)
class BusConfig:
    """Everything that the background needs. Its repr shows no secret."""

    address: Address
    keyring: Keyring
    normal: str = "oona.normal"
    emergency: str = "oona.emergency"
    kernel_origin: str = ""
    token: str = field(default="", repr=False)
    ca_file: str = ""  # of those who sign the certificate of that origin, beside the machine's
    trusted_keys: Sequence[PublicKey] = ()

    @property
    def kernel_access(self) -> tuple[str, ...]:
        """The ways to a kernel, in the order of preference."""
        return ("path", "http") if self.kernel_origin else ("path",)

    def redact(self, text: str) -> str:
        """The text without the secrets and passwords of this configuration."""
        password = urlsplit(self.address.url).password
        for hidden in (self.token, password, unquote(password or "")):
            if hidden:
                text = text.replace(hidden, "***")
        return self.keyring.redact(text)


def read_config(
    url: str | None,
    secret: str | None,
    kernel_origin: str | None = None,
    token: str | None = None,
    *,
    trusted_keys: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> BusConfig:
    """Completes arguments by the environment.

    Raises:
        ConfigError: there is no secret, or something does not fit.
    """
    url = url or environ.get("REDIS_URL", "").strip() or DEFAULT_URL
    return BusConfig(
        address=read_address(url),
        keyring=read_keyring(secret, environ),
        normal=environ.get("OONA_NORMAL_STREAM", "").strip() or "oona.normal",
        emergency=environ.get("OONA_EMERGENCY_STREAM", "").strip() or "oona.emergency",
        kernel_origin=kernel_origin or environ.get("WEATHERLIGHT_KERNEL_ORIGIN", "").strip(),
        token=token or _read_token(environ),
        ca_file=environ.get(CA_FILE_ENV, "").strip(),
        trusted_keys=tuple(map(_public_key, trusted_keys)),
    )


def _public_key(text: str) -> PublicKey:
    try:
        return PublicKey(text)
    except ValueError as error:
        raise ConfigError(f"trusted_keys: {error}") from None


def read_keyring(secret: str | None, environ: Mapping[str, str]) -> Keyring:
    """The secrets that the service's settings name; the first one signs."""
    named = [environ.get(SECRET_ENV, "")]
    named += environ.get(SECRET_ENV + "_PREVIOUS", "").split(",")
    if path := environ.get(SECRET_ENV + "_FILE", "").strip():
        named = [*_read_secrets(path, SECRET_ENV), *named]
    if secret is not None:
        named = [secret, *named]
    present = list(dict.fromkeys(text for text in named if text.strip()))
    if not present:
        raise ConfigError(
            f"there is no secret: set {SECRET_ENV} to that of the service, "
            'or use bus="local" when there is no service'
        )
    return Keyring(*present)


def _read_token(environ: Mapping[str, str]) -> str:
    """The first of the file of tokens, or else the one that is named."""
    if path := environ.get(_TOKEN_ENV + "_FILE", "").strip():
        return _read_secrets(path, _TOKEN_ENV)[0].strip()
    return environ.get(_TOKEN_ENV, "").strip()


def _read_secrets(path: str, env: str) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # As the service does, without the mark that some editors write in front of a text.
        with open(descriptor, encoding="utf-8-sig", newline="") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{env}_FILE is no regular file")
            lines = file.read(_MAX_SECRET_FILE).split("\n")
    except (OSError, UnicodeError):  # whose text may hold a part of what was read
        raise ConfigError(f"{env}_FILE cannot be read") from None
    secrets = [line.rstrip("\r") for line in lines if line.strip()]
    if not secrets:
        raise ConfigError(f"{env}_FILE holds no secret")
    return secrets
