"""Every kernel that the forge makes is loaded, computed, trained and written."""

from pathlib import Path

import pytest
import torch

from weatherlight.kernels import Kernel, KernelFaultyError, KernelMisfitError, load, try_kernel

from .comparing import compare_with_runtime, compare_with_service
from .conftest import Case, Engine

FORGED = 142
"""Kernels at the middle of their parameters, over the three forms of slots."""


def test_every_forged_kernel_computes_what_the_service_computes(forged: list[Case]) -> None:
    assert sum(case.name.endswith("-0") for case in forged) >= FORGED
    problems = [problem for case in forged for problem in compare_with_service(case)]
    assert problems == []


def test_every_forged_kernel_computes_what_onnx_runtime_computes(forged: list[Case]) -> None:
    problems = []
    for case in forged:
        problems += compare_with_runtime(case.name, case.file, case.host)
    assert problems == []


def test_every_forged_kernel_can_be_attached_but_those_made_to_fail(forged: list[Case]) -> None:
    refused = set()
    for case in forged:
        slot = tuple(case.told["input"][1:])
        kernel = load(case.path.with_suffix(".forged").read_bytes(), slot=slot)
        assert (kernel.input_shape, kernel.output_shape) == (slot, slot)
        assert case.name.startswith(kernel.blueprint)
        before = {name: value.clone() for name, value in kernel.state_dict().items()}
        try:
            try_kernel(kernel)
        except KernelFaultyError:
            refused.add(kernel.metadata["blueprint_name"])
        after = kernel.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert kernel.training
    assert refused == {"nan_injection"}


def test_a_kernel_of_another_slot_is_refused(forged: list[Case]) -> None:
    with pytest.raises(KernelMisfitError) as refusal:
        load(forged[0].file, slot=(3, 3))
    assert refusal.value.reason == 5


def test_what_is_written_is_the_same_kernel_to_the_service(
    forged: list[Case], engine: Engine, tmp_path: Path
) -> None:
    for case in forged:
        kernel = load(case.file).train()
        step(kernel, case)
        once = kernel.export()
        (tmp_path / case.path.name).write_bytes(once)
        twice = load(once)
        assert twice.export() == once, case.name
        assert_same(kernel, twice)
        # The service compares the file as it was with what is written of it.
        untouched = load(case.file).export()
        (tmp_path / (case.name + "-untouched.onnx")).write_bytes(case.file)
        (tmp_path / (case.name + "-untouched.exported")).write_bytes(untouched)
        (tmp_path / (case.name + ".exported")).write_bytes(twice.export())
    engine("same", tmp_path)


def step(kernel: Kernel, case: Case) -> None:
    """Moves weights and statistics, where there are any."""
    parameters = list(kernel.parameters())
    seed = kernel(case.host)
    if not parameters or not bool(seed.isfinite().all()):
        return
    gradients = torch.autograd.grad(seed.square().mean(), parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(gradient.clamp(-1, 1), alpha=0.01)


def assert_same(a: Kernel, b: Kernel) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
