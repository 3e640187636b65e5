"""How the operators of the profile are checked, and bound to what computes them.

Each binder follows what package kernel of the service does with the same node: what shape
the result has, what the node costs, and what is refused.
"""

from collections.abc import Callable
from functools import partial

import torch

from weatherlight.kernels import functions
from weatherlight.kernels.binding import (
    Binding,
    Run,
    broadcast,
    distinct,
    refuse,
    resolved,
)
from weatherlight.kernels.limits import (
    BATCH,
    MAX_DIM,
    MAX_RANK,
    MAX_ROW_ELEMENTS,
    Shape,
    row_size,
)
from weatherlight.kernels.wire import FLOAT

Binder = Callable[[Binding], Run]


def pointwise(run: Run) -> Binder:
    """Binds a function of each element."""

    def bind(b: Binding) -> Run:
        b.outputs = [b.shape(0)]
        return run

    return bind


def pairwise(run: Run) -> Binder:
    """Binds a function of two elements each, broadcast."""

    def bind(b: Binding) -> Run:
        b.outputs = [broadcast(b.shape(0), b.shape(1))]
        return run

    return bind


def clip(b: Binding) -> Run:
    """Binds `Clip`."""
    b.outputs = [b.shape(0)]
    run = partial(functions.clip, low=b.constant(1), high=b.constant(2))
    del b.inputs[1:]
    return run


def dropout(b: Binding) -> Run:
    """Binds `Dropout`, which makes noise in training mode only."""
    given = b.constant(1)
    ratio = 0.5 if given is None else given
    if not 0 <= ratio < 1:
        raise refuse(f"dropout ratio {ratio}, allowed are 0 up to 1")
    b.outputs, b.takes_mode = [b.shape(0)], True
    del b.inputs[1:]
    return partial(functions.dropout, ratio=ratio)


def where(b: Binding) -> Run:
    """Binds `Where`."""
    b.outputs = [broadcast(b.shape(0), b.shape(1), b.shape(2))]
    return torch.where


def matmul(b: Binding) -> Run:
    """Binds `MatMul`."""
    x, y = b.shape(0), b.shape(1)
    if min(len(x), len(y)) < 2 or x[-1] != y[-2]:
        raise refuse(f"product of {x} and {y}")
    batch = broadcast(x[:-2], y[:-2])
    shape = (*batch, x[-2], y[-1])
    b.outputs, b.cost = [shape], row_size(shape) * max(x[-1], 1)
    if len(y) > 2:  # PyTorch copies an operand that it has to repeat
        for operand in (batch + x[-2:], batch + y[-2:]):
            _bounded(f"an operand of the product of {x} and {y}", row_size(operand))
    return torch.matmul


def _bounded(what: str, size: int) -> None:
    if size > MAX_ROW_ELEMENTS:
        raise refuse(f"{what} has more than {MAX_ROW_ELEMENTS} elements")


def gemm(b: Binding) -> Run:
    """Binds `Gemm`, where it can be as a linear layer."""
    alpha, beta = b.number("alpha", 1), b.number("beta", 1)
    transposed = b.flag("transA", 0), b.flag("transB", 0)
    x, y = b.shape(0), b.shape(1)
    if len(x) != 2 or len(y) != 2:
        raise refuse(f"product of {x} and {y}")
    rows, inner = reversed(x) if transposed[0] else x
    depth, columns = reversed(y) if transposed[1] else y
    if inner != depth:
        raise refuse(f"product of {x} and {y}")
    shape = (rows, columns)
    if b.has(2) and (len(b.shape(2)) > 2 or broadcast(shape, b.shape(2)) != shape):
        raise refuse(f"{b.shape(2)} does not broadcast to {shape}")
    b.outputs, b.cost = [shape], row_size(shape) * max(inner, 1)
    if alpha == 1 and (not b.has(2) or (beta == 1 and b.shape(2) == (columns,))):
        return partial(functions.linear, transposed=transposed)
    return partial(functions.gemm, alpha=alpha, beta=beta, transposed=transposed)


def softmax(b: Binding) -> Run:
    """Binds `Softmax`."""
    b.outputs = [b.shape(0)]
    return partial(functions.softmax, axis=b.axis(-1, len(b.shape(0))))


def layer_norm(b: Binding) -> Run:
    """Binds `LayerNormalization`."""
    x = b.shape(0)
    axis, epsilon = b.axis(-1, len(x)), b.epsilon()
    if b.integer("stash_type", FLOAT) != FLOAT:
        raise refuse("stash_type")
    for i in (1, 2):
        if b.has(i) and b.shape(i) != x[axis:]:
            raise refuse(f"input {i} is {b.shape(i)}, want {x[axis:]}")
    b.outputs = [x]
    return partial(functions.layer_norm, axis=axis, epsilon=epsilon)


