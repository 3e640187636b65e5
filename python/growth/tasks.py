"""The data sets, each with its host."""

from __future__ import annotations

import csv
import gzip
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

FASHION = Path("/usr/share/datasets/fashion-mnist")
DIGITS = Path(__file__).resolve().parents[2] / "tolaria" / "digits" / "digits.csv.gz"

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Data:
    """Examples to learn from, those that growth decides by, and those that count."""

    train: Pair
    held: Pair
    test: Pair


@dataclass(frozen=True)
class Task:
    """One data set and what is trained on it."""

    name: str
    title: str
    host: Callable[[float], nn.Module]  # of a width, 1 that of the host
    slots: tuple[str, ...]
    data: Callable[[], Data]
    epochs: int  # of the host, that set the budget
    rate: float  # largest learning rate
    batch: int = 64
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def batches(self, random: torch.Generator) -> Iterator[Pair]:
        """Batches without end, epoch by epoch."""
        inputs, labels = self.data().train
        while True:
            for rows in torch.randperm(len(inputs), generator=random).split(self.batch):
                if len(rows) < self.batch:
                    continue
                chosen = inputs[rows]
                if self.augment is not None:
                    chosen = self.augment(chosen, random)
                yield chosen, labels[rows]

    def sample(self) -> Tensor:
        """Two examples."""
        two: Tensor = self.data().held[0][:2]
        return two


def loss_of(model: nn.Module, batch: Pair) -> Tensor:
    """What trains."""
    loss: Tensor = functional.cross_entropy(model(batch[0]), batch[1])
    return loss


def judged(model: nn.Module, pair: Pair) -> dict[str, Tensor]:
    """Loss and accuracy for each example, so many at a time as any kernel takes."""
    parts = [_judged(model, part) for part in zip(*map(_in_parts, pair), strict=True)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _in_parts(rows: Tensor) -> Sequence[Tensor]:
    parts: Sequence[Tensor] = rows.split(2000)
    return parts


def _judged(model: nn.Module, pair: Pair) -> dict[str, Tensor]:
    out = model(pair[0])
    losses = functional.cross_entropy(out, pair[1], reduction="none")
    return {"loss": losses, "accuracy": (out.argmax(1) == pair[1]).float()}


def even(width: float, least: int = 1) -> int:
    """A width as a whole number."""
    return max(least, round(width))


class Convolutions(nn.Module):
    """Two convolutions, each of which halves the image of 14 x 14, and a linear layer."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first, second = even(4 * width), even(8 * width)
        self.first = nn.Sequential(nn.Conv2d(1, first, 3, stride=2, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.ReLU())
        self.flat = nn.Flatten()
        self.head = nn.Linear(second * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes."""
        out: Tensor = self.head(self.flat(self.second(self.first(images))))
        return out


class Layers(nn.Module):
    """Two hidden layers, for digits of 8 x 8."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        hidden = even(32 * width)
        self.first = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes."""
        out: Tensor = self.head(self.second(self.first(images)))
        return out


WINDOW = 8


class Text(nn.Module):
    """Tells the next character from those before: a convolution over time, a hidden layer."""

    def __init__(self, characters: int, width: float = 1.0) -> None:
        super().__init__()
        embedded, mixed, hidden = even(8 * width), even(8 * width), even(24 * width)
        self.embedded = nn.Embedding(characters, embedded)
        self.mixed = _OverTime(embedded, mixed)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(WINDOW * mixed, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, characters)

    def forward(self, window: Tensor) -> Tensor:
        """Scores of the next character."""
        out: Tensor = self.head(self.hidden(self.mixed(self.embedded(window))))
        return out


class _OverTime(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inner, outer, 3, padding=1)

    def forward(self, sequence: Tensor) -> Tensor:
        out: Tensor = functional.relu(self.convolution(sequence.transpose(1, 2))).transpose(1, 2)
        return out


@cache
def fashion() -> Data:
    """Fashion-MNIST at 14 x 14: 30,000 examples, and 1,000 to decide by."""
    images, labels = _idx("train")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(7))
    train, held = chosen[:30000], chosen[30000:30500]
    tests = _idx("t10k")
    return Data((images[train], labels[train]), (images[held], labels[held]), tests)


