"""Plays the service for a growth without a bus: signs orders, and hands them over."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import weatherlight
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.envelope import seal, signed_bytes
from weatherlight._wire.keyring import Keyring

SECRET = "s3cret-of-the-tests"
OPERATIONS = {
    "attach": leyline.SEED_OP_GERMINATE,
    "train": leyline.SEED_OP_START_TRAINING,
    "blend": leyline.SEED_OP_START_GRAFTING,
    "hold": leyline.SEED_OP_STABILIZE,
    "judge": leyline.SEED_OP_EVALUATE,
    "keep": leyline.SEED_OP_FOSSILIZE,
    "tune": leyline.SEED_OP_FINE_TUNE,
    "drop": leyline.SEED_OP_CULL,
}
ONCE = {"alpha_steps": "0"}  # a ramp that is over at once


class Conductor:
    """Orders for one growth."""

    def __init__(self, growth: weatherlight.Growth, folder: Path) -> None:
        self.growth, self.folder = growth, folder
        self._link = growth._link
        self.next = 1 + self._link.inbox.order_read  # number of the next order
        self._keyring = Keyring(SECRET)
        growth._started = True  # the threads are not needed

    def order(self, kind: str, seed: str = "", **notes: str) -> None:
        """One order, which has arrived when this returns."""
        command = leyline.AdaptationCommand(version=1, issued_by="kasmina", target_seed_id=seed)
        if kind in OPERATIONS:
            command.command_type = leyline.COMMAND_SEED
            command.seed_operation.operation = OPERATIONS[kind]
            command.seed_operation.blueprint_id = "BP018"
        elif kind in ("pause", "resume"):
            command.command_type = leyline.COMMAND_PAUSE
            notes = {"resume": str(kind == "resume").lower(), **notes}
        elif kind == "rollback":
            command.command_type = leyline.COMMAND_ROLLBACK
            command.rollback_payload["seed_id"] = seed
        elif kind == "emergency":
            command.command_type = leyline.COMMAND_EMERGENCY
        elif kind == "optimizer":
            command.command_type = leyline.COMMAND_OPTIMIZER
            for name, text in notes.items():
                command.optimizer_adjustment.hyperparameters[name] = float(text)
            notes = {}
        addressed = {
            "training_run_id": self.growth.run,
            "trainer_id": self.growth._trainer_id,
            "order": str(self.next),
            **notes,
        }
        self.next += 1
        for name, text in addressed.items():
            command.annotations[name] = text
        command.annotations["signature"] = self._keyring.sign(signed_bytes(command))
        now = time.time_ns() // 10**6
        stream = self._link.inbox.stream
        data, signature = seal(self._keyring, stream, 2, command, {}, now_ms=now)
        fields = {b"payload": data, b"signature": signature.encode()}
        self._link.inbox.take_entry(f"{now}-0", fields)
        while (wanted := self._link.inbox.next_wanted(0)) is not None:
            self._link.inbox.fetched(wanted, self._link._kernel_of(wanted))

    def attach(self, seed: str, kernel: bytes, slot: str = "", **notes: str) -> None:
        """An attach order for a kernel that lies in a folder."""
        checksum = hashlib.sha256(kernel).hexdigest()
        path = self.folder / f"{checksum}.onnx"
        path.write_bytes(kernel)
        where = {"checksum": checksum, "artifact_ref": str(path), "slot": slot}
        self.order("attach", seed, **where, **notes)

    def bring(self, seed: str, *kinds: str) -> None:
        """Orders for a seed one after the other, which take effect at once."""
        for kind in kinds:
            self.order(kind, seed)
        self.growth._take_up()

    def packet(self) -> leyline.SystemStatePacket:
        """The report that would leave next."""
        report = self._link.outbox.wait(0)
        assert report is not None
        return report.packet

    def metrics(self, seed: str) -> dict[str, float]:
        """What that report tells of a seed."""
        return {s.seed_id: dict(s.metrics) for s in self.packet().seed_states}[seed]


class Net(nn.Module):
    """A host of two layers with what a host may have: statistics and random numbers."""

    def __init__(self, width: int = 8, classes: int = 3) -> None:
        super().__init__()
        self.front = nn.Linear(5, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.drop(self.norm(self.front(x).relu())))
        return out


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    """What trains the net."""
    x, y = batch
    out: torch.Tensor = nn.functional.cross_entropy(model(x), y)
    return out


def batch_of(examples: int = 16, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples that can be learnt."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 5, generator=random)
    return x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()


def evaluate(model: nn.Module) -> dict[str, torch.Tensor]:
    """The net on held-out examples, one value for each."""
    x, y = batch_of(64, seed=99)
    out = model(x)
    return {
        "loss": nn.functional.cross_entropy(out, y, reduction="none"),
        "accuracy": (out.argmax(1) == y).float(),
    }


def grown(
    model: nn.Module, tmp_path: Path, at: Any = "norm", **options: Any
) -> tuple[weatherlight.Growth, Conductor]:
    """A growth without a bus, and what conducts it."""
    given = {
        "sample": batch_of(4)[0],
        "loss": loss_of,
        "run": "test",
        "bus": "redis://127.0.0.1:1",
        "secret": SECRET,
        **options,
    }
    growth = weatherlight.grow(model, at, **given)
    return growth, Conductor(growth, tmp_path)


def bits(model: nn.Module) -> dict[str, bytes]:
    """All of a model, bit by bit."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: t.detach().cpu().numpy().tobytes() for name, t in tensors.items()}
