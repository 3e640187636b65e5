"""Grows a small language model while it trains: it tells the next character.

The text are the help pages that come with Python (`pydoc_data`). Seeds grow behind the
layer that looks over the last characters (a sequence) and behind the hidden layer; while
one is on trial the host rests. Needs a running service, with REDIS_URL and
ESPER_LEYLINE_SECRET as it has them, or its binary:

    python text.py              # with the service that runs
    python text.py --bus local  # with one that it starts
"""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional

import weatherlight

WINDOW = 16
SEED_STEPS = 20  # between two reports while a seed is on trial


def reading() -> tuple[Tensor, str]:
    """The text as numbers, and what they stand for; 0 is anything rare."""
    text = " ".join("\n".join(topics[name] for name in sorted(topics)).lower().split())
    common = "".join(sorted(c for c, times in Counter(text).items() if times > 100))
    number = {c: at + 1 for at, c in enumerate(common)}
    return torch.tensor([number.get(c, 0) for c in text]), common


class Host(nn.Module):
    """Embeds characters, looks over neighbours, and thinks once about the whole window."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedded = nn.Embedding(characters, 16)
        self.beside = nn.Conv1d(16, 16, 3, padding=1)
        self.mixed = nn.Identity()  # sequence x width: a slot
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(WINDOW * 16, 48), nn.ReLU())
        self.head = nn.Linear(48, characters)

    def forward(self, window: Tensor) -> Tensor:
        """Scores of the character behind a window."""
        beside = functional.relu(self.beside(self.embedded(window).transpose(1, 2)))
        scores: Tensor = self.head(self.hidden(self.mixed(beside.transpose(1, 2))))
        return scores


def written(model: nn.Module, characters: str, start: Tensor, length: int) -> str:
    """Text that the model makes up."""
    window = start.clone()
    told = []
    model.eval()
    with torch.no_grad():
        for _ in range(length):
            chances = (model(window[None])[0] / 0.5).softmax(0)
            chosen = torch.multinomial(chances, 1)
            told.append(characters[int(chosen) - 1] if int(chosen) else "?")
            window = torch.cat([window[1:], chosen])
    model.train()
    return "".join(told)


def main() -> None:
    """Trains for some steps, and grows in the first half of them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bus", default=None, help='URL of the Redis, or "local"')
    options.add_argument("--run", default=None, help="name of the run [made up]")
    options.add_argument("--reports", type=int, default=80, help="how many there are")
    options.add_argument("--steps", type=int, default=100, help="from one to the next")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(1)
    random = torch.Generator().manual_seed(1)

    numbers, characters = reading()
    windows = numbers.unfold(0, WINDOW + 1, 1)
    border = len(windows) * 9 // 10
    windows, held = windows[: border - WINDOW], windows[border:][::20]

    model = Host(len(characters) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        return functional.cross_entropy(model(batch[:, :-1]), batch[:, -1])

    def evaluate(model: nn.Module) -> dict[str, Tensor]:
        scores = model(held[:, :-1])
        losses = functional.cross_entropy(scores, held[:, -1], reduction="none")
        return {"loss": losses, "accuracy": (scores.argmax(1) == held[:, -1]).float()}

    growth = weatherlight.grow(
        model,
        at=["mixed", "hidden"],
        sample=held[:2, :-1],
        loss=loss,
        optimizer=optimizer,
        run=given.run,
        bus=given.bus,
    )
    for number in range(given.reports):
        share = number / given.reports
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))
        for _ in range(SEED_STEPS if growth.on_trial else given.steps):
            batch = windows[torch.randint(len(windows), (128,), generator=random)]
            if not growth.on_trial:
                optimizer.zero_grad()
                loss(model, batch).backward()
                optimizer.step()
            growth.step(batch)
        seen = growth.report(evaluate)
        stages = ", ".join(f"{s.blueprint} {s.stage}" for s in growth.seeds)
        bits = seen["loss"] / math.log(2)
        print(f"report {number}: {bits:.3f} bits a character, {seen['accuracy']:.4f} {stages}")
    growth.close()
    print(
        "kept:", ", ".join(s.blueprint for s in growth.seeds if s.stage == "FOSSILIZED") or "none"
    )
    print(written(model, characters, held[0, :-1], 200))


if __name__ == "__main__":
    main()
