"""Reads a kernel file strictly into a plan of what computes it."""

import struct
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from weatherlight.kernels import wire
from weatherlight.kernels.binding import Binding, Kind, Run, Value, refuse
from weatherlight.kernels.errors import KernelInvalidError
from weatherlight.kernels.limits import (
    BATCH,
    MAX_DIM,
    MAX_INITIALIZERS,
    MAX_LIST,
    MAX_METADATA,
    MAX_NODES,
    MAX_RANK,
    MAX_ROW_ELEMENTS,
    MAX_ROW_WORK,
    MAX_SLOT_RANK,
    MIN_SLOT_RANK,
    Shape,
    check_name,
    check_shape,
    check_text,
    row_size,
)
from weatherlight.kernels.operators import OPERATORS, Operator

_IR_VERSION = 8
_OPSET_VERSION = 17
_HOST = "host"
_SEED = "seed"
_FROZEN = "frozen"
_ATTRIBUTE_TYPES = (wire.ATTRIBUTE_FLOAT, wire.ATTRIBUTE_INT, wire.ATTRIBUTE_INTS)

ABSENT = -1
"""The index of an operand that is left out."""


@dataclass(frozen=True)
class Step:
    """One node: what runs it, on values by their indices."""

    run: Run
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    several: bool = False
    """Whether it returns a tuple."""
    takes_mode: bool = False
    released: tuple[int, ...] = ()
    """Values that no later step reads."""


@dataclass(frozen=True)
class Plan:
    """A kernel that was checked."""

    model: wire.Model
    """As decoded, without the data of what a kernel changes."""
    metadata: dict[str, str]
    input_shape: Shape
    output_shape: Shape
    initializers: list[Value]
    steps: tuple[Step, ...]
    size: int
    """How many values a pass has, initialisers included."""
    result: int
    row_elements: int
    multiply_adds: int


def plan(file: bytes) -> Plan:
    """Checks a file.

    Raises:
        KernelInvalidError: It is outside the profile.
    """
    return _Loader(wire.decode(file)).plan()


@dataclass(slots=True)
class _Node:
    """A node that was bound, with values instead of indices."""

    operator: str
    run: Run
    inputs: list[Value | None]
    outputs: list[Value]
    takes_mode: bool


