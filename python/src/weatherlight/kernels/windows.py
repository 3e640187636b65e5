"""Convolution and pooling: operators of a window that moves over space."""

from dataclasses import dataclass
from functools import partial
from math import prod

from weatherlight.kernels import functions
from weatherlight.kernels.binding import Binding, Run, refuse
from weatherlight.kernels.limits import BATCH, MAX_DIM, MAX_ROW_ELEMENTS, Shape, row_size


@dataclass(frozen=True)
class Window:
    """A window over one or two dimensions of space."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: list[tuple[int, int]]
    out: Shape

    def around(self, largest: Shape | None = None) -> tuple[list[int] | None, Shape]:
        """Padding that PyTorch's own operator cannot do, and padding that it can.

        It can what is the same on both sides, and at most the largest that it takes.
        """
        same = tuple(before for before, after in self.pads if before == after)
        fits = largest is None or all(p <= q for p, q in zip(same, largest, strict=False))
        if len(same) == len(self.pads) and fits:
            return None, same
        return [size for side in reversed(self.pads) for size in side], (0,) * len(self.pads)


def conv(b: Binding) -> Run:
    """Binds `Conv`."""
    x, weights, groups = b.shape(0), b.shape(1), b.integer("group", 1)
    if not 3 <= len(x) == len(weights) or groups < 1 or x[1] < 1 or weights[0] < 1:
        raise refuse(f"convolution of {x} by {weights} in {groups} groups")
    if x[1] % groups or weights[0] % groups or weights[1] != x[1] // groups:
        raise refuse(f"convolution of {x} by {weights} in {groups} groups")
    stated = b.integers("kernel_shape")
    if stated is not None and tuple(stated) != weights[2:]:
        raise refuse(f"kernel_shape {stated} of filters {weights}")
    if b.has(2) and b.shape(2) != weights[:1]:
        raise refuse(f"bias {b.shape(2)} for {weights[0]} channels")
    window = _window(b, x, weights[2:])
    b.outputs = [(x[0], weights[0], *window.out)]
    depth = weights[1] * prod(window.kernel)
    b.cost = row_size(b.outputs[0]) * depth
    b.scratch = depth * prod(window.out) + row_size(weights)
    around, padding = window.around()
    return partial(
        functions.conv,
        around=around,
        padding=padding,
        strides=window.strides,
        dilations=window.dilations,
        groups=groups,
    )


def max_pool(b: Binding) -> Run:
    """Binds `MaxPool`."""
    window = _pool(b)
    around, padding = window.around(tuple(size // 2 for size in window.kernel))
    return partial(
        functions.max_pool,
        kernel=window.kernel,
        around=around,
        padding=padding,
        strides=window.strides,
    )


def average_pool(b: Binding) -> Run:
    """Binds `AveragePool`."""
    window = _pool(b)
    around, padding = window.around(tuple(size // 2 for size in window.kernel))
    return partial(
        functions.average_pool,
        kernel=window.kernel,
        around=around,
        padding=padding,
        strides=window.strides,
        counts_padding=b.flag("count_include_pad", 0),
    )


def _pool(b: Binding) -> Window:
    x, kernel = b.shape(0), b.integers("kernel_shape")
    if len(x) < 3 or x[1] == BATCH or kernel is None:
        raise refuse(f"pooling of {x} with {kernel}")
    window = _window(b, x, tuple(kernel))
    for size, side in zip(window.kernel, window.pads, strict=True):
        if max(side) >= size:
            raise refuse(f"pads {window.pads} of a window of {window.kernel}")
    b.outputs = [(*x[:2], *window.out)]
    b.visits = row_size(b.outputs[0]) * prod(window.kernel)
    return window


def _window(b: Binding, x: Shape, kernel: Shape) -> Window:
    space = x[2:]
    rank = len(space)
    if rank not in (1, 2) or len(kernel) != rank:
        raise refuse(f"a window of {kernel} over {space}")
    strides, dilations = _listed(b, "strides", rank, 1), _listed(b, "dilations", rank, 1)
    pads = _listed(b, "pads", 2 * rank, 0)
    numbers = (*space, *kernel, *strides, *dilations)
    if min(numbers) < 1 or min(pads) < 0 or max(*numbers, *pads) > MAX_DIM:
        raise refuse(f"a window of {kernel} over {space}")
    sides = list(zip(pads[:rank], pads[rank:], strict=True))
    padded = [size + sum(side) for size, side in zip(space, sides, strict=True)]
    room = [
        size - (taps - 1) * dilation - 1
        for size, taps, dilation in zip(padded, kernel, dilations, strict=True)
    ]
    if min(room) < 0:
        raise refuse(f"a window of {kernel} is larger than {space}")
    # The service pads nothing, PyTorch may: what it pads is bounded as a value is.
    if row_size(x[:2]) * prod(padded) > MAX_ROW_ELEMENTS:
        raise refuse(f"{x} padded by {pads} has more than {MAX_ROW_ELEMENTS} elements")
    out = tuple(left // stride + 1 for left, stride in zip(room, strides, strict=True))
    return Window(kernel, strides, dilations, sides, out)


def _listed(b: Binding, name: str, length: int, absent: int) -> Shape:
    listed = b.integers(name)
    if listed is None:
        return (absent,) * length
    if len(listed) != length:
        raise refuse(f"attribute {name!r} has {len(listed)} numbers, want {length}")
    return tuple(listed)
