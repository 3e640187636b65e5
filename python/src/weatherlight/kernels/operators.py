"""The closed list of operators: what a node of a kernel may look like."""

from dataclasses import dataclass

import torch

from weatherlight.kernels import binders, functions, windows
from weatherlight.kernels.binders import Binder, pairwise, pointwise, reduction
from weatherlight.kernels.binding import Kind
from weatherlight.kernels.limits import MAX_OPERANDS
from weatherlight.kernels.wire import ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS

_KINDS = {"F": Kind.FLOATS, "I": Kind.INTS, "B": Kind.BOOLS}
_TYPES = {"float": ATTRIBUTE_FLOAT, "int": ATTRIBUTE_INT, "ints": ATTRIBUTE_INTS}


@dataclass(frozen=True)
class Operator:
    """What a node of an operator may look like, and what binds it."""

    inputs: tuple[Kind, ...]
    """The kinds of all inputs that there may be."""
    least: int
    """How many inputs there must be."""
    required: int
    """Inputs from here on may be left out by an empty name."""
    result: Kind
    outputs: int
    """How many outputs there may be."""
    attributes: dict[str, int]
    """The type of each attribute by its name."""
    bind: Binder


def _operator(signature: str, bind: Binder, attributes: str = "", result: str = "F") -> Operator:
    """Reads a signature such as `FFF?`: the last input may be left out."""
    kinds = signature.replace("?", "")
    named = [pair.split(":") for pair in attributes.split()]
    required = len(kinds) - signature.count("?")
    return Operator(
        inputs=tuple(_KINDS[kind] for kind in kinds),
        least=required,
        required=required,
        result=_KINDS[result],
        outputs=1,
        attributes={name: _TYPES[kind] for name, kind in named},
        bind=bind,
    )


_POOL = "kernel_shape:ints pads:ints strides:ints"

OPERATORS: dict[str, Operator] = {
    "Abs": _operator("F", pointwise(torch.abs)),
    "Add": _operator("FF", pairwise(torch.add)),
    "And": _operator("BB", pairwise(torch.logical_and), result="B"),
    "AveragePool": _operator("F", windows.average_pool, "count_include_pad:int " + _POOL),
    "BatchNormalization": _operator(
        "FFFFF", binders.batch_norm, "epsilon:float momentum:float training_mode:int"
    ),
    "Clip": _operator("FF?F?", binders.clip),
    "Concat": Operator(
        inputs=(Kind.FLOATS,) * MAX_OPERANDS,
        least=1,
        required=MAX_OPERANDS,
        result=Kind.FLOATS,
        outputs=1,
        attributes={"axis": ATTRIBUTE_INT},
        bind=binders.concat,
    ),
    "Conv": _operator(
        "FFF?",
        windows.conv,
        "dilations:ints group:int kernel_shape:ints pads:ints strides:ints",
    ),
    "Cos": _operator("F", pointwise(torch.cos)),
    "Div": _operator("FF", pairwise(torch.div)),
    "Dropout": _operator("FF?", binders.dropout, "seed:int"),
    "Equal": _operator("FF", pairwise(torch.eq), result="B"),
    "Erf": _operator("F", pointwise(torch.erf)),
    "Exp": _operator("F", pointwise(torch.exp)),
    "Expand": _operator("FI", binders.expand),
    "Flatten": _operator("F", binders.flatten, "axis:int"),
    "Gather": _operator("FI", binders.gather, "axis:int"),
    "Gemm": _operator("FFF?", binders.gemm, "alpha:float beta:float transA:int transB:int"),
    "GlobalAveragePool": _operator("F", binders.global_average_pool),
    "Greater": _operator("FF", pairwise(torch.gt), result="B"),
    "Identity": _operator("F", pointwise(functions.identity)),
    "LayerNormalization": _operator(
        "FFF?", binders.layer_norm, "axis:int epsilon:float stash_type:int"
    ),
    "Less": _operator("FF", pairwise(torch.lt), result="B"),
    "MatMul": _operator("FF", binders.matmul),
    "Max": _operator("FF", pairwise(functions.larger)),
    "MaxPool": _operator("F", windows.max_pool, _POOL),
    "Min": _operator("FF", pairwise(functions.smaller)),
    "Mul": _operator("FF", pairwise(torch.mul)),
    "Neg": _operator("F", pointwise(torch.neg)),
    "Not": _operator("B", pointwise(torch.logical_not), result="B"),
    "Or": _operator("BB", pairwise(torch.logical_or), result="B"),
    "Pad": _operator("FIF?", binders.pad),
    "Pow": _operator("FF", pairwise(functions.power)),
    "ReduceMax": _operator("F", reduction(functions.reduce_max), "axes:ints keepdims:int"),
    "ReduceMean": _operator("F", reduction(functions.reduce_mean), "axes:ints keepdims:int"),
    "ReduceSum": _operator("FI?", reduction(functions.reduce_sum), "keepdims:int"),
    "Relu": _operator("F", pointwise(torch.relu)),
    "Reshape": _operator("FI", binders.reshape, "allowzero:int"),
    "Sigmoid": _operator("F", pointwise(torch.sigmoid)),
    "Sin": _operator("F", pointwise(torch.sin)),
    "Slice": _operator("FIII?I?", binders.cut),
    "Softmax": _operator("F", binders.softmax, "axis:int"),
    "Split": Operator(
        inputs=(Kind.FLOATS, Kind.INTS),
        least=1,
        required=1,
        result=Kind.FLOATS,
        outputs=MAX_OPERANDS,
        attributes={"axis": ATTRIBUTE_INT},
        bind=binders.split,
    ),
    "Sqrt": _operator("F", pointwise(torch.sqrt)),
    "Squeeze": _operator("FI", binders.squeeze),
    "Sub": _operator("FF", pairwise(torch.sub)),
    "Tanh": _operator("F", pointwise(torch.tanh)),
    "Transpose": _operator("F", binders.transpose, "perm:ints"),
    "Unsqueeze": _operator("FI", binders.unsqueeze),
    "Where": _operator("BFF", binders.where),
}
"""The operators by their names."""
