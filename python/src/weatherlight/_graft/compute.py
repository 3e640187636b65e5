"""Compute, counted in multiply-adds as they are carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Counter(TorchDispatchMode):
    """Counts the multiply-adds of matrix products and convolutions, forward and backward.

    What works on single elements (activations, norms, optimizers) is not counted, for
    nobody.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carries an operation out, and counts it."""
        out = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        if counted := _COUNTED.get(name):
            self.count += counted(args, out)
        return out


def _product(first: Tensor, second: Tensor) -> int:
    """Of [..., n, k] and [..., k, m]."""
    return int(first.numel() * second.shape[-1])


def _convolution(args: Any, out: Tensor) -> int:
    weight: Tensor = args[1]
    return int(out.numel() * weight[0].numel())


def _convolution_backward(args: Any, _: Any) -> int:
    """The gradients by the input and by the weight cost what the output did."""
    gradient, weight, asked = args[0], args[2], args[-1]
    return int(gradient.numel() * weight[0].numel() * (bool(asked[0]) + bool(asked[1])))


_COUNTED: dict[str, Callable[[Any, Any], int]] = {
    "mm": lambda args, _: _product(args[0], args[1]),
    "bmm": lambda args, _: _product(args[0], args[1]),
    "addmm": lambda args, _: _product(args[1], args[2]),
    "baddbmm": lambda args, _: _product(args[1], args[2]),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}
