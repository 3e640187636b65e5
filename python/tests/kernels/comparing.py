"""Holds a kernel to what the service computes, and to ONNX Runtime."""

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weatherlight.kernels import load

from .conftest import Case

FORWARD = 1e-5
BACKWARD = 1e-4


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of an element, of the largest element or of 1.

    What is not finite must be the same.
    """
    assert ours.shape == theirs.shape
    fine = theirs.isfinite()
    if not torch.equal(ours[~fine].nan_to_num(), theirs[~fine].nan_to_num()):
        return float("inf")
    if not bool(fine.any()):
        return 0.0
    scale = max(1.0, float(theirs[fine].abs().max()))
    return float((ours[fine] - theirs[fine]).abs().max()) / scale


def compare_with_service(case: Case) -> list[str]:
    """Runs a kernel forwards and backwards in each mode, and says what is not alike."""
    problems = []
    for mode in case.told["modes"]:
        kernel = load(case.file).train(mode == "training")
        if kernel.multiply_adds != case.told["multiply_adds"]:
            problems.append(f"{case.name}: {kernel.multiply_adds} multiply-adds")
        parameters = dict(kernel.named_parameters())
        if list(parameters) != case.told["parameters"]:
            problems.append(f"{case.name}: {list(parameters)} are trained")
        host = case.host.requires_grad_()
        seed = kernel(host)
        pairs = [("seed", seed.detach(), FORWARD)]
        for i, name in enumerate(case.told["statistics"]):
            pairs.append((f"statistic{i}", kernel.get_buffer(name).clone(), FORWARD))
        loss = (seed * case.weights).sum()
        if loss.requires_grad:
            torch.autograd.backward(loss)
        pairs.append(("host", gradient(host), BACKWARD))
        for i, parameter in enumerate(parameters.values()):
            pairs.append((f"parameter{i}", gradient(parameter), BACKWARD))
        for part, ours, bound in pairs:
            apart = difference(ours, case.numbers(f"{mode}.{part}", ours.shape))
            if not apart <= bound:
                problems.append(f"{case.name}, {mode}: {part} differs by {apart:.1e}")
    return problems


def gradient(x: Tensor) -> Tensor:
    """The gradient, which is 0 where nothing led to it."""
    return torch.zeros_like(x) if x.grad is None else x.grad


def compare_with_runtime(name: str, file: bytes, host: Tensor) -> list[str]:
    """Runs a kernel in evaluation mode, and says what is not as in ONNX Runtime."""
    onnxruntime: Any = importlib.import_module("onnxruntime")  # it has no types
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = np.array(host.tolist(), dtype=np.float32)
    theirs = torch.tensor(session.run(["seed"], {"host": given})[0].tolist())
    apart = difference(load(file).eval()(host).detach(), theirs)
    return [] if apart <= FORWARD else [f"{name}: differs by {apart:.1e} from ONNX Runtime"]
