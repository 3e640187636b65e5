"""What all tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from servers import Cluster, Redis, Service

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture(scope="session")
def vectors() -> Any:
    """Reads a file of golden vectors."""

    def read(name: str) -> Any:
        return json.loads((ROOT / "testdata" / "trainer" / name).read_text(encoding="utf-8"))

    return read


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    servers = Cluster(tmp_path_factory.mktemp("cluster"))
    yield servers
    servers.kill()


@pytest.fixture
def service(redis_server: Redis, tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "service", redis_server.url)
    yield running
    running.kill()