def batch_norm(b: Binding) -> Run:
    """Binds `BatchNormalization`, whose statistics no gradient trains."""
    epsilon, momentum = b.epsilon(), b.number("momentum", 0.9)
    if not 0 <= momentum <= 1:
        raise refuse(f"momentum {momentum}, allowed are 0 to 1")
    if b.flag("training_mode", 0):
        raise refuse("batch normalisation in training mode")
    x = b.shape(0)
    if len(x) < 2 or x[1] == BATCH:
        raise refuse(f"{x} has no channels")
    for i in range(1, 5):
        if b.shape(i) != x[1:2]:
            raise refuse(f"input {i} is {b.shape(i)}, want {x[1:2]}")
    for statistic in (b.value(3), b.value(4)):
        if statistic.tensor is None:
            raise refuse(f"statistics {statistic.name!r} must be an initialiser")
        statistic.frozen = statistic.statistic = True
    variance = b.value(4)
    if variance.tensor is None or bool(torch.lt(variance.tensor, 0).any()):
        raise refuse(f"variance {variance.name!r} is negative")
    b.outputs, b.takes_mode = [x], True
    return partial(functions.batch_norm, epsilon=epsilon, momentum=momentum)


def reduction(run: Run) -> Binder:
    """Binds a reduction, whose axes are an attribute or an int64 input."""

    def bind(b: Binding) -> Run:
        x = b.shape(0)
        listed = b.numbers(1) or b.integers("axes") or []
        axes = distinct(listed, len(x)) if listed else list(range(len(x)))
        keep = b.flag("keepdims", 1)
        b.outputs = [tuple(1 if i in axes else d for i, d in enumerate(x) if keep or i not in axes)]
        return partial(run, axes=tuple(axes), keep=keep)

    return bind


def global_average_pool(b: Binding) -> Run:
    """Binds `GlobalAveragePool`."""
    x = b.shape(0)
    if len(x) < 3:
        raise refuse(f"{x} has no space to pool")
    b.outputs = [x[:2] + (1,) * (len(x) - 2)]
    return functions.global_average_pool


def concat(b: Binding) -> Run:
    """Binds `Concat`."""
    if "axis" not in b.attributes:
        raise refuse("no axis")
    first = b.shape(0)
    axis, length = b.axis(0, len(first)), 0
    for i in range(len(b.inputs)):
        part = b.shape(i)
        if len(part) != len(first) or part[axis] == BATCH or _but(axis, part) != _but(axis, first):
            raise refuse(f"{part} cannot be joined to {first} along axis {axis}")
        length += part[axis]
    b.outputs = [_with(first, axis, length)]
    return partial(functions.concat, axis=axis)


