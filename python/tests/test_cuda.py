"""Growth on a GPU, where there is one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forge
from conductor import ONCE, Net, batch_of, bits, grown

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: not run"),
]


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    out: torch.Tensor = nn.functional.cross_entropy(model(batch[0].cuda()), batch[1].cuda())
    return out


def train(model: nn.Module, optimizer: Any, growth: Any, steps: int) -> None:
    for step in range(steps):
        batch = batch_of(16, step)
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
        if growth is not None:
            growth.step(batch)


def evaluate(model: nn.Module) -> torch.Tensor:
    x, y = batch_of(64, 99)
    return nn.functional.cross_entropy(model(x.cuda()), y.cuda(), reduction="none")


def test_a_life_on_a_gpu(tmp_path: Path) -> None:
    model = Net().cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    growth, service = grown(
        model, tmp_path, sample=batch_of(2)[0].cuda(), loss=loss, optimizer=optimizer
    )
    train(model, optimizer, growth, 3)
    stood = bits(model)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep", "tune")
    train(model, optimizer, growth, 3)
    growth.report(evaluate)
    told = service.metrics("seed-1")
    assert told["forward_faults"] == 0
    assert told["forward_ms"] > 0
    assert next(growth.seeds[0].module.parameters()).is_cuda
    service.bring("seed-1", "rollback")
    assert bits(model) == stood


def test_a_host_on_a_gpu_is_not_changed(tmp_path: Path) -> None:
    model = Net().cuda()
    alone = copy.deepcopy(model)
    growth, service = grown(model, tmp_path, sample=batch_of(2)[0].cuda(), loss=loss)
    service.attach("seed-1", forge.noisy(8))
    for one, its in ((alone, None), (model, growth)):
        torch.manual_seed(1)
        train(one, torch.optim.Adam(one.parameters()), its, 10)
    assert bits(model) == bits(alone)
