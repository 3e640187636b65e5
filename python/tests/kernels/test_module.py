"""A kernel is a module like any other."""

import copy
import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weatherlight.kernels import (
    Kernel,
    KernelFaultyError,
    KernelInvalidError,
    KernelMisfitError,
    load,
    try_kernel,
)

from .building import file, node
from .comparing import difference
from .conftest import Case

WEIGHTS: dict[str, Tensor] = {
    "w": torch.diag(torch.full((4,), 2.0)),
    "scale": torch.ones(4),
    "shift": torch.zeros(4),
    "mean": torch.full((4,), 0.5),
    "variance": torch.full((4,), 2.0),
    "half": torch.tensor(0.5),
    "order": torch.tensor([3, 2, 1, 0]),
}
# Older PyTorch has no types for these.
AUTOCAST: Any = importlib.import_module("torch").autocast
TRACE: Any = importlib.import_module("torch.jit").trace
NODES = [
    node("Gemm", "host w", "g"),
    node("BatchNormalization", "g scale shift mean variance", "n", momentum=0.75),
    node("Dropout", "n half", "d"),
    node("Gather", "d order", axis=1),
]


def normalised() -> Kernel:
    """A kernel with weights, statistics, noise and indices."""
    metadata = {"blueprint_id": "BP001", "blueprint_name": "case"}
    return load(file([4], NODES, WEIGHTS, metadata=metadata), slot=(4,))


def batch(seed: int = 0, examples: int = 3) -> Tensor:
    return torch.randn(examples, 4, generator=torch.Generator().manual_seed(seed))


def test_a_kernel_tells_what_it_is() -> None:
    kernel = normalised()
    assert [name for name, _ in kernel.named_parameters()] == ["w", "scale", "shift"]
    assert {name for name, _ in kernel.named_buffers()} == {"mean", "variance", "order"}
    assert list(kernel.state_dict()) == ["w", "scale", "shift", "mean", "variance"]
    assert kernel.blueprint == "BP001"
    assert kernel.metadata == {"blueprint_id": "BP001", "blueprint_name": "case"}
    assert (kernel.input_shape, kernel.output_shape, kernel.multiply_adds) == ((4,), (4,), 16)
    assert all(parameter.requires_grad for parameter in kernel.parameters())
    assert kernel.training
    assert "BP001" in repr(kernel)


def test_statistics_move_by_the_batch_divided_by_its_size() -> None:
    kernel, host = normalised().train(), batch()
    kernel(host)
    passed = host @ WEIGHTS["w"]
    mean = 0.75 * WEIGHTS["mean"] + 0.25 * passed.mean(0)
    variance = 0.75 * WEIGHTS["variance"] + 0.25 * passed.var(0, unbiased=False)
    assert torch.allclose(kernel.get_buffer("mean"), mean)
    assert torch.allclose(kernel.get_buffer("variance"), variance)


def test_one_example_is_normalised_by_the_statistics_in_training_mode_too() -> None:
    kernel = normalised().train()
    before = kernel.get_buffer("mean").clone()
    kernel(batch(examples=1))
    assert torch.equal(kernel.get_buffer("mean"), before)


def test_evaluation_mode_moves_nothing_and_makes_no_noise() -> None:
    kernel, host = normalised().eval(), batch()
    before = kernel.export()
    assert torch.equal(kernel(host), kernel(host))
    assert kernel.export() == before


