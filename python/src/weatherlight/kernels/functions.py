"""What the operators compute, with PyTorch's own functions.

These are functions of a module, not closures, so that a kernel can be pickled and copied.
Their keyword arguments are what the file says; their other arguments are the operands.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from weatherlight.kernels.limits import Shape


def identity(x: Tensor) -> Tensor:
    """The operand itself."""
    return x


def clip(x: Tensor, *, low: float | None, high: float | None) -> Tensor:
    """Limits every element; without a bound to one side where it is None."""
    return x if low is None and high is None else torch.clamp(x, low, high)


def dropout(x: Tensor, *, ratio: float, training: bool) -> Tensor:
    """Noise in training mode, the operand otherwise."""
    return F.dropout(x, ratio, training)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """The power, whose gradient by the exponent is 0 where the base is not positive."""
    if not exponent.requires_grad:
        return torch.pow(base, exponent)
    positive = torch.gt(base, 0)
    inside = torch.pow(torch.where(positive, base, torch.ones_like(base)), exponent)
    outside = torch.pow(torch.where(positive, torch.ones_like(base), base), exponent.detach())
    return torch.where(positive, inside, outside)


def larger(a: Tensor, b: Tensor) -> Tensor:
    """The larger one; the gradient is `a`'s where both are equal, and a NaN stays."""
    return torch.where(torch.logical_or(torch.lt(a, b), torch.isnan(b)), b, a)


def smaller(a: Tensor, b: Tensor) -> Tensor:
    """The smaller one; the gradient is `a`'s where both are equal, and a NaN stays."""
    return torch.where(torch.logical_or(torch.gt(a, b), torch.isnan(b)), b, a)


def linear(
    x: Tensor, weights: Tensor, bias: Tensor | None = None, *, transposed: tuple[bool, bool]
) -> Tensor:
    """The matrix product `x' * weights' + bias`, with one number of the bias a column."""
    x = x.t() if transposed[0] else x
    return F.linear(x, weights if transposed[1] else weights.t(), bias)


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float,
    beta: float,
    transposed: tuple[bool, bool],
) -> Tensor:
    """The matrix product `alpha * a' * b' + beta * c`."""
    a = a.t() if transposed[0] else a
    b = b.t() if transposed[1] else b
    if c is None:
        return torch.mul(torch.mm(a, b), alpha)
    return torch.addmm(c, a, b, beta=beta, alpha=alpha)


def softmax(x: Tensor, *, axis: int) -> Tensor:
    """`exp(x) / sum(exp(x))` along an axis."""
    return torch.softmax(x, axis)


def layer_norm(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float
) -> Tensor:
    """Normalises all dimensions from an axis on together."""
    return F.layer_norm(x, list(map(int, x.shape[axis:])), scale, bias, epsilon)


def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float,
    momentum: float,
    training: bool,
) -> Tensor:
    """Normalises every channel; in training mode by the batch, moving the statistics.

    A single element of a channel has no variance: then the statistics hold.
    """
    count = x.numel() // x.shape[1]
    if not training or count < 2:
        return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)
    # With a momentum of 1 PyTorch leaves the statistics of the batch there.
    batch_mean, batch_variance = torch.zeros_like(mean), torch.zeros_like(variance)
    y = F.batch_norm(
        x, batch_mean, batch_variance, scale, bias, training=True, momentum=1.0, eps=epsilon
    )
    with torch.no_grad():
        share = 1 - momentum
        mean.mul_(momentum).add_(batch_mean, alpha=share)
        variance.mul_(momentum).add_(batch_variance, alpha=share * (count - 1) / count)
    return y


def reduce_mean(x: Tensor, *, axes: Sequence[int], keep: bool) -> Tensor:
    """The mean over axes."""
    if not axes:
        return x
    y: Tensor = torch.mean(x, dim=tuple(axes), keepdim=keep)
    return y


def reduce_sum(x: Tensor, *, axes: Sequence[int], keep: bool) -> Tensor:
    """The sum over axes."""
    if not axes:
        return x
    y: Tensor = torch.sum(x, dim=tuple(axes), keepdim=keep)
    return y


