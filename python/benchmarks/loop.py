"""What growth costs a training loop, beside trackio in the same loop.

Prints one row a line and ends with a RESULT line; a row that was not measured is not met.
Run on an idle machine, from an environment with the package's needs and trackio:

    python3 -m venv --system-site-packages /tmp/peer && /tmp/peer/bin/pip install trackio
    PYTHONPATH=src:tests /tmp/peer/bin/python benchmarks/loop.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import forge
import weatherlight
from conductor import SECRET, Conductor
from weatherlight._graft.learner import ALIGN_EVERY

ROUNDS = 5
STEPS = 30  # of a training between which a call is timed


class Block(nn.Module):
    """Two convolutions with a way around them, as in ResNet-18."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images."""
        return functional.relu(self.body(x) + self.around(x))


def resnet18() -> nn.Sequential:
    """11.2 million parameters, for images of 32 x 32."""
    sizes = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Sequential(*(Block(*size) for size in sizes)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def fastest(act: Callable[[], Any], times: int) -> float:
    """Seconds of one call, in the fastest of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            act()
        best = min(best, (time.perf_counter() - started) / times)
    return best


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Cross entropy."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """One step of the user's own."""
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    optimizer.step()


def import_seconds(module: str) -> float:
    """Median time of an import in a fresh interpreter, beyond torch."""
    code = (
        f"import time, torch; begun = time.perf_counter(); import {module}; "
        "print(time.perf_counter() - begun)"
    )
    runs = [
        float(subprocess.check_output([sys.executable, "-c", code], text=True))  # noqa: S603
        for _ in range(ROUNDS)
    ]
    return statistics.median(runs)


def blending_overhead(folder: Path) -> float:
    """Time of a blended forward pass beyond host and seed, as a share of them.

    All three are taken in turn, so that a machine that changes its pace does so for each.
    """
    torch.manual_seed(1)
    host = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512)).eval()
    batch = torch.randn(64, 512)
    growth = weatherlight.grow(
        host,
        at="0",
        sample=batch[:2],
        loss=lambda m, b: m(b).square().mean(),
        bus="redis://127.0.0.1:1/0",
        secret=SECRET,
    )
    service = Conductor(growth, folder)
    service.attach("seed-1", forge.scaled((512,), 0.5))
    alone = inside = blended = float("inf")
    with torch.no_grad():
        plain = fastest(lambda: host(batch), 20)
    service.bring("seed-1", "blend", "hold")
    seed = growth.seeds[0].module
    for _ in range(ROUNDS):
        with torch.no_grad():
            blended = min(blended, fastest(lambda: host(batch), 20))
            inside = min(inside, fastest(lambda: seed(batch), 20))
        service.order("pause", "seed-1")
        growth.step(batch)
        with torch.no_grad():
            alone = min(alone, plain, fastest(lambda: host(batch), 20))
        service.order("resume", "seed-1")
        growth.step(batch)
    growth.close(0)
    return (blended - alone - inside) / (alone + inside)


def alignment_share(folder: Path, batch: tuple[torch.Tensor, torch.Tensor], step_s: float) -> float:
    """Time that the cosine of gradients takes, as a share of the steps that it is taken in.

    Behind the first layer, where its passes are longest.
    """
    model = resnet18()
    growth = weatherlight.grow(
        model,
        at="0",
        sample=batch[0][:2],
        loss=loss_of,
        bus="redis://127.0.0.1:1/0",
        secret=SECRET,
    )
    service = Conductor(growth, folder)
    service.attach("seed-1", forge.scaled((64, 32, 32), 0.5), blend_mode="RESIDUAL")
    service.bring("seed-1", "train")
    (seed,), (slot,) = growth._graft.seeds, growth._graft.slots.values()

    def measured() -> None:
        seed.batches = ALIGN_EVERY - 1
        growth._learner.align(seed, slot, batch)

    took = fastest(measured, 2)
    assert "gradient_cosine" in seed.meters.tell()  # noqa: S101
    growth.close(0)
    return took / (ALIGN_EVERY * step_s)


def in_the_loop(train: Callable[[], None], call: Callable[[], Any]) -> float:
    """Median seconds of a call between the steps of a training."""
    took = []
    for _ in range(STEPS):
        train()
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def trackio_log(train: Callable[[], None]) -> float | None:
    """Median seconds of trackio.log in the same loop; None where it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder  # read as it is imported
        try:
            import trackio  # noqa: PLC0415
        except ImportError:
            return None
        trackio.init(
            project="weatherlight-benchmark", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        took = in_the_loop(train, lambda: trackio.log({"loss": 1.0, "accuracy": 0.5}))
        trackio.finish()
        return took


def main() -> None:
    """Measures each row and compares it with its bar."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = resnet18()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    batch = (torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,)))

    def train() -> None:
        training_step(model, optimizer, batch)

    step_s = fastest(train, 2)
    growth = weatherlight.grow(
        model,
        at="3",
        sample=batch[0][:2],
        loss=loss_of,
        optimizer=optimizer,
        bus="redis://127.0.0.1:1/0",
        secret=SECRET,
    )
    growth.step(batch)
    ours = fastest(lambda: growth.step(batch), 1000)
    beside = in_the_loop(train, lambda: growth.step(batch))
    report_ms = fastest(growth.report, 20) * 1e3
    growth.close(0)
    with tempfile.TemporaryDirectory() as folder:
        blending = blending_overhead(Path(folder))
        alignment = alignment_share(Path(folder), batch, step_s)
    peer = trackio_log(train)
    rows = [
        ("step_without_seed_us", ours * 1e6, 50.0),
        ("step_share_of_resnet18_step_percent", 100 * ours / step_s, 1.0),
        ("blending_overhead_percent", 100 * blending, 5.0),
        ("gradient_cosine_share_percent", 100 * alignment, 1.0),
        ("report_with_the_bus_away_ms", report_ms, 1.0),
        ("import_beyond_torch_s", import_seconds("weatherlight"), 0.3),
        ("step_over_trackio_log_in_the_loop", None if peer is None else beside / peer, 1.0),
    ]
    met = missing = 0
    for name, value, bar in rows:
        if value is None:
            missing += 1
            print(f"{name:38} not measured: pip install trackio   bar {bar:g}")
            continue
        met += value < bar
        print(f"{name:38} {value:10.4g}   bar {bar:g}")
    print(f"{'resnet18_step_ms':38} {step_s * 1e3:10.4g}")
    print(f"{'step_in_the_loop_us':38} {beside * 1e6:10.4g}")
    if peer is not None:
        print(f"{'trackio_log_in_the_loop_us':38} {peer * 1e6:10.4g}")
    print(f"RESULT python-bench rows={len(rows)} met={met} not_measured={missing}")


if __name__ == "__main__":
    main()
