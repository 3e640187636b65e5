"""Every operator computes, and has the gradients, that the service and ONNX Runtime have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from weatherlight.kernels import load, wire
from weatherlight.kernels.operators import OPERATORS

from .building import Constant, file, node
from .comparing import compare_with_runtime, compare_with_service
from .conftest import Engine, cases

MAP, SEQUENCE, FEATURES = [4, 6, 5], [6, 9], [7]
FAR = 2**63 - 1


@dataclass(frozen=True)
class Use:
    """One use of an operator."""

    slot: Sequence[int]
    output: Sequence[int]
    nodes: list[wire.Node]
    constants: Mapping[str, Constant] = field(default_factory=dict)


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scalar(value: float) -> Tensor:
    return torch.tensor(value)


POINTWISE = ["Abs", "Cos", "Erf", "Exp", "Identity", "Neg", "Relu", "Sigmoid", "Sin", "Tanh"]
PAIRWISE = ["Add", "Max", "Min", "Mul", "Sub"]


def pointwise() -> dict[str, Use]:
    uses = {op: Use([3, 7], [3, 7], [node(op, "host")]) for op in POINTWISE}
    uses["Sqrt"] = Use(FEATURES, FEATURES, [node("Abs", "host", "a"), node("Sqrt", "a")])
    uses["Dropout"] = Use(FEATURES, FEATURES, [node("Dropout", "host")])
    uses["Dropout with a ratio"] = Use(
        FEATURES, FEATURES, [node("Dropout", "host r", seed=1 << 40)], {"r": scalar(0.25)}
    )
    low, high = {"low": scalar(-0.5)}, {"high": scalar(0.25)}
    uses["Clip"] = Use(FEATURES, FEATURES, [node("Clip", "host low high")], {**low, **high})
    uses["Clip above"] = Use(FEATURES, FEATURES, [node("Clip", ["host", "", "high"])], high)
    uses["Clip below"] = Use(FEATURES, FEATURES, [node("Clip", "host low")], low)
    uses["Clip by crossed bounds"] = Use(
        FEATURES, FEATURES, [node("Clip", "host high low")], {**low, **high}
    )
    uses["Clip of nothing"] = Use(FEATURES, FEATURES, [node("Clip", "host")])
    return uses


def pairwise() -> dict[str, Use]:
    uses = {}
    for op in PAIRWISE:
        for shape in ((3, 7), (7,), (3, 1), ()):
            constants = {"other": sample(*shape, seed=3)}
            uses[f"{op} {shape}"] = Use([3, 7], [3, 7], [node(op, "host other")], constants)
            uses[f"{op} {shape} turned"] = Use([3, 7], [3, 7], [node(op, "other host")], constants)
        # Of equal elements the first has the gradient.
        tie = [node("Relu", "host", "r"), node(op, "r zero")]
        uses[op + " of equals"] = Use(FEATURES, FEATURES, tie, {"zero": scalar(0.0)})
    above = {"other": sample(3, 7, seed=4).abs() + 0.5}
    positive = node("Abs", "host", "a")
    for op in ("Div", "Pow"):
        uses[op] = Use([3, 7], [3, 7], [positive, node(op, "a other")], above)
        uses[op + " by one"] = Use([3, 7], [3, 7], [node(op, "host two")], {"two": scalar(2.0)})
    uses["Pow of zeros"] = Use(
        FEATURES, FEATURES, [node("Relu", "host", "r"), node("Pow", "r two")], {"two": scalar(2.0)}
    )
    return uses


def choices() -> dict[str, Use]:
    row = {"row": sample(7, seed=5)}
    end = node("Where", "c host other")
    start = [node("Relu", "host", "r"), node("Sub", "row r", "other")]

    def use(*nodes: wire.Node) -> Use:
        return Use([3, 7], [3, 7], [*start, *nodes, end], row)

    both = [node("Greater", "host row", "a"), node("Less", "host r", "b")]
    return {
        "Greater": use(node("Greater", "host row", "c")),
        "Less": use(node("Less", "host row", "c")),
        "Equal": use(node("Equal", "host r", "c")),
        "And": use(*both, node("And", "a b", "c")),
        "Or": use(*both, node("Or", "a b", "c")),
        "Not": use(node("Equal", "host r", "e"), node("Not", "e", "c")),
        "Where by a mask": Use(
            [3, 7],
            [3, 7],
            [node("And", "mask mask", "c"), *start, end],
            {**row, "mask": [True, False, True, True, False, False, True]},
        ),
    }


def dense() -> dict[str, Use]:
    square = node("Transpose", "host", "t", perm=[0, 2, 1])
    statistics = {
        "scale": sample(3, seed=10),
        "bias": sample(3, seed=11),
        "mean": sample(3, seed=12),
        "variance": torch.tensor([0.5, 1.0, 2.0]),
    }
    normal = node("BatchNormalization", "host scale bias mean variance", epsilon=1e-2, momentum=0.8)
    cube = [3, 4, 5]
    return {
        "MatMul": Use(FEATURES, [5], [node("MatMul", "host w")], {"w": sample(7, 5)}),
        "MatMul of sequences": Use([3, 7], [3, 5], [node("MatMul", "host w")], {"w": sample(7, 5)}),
        "MatMul batched": Use([3, 7], [3, 3], [square, node("MatMul", "host t")]),
        "MatMul from the left": Use(
            [3, 7], [4, 7], [node("MatMul", "w host")], {"w": sample(4, 3)}
        ),
        "MatMul of repeated matrices": Use(
            MAP, [4, 6, 3], [node("MatMul", "host w")], {"w": sample(4, 5, 3)}
        ),
        "Gemm": Use(
            FEATURES,
            [5],
            [node("Gemm", "host w c", alpha=0.5, beta=2.0, transB=1)],
            {"w": sample(5, 7), "c": sample(5, seed=1)},
        ),
        "Gemm as a layer": Use(
            FEATURES, [5], [node("Gemm", "host w c")], {"w": sample(7, 5), "c": sample(5, seed=1)}
        ),
        "Gemm without bias": Use(
            FEATURES, [5], [node("Gemm", "host w", alpha=0.5)], {"w": sample(7, 5)}
        ),
        "Gemm with one number": Use(
            FEATURES, [5], [node("Gemm", "host w c")], {"w": sample(7, 5), "c": scalar(0.5)}
        ),
        "Gemm turned": Use(
            FEATURES,
            [5],
            [node("Transpose", "host", "t"), node("Gemm", "t w c", transA=1)],
            {"w": sample(7, 5), "c": sample(1, 5, seed=1)},
        ),
        "Gemm without the sum": Use(
            FEATURES,
            [5],
            [node("Gemm", "host w c", beta=0.0)],
            {"w": sample(7, 5), "c": sample(5, seed=1)},
        ),
        "Softmax": Use([3, 7], [3, 7], [node("Softmax", "host")]),
        "Softmax in the middle": Use([3, 7], [3, 7], [node("Softmax", "host", axis=1)]),
        "LayerNormalization": Use(
            [3, 7],
            [3, 7],
            [node("LayerNormalization", "host scale bias", epsilon=1e-3)],
            {"scale": sample(7, seed=8), "bias": sample(7, seed=9)},
        ),
        "LayerNormalization of two dimensions": Use(
            [3, 7],
            [3, 7],
            [node("LayerNormalization", "host scale", axis=1, stash_type=1)],
            {"scale": sample(3, 7, seed=8)},
        ),
        "BatchNormalization": Use(cube, cube, [normal], statistics),
        "BatchNormalization of features": Use(
            [3],
            [3],
            [node("BatchNormalization", "host scale bias mean variance", training_mode=0)],
            statistics,
        ),
        "ReduceMean": Use(cube, [1, 1, 5], [node("ReduceMean", "host", axes=[1, -2])]),
        "ReduceMean of all": Use(
            FEATURES, FEATURES, [node("ReduceMean", "host", "m"), node("Mul", "host m")]
        ),
        "ReduceMax": Use(cube, [3, 4], [node("ReduceMax", "host", axes=[3], keepdims=0)]),
        "ReduceMax of equals": Use(
            cube,
            [1, 4, 1],
            [
                node("Relu", "host", "r"),
                node("Neg", "r", "n"),
                node("ReduceMax", "n", axes=[-1, 1]),
            ],
        ),
        "ReduceSum": Use(
            cube,
            [5, 1],
            [node("ReduceSum", "host a", "s", keepdims=0), node("Unsqueeze", "s b")],
            {"a": [1, 2], "b": [-1]},
        ),
        "ReduceSum of all": Use(
            FEATURES, FEATURES, [node("ReduceSum", "host", "m"), node("Mul", "host m")]
        ),
    }


def convolution(
    slot: Sequence[int], output: Sequence[int], *filters: int, **attributes: int | list[int]
) -> Use:
    constants = {"w": sample(*filters, seed=13), "c": sample(filters[0], seed=14)}
    return Use(slot, output, [node("Conv", "host w c", "seed", **attributes)], constants)


def windows() -> dict[str, Use]:
    uses = {
        "Conv valid": convolution(MAP, [2, 4, 4], 2, 4, 3, 2),
        "Conv padded": convolution(
            MAP, [2, 6, 5], 2, 4, 3, 3, pads=[1, 1, 1, 1], kernel_shape=[3, 3]
        ),
        "Conv pointwise": convolution(MAP, [3, 6, 5], 3, 4, 1, 1),
        "Conv grouped": convolution(MAP, [6, 5, 4], 6, 2, 2, 2, group=2),
        "Conv depthwise": convolution(MAP, [4, 6, 5], 4, 1, 3, 3, group=4, pads=[1, 1, 1, 1]),
        "Conv dilated": convolution(
            MAP, [2, 6, 5], 2, 4, 3, 3, dilations=[2, 2], pads=[2, 2, 2, 2]
        ),
        "Conv strided, padded unevenly": convolution(
            MAP, [2, 4, 2], 2, 4, 2, 3, strides=[2, 3], pads=[1, 0, 2, 2]
        ),
        "Conv causal": convolution(SEQUENCE, [5, 9], 5, 6, 3, dilations=[2], pads=[4, 0]),
        "Conv of groups over a sequence": convolution(
            SEQUENCE, [6, 9], 6, 2, 3, group=3, pads=[1, 1]
        ),
        "Conv without bias": Use(
            MAP, [2, 6, 5], [node("Conv", "host w")], {"w": sample(2, 4, 1, 1)}
        ),
        "GlobalAveragePool": Use(MAP, [4, 1, 1], [node("GlobalAveragePool", "host")]),
    }
    forms: dict[str, tuple[Sequence[int], Sequence[int], dict[str, list[int]]]] = {
        "": (MAP, [4, 5, 4], {"kernel_shape": [2, 2]}),
        " padded": (MAP, [4, 6, 5], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        " padded widely": (MAP, [4, 8, 7], {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}),
        " padded unevenly": (
            MAP,
            [4, 4, 3],
            {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 0, 1, 2]},
        ),
        " over a sequence": (SEQUENCE, [6, 9], {"kernel_shape": [3], "pads": [1, 1]}),
        " to the left": (SEQUENCE, [6, 9], {"kernel_shape": [3], "pads": [2, 0]}),
    }
    for name, (slot, output, attributes) in forms.items():
        uses["MaxPool" + name] = Use(slot, output, [node("MaxPool", "host", "seed", **attributes)])
        for counts in (0, 1):
            average = node("AveragePool", "host", "seed", count_include_pad=counts, **attributes)
            uses[f"AveragePool{name}, {counts}"] = Use(slot, output, [average])
    tied = [node("Relu", "host", "r"), node("MaxPool", "r", kernel_shape=[3, 3])]
    uses["MaxPool of equals"] = Use(MAP, [4, 4, 3], tied)
    return uses


def listed(op: str, output: Sequence[int], numbers: Constant, **attributes: int) -> Use:
    return Use(MAP, output, [node(op, "host list", "seed", **attributes)], {"list": numbers})


def layout() -> dict[str, Use]:
    cut = [node("Split", "host sizes", "left right", axis=1), node("Concat", "right left", axis=1)]
    return {
        "Reshape": listed("Reshape", [6, 20], [0, 6, -1]),
        "Reshape by the batch": listed("Reshape", [120], [-1, 120]),
        "Flatten": Use(MAP, [120], [node("Flatten", "host")]),
        "Flatten from the end": Use(MAP, [120], [node("Flatten", "host", axis=-3)]),
        "Unsqueeze": Use(SEQUENCE, [6, 1, 9], [node("Unsqueeze", "host list")], {"list": [2]}),
        "Squeeze": Use([1, 7], [7], [node("Squeeze", "host list")], {"list": [1]}),
        "Pad": listed("Pad", [5, 7, 8], [0, 1, 0, 2, 0, 0, 1, 1]),
        "Pad with a value": Use(
            FEATURES,
            [10],
            [node("Pad", "host list value")],
            {"list": [0, 1, 0, 2], "value": scalar(1.5)},
        ),
        "Expand": Use([1, 7], [3, 7], [node("Expand", "host list")], {"list": [1, 3, 1]}),
        "Gather": listed("Gather", [3, 6, 5], [2, -1, 0], axis=1),
        "Gather twice the same": listed("Gather", [3, 6, 5], [2, 2, 0], axis=1),
        "Gather by a matrix": Use(
            SEQUENCE,
            [2, 3, 9],
            [node("Gather", "host list", axis=1)],
            {"list": torch.tensor([[5, 0, 1], [2, 2, -6]])},
        ),
        "Gather one": listed("Gather", [4, 5], torch.tensor(3), axis=2),
        "Gather by the same list along two axes": Use(
            MAP,
            [2, 2, 5],
            [node("Gather", "host list", "g", axis=1), node("Gather", "g list", axis=2)],
            {"list": [-1, 0]},
        ),
        "Transpose": Use(MAP, [5, 4, 6], [node("Transpose", "host", perm=[0, 3, 1, 2])]),
        "Transpose twice": Use(MAP, MAP, [node("Transpose", "host", "t"), node("Transpose", "t")]),
        "Slice": Use(
            MAP,
            [2, 6, 3],
            [node("Slice", "host starts ends axes steps")],
            {"starts": [1, -3], "ends": [3, 99], "axes": [1, -1], "steps": [1, 1]},
        ),
        "Slice of the last": Use(
            SEQUENCE,
            [6, 1],
            [node("Slice", "host start end axis")],
            {"start": [-1], "end": [FAR], "axis": [2]},
        ),
        "Split and Concat": Use(MAP, MAP, cut, {"sizes": [1, 3]}),
        "Split into equal parts": Use(
            MAP, [2, 6, 5], [node("Split", "host", "a b", axis=1), node("Mul", "a b")]
        ),
        "Concat of one": Use(MAP, MAP, [node("Concat", "host", axis=-1)]),
    }


USES = {**pointwise(), **pairwise(), **choices(), **dense(), **windows(), **layout()}


def test_no_operator_is_left_out() -> None:
    assert len(OPERATORS) == 50
    assert {n.op_type for use in USES.values() for n in use.nodes} == set(OPERATORS)


def test_operators_compute_what_the_service_and_onnx_runtime_compute(
    engine: Engine, tmp_path: Path
) -> None:
    for name, use in USES.items():
        made = file(use.slot, use.nodes, use.constants, output=use.output)
        (tmp_path / f"{name.replace('/', ' ')}.onnx").write_bytes(made)
    engine("run", tmp_path)
    problems = []
    for case in cases(tmp_path):
        problems += compare_with_service(case)
        problems += compare_with_runtime(case.name, case.file, case.host)
    assert problems == []


def test_the_gradient_by_an_exponent_is_zero_where_the_base_is_not_positive() -> None:
    kernel = load(file(FEATURES, [node("Pow", "host e")], {"e": torch.full((7,), 2.0)}))
    host = torch.tensor([[-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]]).requires_grad_()
    torch.autograd.backward(kernel(host).sum())
    gradient = kernel.get_parameter("e").grad
    assert gradient is not None
    expected = [0, 0, 0, 0.25 * torch.tensor(0.5).log(), 0, 4 * torch.tensor(2.0).log()]
    assert torch.allclose(gradient[:6], torch.tensor(expected))
    assert host.grad is not None
    assert torch.allclose(host.grad, 2 * host.detach())
