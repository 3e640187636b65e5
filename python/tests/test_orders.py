"""The life of a run as it arrives on its stream, against the golden vectors."""

from __future__ import annotations

import base64
import hashlib
import random
from typing import Any

import torch
from torch import nn

from weatherlight._bus.fetch import MISMATCH, UNREACHABLE, AttachError
from weatherlight._bus.inbox import Inbox, Loaded
from weatherlight._graft.graft import Graft
from weatherlight._graft.host import Host
from weatherlight._graft.slot import Board, Slot
from weatherlight._grow import _loader, _preparer
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.envelope import seal, signed_bytes
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.orders import Order


class Story:
    """A graft that is fed the entries of a story."""

    def __init__(self, story: Any) -> None:
        self.story = story
        self.inbox = Inbox(Keyring(story["secret"]), story["run"], story["trainer_id"])
        shapes = {name: tuple(shape) for name, shape in story["slots"].items()}
        self.load = _loader(shapes)
        model = nn.Linear(2, 2)
        board = Board(model)
        sgd = torch.optim.SGD(model.parameters(), lr=1.0)
        self.graft = Graft(
            slots={name: Slot(name, nn.Identity(), shape, board) for name, shape in shapes.items()},
            host=Host(model, sgd, None),
            drops=self.inbox.drops,
            prepare=_preparer(),
            optimizer=torch.optim.Adam,
            accepts=tuple(story["accepts"]),
        )

    def fetch(self, order: Order) -> Loaded | AttachError:
        content = self.story["kernels"].get(order.ref)
        if content is None:
            return AttachError(UNREACHABLE, "it is not there")
        data = base64.b64decode(content)
        if hashlib.sha256(data).hexdigest() != order.checksum:
            return AttachError(MISMATCH, "it is another")
        try:
            return Loaded(data, self.load(order, data))
        except AttachError as error:
            return error

    def take(self, entry: Any) -> dict[str, Any]:
        fields = {
            b"payload": base64.b64decode(entry["payload"]),
            b"signature": entry["signature"].encode(),
        }
        before = self.inbox.drops.counts.copy()
        self.inbox.take_entry(entry["id"], fields)
        while (wanted := self.inbox.next_wanted(0)) is not None:
            self.inbox.fetched(wanted, self.fetch(wanted.order))
        self.graft.apply(self.inbox.arrivals())
        for _ in range(entry.get("steps", 0)):
            self.graft.step()
        dropped = self.inbox.drops.counts - before
        return self.told(next(iter(dropped), ""))

    def told(self, dropped: str) -> dict[str, Any]:
        seeds: dict[str, Any] = {}
        for seed in self.graft.seeds:
            seeds[seed.id] = {
                "stage": leyline.SeedLifecycleStage.Name(int(seed.stage)),
                "alpha": round(seed.share, 6),
                "alpha_steps": seed.steps,
                "order": seed.order,
                **({"paused": 1} if seed.paused else {}),
            }
        for seed_id, failure in self.graft.standing_failures({}).items():
            seeds[seed_id] = {
                "stage": "SEED_STAGE_UNKNOWN",
                "attach_failed": 1,
                "attach_reason": failure.reason,
                "order": failure.order,
            }
        return {
            "dropped": dropped,
            "order_read": self.inbox.order_read,
            "run_order": self.graft.run_order,
            "halted": int(self.graft.halted),
            "grafts": {
                seed.id: {
                    "slot": seed.slot,
                    "blueprint": seed.blueprint,
                    "checksum": seed.checksum,
                    "order": seed.attach_order,
                }
                for seed in self.graft.seeds
            },
            "seeds": seeds,
        }


def test_the_life_of_a_run(vectors: Any) -> None:
    story = Story(vectors("orders.json"))
    assert story.inbox.stream == story.story["stream"]
    for entry in story.story["entries"]:
        assert story.take(entry) == entry["then"], entry["name"]


def test_damaged_entries_are_dropped(vectors: Any) -> None:
    """Each is signed as it is, so that what is damaged is read as far as it goes."""
    story = Story(vectors("orders.json"))
    keyring = Keyring(story.story["secret"])
    dice = random.Random(1)
    payloads = [base64.b64decode(entry["payload"]) for entry in story.story["entries"]]
    for at in range(3000):
        data = bytearray(dice.choice(payloads))
        for _ in range(dice.randint(1, 4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.2:
            data = data[: dice.randrange(len(data))]
        signature = keyring.sign(bytes(data)).encode()
        fields = {b"payload": bytes(data), b"signature": signature}
        story.inbox.take_entry(f"{1_800_000_000_000 + at}-0", fields)
        while story.inbox.next_wanted(0) is not None:
            pass
        story.graft.apply(story.inbox.arrivals())
    assert story.graft.seeds == []
    assert sum(story.inbox.drops.counts.values()) > 2900


def test_commands_of_any_annotations_are_orders_or_dropped(vectors: Any) -> None:
    """They are signed: it is what a service with a fault could send."""
    story = Story(vectors("orders.json"))
    keyring = Keyring(story.story["secret"])
    dice = random.Random(2)
    texts = [
        "",
        "0",
        "-1",
        "1e999",
        "nan",
        "[",
        "[" * 3000,
        "9" * 5000,
        "\u0663",
        "x\0y",
        "true",
        "[[1]]",
    ]
    names = ["order", "slot", "checksum", "artifact_ref", "artifact_url", "blend_mode", "alpha_vec"]
    names += ["alpha_steps", "alpha_schedule", "gate_k", "level", "confidence_logits", "resume"]
    now = 1_800_000_000_000
    for number in range(1, 2000):
        command: Any = leyline.AdaptationCommand(issued_by="kasmina")
        command.target_seed_id = "seed-1"
        command.command_type = dice.choice(leyline.CommandType.values())
        if dice.random() < 0.7:
            command.command_type = leyline.COMMAND_SEED
            command.seed_operation.operation = dice.choice(leyline.SeedOperation.values())
            command.seed_operation.parameters["p"] = dice.choice([1.0, float("nan"), float("inf")])
        told = {"training_run_id": "run-1", "trainer_id": "t-1", "order": str(number)}
        told["blend_mode"] = dice.choice(["CHANNEL", "CONFIDENCE", "RESIDUAL", ""])
        told.update({dice.choice(names): dice.choice(texts) for _ in range(dice.randint(0, 4))})
        for name, text in told.items():
            command.annotations[name] = text
        command.annotations["signature"] = keyring.sign(signed_bytes(command))
        data, signature = seal(keyring, story.inbox.stream, 2, command, {}, now_ms=now)
        fields = {b"payload": data, b"signature": signature.encode()}
        story.inbox.take_entry(f"{now}-0", fields)
        while (wanted := story.inbox.next_wanted(0)) is not None:
            story.inbox.fetched(wanted, AttachError(UNREACHABLE, "it is not there"))
        story.graft.apply(story.inbox.arrivals())
    assert story.graft.seeds == []
    assert "undecodable" not in story.inbox.drops.counts  # nothing was a surprise
    assert story.inbox.drops.counts["not_understood"] > 100
