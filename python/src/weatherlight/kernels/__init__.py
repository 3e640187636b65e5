"""Kernels: ONNX files of the kernel profile as modules that train."""

from weatherlight.kernels.errors import (
    KernelError,
    KernelFaultyError,
    KernelInvalidError,
    KernelMisfitError,
)
from weatherlight.kernels.kernel import Kernel, load, try_kernel

__all__ = [
    "Kernel",
    "KernelError",
    "KernelFaultyError",
    "KernelInvalidError",
    "KernelMisfitError",
    "load",
    "try_kernel",
]
