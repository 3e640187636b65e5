"""One node of a graph while it is checked."""

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from weatherlight.kernels import wire
from weatherlight.kernels.errors import KernelInvalidError
from weatherlight.kernels.limits import MAX_DIM, MAX_RANK, Shape

Run = Callable[..., Any]
"""What computes a node: takes its operands, and returns a tensor or, for `Split`, several."""


class Kind(enum.Enum):
    """What the elements of a value are."""

    FLOATS = "float32"
    INTS = "int64"
    BOOLS = "bool"


@dataclass(slots=True, eq=False)
class Value:
    """A named value of a graph."""

    name: str
    shape: Shape
    kind: Kind = Kind.FLOATS
    index: int = 0
    tensor: Tensor | None = None
    """The elements of an initialiser."""
    frozen: bool = False
    statistic: bool = False
    """A running statistic, which training moves."""
    used: bool = False
    read: bool = False
    """Whether a pass reads the tensor, other than as a statistic."""

    def numbers(self) -> list[int]:
        """The elements of an int64 initialiser that is a list."""
        return [] if self.tensor is None else list(map(int, self.tensor.flatten().tolist()))


def refuse(reason: str) -> KernelInvalidError:
    """The error that says why a file is refused."""
    return KernelInvalidError(reason)


@dataclass(slots=True)
class Binding:
    """A node's inputs and attributes, and what is found out about it.

    A binder reads the inputs and attributes, sets the shapes of the outputs and what the
    node costs for one example, and returns what runs it.
    """

    inputs: list[Value | None]
    """None where an optional input is left out."""
    attributes: Mapping[str, wire.Attribute]
    count: int
    """How many outputs there are."""
    outputs: list[Shape] = field(default_factory=list)
    cost: int = 0
    """Multiply-adds."""
    visits: int = 0
    """Elements that a pooling window visits."""
    scratch: int = 0
    """Elements besides those of the outputs."""
    takes_mode: bool = False
    """Whether what runs it has to be told of training mode."""

    def has(self, i: int) -> bool:
        """Whether an optional input is given."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def value(self, i: int) -> Value:
        """An input that is given."""
        value = self.inputs[i]
        if value is None:
            raise refuse(f"input {i} is left out")
        return value

    def shape(self, i: int) -> Shape:
        """The shape of an input."""
        return self.value(i).shape

    def numbers(self, i: int) -> list[int] | None:
        """The list that is an int64 input, or None where it is left out."""
        return self.value(i).numbers() if self.has(i) else None

    def constant(self, i: int) -> float | None:
        """A scalar that must be an initialiser, and is not trained."""
        if not self.has(i):
            return None
        value = self.value(i)
        if value.tensor is None or value.shape != ():
            raise refuse(f"input {value.name!r} must be a constant scalar")
        value.frozen = True
        return float(value.tensor)

    def integer(self, name: str, absent: int) -> int:
        """An integer attribute within the range of a dimension."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return absent
        return within(name, attribute.i)

    def flag(self, name: str, absent: int) -> bool:
        """An attribute that is 0 or 1."""
        value = self.integer(name, absent)
        if value not in (0, 1):
            raise refuse(f"attribute {name!r} is {value}, allowed are 0 and 1")
        return value == 1

    def axis(self, absent: int, rank: int) -> int:
        """The attribute `axis`, counted from the start."""
        return resolved(self.integer("axis", absent), rank)

    def number(self, name: str, absent: float) -> float:
        """A finite float attribute."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return absent
        if not math.isfinite(attribute.f):
            raise refuse(f"attribute {name!r} is not finite")
        return attribute.f

    def epsilon(self) -> float:
        """The attribute `epsilon`, above 0."""
        epsilon = self.number("epsilon", 1e-5)
        if epsilon <= 0:
            raise refuse(f"epsilon {epsilon}")
        return epsilon

    def integers(self, name: str) -> list[int] | None:
        """A list attribute within the range of a dimension, or None without it."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return None
        return [within(name, value) for value in attribute.ints]


def within(name: str, value: int) -> int:
    """Refuses an attribute beyond the range of a dimension."""
    if not -MAX_DIM <= value <= MAX_DIM:
        raise refuse(f"attribute {name!r} is {value}")
    return value


def resolved(axis: int, rank: int) -> int:
    """An axis counted from the start."""
    if not -rank <= axis < rank:
        raise refuse(f"axis {axis} of {rank} dimensions")
    return axis % rank


def distinct(axes: list[int], rank: int) -> list[int]:
    """Axes counted from the start, each once and in their order."""
    found = [resolved(axis, rank) for axis in axes]
    if len(set(found)) < len(found):
        raise refuse(f"axes {axes} of {rank} dimensions")
    return sorted(found)


def broadcast(*shapes: Shape) -> Shape:
    """The shape of values that are broadcast together."""
    rank = max(map(len, shapes))
    if rank > MAX_RANK:
        raise refuse(f"{rank} dimensions")
    whole = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = []
    for column in zip(*whole, strict=True):
        different = set(column) - {1}
        if len(different) > 1:
            raise refuse(f"shapes {' and '.join(map(str, shapes))} do not broadcast")
        sizes.append(different.pop() if different else 1)
    return tuple(sizes)
