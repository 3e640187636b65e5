"""A service of one's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

import weatherlight
from conductor import Net, batch_of, evaluate, loss_of
from servers import binary, eventually
from weatherlight import ConfigError, local


@pytest.fixture(autouse=True)
def _binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHERLIGHT_BINARY", str(binary()))


def test_a_growth_with_a_service_of_its_own() -> None:
    net = Net()
    growth = weatherlight.grow(net, "norm", sample=batch_of(2)[0], loss=loss_of, bus="local")
    growth.report(evaluate)
    link = growth._link
    eventually("a report", lambda: link.outbox.published == 1)
    eventually("orders are followed", lambda: link._position.looked_back > 0)
    link.inbox.take_entry("0-1", {})
    redis.Redis.from_url(link.config.address.url).xadd(link.inbox.stream, {"a": "b"})
    eventually("an entry", lambda: growth.dropped.get("undecodable") == 2)
    assert link.crash is None
    growth.close()
    assert not answers(link.config.address.url)


def answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url).ping())
    except redis.RedisError:
        return False


def test_it_runs_until_it_is_stopped() -> None:
    service = local.start()
    assert answers(service.url)
    assert service.secret not in repr(service)
    service.stop()
    service.stop()
    assert not answers(service.url)
    assert not service.folder.exists()


def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "import time; from weatherlight import local; "
        "print(local.start().url, flush=True); time.sleep(600)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert answers(url)
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually("the service has ended", lambda: not answers(url))


def test_it_is_said_when_it_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEATHERLIGHT_BINARY", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no program"):
        local.find()
    monkeypatch.delenv("WEATHERLIGHT_BINARY")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(local, "__file__", str(tmp_path / "local.py"))
    with pytest.raises(ConfigError, match="go install"):
        local.find()
    shutil.copy(shutil.which("false", path="/usr/bin:/bin") or "", tmp_path / local.BINARY)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert local.find() == tmp_path / local.BINARY
    with pytest.raises(ConfigError, match="did not start"):
        local.start()
