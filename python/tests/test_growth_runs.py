"""What the runs of growth count, and what their page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from growth import page
from growth.compute import Meter
from growth.differences import paired
from growth.runs import rate_at, weights_of, width_of
from growth.tasks import TASKS
from torch import nn

import weatherlight
from weatherlight._graft.compute import Counter

SEEDS = [1, 2, 3]


@pytest.mark.parametrize(
    ("layer", "shape", "forward"),
    [
        (nn.Linear(6, 4), (5, 6), 5 * 6 * 4),
        (nn.Conv2d(3, 4, 3, padding=1), (5, 3, 7, 7), 5 * 49 * 4 * 27),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), (5, 4, 7, 7), 5 * 49 * 4 * 18),
    ],
)
def test_multiply_adds_forward_and_backward(
    layer: nn.Module, shape: tuple[int, ...], forward: int
) -> None:
    inputs = torch.randn(shape)
    with Counter() as counter:
        layer(inputs)
    assert counter.count == forward
    with Counter() as counter:
        layer(inputs).sum().backward()  # the inputs need no gradient
    assert counter.count == 2 * forward
    with Counter() as counter:
        layer(inputs.requires_grad_()).sum().backward()
    assert counter.count == 3 * forward


def test_work_of_a_kind_is_counted_once() -> None:
    meter, layer = Meter(), nn.Linear(6, 4)
    for _ in range(3):
        meter.run("step", lambda: layer(torch.randn(5, 6)))
    assert meter.spent == 3 * 5 * 6 * 4
    meter.forget()
    meter.run("step", lambda: layer(torch.randn(1, 6)))
    assert meter.spent == 3 * 5 * 6 * 4 + 6 * 4


def test_a_trainer_tells_what_its_host_costs() -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    growth = weatherlight.grow(
        net,
        "1",
        sample=torch.randn(3, 6),
        loss=lambda m, x: m(x).sum(),
        secret="s" * 32,
        bus="redis://127.0.0.1:1",
    )
    assert growth._told_metrics()["host_multiply_adds"] == 6 * 4 + 4 * 2
    growth.close()


def test_a_paired_difference_has_an_interval() -> None:
    told = paired([3.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert told.mean == pytest.approx(7 / 3)
    assert told.half == pytest.approx(4.303 / 3, rel=1e-3)
    assert told.better
    assert not told.worse
    assert not paired([1.0, 4.0], [2.0, 2.0]).better


@pytest.mark.parametrize("name", ["digits", "text"])
def test_a_wider_host_has_the_weights_that_were_asked_for(name: str) -> None:
    task = TASKS[name]
    wanted = 3 * weights_of(task.host(1.0))
    assert abs(weights_of(task.host(width_of(task, wanted))) / wanted - 1) < 0.05
    assert rate_at(task, 0.0) == task.rate
    assert rate_at(task, 1.0) < task.rate / 10


def results(folder: Path, means: dict[str, float]) -> None:
    for kind, mean in means.items():
        for seed in SEEDS:
            told = {
                "accuracy": mean + seed / 100,
                "weights": 100,
                "steps": 10,
                "curve": [[0.5, mean - 5], [1.0, mean]],
                "seeds": [{"slot": "first", "blueprint": "BP009", "FOSSILIZED": 0.2}],
            }
            path = folder / f"{kind}-{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(told))


def test_the_page_and_the_result_say_the_same(tmp_path: Path) -> None:
    task, runs = TASKS["digits"], tmp_path / "runs"
    (tmp_path / "docs").mkdir()
    text = tmp_path / "docs" / "growth.md"
    text.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    means = dict.fromkeys(page.KINDS, 90.0)
    results(runs, {**means, "grown": 92.0, "larger": 92.2})
    line = page.written(tmp_path, [(task, runs)], SEEDS)
    assert line == "RESULT growth datasets=1 seeds=3 longer_wins=1 larger_level=1"
    told = text.read_text()
    assert told.startswith("before\n")
    assert told.endswith("after\n")
    assert "old" not in told
    assert f"`{line}`" in told
    assert "BP009 behind `first` (3)" in told
    assert (tmp_path / "docs" / "growth" / "digits.svg").read_text().startswith("<svg")
    results(runs, {**means, "grown": 90.0, "larger": 91.0})
    line = page.written(tmp_path, [(task, runs)], SEEDS)
    assert line == "RESULT growth datasets=1 seeds=3 longer_wins=0 larger_level=0"