class _Loader:
    """Checks a model part by part and collects the plan."""

    def __init__(self, model: wire.Model) -> None:
        self._model = model
        self._graph = _checked_header(model)
        self._metadata: dict[str, str] = {}
        self._values: list[Value] = []
        self._names: dict[str, Value] = {}
        self._nodes: list[_Node] = []
        self._elements = self._visits = self._cost = 0

    def plan(self) -> Plan:
        self._add_metadata()
        graph = self._graph
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise refuse(
                f"{len(graph.input)} inputs and {len(graph.output)} outputs, "
                "a kernel has one of each"
            )
        input_shape = _interface(graph.input[0], _HOST)
        output_shape = _interface(graph.output[0], _SEED)
        host = self._define(Value(_HOST, input_shape))
        self._add_initializers()
        self._freeze()
        self._add_nodes()
        result = self._check_result(output_shape)
        self._check_use(host)
        steps = self._steps(result)
        self._forget_data()
        return Plan(
            model=self._model,
            metadata=self._metadata,
            input_shape=input_shape[1:],
            output_shape=output_shape[1:],
            initializers=[value for value in self._values if value.tensor is not None],
            steps=steps,
            size=len(self._values),
            result=result.index,
            row_elements=self._elements,
            multiply_adds=self._cost,
        )

    def _add_metadata(self) -> None:
        entries = self._model.metadata_props
        if len(entries) > MAX_METADATA:
            raise refuse(f"{len(entries)} metadata entries, at most {MAX_METADATA} are allowed")
        for entry in entries:
            check_name("metadata", entry.key)
            if entry.key in self._metadata:
                raise refuse(f"metadata {entry.key!r} twice")
            check_text(f"metadata {entry.key!r}", entry.value)
            self._metadata[entry.key] = entry.value

    def _define(self, value: Value) -> Value:
        """Gives a value the next index, under a name that is free."""
        check_name("value", value.name)
        if value.name in self._names:
            raise refuse(f"{value.name!r} is defined twice")
        check_shape(f"value {value.name}", value.shape)
        value.index = len(self._values)
        self._values.append(value)
        self._names[value.name] = value
        return value

    def _add_initializers(self) -> None:
        initializers = self._graph.initializer
        if len(initializers) > MAX_INITIALIZERS:
            raise refuse(
                f"{len(initializers)} initialisers, at most {MAX_INITIALIZERS} are allowed"
            )
        for initializer in initializers:
            self._define(_read(initializer))

    def _freeze(self) -> None:
        """Marks the initialisers that the metadata keeps from training."""
        listed = self._metadata.get(_FROZEN)
        if not listed:
            return
        for name in listed.split(","):
            value = self._names.get(name)
            if value is None or value.tensor is None or value.kind is not Kind.FLOATS:
                raise refuse(f"frozen name {name!r} is no float initialiser")
            if value.frozen:
                raise refuse(f"frozen name {name!r} is there twice")
            value.frozen = True

    def _add_nodes(self) -> None:
        nodes = self._graph.node
        if not 1 <= len(nodes) <= MAX_NODES:
            raise refuse(f"{len(nodes)} nodes, allowed are 1 to {MAX_NODES}")
        seen: set[str] = set()
        for i, node in enumerate(nodes):
            if node.name and node.name in seen:
                raise refuse(f"node {node.name!r} twice")
            seen.add(node.name)
            try:
                self._add_node(node)
            except KernelInvalidError as error:
                raise refuse(f"node {i} ({node.op_type[:40]!r}): {error}") from error

    def _add_node(self, node: wire.Node) -> None:
        operator = OPERATORS.get(node.op_type)
        if operator is None or node.domain:
            raise refuse(
                f"operator {node.op_type[:40]!r} of domain {node.domain[:40]!r} "
                "is not in the profile"
            )
        if node.name:
            check_name("node", node.name)
        check_text("doc string", node.doc_string)
        inputs, outputs = len(node.input), len(node.output)
        if not operator.least <= inputs <= len(operator.inputs) or not (
            1 <= outputs <= operator.outputs
        ):
            raise refuse(f"{inputs} inputs and {outputs} outputs")
        attributes = _attributes(operator, node.attribute)
        values = [self._use(operator, i, name) for i, name in enumerate(node.input)]
        binding = Binding(inputs=values, attributes=attributes, count=outputs)
        run = operator.bind(binding)
        defined = [
            self._define(Value(name, shape, operator.result))
            for name, shape in zip(node.output, binding.outputs, strict=True)
        ]
        self._charge(binding)
        operands = [v for v in binding.inputs if v is None or _is_operand(node, v)]
        bound = _Node(node.op_type, run, operands, defined, binding.takes_mode)
        self._nodes.append(bound)

    def _use(self, operator: Operator, i: int, name: str) -> Value | None:
        """An input, which something before must have defined: that rules out cycles."""
        if not name and i >= operator.required:
            return None
        value = self._names.get(name)
        if value is None:
            raise refuse(f"input {name[:140]!r} is not defined before it is used")
        if value.kind is not operator.inputs[i]:
            raise refuse(f"input {name!r} has the wrong element type")
        value.used = True
        is_list = len(value.shape) < 2 and row_size(value.shape) <= MAX_LIST
        if value.kind is Kind.INTS and not is_list and operator is not OPERATORS["Gather"]:
            raise refuse(
                f"input {name!r} is {value.shape}, a list of at most {MAX_LIST} is allowed"
            )
        return value

    def _charge(self, binding: Binding) -> None:
        """Adds what a node costs, and holds it to the bounds."""
        self._elements += sum(map(row_size, binding.outputs)) + binding.scratch
        if self._elements > MAX_ROW_ELEMENTS:
            raise refuse(f"the values of one row pass {MAX_ROW_ELEMENTS} elements")
        self._visits += binding.visits
        if self._visits > MAX_ROW_WORK:
            raise refuse(f"one row takes more than {MAX_ROW_WORK} visits of pooling windows")
        self._cost += binding.cost
        if self._cost > MAX_ROW_WORK:
            raise refuse(f"one row takes more than {MAX_ROW_WORK} multiply-adds")

    def _check_result(self, declared: Shape) -> Value:
        result = self._names.get(_SEED)
        if result is None:
            raise refuse(f"nothing computes the output {_SEED!r}")
        if result.tensor is not None or result.kind is not Kind.FLOATS or result.shape != declared:
            raise refuse(f"the output is {result.shape}, declared is {declared}")
        result.used = True
        return result

    def _check_use(self, host: Value) -> None:
        for value in self._values:
            if value is not host and value.tensor is not None and not value.used:
                raise refuse(f"initialiser {value.name!r} is not used")
        for i, node in enumerate(self._nodes):
            if not any(value.used for value in node.outputs):
                raise refuse(f"nothing uses node {i} ({node.operator})")

    def _steps(self, result: Value) -> tuple[Step, ...]:
        """The nodes on indices, each with the values that nothing reads after it."""
        copies = self._copies()
        steps = [Step(torch.clone, (original,), (copy,)) for original, copy in copies.items()]
        for node in self._nodes:
            inputs = [ABSENT if v is None else v.index for v in node.inputs]
            statistics = 3 if node.operator == "BatchNormalization" else len(inputs)
            inputs[:statistics] = [copies.get(i, i) for i in inputs[:statistics]]
            while inputs and inputs[-1] == ABSENT:
                inputs.pop()
            steps.append(
                Step(
                    node.run,
                    tuple(inputs),
                    tuple(value.index for value in node.outputs),
                    several=node.operator == "Split",
                    takes_mode=node.takes_mode,
                )
            )
        return _released(steps, result.index)

    def _copies(self) -> dict[int, int]:
        """Indices for copies of the statistics that are operands too.

        Training moves statistics in place, which a gradient must not see.
        """
        copies: dict[int, int] = {}
        for node in self._nodes:
            end = 3 if node.operator == "BatchNormalization" else len(node.inputs)
            for value in node.inputs[:end]:
                if value is not None and value.statistic and value.index not in copies:
                    copies[value.index] = len(self._values)
                    self._values.append(Value(value.name, value.shape, index=copies[value.index]))
            for value in node.inputs:
                if value is not None:
                    value.read = True
        return copies

    def _forget_data(self) -> None:
        for initializer in self._graph.initializer:
            value = self._names[initializer.name]
            if value.kind is Kind.FLOATS and (value.statistic or not value.frozen):
                initializer.raw_data = b""


