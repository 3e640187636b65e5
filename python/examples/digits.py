"""Grows a small network on handwritten digits while it trains.

The digits (8 x 8 pixels) are moved by up to a pixel in each epoch, which a host of 16
hidden units does not learn well: there is something to grow for. Needs a running
service, with REDIS_URL and ESPER_LEYLINE_SECRET as it has them, or its binary:

    python digits.py              # with the service that runs
    python digits.py --bus local  # with one that it starts
"""

from __future__ import annotations

import argparse
import csv
import gzip
import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import weatherlight

DATA = Path(__file__).resolve().parents[2] / "tolaria" / "digits" / "digits.csv.gz"


def digits(path: Path) -> tuple[Tensor, Tensor]:
    """Images, scaled to -1..1, and labels."""
    with gzip.open(path, "rt", newline="") as file:
        rows = torch.tensor([[float(text) for text in row] for row in csv.reader(file)])
    return rows[:, :64].reshape(-1, 8, 8) / 8 - 1, rows[:, 64].long()


def moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image moved by up to a pixel across and down."""
    padded = functional.pad(images, (1, 1, 1, 1), value=-1)
    windows = padded.unfold(1, 8, 1).unfold(2, 8, 1)  # image, down, across, 8, 8
    down, across = torch.randint(3, (2, len(images)), generator=random)
    chosen: Tensor = windows[torch.arange(len(images)), down, across].reshape(len(images), 64)
    return chosen


def main() -> None:
    """Trains until a seed is kept and has trained along for a while."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--bus", default=None, help='URL of the Redis, or "local"')
    options.add_argument("--run", default=None, help="name of the run [made up]")
    options.add_argument("--epochs", type=int, default=500, help="at most")
    options.add_argument("--after", type=int, default=10, help="epochs after a seed is kept")
    options.add_argument("--save", type=Path, help="write the grown network there (ONNX)")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(1)
    random = torch.Generator().manual_seed(1)

    images, labels = digits(given.data)
    held = torch.randperm(len(images), generator=random) < 400
    test, answers = moved(images[held], random), labels[held]
    images, labels = images[~held], labels[~held]

    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(model: nn.Module) -> dict[str, Tensor]:
        out = model(test)
        losses = functional.cross_entropy(out, answers, reduction="none")
        return {"loss": losses, "accuracy": (out.argmax(1) == answers).float()}

    growth = weatherlight.grow(
        model, at="1", sample=test[:2], loss=loss, optimizer=optimizer, run=given.run, bus=given.bus
    )
    kept = 0
    for epoch in range(given.epochs):
        for rows in torch.randperm(len(images), generator=random).split(64):
            batch = moved(images[rows], random), labels[rows]
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
            growth.step(batch)
        seen = growth.report(evaluate)
        stages = ", ".join(f"{s.blueprint} {s.stage} {s.share:.2f}" for s in growth.seeds)
        print(f"epoch {epoch}: loss {seen['loss']:.4f} accuracy {seen['accuracy']:.4f} {stages}")
        kept += any(seed.stage == "FOSSILIZED" for seed in growth.seeds)
        if kept > given.after:
            break
    if given.save:
        growth.save(given.save)
    growth.close()
    print(
        "kept:", ", ".join(s.blueprint for s in growth.seeds if s.stage == "FOSSILIZED") or "none"
    )


if __name__ == "__main__":
    main()