def _idx(part: str) -> Pair:
    with gzip.open(FASHION / f"{part}-images-idx3-ubyte.gz") as file:
        content = file.read()
    _, count, rows, columns = struct.unpack(">IIII", content[:16])
    images = torch.frombuffer(bytearray(content[16:]), dtype=torch.uint8)
    images = functional.avg_pool2d(images.reshape(count, 1, rows, columns).float() / 255, 2)
    with gzip.open(FASHION / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = torch.frombuffer(bytearray(file.read()[8:]), dtype=torch.uint8)
    return (images - 0.286) / 0.32, labels.long()


@cache
def handwritten() -> Data:
    """scikit-learn's digits; tests are moved by up to a pixel, in each of the nine ways."""
    with gzip.open(DIGITS, "rt", newline="") as file:
        rows = torch.tensor([[float(text) for text in row] for row in csv.reader(file)])
    images, labels = rows[:, :64] / 8 - 1, rows[:, 64].long()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(7))
    train, held, test = chosen[:1000], chosen[1000:1200], chosen[1200:]
    return Data(
        (images[train], labels[train]),
        _everywhere(images[held], labels[held]),
        _everywhere(images[test], labels[test]),
    )


def _windows(images: Tensor) -> Tensor:
    padded = functional.pad(images.reshape(-1, 8, 8), (1, 1, 1, 1), value=-1)
    windows: Tensor = padded.unfold(1, 8, 1).unfold(2, 8, 1)
    return windows  # image, down, across, 8, 8


def _everywhere(images: Tensor, labels: Tensor) -> Pair:
    return _windows(images).reshape(-1, 64), labels.repeat_interleave(9)


def moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image moved by up to a pixel across and down."""
    down, across = torch.randint(3, (2, len(images)), generator=random)
    chosen = _windows(images)[torch.arange(len(images)), down, across]
    flat: Tensor = chosen.reshape(len(images), 64)
    return flat


@cache
def reading() -> tuple[Tensor, str]:
    """The help texts of Python, as numbers of characters, and the characters."""
    from pydoc_data.topics import topics  # noqa: PLC0415

    text = " ".join("\n".join(topics[name] for name in sorted(topics)).lower().split())
    common = sorted(c for c, times in Counter(text).items() if times > 100)
    number = {c: at + 1 for at, c in enumerate(common)}
    return torch.tensor([number.get(c, 0) for c in text]), "".join(common)


@cache
def texts() -> Data:
    """Windows of the text: the last tenth is for tests, and what lies before it decides."""
    numbers, _ = reading()
    windows = numbers.unfold(0, WINDOW + 1, 1)
    tests, held = len(windows) * 9 // 10, len(windows) * 87 // 100
    return Data(
        _split(windows[: held - WINDOW]),
        _split(windows[held : tests - WINDOW][::11][:500]),
        _split(windows[tests:][::5][:8000]),
    )


def _split(windows: Tensor) -> Pair:
    return windows[:, :-1], windows[:, -1].clone()


def _text_host(width: float) -> nn.Module:
    return Text(len(reading()[1]) + 1, width)


TASKS = {
    task.name: task
    for task in (
        Task(
            "digits",
            "digits, 8 x 8, moved",
            Layers,
            ("first", "second"),
            handwritten,
            epochs=800,
            rate=5e-3,
            augment=moved,
        ),
        Task(
            "text",
            "next character",
            _text_host,
            ("embedded", "mixed", "hidden"),
            texts,
            epochs=3,
            rate=5e-3,
            batch=256,
        ),
        Task(
            "fashion",
            "Fashion-MNIST, 14 x 14",
            Convolutions,
            ("first", "second", "flat"),
            fashion,
            epochs=20,
            rate=5e-3,
            batch=256,
        ),
    )
}
