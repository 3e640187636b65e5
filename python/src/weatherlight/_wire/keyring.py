"""The shared secret: signing and verifying, without ever showing it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NoReturn

_KEY_ID_DOMAIN = b"weatherlight key id"


class Keyring:
    """Signs with one secret and accepts others beside it, for a rotation.

    Secrets are used raw, as UTF-8: neither trimmed nor decoded.
    """

    __slots__ = ("_keys", "_secrets", "key_id")

    def __init__(self, current: str, *previous: str) -> None:
        if not current.strip():
            raise ValueError("the signing secret is blank")
        self._secrets = (current, *(text for text in previous if text.strip() and text != current))
        self._keys = tuple(text.encode() for text in self._secrets)
        digest = hmac.new(self._keys[0], _KEY_ID_DOMAIN, hashlib.sha256).hexdigest()
        self.key_id = digest[:8]

    def sign(self, data: bytes) -> str:
        """The signature of data, in base64."""
        return base64.b64encode(hmac.new(self._keys[0], data, hashlib.sha256).digest()).decode()

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature over data was made with one of the secrets."""
        good = False
        for key in self._keys:
            own = base64.b64encode(hmac.new(key, data, hashlib.sha256).digest())
            good |= hmac.compare_digest(own, signature)
        return good

    def redact(self, text: str) -> str:
        """The text with every secret in it blotted out."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def __repr__(self) -> str:
        return f"Keyring(key_id={self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a keyring holds secrets and is not to be written down")
