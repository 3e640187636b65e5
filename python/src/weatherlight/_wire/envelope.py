"""Entries of streams: sealing what is published, opening what is read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.shape import well_formed

FRESH_MS = 120_000
SKEW_MS = 5_000
MAX_ENVELOPE = 256 << 10

# What is published here, and as which type.
TYPES: Mapping[type[Any], int] = {
    leyline.SystemStatePacket: leyline.BUS_MESSAGE_TYPE_SYSTEM_STATE,
    leyline.EmergencySignal: leyline.BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL,
}


class Dropped(Exception):  # noqa: N818  (it is no error of ours)
    """A message that does not count; the reason is one of docs/trainers.md."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Message(Protocol):
    """What protobuf makes of a message."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802


def seal(
    keyring: Keyring,
    stream: str,
    message_type: int,
    message: Message,
    attributes: Mapping[str, str],
    *,
    now_ms: int,
) -> tuple[bytes, str]:
    """The fields payload and signature of an entry for a stream."""
    envelope = leyline.BusEnvelope(payload=message.SerializeToString())
    envelope.message_type = message_type  # type: ignore[assignment]
    bound = {
        "stream": stream,
        "issued_at_ms": str(now_ms),
        "nonce": secrets.token_hex(8),
        "key_id": keyring.key_id,
    }
    for name, text in {**attributes, **bound}.items():
        envelope.attributes[name] = text
    data = envelope.SerializeToString()
    return data, keyring.sign(data)


def open_command(
    keyring: Keyring, stream: str, entry_id: str, fields: Mapping[bytes, bytes]
) -> leyline.AdaptationCommand:
    """The signed command in an entry of an order stream.

    Raises:
        Dropped: the entry is none.
    """
    payload, signature = fields.get(b"payload"), fields.get(b"signature")
    if payload is None or len(payload) > MAX_ENVELOPE:
        raise Dropped("undecodable")
    if not signature:
        raise Dropped("unsigned")
    if not keyring.verifies(payload, signature):
        raise Dropped("bad_signature")
    try:
        envelope: leyline.BusEnvelope = _read(leyline.BusEnvelope, payload)
    except DecodeError as error:
        raise Dropped("undecodable") from error
    _check_binding(envelope, stream, entry_id)
    try:
        command: leyline.AdaptationCommand = _read(leyline.AdaptationCommand, envelope.payload)
    except DecodeError as error:
        raise Dropped("undecodable") from error
    signature = command.annotations.get("signature", "").encode()
    if not signature or not keyring.verifies(signed_bytes(command), signature):
        raise Dropped("signature")
    return command


def _read(kind: type[Any], data: bytes) -> Any:
    if not well_formed(data, kind.DESCRIPTOR):
        raise DecodeError("the bytes have no form of a message")
    return kind.FromString(data)


def _check_binding(envelope: leyline.BusEnvelope, stream: str, entry_id: str) -> None:
    attributes = envelope.attributes
    if not all(attributes.get(name) for name in ("stream", "issued_at_ms", "nonce")):
        raise Dropped("unbound")
    if attributes["stream"] != stream:
        raise Dropped("foreign_stream")
    if envelope.message_type != leyline.BUS_MESSAGE_TYPE_ADAPTATION_COMMAND:
        raise Dropped("wrong_type")
    try:
        age = int(entry_id.partition("-")[0]) - int(attributes["issued_at_ms"])
    except ValueError as error:
        raise Dropped("unbound") from error
    if age > FRESH_MS:
        raise Dropped("stale")
    if age < -SKEW_MS:
        raise Dropped("future")


def signed_bytes(command: leyline.AdaptationCommand) -> bytes:
    """What the signature of a command covers."""
    bare = leyline.AdaptationCommand()
    bare.CopyFrom(command)
    if "signature" in bare.annotations:
        del bare.annotations["signature"]
    return bare.SerializeToString(deterministic=True)
