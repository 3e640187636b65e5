"""The shape of protobuf bytes, looked at before a library reads them.

Releases of protobuf differ in what they make of bytes that no library writes: one of
them (4.21 of PyPI) does not survive an unknown field in an entry of a map.
"""

from __future__ import annotations

from typing import Any

_MAX_DEPTH = 32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _OddError(Exception):
    pass


def well_formed(data: bytes, message: Any) -> bool:
    """Whether bytes have the outer form of a message: no groups, nothing odd in maps.

    Args:
        data: The bytes.
        message: The descriptor of the message.
    """
    try:
        _look(data, message, 0)
    except _OddError:
        return False
    return True


def _look(data: bytes, message: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _OddError
    most = 2 if message.GetOptions().map_entry else 1 << 29
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= most:
            raise _OddError
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            field = message.fields_by_number.get(number)
            if field is not None and field.message_type is not None:
                _look(data[at : at + size], field.message_type, depth + 1)
            at += size
        else:
            raise _OddError
        if at > len(data):
            raise _OddError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _OddError
