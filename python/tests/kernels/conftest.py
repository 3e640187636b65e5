"""What the tests of the kernels share: the engine of the service, and forged kernels."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

REPOSITORY = Path(__file__).parents[3]

Engine = Callable[[str, Path], str]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small kernels run no faster on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Runs a command of the service's engine on a folder, and returns what it prints."""
    go = shutil.which("go")
    assert go is not None, "the engine of the service is written in Go"
    program = tmp_path_factory.mktemp("engine") / "engine"
    package = "./python/tests/kernels/testdata/engine"
    subprocess.run([go, "build", "-o", os.fspath(program), package], cwd=REPOSITORY, check=True)

    def run(command: str, folder: Path) -> str:
        done = subprocess.run(
            [os.fspath(program), command, os.fspath(folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@dataclass(frozen=True)
class Case:
    """A kernel, and what the service makes of it."""

    path: Path
    told: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def file(self) -> bytes:
        return self.path.read_bytes()

    @property
    def host(self) -> Tensor:
        return self.numbers("host", self.told["input"])

    @property
    def weights(self) -> Tensor:
        """How much each element of the output counts in the loss."""
        return self.numbers("weights", self.told["output"])

    def numbers(self, part: str, shape: Any) -> Tensor:
        data = bytearray(self.path.with_suffix("." + part).read_bytes())
        return torch.reshape(torch.frombuffer(data, dtype=torch.float32), tuple(shape))


def cases(folder: Path) -> list[Case]:
    """The kernels of a folder that the engine has run."""
    return [
        Case(path, json.loads(path.with_suffix(".json").read_text()))
        for path in sorted(folder.glob("*.onnx"))
    ]


@pytest.fixture(scope="session")
def forged_folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kernel that the forge makes: as NAME.forged, and with noise as NAME.onnx."""
    folder = tmp_path_factory.mktemp("forged")
    engine("forge", folder)
    engine("run", folder)
    return folder


@pytest.fixture(scope="session")
def forged(forged_folder: Path) -> list[Case]:
    """The forged kernels with noise on their weights."""
    return cases(forged_folder)
