"""A training in several processes, one of which talks."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

EPOCHS = ("train", "blend", "hold", "judge", "keep", "tune", "train", "rollback")


def work(rank: int, folder: Path, path: list[str]) -> None:
    """One process of two."""
    sys.path[:] = path
    import forge  # noqa: PLC0415
    from conductor import (  # noqa: PLC0415
        ONCE,
        Net,
        batch_of,
        bits,
        evaluate,
        grown,
        loss_of,
    )

    distributed: Any = torch.distributed
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    net = Net()
    model: Any = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options: dict[str, Any] = {"optimizer": optimizer, "run": None}
    if rank:
        options["secret"] = None  # it has none
    growth, service = grown(model, folder, **options)
    growth._started = rank == 0  # the other begins by itself
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE) if rank == 0 else None
    seen = []
    for epoch, kind in enumerate(EPOCHS):
        for step in range(10):
            batch = batch_of(8, seed=100 * epoch + 10 * step + rank)
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
            growth.step(batch)
        growth.report(evaluate)
        seed = growth.seeds[0]
        seen.append((seed.stage, seed.tuned, bits(seed.module), bits_of_parameters(net)))
        if rank == 0:
            service.order(kind, "seed-1")
    growth.report(evaluate)
    assert growth.seeds == ()
    everything = (seen, growth.run, bits_of_parameters(net))
    torch.save(everything, folder / f"seen-{rank}.pt")
    if rank:
        assert growth._link._threads == []
    assert bits(net)
    growth.close(0)
    distributed.barrier()
    distributed.destroy_process_group()


def bits_of_parameters(model: torch.nn.Module) -> dict[str, bytes]:
    """Statistics are those of the first process only after its next pass."""
    return {name: p.detach().numpy().tobytes() for name, p in model.named_parameters()}


def test_two_processes_do_the_same(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch cannot train in several processes")
    processes: Any = torch.multiprocessing
    processes.spawn(work, (tmp_path, sys.path), nprocs=2)
    first, second = (torch.load(tmp_path / f"seen-{rank}.pt") for rank in range(2))
    assert first == second
    stages = [stage for stage, *_ in first[0]]
    assert stages[0] == "TRAINING"
    assert stages[-1] == "FOSSILIZED"
    weights = [module for _, _, module, _ in first[0]]
    assert weights[0] != weights[1]  # it learns


def raise_first(rank: int, folder: Path, path: list[str]) -> None:
    """One process of two that resume; the first one raises an emergency before its first step."""
    sys.path[:] = path
    from conductor import Net, batch_of, grown  # noqa: PLC0415

    distributed: Any = torch.distributed
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    model: Any = torch.nn.parallel.DistributedDataParallel(Net())
    growth, _ = grown(model, folder, run=None, **({"secret": None} if rank else {}))
    growth._started = False
    growth.load_state_dict({**growth.state_dict(), "steps": 5})
    if rank == 0:
        growth.raise_emergency(2, "why")
    growth.step(batch_of())
    distributed.barrier()
    growth.close(0)
    distributed.destroy_process_group()


def test_an_emergency_before_the_first_step_keeps_the_processes_together(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch cannot train in several processes")
    processes: Any = torch.multiprocessing
    processes.spawn(raise_first, (tmp_path, sys.path), nprocs=2)
