"""Verifying minisign signatures, with the package cryptography where it is there."""

from __future__ import annotations

import base64
import binascii
import hashlib

_KEY_BYTES = 42  # algorithm, key id, Ed25519 key
_SIGNATURE_BYTES = 74
_COMMENT = b"trusted comment: "


class PublicKey:
    """A minisign public key: the base64 text, or the two lines of a .pub file."""

    def __init__(self, text: str) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
                Ed25519PublicKey,
            )
        except ImportError:
            raise ValueError("signed kernels need the package cryptography") from None
        lines = text.strip().splitlines()
        raw = _decode(lines[-1].encode(), _KEY_BYTES) if lines else None
        if raw is None or raw[:2] != b"Ed":
            raise ValueError(f"{text[:60]!r} is no minisign public key")
        self._id = raw[2:10]
        self._key = Ed25519PublicKey.from_public_bytes(raw[10:])

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether the text of a .minisig file is this key's signature of content."""
        lines = signature.strip().splitlines()
        if len(lines) != 4 or not lines[2].startswith(_COMMENT):
            return False
        raw, outer = _decode(lines[1], _SIGNATURE_BYTES), _decode(lines[3], 64)
        if raw is None or outer is None or raw[2:10] != self._id:
            return False
        message = content
        if raw[:2] == b"ED":
            message = hashlib.blake2b(content).digest()
        elif raw[:2] != b"Ed":
            return False
        comment = lines[2][len(_COMMENT) :]
        return self._verifies(raw[10:], message) and self._verifies(outer, raw[10:] + comment)

    def _verifies(self, signature: bytes, message: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _decode(text: bytes, size: int) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None
