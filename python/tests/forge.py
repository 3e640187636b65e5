"""Small kernels for tests."""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper


def _floats(name: str, value: torch.Tensor) -> onnx.TensorProto:
    data = value.detach().contiguous().numpy().astype("<f4").tobytes()
    return helper.make_tensor(name, TensorProto.FLOAT, list(value.shape), data, raw=True)


def _file(
    nodes: list[onnx.NodeProto], weights: dict[str, torch.Tensor], shape: tuple[int, ...]
) -> bytes:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name in ("host", "seed")
    ]
    tensors = [_floats(name, value) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    content: bytes = model.SerializeToString()
    return content


def mlp(width: int, hidden: int = 16, seed: int = 0, scale: float = 0.3) -> bytes:
    """Two layers of features."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.mul(torch.randn(*shape, generator=random), scale)

    nodes = [
        helper.make_node("Gemm", ["host", "w0", "b0"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["seed"], transB=1),
    ]
    weights = {
        "w0": drawn(hidden, width),
        "b0": torch.zeros(hidden),
        "w1": drawn(width, hidden),
        "b1": torch.zeros(width),
    }
    return _file(nodes, weights, (width,))


def noisy(width: int) -> bytes:
    """A product and a dropout, which draws random numbers."""
    nodes = [
        helper.make_node("Mul", ["host", "factor"], ["m"]),
        helper.make_node("Dropout", ["m", "ratio"], ["seed"]),
    ]
    weights = {"factor": torch.ones(width), "ratio": torch.tensor(0.5)}
    return _file(nodes, weights, (width,))


def norm(channels: int, height: int, width: int) -> bytes:
    """A convolution with batch normalisation over a map."""
    nodes = [
        helper.make_node("Conv", ["host", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["seed"]),
    ]
    random = torch.Generator().manual_seed(1)
    weights = {
        "w": torch.mul(torch.randn(channels, channels, 3, 3, generator=random), 0.2),
        "s": torch.ones(channels),
        "b": torch.zeros(channels),
        "mean": torch.zeros(channels),
        "var": torch.ones(channels),
    }
    return _file(nodes, weights, (channels, height, width))


def scaled(shape: tuple[int, ...], factor: float = 1.0) -> bytes:
    """One number times the input."""
    nodes = [helper.make_node("Mul", ["host", "factor"], ["seed"])]
    return _file(nodes, {"factor": torch.tensor([factor])}, shape)


def root(width: int) -> bytes:
    """The square root of the input over its weight: not finite for what is negative."""
    nodes = [
        helper.make_node("Mul", ["host", "factor"], ["m"]),
        helper.make_node("Sqrt", ["m"], ["seed"]),
    ]
    return _file(nodes, {"factor": torch.ones(1)}, (width,))