def reduce_max(x: Tensor, *, axes: Sequence[int], keep: bool) -> Tensor:
    """The largest element over axes; the gradient goes to the first of equal ones."""
    if not axes:
        return x
    if len(axes) == 1:
        most: Tensor = torch.max(x, dim=axes[0], keepdim=keep)[0]
        return most
    kept = [axis for axis in range(x.dim()) if axis not in axes]
    lines = torch.flatten(torch.permute(x, (*kept, *axes)), len(kept))
    y: Tensor = torch.max(lines, dim=-1)[0]
    if not keep:
        return y
    return torch.reshape(y, [1 if i in axes else size for i, size in enumerate(x.shape)])


def concat(*parts: Tensor, axis: int) -> Tensor:
    """Joins values along an axis."""
    return torch.cat(parts, axis)


def split(x: Tensor, *, sizes: list[int], axis: int) -> Sequence[Tensor]:
    """Cuts a value along an axis."""
    parts: Sequence[Tensor] = torch.split(x, sizes, axis)
    return parts


def cut(x: Tensor, *, cuts: Sequence[tuple[int, int, int]]) -> Tensor:
    """Takes for each of some axes the elements from a start on, of a length."""
    for axis, start, length in cuts:
        x = x.narrow(axis, start, length)
    return x


def reshape(x: Tensor, *, shape: Shape) -> Tensor:
    """Gives a value another shape; the batch takes what is left."""
    return torch.reshape(x, shape)


def transpose(x: Tensor, *, order: Shape) -> Tensor:
    """Reorders the dimensions."""
    return torch.permute(x, order)


def gather(x: Tensor, indices: Tensor, *, axis: int, from_end: bool) -> Tensor:
    """Takes the elements at indices along an axis."""
    if from_end:
        indices = torch.remainder(indices, x.shape[axis])
    if indices.dim() == 1:
        return torch.index_select(x, axis, indices)
    taken = torch.index_select(x, axis, indices.reshape(-1))
    return torch.reshape(taken, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def expand(x: Tensor, *, shape: Shape) -> Tensor:
    """Repeats dimensions of size 1; the batch stays as it is."""
    expanded: Tensor = x.expand(shape)
    return expanded


def pad(x: Tensor, *, pads: list[int], value: float) -> Tensor:
    """Puts a constant around a value; pads are as PyTorch has them."""
    return F.pad(x, pads, value=value)


def conv(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    around: list[int] | None,
    padding: Shape,
    strides: Shape,
    dilations: Shape,
    groups: int,
) -> Tensor:
    """A convolution over one or two dimensions of space.

    Args:
        x: Examples by channels by space.
        weights: The filters.
        bias: One number for each filter.
        around: Padding that is not the same on both sides, as `F.pad` has it.
        padding: Padding that is.
        strides: Steps of the window.
        dilations: Distance of the window's elements.
        groups: How many groups of channels there are.
    """
    if around is not None:
        x = F.pad(x, around)
    function = F.conv1d if len(strides) == 1 else F.conv2d
    return function(x, weights, bias, strides, padding, dilations, groups)


def max_pool(
    x: Tensor, *, kernel: Shape, around: list[int] | None, padding: Shape, strides: Shape
) -> Tensor:
    """The largest element under a window."""
    if around is not None:
        x = F.pad(x, around, value=float("-inf"))
    function = F.max_pool1d if len(kernel) == 1 else F.max_pool2d
    pooled: Tensor = function(x, kernel, strides, padding)
    return pooled


def average_pool(
    x: Tensor,
    *,
    kernel: Shape,
    around: list[int] | None,
    padding: Shape,
    strides: Shape,
    counts_padding: bool,
) -> Tensor:
    """The mean under a window, in which padding counts as zeros or not at all."""
    if around is None:
        return _average(x, kernel, strides, padding, counts_padding)
    y = _average(F.pad(x, around), kernel, strides, padding, True)
    if counts_padding:
        return y
    inside = F.pad(torch.ones_like(x[:1, :1]), around)
    return torch.div(y, _average(inside, kernel, strides, padding, True))


def _average(
    x: Tensor, kernel: Shape, strides: Shape, padding: Shape, counts_padding: bool
) -> Tensor:
    function = F.avg_pool1d if len(kernel) == 1 else F.avg_pool2d
    return function(x, kernel, strides, padding, False, counts_padding)


def global_average_pool(x: Tensor) -> Tensor:
    """The mean over all dimensions behind the channels, kept with size 1."""
    return torch.mean(x, dim=tuple(range(2, x.dim())), keepdim=True)
