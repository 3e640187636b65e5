"""A training through a real Redis and a real service, and what may go wrong on the way."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import torch
from torch import Tensor, nn
from torch.nn import functional

import weatherlight
from servers import SECRET, Redis, Service, eventually
from weatherlight._bus.config import read_config
from weatherlight._bus.fetch import Fetcher
from weatherlight._wire.orders import Order

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import digits

PATIENCE = 240.0


class Training:
    """The loop of the digits example, an epoch at a time."""

    def __init__(self, url: str, **options: Any) -> None:
        self.random = torch.Generator().manual_seed(1)
        images, labels = digits.digits(digits.DATA)
        held = torch.randperm(len(images), generator=self.random) < 400
        self.test, self.answers = digits.moved(images[held], self.random), labels[held]
        self.images, self.labels = images[~held], labels[~held]
        self.model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.growth = weatherlight.grow(
            self.model,
            at="1",
            sample=self.test[:2],
            loss=self.loss,
            optimizer=self.optimizer,
            bus=url,
            **{"secret": SECRET, "run": "digits", **options},
        )
        self.stages: set[str] = set()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out: Tensor = functional.cross_entropy(model(batch[0]), batch[1])
        return out

    def evaluate(self, model: nn.Module) -> dict[str, Tensor]:
        out = model(self.test)
        losses = functional.cross_entropy(out, self.answers, reduction="none")
        return {"loss": losses, "accuracy": (out.argmax(1) == self.answers).float()}

    def epoch(self) -> dict[str, float]:
        for rows in torch.randperm(len(self.images), generator=self.random).split(64):
            batch = digits.moved(self.images[rows], self.random), self.labels[rows]
            self.optimizer.zero_grad()
            self.loss(self.model, batch).backward()
            self.optimizer.step()
            self.growth.step(batch)
        seen = self.growth.report(self.evaluate)
        self.stages |= {seed.stage for seed in self.growth.seeds}
        return seen

    def until(self, done: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < PATIENCE, self.growth
            self.epoch()

    def kept(self) -> bool:
        return any(seed.tuned for seed in self.growth.seeds)


def test_a_seed_is_kept_over_kills_and_a_flush(
    redis_server: Redis, service: Service, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    training = Training(redis_server.url)
    training.until(lambda: "TRAINING" in training.stages)
    redis_server.kill()
    for _ in range(3):
        assert training.epoch()["loss"] > 0
    redis_server.start()
    training.until(lambda: training.stages > {"TRAINING"})
    redis_server.client.flushall()
    training.until(training.kept)
    assert training.stages >= {"BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED"}
    assert sum("cannot be reached" in r.getMessage() for r in caplog.records) == 1
    assert SECRET not in caplog.text
    seed = next(seed for seed in training.growth._graft.seeds if seed.kept)
    fetcher = Fetcher(read_config(None, SECRET, f"http://{service.http}"))
    url = f"http://{service.http}/kernels/{seed.checksum}"
    order = Order("attach", 1, "digits", "t", url=url, checksum=seed.checksum)
    assert fetcher.fetch(order) == seed.content
    run = service.get("/runs/digits")
    assert "FOSSILIZED" in str(run)

    # A process that resumes goes on with what was kept.
    state = {
        "model": training.model.state_dict(),
        "growth": training.growth.state_dict(),
        "optimizer": training.optimizer.state_dict(),
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    before = training.evaluate(training.model.eval())["loss"]
    training.growth.close()
    state = torch.load(tmp_path / "checkpoint.pt")
    resumed = Training(redis_server.url)
    resumed.model.load_state_dict(state["model"])
    resumed.growth.load_state_dict(state["growth"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    assert torch.equal(resumed.evaluate(resumed.model.eval())["loss"], before)
    for _ in range(3):
        resumed.epoch()
    assert resumed.kept()
    resumed.growth.close()
    assert resumed.growth._trainer_id in str(service.get("/runs/digits"))


def test_a_wrong_secret_changes_nothing(redis_server: Redis, service: Service) -> None:
    training = Training(redis_server.url, secret="another-secret-of-nobody", run="wrong")
    losses = [training.epoch()["loss"] for _ in range(5)]
    assert losses[-1] < losses[0]
    assert training.growth.seeds == ()
    training.growth.close()
    assert "wrong" not in str(service.get("/runs"))


def test_an_emergency_halts_the_run_over_an_outage(redis_server: Redis, service: Service) -> None:
    training = Training(redis_server.url, run="halting")
    beside = Training(redis_server.url, run="beside")
    for one in (training, beside):
        one.epoch()
    eventually("the service knows both", lambda: "beside" in str(service.get("/runs")))
    redis_server.kill()
    training.growth.raise_emergency(2, "the loss rises")
    training.growth.raise_emergency(4, "the loss is no number")
    training.epoch()
    redis_server.start()
    training.until(lambda: training.growth.halted)
    training.epoch()
    eventually("it is told of", lambda: _alarms(service) == 2)
    assert not beside.growth.halted
    training.growth.raise_emergency(1, "no more than this")  # an operator alone takes it back
    eventually("it is told of too", lambda: _alarms(service) == 3)
    for one in (training, beside):
        one.epoch()
    assert training.growth.emergency == 4
    assert beside.growth.emergency == 0
    for one in (training, beside):
        one.growth.close()


def test_an_emergency_that_was_stored_and_not_answered_counts_once(
    redis_server: Redis, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(redis_server.url, run="twice")
    training.epoch()
    outbox = training.growth._link.outbox
    raised, tries = outbox.raised, []

    def broken_once(signal: Any) -> None:
        tries.append(signal)
        if len(tries) == 1:
            raise redis.ConnectionError("it ended before the answer")
        raised(signal)

    monkeypatch.setattr(outbox, "raised", broken_once)
    training.growth.raise_emergency(4, "once")
    training.until(lambda: training.growth.halted and outbox.empty)
    assert redis_server.client.xlen("oona.emergency") >= 2
    training.growth.raise_emergency(2, "another")
    eventually("both are told of", lambda: _alarms(service) == 2)
    training.growth.close()


def test_an_emergency_before_the_first_step(redis_server: Redis, service: Service) -> None:
    training = Training(redis_server.url, run="early")
    training.growth.raise_emergency(4, "this machine is too hot")
    training.until(lambda: training.growth.halted)
    training.growth.close()
    assert _alarms(service) == 1


def _alarms(service: Service) -> float:
    for line in service.text("/metrics").splitlines():
        if line.startswith("weatherlight_emergency_detections_total"):
            return float(line.rpartition(" ")[2])
    return 0.0
