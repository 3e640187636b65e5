"""The examples run as they stand, a little shorter."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from servers import binary

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def made_up_pictures(folder: Path, count: int = 1400) -> None:
    """Files as the data set has them: ten bright squares, each at its own place."""
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (count,), generator=random)
    images = torch.randint(60, (count, 28, 28), generator=random)
    for at, label in enumerate(labels.tolist()):
        row, column = divmod(label, 4)
        images[at, row * 9 : row * 9 + 7, column * 7 : column * 7 + 7] += 150
    head = struct.pack(">IIII", 2051, count, 28, 28)
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(head + bytes(images.flatten().tolist()))
    with gzip.open(folder / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(head[:8] + bytes(labels.tolist()))


@pytest.mark.parametrize(
    ("name", "arguments", "lines"),
    [
        ("digits.py", ["--epochs", "3"], 3),
        ("fashion_mnist.py", ["--epochs", "4", "--examples", "400"], 4),
        ("text.py", ["--reports", "3", "--steps", "5"], 3),
    ],
)
def test_an_example_runs(name: str, arguments: list[str], lines: int, tmp_path: Path) -> None:
    if name == "fashion_mnist.py":
        made_up_pictures(tmp_path)
        arguments = [*arguments, "--data", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--bus", "local", *arguments],
        env={**os.environ, "WEATHERLIGHT_BINARY": str(binary())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert sum(line.startswith(("epoch ", "report ")) for line in told) == lines
    assert any(line.startswith("kept:") for line in told)
