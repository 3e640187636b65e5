"""Grows a small convolutional network on Fashion-MNIST while it trains.

The pictures are those of Debian's package dataset-fashion-mnist, at 14 x 14. Seeds grow
behind each of the two convolutions; while one is on trial the host rests. Needs a running
service, with REDIS_URL and ESPER_LEYLINE_SECRET as it has them, or its binary:

    python fashion_mnist.py              # with the service that runs
    python fashion_mnist.py --bus local  # with one that it starts
"""

from __future__ import annotations

import argparse
import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import weatherlight

DATA = Path("/usr/share/datasets/fashion-mnist")
SEED_STEPS = 20  # between two reports while a seed is on trial


def pictures(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pictures of 14 x 14 about 0, and labels."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = torch.frombuffer(bytearray(file.read()[16:]), dtype=torch.uint8)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = torch.frombuffer(bytearray(file.read()[8:]), dtype=torch.uint8)
    images = functional.avg_pool2d(pixels.reshape(-1, 1, 28, 28).float() / 255, 2)
    return (images - 0.286) / 0.32, labels.long()


class Host(nn.Module):
    """Two convolutions, each of which halves the picture, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 12, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(12 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes."""
        scores: Tensor = self.head(self.second(self.first(images)).flatten(1))
        return scores


def main() -> None:
    """Trains for some epochs, and grows in the first half of them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--bus", default=None, help='URL of the Redis, or "local"')
    options.add_argument("--run", default=None, help="name of the run [made up]")
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--examples", type=int, default=12000)
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(1)
    random = torch.Generator().manual_seed(1)

    images, labels = pictures(given.data, "train")
    order = torch.randperm(len(images), generator=random)
    held, chosen = order[:1000], order[1000 : 1000 + given.examples]
    test, answers = images[held], labels[held]
    images, labels = images[chosen], labels[chosen]

    model = Host()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.epochs)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(model: nn.Module) -> dict[str, Tensor]:
        scores = model(test)
        losses = functional.cross_entropy(scores, answers, reduction="none")
        return {"loss": losses, "accuracy": (scores.argmax(1) == answers).float()}

    growth = weatherlight.grow(
        model,
        at=["first", "second"],
        sample=test[:2],
        loss=loss,
        optimizer=optimizer,
        scheduler=scheduler,
        run=given.run,
        bus=given.bus,
    )
    tried = 0
    for epoch in range(given.epochs):
        if epoch == given.epochs // 2:
            growth.close()  # what would be kept from here on had no time to learn
        for rows in torch.randperm(len(images), generator=random).split(64):
            batch = images[rows], labels[rows]
            if growth.on_trial:  # the host rests, and a seed is told of more often
                tried += 1
                if tried % SEED_STEPS == 0:
                    growth.report(evaluate)
            else:
                optimizer.zero_grad()
                loss(model, batch).backward()
                optimizer.step()
            growth.step(batch)
        scheduler.step()
        seen = growth.report(evaluate) or measured(model, evaluate)
        stages = ", ".join(f"{s.blueprint} {s.stage}" for s in growth.seeds)
        print(f"epoch {epoch}: loss {seen['loss']:.4f} accuracy {seen['accuracy']:.4f} {stages}")
    growth.close()
    print(
        "kept:", ", ".join(s.blueprint for s in growth.seeds if s.stage == "FOSSILIZED") or "none"
    )


def measured(
    model: nn.Module, evaluate: Callable[[nn.Module], dict[str, Tensor]]
) -> dict[str, float]:
    """The means, when growth is closed and reports no more."""
    model.eval()
    with torch.no_grad():
        seen = {name: float(values.mean()) for name, values in evaluate(model).items()}
    model.train()
    return seen


if __name__ == "__main__":
    main()
