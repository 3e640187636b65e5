"""Kernel files as a test writes them."""

import struct
from collections.abc import Mapping, Sequence

from torch import Tensor

from weatherlight.kernels import wire

Constant = Tensor | Sequence[int] | Sequence[bool]


def node(
    op: str,
    inputs: str | list[str],
    outputs: str | list[str] = "seed",
    **attributes: float | list[int],
) -> wire.Node:
    """A node; names are split at blanks."""
    made = [_attribute(name, value) for name, value in attributes.items()]
    return wire.Node(input=_names(inputs), output=_names(outputs), op_type=op, attribute=made)


def _names(names: str | list[str]) -> list[str]:
    return names.split() if isinstance(names, str) else names


def _attribute(name: str, value: float | list[int]) -> wire.Attribute:
    if isinstance(value, list):
        return wire.Attribute(name=name, ints=value, type=wire.ATTRIBUTE_INTS)
    if isinstance(value, float):
        return wire.Attribute(name=name, f=value, type=wire.ATTRIBUTE_FLOAT)
    return wire.Attribute(name=name, i=value, type=wire.ATTRIBUTE_INT)


def model(
    slot: Sequence[int],
    nodes: list[wire.Node],
    constants: Mapping[str, Constant] | None = None,
    *,
    output: Sequence[int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> wire.Model:
    """A model from the input `host` to the output `seed`."""
    given = constants or {}
    graph = wire.Graph(
        node=nodes,
        name="case",
        initializer=[initializer(name, value) for name, value in given.items()],
        input=[_info("host", slot)],
        output=[_info("seed", slot if output is None else output)],
    )
    return wire.Model(
        ir_version=8,
        producer_name="weatherlight",
        graph=graph,
        opset_import=[wire.OperatorSet(version=17)],
        metadata_props=[wire.Entry(key, value) for key, value in (metadata or {}).items()],
    )


def file(
    slot: Sequence[int],
    nodes: list[wire.Node],
    constants: Mapping[str, Constant] | None = None,
    *,
    output: Sequence[int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The file of a model."""
    return wire.encode(model(slot, nodes, constants, output=output, metadata=metadata))


def initializer(name: str, value: Constant) -> wire.Initializer:
    """An initialiser: a tensor of floats, or a tensor or a list of int64 or bool."""
    if isinstance(value, Tensor):
        flat: list[float] = value.flatten().tolist()
        dims, is_float, is_bool = list(value.shape), value.is_floating_point(), False
    else:
        flat, dims, is_float = list(value), [len(value)], False
        is_bool = isinstance(value[0], bool)
    data_type, form = (wire.FLOAT, "f") if is_float else (wire.INT64, "q")
    if is_bool:
        data_type, form = wire.BOOL, "?"
    raw = struct.pack(f"<{len(flat)}{form}", *flat)
    return wire.Initializer(dims=dims, data_type=data_type, name=name, raw_data=raw)


def _info(name: str, shape: Sequence[int]) -> wire.ValueInfo:
    dims = [wire.Dimension(dim_param="N"), *(wire.Dimension(dim_value=size) for size in shape)]
    tensor = wire.TensorType(elem_type=wire.FLOAT, shape=wire.TensorShape(dim=dims))
    return wire.ValueInfo(name=name, type=wire.Type(tensor_type=tensor))