def _checked_header(model: wire.Model) -> wire.Graph:
    if model.ir_version != _IR_VERSION:
        raise refuse(f"IR version {model.ir_version}, the profile has {_IR_VERSION}")
    if len(model.opset_import) != 1 or model.opset_import[0].domain:
        raise refuse("operator sets other than the default one")
    version = model.opset_import[0].version
    if version != _OPSET_VERSION:
        raise refuse(f"operator set {version}, the profile has {_OPSET_VERSION}")
    graph = model.graph
    if graph is None:
        raise refuse("no graph")
    for text in (
        model.producer_name,
        model.producer_version,
        model.domain,
        model.doc_string,
        graph.doc_string,
    ):
        check_text("a text", text)
    check_name("graph", graph.name)
    return graph


def _interface(info: wire.ValueInfo, name: str) -> Shape:
    """The shape of the graph's input or output: float32, the batch first, the rest fixed."""
    if info.name != name:
        raise refuse(f"graph value {info.name!r} where the profile has {name!r}")
    tensor = info.type.tensor_type if info.type is not None else None
    if tensor is None or tensor.elem_type != wire.FLOAT or tensor.shape is None:
        raise refuse(f"{name!r} is not a float32 tensor with a shape")
    shape = tuple(_size(name, dimension) for dimension in tensor.shape.dim)
    if not MIN_SLOT_RANK <= len(shape) <= MAX_SLOT_RANK or shape[0] != BATCH:
        raise refuse(
            f"{name!r} is {shape}, its first of two to four dimensions must be the free batch"
        )
    check_shape(name, shape)
    return shape


def _size(name: str, dimension: wire.Dimension) -> int:
    if dimension.dim_param and dimension.dim_value:
        raise refuse(f"{name!r} has a dimension that is fixed and free")
    if dimension.dim_param:
        return BATCH
    if not 1 <= dimension.dim_value <= MAX_DIM:
        raise refuse(
            f"{name!r} has a dimension of {dimension.dim_value}, allowed are 1 to {MAX_DIM}"
        )
    return dimension.dim_value


