"""The grown network as one ONNX file."""

from __future__ import annotations

import inspect
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weatherlight._graft.inspect import call, resting
from weatherlight._graft.seed import Seed
from weatherlight._graft.slot import Board, Route

OPSET = 17


class Grown(nn.Module):
    """The host with its kept seeds as one module, for the exporter to find all weights."""

    def __init__(self, model: nn.Module, kept: Sequence[Seed]) -> None:
        super().__init__()
        self.host = model
        self.seeds = nn.ModuleList([seed.kernel for seed in kept])

    def forward(self, *args: Any) -> Any:
        """As the host's, whose hooks run the seeds."""
        return call(self.host, args)


def save(path: str | os.PathLike[str], board: Board, seeds: Sequence[Seed], sample: Any) -> None:
    """Writes host and kept seeds; what is on trial is left out.

    The file appears whole, or not at all.
    """
    target = Path(path)
    grown = Grown(board.model, [seed for seed in seeds if seed.kept])
    args = tuple(sample) if isinstance(sample, list | tuple) else (sample,)
    if isinstance(sample, Mapping):
        raise TypeError("save needs a sample of positional arguments, not a mapping")
    descriptor, fresh = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".new")
    os.close(descriptor)
    board.route = _OnlyKept()
    try:
        with resting(grown), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, on tracing
            exported(grown, args, fresh)
        os.replace(fresh, target)
    finally:
        board.route = None
        Path(fresh).unlink(missing_ok=True)


def exported(module: nn.Module, args: tuple[Any, ...], path: str) -> None:
    """Has PyTorch write a module, for batches of any size."""
    names = [f"input_{at}" if at else "input" for at in range(len(args))]
    batched = {name: {0: "N"} for name, arg in zip(names, args, strict=True) if _is_batch(arg)}
    options: dict[str, Any] = {
        "input_names": names,
        "output_names": ["output"],
        "dynamic_axes": {**batched, "output": {0: "N"}},
        "opset_version": OPSET,
    }
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    torch.onnx.export(module, args, path, **options)


class _OnlyKept(Route):
    def share(self, seed: Seed) -> float:
        return 1.0 if seed.kept else 0.0


def _is_batch(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0
