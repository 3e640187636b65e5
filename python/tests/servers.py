"""Real servers for tests: Redis, and the service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cret-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, done: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits until something holds, and returns it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if result := done():
            return result
        time.sleep(0.01)
    raise AssertionError(f"not in {seconds} s: {what}")


class Redis:
    """A Redis of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.port, self._folder, self._args = free_port(), folder, args
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = shutil.which("redis-server")
        assert command, "apt-get install redis-server"
        args = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [command, *args, "--save", "", *self._args], stdout=subprocess.DEVNULL
        )
        self.client = redis.Redis.from_url(self.url, socket_timeout=10)
        eventually("Redis answers", self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def binary() -> Path:
    """The service: WEATHERLIGHT_BINARY, or the one in bin/."""
    named = os.environ.get("WEATHERLIGHT_BINARY")
    path = Path(named) if named else ROOT / "bin" / "esper-weatherlight-service"
    assert path.exists(), f"{path} is not there: make build"
    return path


class Service:
    """The service on a Redis."""

    def __init__(self, folder: Path, url: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "service.log"
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ESPER_LEYLINE_SECRET": SECRET,
            "REDIS_URL": url,
            "WEATHERLIGHT_HTTP_ADDR": "127.0.0.1:0",
            "TAMIYO_STALL_EPOCHS": "2",
            **environ,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(binary())], cwd=folder, env=settings, stderr=log, stdout=log
            )
        self.http = eventually("the service is ready", lambda: self.logged("ready"))["http"]

    def logged(self, message: str) -> Any:
        assert self._process.poll() is None, self._log.read_text()[-4000:]
        for line in self._log.read_text().splitlines():
            record = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if record.get("msg") == message:
                return record
        return None

    def get(self, path: str) -> Any:
        return json.loads(self.text(path))

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