def test_noise_keeps_its_share_in_training_mode() -> None:
    kernel = load(file([4], [node("Dropout", "host r")], {"r": torch.tensor(0.25)})).train()
    seed = kernel(torch.ones(20_000, 4))
    assert seed.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((seed == 0).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_statistics_that_are_operands_too_do_not_spoil_gradients() -> None:
    nodes = [
        node("Mul", "host mean", "m"),
        node("BatchNormalization", "m scale shift mean variance", "n"),
        node("Mul", "n mean"),
    ]
    weights = {name: WEIGHTS[name] for name in ("mean", "scale", "shift", "variance")}
    kernel, host = load(file([4], nodes, weights)).train(), batch().requires_grad_()
    torch.autograd.backward(kernel(host).square().sum())
    ours = host.grad
    mean, other = torch.full((4,), 0.5), batch().requires_grad_()
    normal = nn.functional.batch_norm(other * mean, None, None, training=True)
    torch.autograd.backward((normal * mean).square().sum())
    assert ours is not None
    assert other.grad is not None
    assert torch.allclose(ours, other.grad, atol=1e-5)


def test_copies_have_weights_of_their_own() -> None:
    kernel, host = normalised().eval(), batch()
    twin = copy.deepcopy(kernel)
    with torch.no_grad():
        twin.get_parameter("w").zero_()
    assert not torch.equal(kernel(host), twin(host))
    assert load(kernel.export()).export() == kernel.export()


def test_a_state_dict_carries_weights_and_statistics() -> None:
    kernel, host = normalised().train(), batch()
    kernel(host)
    with torch.no_grad():
        kernel.get_parameter("w").mul_(3)
    other = normalised()
    other.load_state_dict(kernel.state_dict())
    assert other.export() == kernel.export()
    assert torch.equal(other.eval()(host), kernel.eval()(host))


def test_a_kernel_can_be_pickled_and_saved(tmp_path: Path, forged: list[Case]) -> None:
    for case in forged[::20]:
        kernel = load(case.file).eval()
        twin: Kernel = pickle.loads(pickle.dumps(kernel))
        assert twin.export() == kernel.export()
        assert difference(twin(case.host).detach(), kernel(case.host).detach()) == 0
    torch.save(normalised().state_dict(), tmp_path / "state")
    normalised().load_state_dict(torch.load(tmp_path / "state"))


def test_it_moves_to_another_element_type_and_device() -> None:
    kernel = normalised().eval().to(torch.float64)
    assert kernel(batch().double()).dtype is torch.float64
    assert kernel.export() == normalised().export()
    try_kernel(kernel)
    assert kernel.to("meta").get_parameter("w").is_meta


def test_every_forged_kernel_runs_under_autocast(forged: list[Case]) -> None:
    for case in forged[::3]:
        kernel = load(case.file).train()
        with AUTOCAST("cpu", dtype=torch.bfloat16):
            seed = kernel(case.host)
        assert list(seed.shape) == case.told["output"]
        loss = seed.float().square().mean()
        if loss.requires_grad:
            torch.autograd.backward(loss)


def test_names_that_pytorch_does_not_take_are_escaped() -> None:
    names = ["a.b", "a%2Eb", "training", "forward"]
    nodes = [node("Add", ["host", names[0]], "v0")]
    nodes += [node("Add", [f"v{i}", name], f"v{i + 1}") for i, name in enumerate(names[1:])]
    nodes[-1].output = ["seed"]
    kernel = load(file([4], nodes, {name: torch.ones(4) for name in names}))
    found = [name for name, _ in kernel.named_parameters()]
    assert found == ["a%2Eb", "a%252Eb", "%74raining", "%66orward"]
    assert torch.equal(kernel(torch.zeros(1, 4)), torch.full((1, 4), 4.0))
    kernel.load_state_dict(kernel.state_dict())
    other = load(kernel.export())
    assert [name for name, _ in other.named_parameters()] == found
    kernel.eval().train()


def test_frozen_weights_are_not_trained() -> None:
    nodes = [node("Mul", "host w")]
    kernel = load(file([4], nodes, {"w": torch.ones(4)}, metadata={"frozen": "w"}))
    assert list(kernel.parameters()) == []
    assert list(kernel.state_dict()) == []
    assert torch.equal(kernel.get_buffer("w"), torch.ones(4))
    assert load(kernel.export()).metadata == {"frozen": "w"}


def test_a_batch_of_another_shape_or_too_large_is_refused() -> None:
    kernel = normalised()
    for shape in ((), (4,), (0, 4), (2, 5), (2, 4, 1)):
        with pytest.raises(KernelMisfitError):
            kernel(torch.zeros(shape))
    kernel.max_elements = 100
    with pytest.raises(KernelFaultyError, match="more than 100"):
        kernel(batch(examples=50))


def test_weights_that_are_not_finite_are_not_written() -> None:
    kernel = normalised()
    with torch.no_grad():
        kernel.get_parameter("w")[1, 1] = float("nan")
    with pytest.raises(KernelInvalidError, match="'w'"):
        kernel.export()


@pytest.mark.parametrize("where", ["output", "gradient", "training"])
def test_a_kernel_that_is_not_finite_is_faulty(where: str) -> None:
    constants = {"zero": torch.zeros(4), "e": torch.tensor(0.5)}
    nodes = {
        "output": [node("Div", "host zero", "d"), node("Pow", "d e")],
        "gradient": [node("Mul", "host zero", "m"), node("Sqrt", "m", "s"), node("Pow", "s e")],
        "training": [
            node("Sub", "host host", "z"),
            node("BatchNormalization", "z big zero zero one", "n", epsilon=1e-38),
            node("Mul", "n n", "q"),
            node("Sqrt", "q"),
        ],
    }[where]
    used = {name for n in nodes for name in n.input}
    constants |= {"big": torch.full((4,), 3e38), "one": torch.ones(4)}
    kernel = load(file([4], nodes, {k: v for k, v in constants.items() if k in used}))
    random = torch.get_rng_state()
    with pytest.raises(KernelFaultyError) as refusal:
        try_kernel(kernel)
    assert refusal.value.reason == 6
    assert torch.equal(torch.get_rng_state(), random)


def test_a_kernel_is_tried_without_a_trace_where_gradients_are_off() -> None:
    kernel = normalised().eval()
    before = kernel.export()
    random = torch.get_rng_state()
    with torch.no_grad():
        try_kernel(kernel)
    assert kernel.export() == before
    assert not kernel.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in kernel.parameters())


def test_a_kernel_compiles_to_what_it_computes(forged: list[Case]) -> None:
    """As one graph: by the compiler where there is one, else by the tracer."""
    chosen = {case.name: case for case in forged if case.name.endswith("-0")}
    for name in sorted(chosen)[::12]:
        case = chosen[name]
        kernel = load(case.file).eval()
        if hasattr(torch, "compile"):
            importlib.import_module("torch._dynamo").reset()
            run = torch.compile(kernel, backend="eager", fullgraph=True)
        else:
            run = TRACE(kernel, case.host)
        assert difference(run(case.host).detach(), kernel(case.host).detach()) <= 1e-6, name
