"""Kernels as modules of PyTorch."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight.kernels import wire
from weatherlight.kernels.binding import Kind, Value
from weatherlight.kernels.errors import KernelFaultyError, KernelInvalidError, KernelMisfitError
from weatherlight.kernels.limits import MAX_BATCH_ELEMENTS, Shape
from weatherlight.kernels.loader import ABSENT, Plan, plan


class Kernel(nn.Module):
    """A kernel of the profile, with weights of its own.

    Its parameters are what is trained; they have the names of their initialisers, in which
    what a name in PyTorch cannot hold is written as in a URL, such as `%2E` for a dot. Its
    buffers are the running statistics and, outside of the state dict, the constants.

    `train()` and `eval()` choose the mode: in training mode batch normalisation uses the
    statistics of the batch and moves the running ones, and dropout makes noise.

    Attributes:
        blueprint: The id of the blueprint that it was forged from, or an empty text.
        metadata: What the file says about itself.
        input_shape: The shape of one example that it takes.
        output_shape: The shape of what it makes of one example.
        multiply_adds: Multiply-adds of matrix products and convolutions for one example.
        max_elements: A batch whose values have more elements than this is refused.
    """

    blueprint: str
    metadata: dict[str, str]
    input_shape: Shape
    output_shape: Shape
    multiply_adds: int
    max_elements: int

    def __init__(self, checked: Plan) -> None:
        super().__init__()
        self.blueprint = checked.metadata.get("blueprint_id", "")
        self.metadata = dict(checked.metadata)
        self.input_shape = checked.input_shape
        self.output_shape = checked.output_shape
        self.multiply_adds = checked.multiply_adds
        self.max_elements = MAX_BATCH_ELEMENTS
        self._model = checked.model
        self._steps = checked.steps
        self._size = checked.size
        self._result = checked.result
        self._row_elements = checked.row_elements
        self._placed: list[tuple[int, str]] = []
        self._written: dict[str, str] = {}
        for value in checked.initializers:
            self._place(value)

    def _place(self, value: Value) -> None:
        """Registers an initialiser, unless all of its readers have it bound."""
        changes = value.kind is Kind.FLOATS and (value.statistic or not value.frozen)
        if value.tensor is None or not (value.read or changes):
            return
        name = self._free_name(value.name)
        if value.kind is Kind.FLOATS and not value.frozen:
            self.register_parameter(name, nn.Parameter(value.tensor))
        else:
            self.register_buffer(name, value.tensor, persistent=value.statistic)
        self._placed.append((value.index, name))
        if changes:
            self._written[value.name] = name

    def _free_name(self, name: str) -> str:
        """The name of an initialiser as PyTorch takes it; different ones stay different."""
        name = name.replace("%", "%25").replace(".", "%2E")
        return f"%{ord(name[0]):02X}{name[1:]}" if hasattr(self, name) else name

    def forward(self, host: Tensor) -> Tensor:
        """Runs the kernel on a batch of examples.

        Raises:
            KernelMisfitError: The shape of `host` is not that of a batch of its input.
            KernelFaultyError: The batch is too large.
        """
        self._admit(host)
        values: list[Tensor | None] = [None] * self._size
        values[0] = host
        for index, name in self._placed:
            values[index] = getattr(self, name)
        for step in self._steps:
            operands = [None if i == ABSENT else values[i] for i in step.inputs]
            if step.takes_mode:
                made = step.run(*operands, training=self.training)
            else:
                made = step.run(*operands)
            for index, value in zip(step.outputs, made if step.several else (made,), strict=True):
                values[index] = value
            for index in step.released:
                values[index] = None
        seed = values[self._result]
        if seed is None:
            raise KernelFaultyError("nothing computed the output")
        return seed

    def _admit(self, host: Tensor) -> None:
        shape = host.shape
        if len(shape) == 0 or shape[1:] != self.input_shape or shape[0] < 1:
            raise KernelMisfitError(
                f"the input is {tuple(shape)}, want a batch of {self.input_shape}"
            )
        if shape[0] * self._row_elements > self.max_elements:
            raise KernelFaultyError(
                f"{shape[0]} examples of {self._row_elements} elements each are more than "
                f"{self.max_elements}"
            )

    def export(self) -> bytes:
        """The kernel as a file, with its weights and statistics as they are now.

        Raises:
            KernelInvalidError: A weight or a statistic is not finite.
        """
        model = copy.deepcopy(self._model)
        if model.graph is None:
            raise KernelInvalidError("no graph")
        for initializer in model.graph.initializer:
            name = self._written.get(initializer.name)
            if name is not None:
                initializer.raw_data = _raw(initializer.name, getattr(self, name))
        return wire.encode(model)

    def extra_repr(self) -> str:
        """What the module is, in a word."""
        return f"{self.blueprint}, {self.input_shape} to {self.output_shape}"


def _raw(name: str, value: Tensor) -> bytes:
    """The elements of a tensor as the profile has them."""
    own = value.detach().to(device="cpu", dtype=torch.float32).contiguous()
    if not bool(torch.isfinite(own).all()):
        raise KernelInvalidError(f"{name!r} is not finite")
    data = bytearray(4 * own.numel())
    torch.frombuffer(data, dtype=torch.float32).copy_(own.flatten())
    return bytes(data)


def load(data: bytes, *, slot: tuple[int, ...] | None = None) -> Kernel:
    """Reads a kernel file strictly; nothing in it can name another file or run code.

    Args:
        data: The file. Whoever calls has checked its checksum and its signature.
        slot: The shape of one example that the kernel must take and give.

    Raises:
        KernelInvalidError: The file is outside the kernel profile.
        KernelMisfitError: The kernel's shapes are not the slot's.
    """
    kernel = Kernel(plan(data))
    if slot is not None and not kernel.input_shape == kernel.output_shape == tuple(slot):
        raise KernelMisfitError(
            f"the kernel makes {kernel.output_shape} of {kernel.input_shape}, "
            f"the slot is {tuple(slot)}"
        )
    return kernel


def try_kernel(kernel: Kernel) -> None:
    """Runs a copy of a kernel forwards and backwards on two examples in both modes.

    Neither the kernel nor PyTorch's random numbers are changed.

    Raises:
        KernelFaultyError: It failed, or its output or a gradient is not finite.
    """
    held = next(filter(Tensor.is_floating_point, _tensors(kernel)), torch.zeros(()))
    devices = [held.device] if held.is_cuda else []
    try:
        outside: Any = torch.inference_mode  # older PyTorch has no types for it
        with outside(False), torch.enable_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(0)
            for training in (False, True):
                _try(copy.deepcopy(kernel).train(training), held)
    except KernelFaultyError:
        raise
    except Exception as error:
        raise KernelFaultyError(f"the kernel failed: {error}") from error


def _tensors(kernel: Kernel) -> Iterator[Tensor]:
    yield from kernel.parameters()
    yield from kernel.buffers()


def _try(kernel: Kernel, like: Tensor) -> None:
    parameters = [p.requires_grad_() for p in kernel.parameters()]
    host = torch.randn(2, *kernel.input_shape).to(like).requires_grad_()
    seed = kernel(host)
    mode = "training" if kernel.training else "evaluation"
    if seed.shape[1:] != kernel.output_shape or seed.shape[0] != 2:
        raise KernelFaultyError(f"the output in {mode} mode is {tuple(seed.shape)}")
    if not bool(torch.isfinite(seed).all()):
        raise KernelFaultyError(f"the output in {mode} mode is not finite")
    if not seed.requires_grad:
        return
    gradients = torch.autograd.grad(seed.sum(), [host, *parameters], allow_unused=True)
    if not all(g is None or bool(torch.isfinite(g).all()) for g in gradients):
        raise KernelFaultyError(f"a gradient in {mode} mode is not finite")
