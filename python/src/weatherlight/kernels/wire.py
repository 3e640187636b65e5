"""The wire form of a kernel file.

Reads and writes the part of ONNX's protobuf messages that the profile has, and nothing
else: a field that is not in a message's table is refused where it stands, before anything
behind it is looked at. There is no third party's decoder that could do more with a file.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from weatherlight.kernels.errors import KernelInvalidError
from weatherlight.kernels.limits import (
    MAX_FIELDS,
    MAX_FILE_BYTES,
    MAX_LIST,
    MAX_STRUCTURE_BYTES,
)

FLOAT, INT64, BOOL = 1, 7, 9
"""Element types of tensors."""

ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS = 1, 2, 7
"""Types of attributes."""


@dataclass(slots=True)
class Dimension:
    """`TensorShapeProto.Dimension`."""

    dim_value: int = 0
    dim_param: str = ""


@dataclass(slots=True)
class TensorShape:
    """`TensorShapeProto`."""

    dim: list[Dimension] = field(default_factory=list)


@dataclass(slots=True)
class TensorType:
    """`TypeProto.Tensor`."""

    elem_type: int = 0
    shape: TensorShape | None = None


@dataclass(slots=True)
class Type:
    """`TypeProto`."""

    tensor_type: TensorType | None = None


@dataclass(slots=True)
class ValueInfo:
    """`ValueInfoProto`."""

    name: str = ""
    type: Type | None = None
    doc_string: str = ""


@dataclass(slots=True)
class Initializer:
    """`TensorProto`."""

    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    name: str = ""
    raw_data: bytes = b""
    doc_string: str = ""


@dataclass(slots=True)
class Attribute:
    """`AttributeProto`."""

    name: str = ""
    f: float = 0.0
    i: int = 0
    ints: list[int] = field(default_factory=list)
    doc_string: str = ""
    type: int = 0


@dataclass(slots=True)
class Node:
    """`NodeProto`."""

    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    name: str = ""
    op_type: str = ""
    attribute: list[Attribute] = field(default_factory=list)
    doc_string: str = ""
    domain: str = ""


@dataclass(slots=True)
class Graph:
    """`GraphProto`."""

    node: list[Node] = field(default_factory=list)
    name: str = ""
    initializer: list[Initializer] = field(default_factory=list)
    doc_string: str = ""
    input: list[ValueInfo] = field(default_factory=list)
    output: list[ValueInfo] = field(default_factory=list)


@dataclass(slots=True)
class OperatorSet:
    """`OperatorSetIdProto`."""

    domain: str = ""
    version: int = 0


@dataclass(slots=True)
class Entry:
    """`StringStringEntryProto`."""

    key: str = ""
    value: str = ""


@dataclass(slots=True)
class Model:
    """`ModelProto`."""

    ir_version: int = 0
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int = 0
    doc_string: str = ""
    graph: Graph | None = None
    opset_import: list[OperatorSet] = field(default_factory=list)
    metadata_props: list[Entry] = field(default_factory=list)


class _Form(enum.Enum):
    """How a field is written."""

    TEXT = enum.auto()
    TEXTS = enum.auto()
    DATA = enum.auto()
    INT32 = enum.auto()
    INT64 = enum.auto()
    INT64S = enum.auto()
    FLOAT = enum.auto()
    MESSAGE = enum.auto()
    MESSAGES = enum.auto()


class _Field(NamedTuple):
    name: str
    form: _Form
    message: type | None = None


FIELDS: dict[type, dict[int, _Field]] = {
    Model: {
        1: _Field("ir_version", _Form.INT64),
        2: _Field("producer_name", _Form.TEXT),
        3: _Field("producer_version", _Form.TEXT),
        4: _Field("domain", _Form.TEXT),
        5: _Field("model_version", _Form.INT64),
        6: _Field("doc_string", _Form.TEXT),
        7: _Field("graph", _Form.MESSAGE, Graph),
        8: _Field("opset_import", _Form.MESSAGES, OperatorSet),
        14: _Field("metadata_props", _Form.MESSAGES, Entry),
    },
    OperatorSet: {1: _Field("domain", _Form.TEXT), 2: _Field("version", _Form.INT64)},
    Entry: {1: _Field("key", _Form.TEXT), 2: _Field("value", _Form.TEXT)},
    Graph: {
        1: _Field("node", _Form.MESSAGES, Node),
        2: _Field("name", _Form.TEXT),
        5: _Field("initializer", _Form.MESSAGES, Initializer),
        10: _Field("doc_string", _Form.TEXT),
        11: _Field("input", _Form.MESSAGES, ValueInfo),
        12: _Field("output", _Form.MESSAGES, ValueInfo),
    },
    Node: {
        1: _Field("input", _Form.TEXTS),
        2: _Field("output", _Form.TEXTS),
        3: _Field("name", _Form.TEXT),
        4: _Field("op_type", _Form.TEXT),
        5: _Field("attribute", _Form.MESSAGES, Attribute),
        6: _Field("doc_string", _Form.TEXT),
        7: _Field("domain", _Form.TEXT),
    },
    Attribute: {
        1: _Field("name", _Form.TEXT),
        2: _Field("f", _Form.FLOAT),
        3: _Field("i", _Form.INT64),
        8: _Field("ints", _Form.INT64S),
        13: _Field("doc_string", _Form.TEXT),
        20: _Field("type", _Form.INT32),
    },
    Initializer: {
        1: _Field("dims", _Form.INT64S),
        2: _Field("data_type", _Form.INT32),
        8: _Field("name", _Form.TEXT),
        9: _Field("raw_data", _Form.DATA),
        12: _Field("doc_string", _Form.TEXT),
    },
    ValueInfo: {
        1: _Field("name", _Form.TEXT),
        2: _Field("type", _Form.MESSAGE, Type),
        3: _Field("doc_string", _Form.TEXT),
    },
    Type: {1: _Field("tensor_type", _Form.MESSAGE, TensorType)},
    TensorType: {
        1: _Field("elem_type", _Form.INT32),
        2: _Field("shape", _Form.MESSAGE, TensorShape),
    },
    TensorShape: {1: _Field("dim", _Form.MESSAGES, Dimension)},
    Dimension: {1: _Field("dim_value", _Form.INT64), 2: _Field("dim_param", _Form.TEXT)},
}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_WIRE_TYPES = {
    _Form.TEXT: {_BYTES},
    _Form.TEXTS: {_BYTES},
    _Form.DATA: {_BYTES},
    _Form.INT32: {_VARINT},
    _Form.INT64: {_VARINT},
    _Form.INT64S: {_VARINT, _BYTES},
    _Form.FLOAT: {_FIXED32},
    _Form.MESSAGE: {_BYTES},
    _Form.MESSAGES: {_BYTES},
}


def decode(file: bytes) -> Model:
    """Reads a file.

    Raises:
        KernelInvalidError: It is no ONNX file, passes a bound, or holds a field that the
            profile does not have.
    """
    if len(file) > MAX_FILE_BYTES:
        raise KernelInvalidError(f"file of {len(file)} bytes, at most {MAX_FILE_BYTES} are allowed")
    model = Model()
    _Reader().message(memoryview(file), model)
    return model


class _Reader:
    """Reads messages within a budget of fields and of bytes besides the tensors' data."""

    def __init__(self) -> None:
        self._fields = MAX_FIELDS
        self._bytes = MAX_STRUCTURE_BYTES

    def message(self, data: memoryview, into: object) -> None:
        """Reads the fields of a message as protobuf does.

        Of one that is there twice the last holds, but lists and messages go on.
        """
        table, at = FIELDS[type(into)], 0
        while at < len(data):
            key, at = _varint(data, at)
            number, wire_type = key >> 3, key & 7
            known = table.get(number)
            if known is None:
                raise KernelInvalidError(
                    f"{type(into).__name__} holds field {number}, which the profile does not have"
                )
            if wire_type not in _WIRE_TYPES[known.form]:
                raise KernelInvalidError(
                    f"{type(into).__name__}.{known.name} has the wrong wire type {wire_type}"
                )
            value, (start, at) = at, _content(data, at, wire_type)
            self._charge(known, at - value)
            self._put(into, known, wire_type, data[start:at])

    def _charge(self, known: _Field, size: int) -> None:
        self._fields -= 1
        if self._fields < 0:
            raise KernelInvalidError(f"more than {MAX_FIELDS} fields")
        if known.message is not None or known.form is _Form.DATA:
            return
        self._bytes -= size
        if self._bytes < 0:
            raise KernelInvalidError(
                f"more than {MAX_STRUCTURE_BYTES} bytes besides the initialisers' data"
            )

    def _put(self, into: object, known: _Field, wire_type: int, content: memoryview) -> None:
        name = known.name
        match known.form:
            case _Form.TEXT:
                setattr(into, name, _text(content))
            case _Form.TEXTS:
                getattr(into, name).append(_text(content))
            case _Form.DATA:
                setattr(into, name, bytes(content))
            case _Form.INT32:
                setattr(into, name, _int32(content))
            case _Form.INT64:
                setattr(into, name, _int64(content))
            case _Form.INT64S:
                _extend(getattr(into, name), wire_type, content)
            case _Form.FLOAT:
                setattr(into, name, struct.unpack("<f", content)[0])
            case _Form.MESSAGE:
                if getattr(into, name) is None:
                    setattr(into, name, cast(type, known.message)())
                self.message(content, getattr(into, name))
            case _Form.MESSAGES:
                member = cast(type, known.message)()
                getattr(into, name).append(member)
                self.message(content, member)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise KernelInvalidError("not an ONNX file: a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise KernelInvalidError("not an ONNX file: a number has more than 64 bits")


def _content(data: memoryview, at: int, wire_type: int) -> tuple[int, int]:
    """Where the content of a field begins and where it ends."""
    if wire_type == _VARINT:
        return at, _varint(data, at)[1]
    size = 4
    if wire_type == _BYTES:
        size, at = _varint(data, at)
    if size > len(data) - at:
        raise KernelInvalidError("not an ONNX file: a field is cut off")
    return at, at + size


def _text(content: memoryview) -> str:
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise KernelInvalidError(f"not an ONNX file: {error}") from error


def _int64(content: memoryview) -> int:
    value, _ = _varint(content, 0)
    return value - (1 << 64) if value >= 1 << 63 else value


def _int32(content: memoryview) -> int:
    value = _int64(content)
    if not -(1 << 31) <= value < 1 << 31:
        raise KernelInvalidError(f"the number {value} has more than 32 bits")
    return value


def _extend(numbers: list[int], wire_type: int, content: memoryview) -> None:
    """Adds to a list, in which each number is a field or many share one."""
    at = 0
    while at < len(content):
        if len(numbers) == MAX_LIST:
            raise KernelInvalidError(f"a list of more than {MAX_LIST} numbers")
        end = _varint(content, at)[1]
        numbers.append(_int64(content[at:end]))
        at = end
        if wire_type == _VARINT:
            return


def encode(message: object) -> bytes:
    """Writes a message, with its fields by their numbers.

    Zeros are left out, but for those of attributes: ONNX wants the field of an attribute's
    type there.
    """
    return b"".join(_pieces(message))


def _pieces(message: object) -> Iterator[bytes]:
    for number, known in FIELDS[type(message)].items():
        value = getattr(message, known.name)
        if value or _is_wanted(message, known):
            yield from _written(number, known.form, value)


def _is_wanted(message: object, known: _Field) -> bool:
    if not isinstance(message, Attribute):
        return False
    return (known.name, message.type) in {("i", ATTRIBUTE_INT), ("f", ATTRIBUTE_FLOAT)}


def _written(number: int, form: _Form, value: Any) -> Iterator[bytes]:
    match form:
        case _Form.TEXT:
            yield from _sized(number, value.encode())
        case _Form.TEXTS:
            for text in value:
                yield from _sized(number, text.encode())
        case _Form.DATA:
            yield from _sized(number, value)
        case _Form.INT32 | _Form.INT64:
            yield _number(number << 3 | _VARINT) + _number(value)
        case _Form.INT64S:
            yield from _sized(number, b"".join(map(_number, value)))
        case _Form.FLOAT:
            yield _number(number << 3 | _FIXED32) + struct.pack("<f", value)
        case _Form.MESSAGE:
            yield from _sized(number, encode(value))
        case _Form.MESSAGES:
            for member in value:
                yield from _sized(number, encode(member))


def _sized(number: int, content: bytes) -> Iterator[bytes]:
    yield _number(number << 3 | _BYTES) + _number(len(content))
    yield content


def _number(value: int) -> bytes:
    value %= 1 << 64
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