def _but(axis: int, shape: Shape) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def split(b: Binding) -> Run:
    """Binds `Split`, into given or into equal parts."""
    x = b.shape(0)
    axis = b.axis(0, len(x))
    length = x[axis]
    if length == BATCH:
        raise refuse("the batch cannot be split")
    sizes = b.numbers(1)
    if sizes is None:
        sizes = [length // b.count] * b.count
    if len(sizes) != b.count or min(sizes) < 1 or sum(sizes) != length:
        raise refuse(f"{length} cannot be split into {sizes} as {b.count} outputs")
    b.outputs = [_with(x, axis, size) for size in sizes]
    return partial(functions.split, sizes=sizes, axis=axis)


def cut(b: Binding) -> Run:
    """Binds `Slice`."""
    shape = b.shape(0)
    starts, ends = b.numbers(1) or [], b.numbers(2) or []
    axes, steps = b.numbers(3) or list(range(len(starts))), b.numbers(4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise refuse(
            f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes, {len(steps)} steps"
        )
    if set(steps) - {1}:
        raise refuse(f"slice in steps of {steps}")
    cuts: list[tuple[int, int, int]] = []
    for number, start, end in zip(axes, starts, ends, strict=True):
        axis = resolved(number, len(shape))
        length = shape[axis]
        if length == BATCH or any(axis == earlier for earlier, _, _ in cuts):
            raise refuse(f"slice along axis {axis} of {shape}")
        first, last, _ = slice(start, end).indices(length)
        if first >= last:
            raise refuse(f"slice {start}..{end} of {length} is empty")
        cuts.append((axis, first, last - first))
        shape = _with(shape, axis, last - first)
    b.outputs = [shape]
    return partial(functions.cut, cuts=tuple(cuts))


def reshape(b: Binding) -> Run:
    """Binds `Reshape`, in which the batch stays a dimension of its own."""
    if b.flag("allowzero", 0):
        raise refuse("allowzero")
    x, target = b.shape(0), b.numbers(1) or []
    if len(target) > MAX_RANK:
        raise refuse(f"{len(target)} dimensions")
    copied, known, left = 0, 1, -1
    shape = list(target)
    for i, size in enumerate(target):
        if size == 0 and i < len(x):
            shape[i] = x[i]
        elif size == -1 and left < 0:
            left = i
            continue
        elif not 1 <= size <= MAX_DIM:
            raise refuse(f"reshape of {x} to {target}")
        if shape[i] == BATCH:
            copied += 1
        else:
            known *= shape[i]
    return _reshaped(b, _resolved(x, shape, copied, known, left))


def _resolved(x: Shape, shape: list[int], copied: int, known: int, left: int) -> Shape:
    """A shape of as many elements as x, where one size may be left to find."""
    size, batches = row_size(x), x.count(BATCH)
    if left >= 0 and copied == batches and size % known == 0:
        shape[left] = size // known
    elif left >= 0 and copied == batches - 1 and size == known:
        shape[left] = BATCH
    elif left >= 0 or copied != batches or size != known:
        raise refuse(f"reshape of {x} to {shape}")
    return tuple(shape)


def _reshaped(b: Binding, shape: Shape) -> Run:
    b.outputs = [shape]
    return partial(functions.reshape, shape=shape)


def flatten(b: Binding) -> Run:
    """Binds `Flatten`: a matrix of the dimensions before an axis and from it on."""
    x = b.shape(0)
    axis = b.integer("axis", 1)
    if not -len(x) <= axis <= len(x):
        raise refuse(f"flatten {x} at axis {axis}")
    axis = axis + len(x) if axis < 0 else axis
    shape = []
    for side in (x[:axis], x[axis:]):
        size = row_size(side)
        if BATCH in side and size != 1:
            raise refuse(f"flatten would merge the batch of {x}")
        shape.append(BATCH if BATCH in side else size)
    return _reshaped(b, tuple(shape))


def squeeze(b: Binding) -> Run:
    """Binds `Squeeze`."""
    x, listed = b.shape(0), b.numbers(1) or []
    axes = distinct(listed, len(x))
    if not axes or any(x[axis] != 1 for axis in axes):
        raise refuse(f"squeeze {listed} of {x}")
    return _reshaped(b, tuple(d for i, d in enumerate(x) if i not in axes))


def unsqueeze(b: Binding) -> Run:
    """Binds `Unsqueeze`."""
    x, listed = b.shape(0), b.numbers(1) or []
    rank = len(x) + len(listed)
    if not listed or rank > MAX_RANK:
        raise refuse(f"unsqueeze {listed} of {x}")
    shape = list(x)
    for axis in distinct(listed, rank):
        shape.insert(axis, 1)
    return _reshaped(b, tuple(shape))


def transpose(b: Binding) -> Run:
    """Binds `Transpose`."""
    x = b.shape(0)
    order = b.integers("perm")
    if order is None:
        order = list(range(len(x)))[::-1]
    if sorted(order) != list(range(len(x))):
        raise refuse(f"transpose of {x} by {order}")
    b.outputs = [tuple(x[axis] for axis in order)]
    return partial(functions.transpose, order=tuple(order))


def gather(b: Binding) -> Run:
    """Binds `Gather`, whose indices are all known."""
    x, indices = b.shape(0), b.value(1)
    axis = b.axis(0, len(x))
    if x[axis] == BATCH or indices.tensor is None or len(x) - 1 + len(indices.shape) > MAX_RANK:
        raise refuse(f"gather {indices.shape} along axis {axis} of {x}")
    least, most = int(indices.tensor.min()), int(indices.tensor.max())
    if not -x[axis] <= least <= most < x[axis]:
        raise refuse(f"indices from {least} to {most} of {x[axis]}")
    b.outputs = [x[:axis] + indices.shape + x[axis + 1 :]]
    return partial(functions.gather, axis=axis, from_end=least < 0)


def expand(b: Binding) -> Run:
    """Binds `Expand`."""
    x, target = b.shape(0), tuple(b.numbers(1) or [])
    if not all(1 <= size <= MAX_DIM for size in target):
        raise refuse(f"expand {x} to {target}")
    b.outputs = [broadcast(x, target)]
    return partial(functions.expand, shape=b.outputs[0])


def pad(b: Binding) -> Run:
    """Binds `Pad` with a constant."""
    value = b.constant(2) or 0.0
    x, pads = b.shape(0), b.numbers(1) or []
    rank = len(x)
    if len(pads) != 2 * rank or not all(0 <= size <= MAX_DIM for size in pads):
        raise refuse(f"pad {x} by {pads}")
    sides = list(zip(pads[:rank], pads[rank:], strict=True))
    if any(size == BATCH and sum(side) for size, side in zip(x, sides, strict=True)):
        raise refuse(f"pad {x} by {pads}")
    b.outputs = [
        tuple(d if d == BATCH else d + sum(side) for d, side in zip(x, sides, strict=True))
    ]
    del b.inputs[1:]
    return partial(functions.pad, pads=_backwards(sides), value=value)


def _backwards(sides: list[tuple[int, int]]) -> list[int]:
    """Pads as PyTorch has them: the last dimension first."""
    return [size for side in reversed(sides) for size in side]