_ELEMENTS = {
    wire.FLOAT: (Kind.FLOATS, torch.float32, 4),
    wire.INT64: (Kind.INTS, torch.int64, 8),
    wire.BOOL: (Kind.BOOLS, torch.uint8, 1),
}


def _read(initializer: wire.Initializer) -> Value:
    """An initialiser.

    Its shape is checked before its data are looked at, so that the memory taken never
    passes what the file itself holds.
    """
    name = initializer.name
    check_name("initialiser", name)
    check_text(f"initialiser {name!r}: a text", initializer.doc_string)
    shape = tuple(initializer.dims)
    if len(shape) > MAX_RANK or any(not 1 <= size <= MAX_DIM for size in shape):
        raise refuse(f"initialiser {name!r} is {shape}, allowed are dimensions of 1 to {MAX_DIM}")
    check_shape(f"initialiser {name}", shape)
    if initializer.data_type not in _ELEMENTS:
        raise refuse(
            f"initialiser {name!r}: element type {initializer.data_type}; "
            "float32, int64 and bool are in the profile"
        )
    kind, dtype, width = _ELEMENTS[initializer.data_type]
    count, data = row_size(shape), initializer.raw_data
    if len(data) != width * count:
        raise refuse(f"initialiser {name!r}: {len(data)} bytes for {count} {kind.value}")
    tensor = _tensor(data, dtype, width).reshape(shape)
    if kind is Kind.FLOATS and not bool(torch.isfinite(tensor).all()):
        raise refuse(f"initialiser {name!r}: not all elements are finite")
    if kind is Kind.BOOLS:
        if bool((tensor > 1).any()):
            raise refuse(f"initialiser {name!r}: an element is neither true nor false")
        tensor = tensor.to(torch.bool)
    return Value(name, shape, kind, tensor=tensor, frozen=kind is Kind.BOOLS)


def _tensor(data: bytes, dtype: torch.dtype, width: int) -> Tensor:
    """A tensor of little-endian bytes, with memory of its own."""
    own = bytearray(data)
    if sys.byteorder == "big" and width > 1:
        form = {4: "I", 8: "Q"}[width]
        numbers = struct.unpack(f"<{len(data) // width}{form}", data)
        struct.pack_into(f">{len(numbers)}{form}", own, 0, *numbers)
    return torch.frombuffer(own, dtype=dtype)


def _attributes(operator: Operator, listed: list[wire.Attribute]) -> dict[str, wire.Attribute]:
    """The attributes by their names: each in the operator's list, once, of its type."""
    found: dict[str, wire.Attribute] = {}
    for attribute in listed:
        name = attribute.name
        if name not in operator.attributes:
            raise refuse(f"attribute {name[:40]!r} is not in the profile")
        if name in found:
            raise refuse(f"attribute {name!r} twice")
        if not _holds_only(attribute, operator.attributes[name]):
            raise refuse(f"attribute {name!r} has the wrong type")
        check_text(f"attribute {name!r}: a text", attribute.doc_string)
        found[name] = attribute
    return found


def _holds_only(attribute: wire.Attribute, kind: int) -> bool:
    """Whether an attribute is of one type, and carries nothing of another."""
    held = (attribute.f != 0, attribute.i != 0, bool(attribute.ints))
    return attribute.type == kind and not any(
        holds and of != kind for holds, of in zip(held, _ATTRIBUTE_TYPES, strict=True)
    )


def _is_operand(node: wire.Node, value: Value) -> bool:
    """Whether the function of a node takes a value: lists are bound into it."""
    return value.kind is not Kind.INTS or node.op_type == "Gather"


def _released(steps: list[Step], result: int) -> tuple[Step, ...]:
    """Tells each step which values may go after it."""
    kept, released = {result, ABSENT}, []
    for step in reversed(steps):
        last = {*step.inputs, *step.outputs} - kept
        kept |= last
        released.append(
            Step(
                step.run,
                step.inputs,
                step.outputs,
                step.several,
                step.takes_mode,
                tuple(sorted(last)),
            )
        )
    return tuple(reversed(released))
