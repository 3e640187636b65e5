"""Orders: commands of the service to this trainer."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.blend import Blend, read_blend
from weatherlight._wire.envelope import Dropped
from weatherlight._wire.fields import Misread, count, is_true
from weatherlight._wire.ramp import Ramp, read_ramp

STREAM_PREFIX = "oona.run."
ISSUED_BY = "kasmina"

CONSERVATIVE = 3
HALT = 4

_MAX_NUMBER = (1 << 24) - 1
_PLAIN_RUN = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OPERATIONS = {
    leyline.SEED_OP_GERMINATE: "attach",
    leyline.SEED_OP_START_TRAINING: "train",
    leyline.SEED_OP_START_GRAFTING: "blend",
    leyline.SEED_OP_STABILIZE: "hold",
    leyline.SEED_OP_EVALUATE: "judge",
    leyline.SEED_OP_FOSSILIZE: "keep",
    leyline.SEED_OP_FINE_TUNE: "tune",
    leyline.SEED_OP_CULL: "drop",
    leyline.SEED_OP_CANCEL: "drop",
}


@dataclass(frozen=True)
class Order:
    """One order, whole. Attach orders have kernel, blend and ramp besides."""

    kind: str
    number: int
    run: str
    trainer_id: str
    seed: str = ""
    blueprint: str = ""
    slot: str = ""
    reason: str = ""
    deadline: float = 0.0  # seconds from the reading; 0: none
    ref: str = ""
    url: str = ""
    checksum: str = ""
    blend: Blend = field(default_factory=Blend)
    ramp: Ramp = field(default_factory=Ramp)
    parameters: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = ""
    level: int = 0
    misread: Misread | None = None  # what of it is not understood


def order_stream(run: str) -> str:
    """The stream on which a run's orders travel."""
    if _PLAIN_RUN.fullmatch(run):
        return STREAM_PREFIX + run
    return STREAM_PREFIX + hashlib.sha256(run.encode()).hexdigest()


def read_order(command: leyline.AdaptationCommand) -> Order:
    """The order in a command whose signature was verified.

    One that is not understood has misread set; what of it could be read is there, so
    that an attach can be told of as failed.

    Raises:
        Dropped: the command is no order.
    """
    notes = command.annotations
    if command.issued_by != ISSUED_BY or not notes.get("order"):
        raise Dropped("not_an_order")
    try:
        number = count("order", notes["order"], _MAX_NUMBER)
    except Misread as error:
        raise Dropped("number", str(error)) from error
    known: dict[str, Any] = {
        "number": number,
        "run": notes.get("training_run_id", ""),
        "trainer_id": notes.get("trainer_id", ""),
        "slot": notes.get("slot", ""),
        "reason": notes.get("reason", ""),
        "deadline": command.execution_deadline_ms / 1000,
        "ref": notes.get("artifact_ref", ""),
        "url": notes.get("artifact_url", ""),
        "checksum": notes.get("checksum", "").lower(),
        **_payload(command),
    }
    try:
        if known["kind"] == "attach":
            known["blend"], known["ramp"] = read_blend(notes), read_ramp(notes)
        order = Order(**known)
        _check(order)
    except Misread as error:
        known["misread"] = error
        order = Order(**known)
    return order


def _payload(command: leyline.AdaptationCommand) -> dict[str, Any]:
    notes = command.annotations
    what = command.command_type
    told: dict[str, Any] = {"seed": command.target_seed_id, "kind": ""}
    if what == leyline.COMMAND_SEED:
        operation = command.seed_operation
        told["kind"] = _OPERATIONS.get(operation.operation, "")
        told["blueprint"] = operation.blueprint_id
        told["parameters"] = dict(operation.parameters)
    elif what == leyline.COMMAND_PAUSE:
        told["kind"] = "resume" if is_true(notes.get("resume", "")) else "pause"
    elif what == leyline.COMMAND_OPTIMIZER:
        told["kind"] = "optimizer"
        told["optimizer"] = command.optimizer_adjustment.optimizer_id
        told["parameters"] = dict(command.optimizer_adjustment.hyperparameters)
    elif what == leyline.COMMAND_ROLLBACK:
        told["kind"] = "rollback"
        told["seed"] = command.rollback_payload.fields["seed_id"].string_value
    elif what == leyline.COMMAND_EMERGENCY:
        told["kind"] = "emergency"
        told["seed"] = ""
        told["level"] = read_level(notes.get("level", ""))
    if told["kind"] == "optimizer":
        told["seed"] = ""
    return told


def read_level(text: str) -> int:
    """The level of an emergency; one that is not known asks for CONSERVATIVE."""
    levels = {name: int(level) for name, level in leyline.EmergencyLevel.items()}
    if text in levels:
        return levels[text]
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) in levels.values():
        return int(text)
    return CONSERVATIVE


def _check(order: Order) -> None:
    """Asks for what an order of its kind cannot do without."""
    if not order.kind:
        raise Misread("command_type", "is no order")
    if order.kind not in ("optimizer", "emergency") and not order.seed:
        raise Misread("target_seed_id", "is missing")
    if order.kind == "attach" and not order.checksum:
        raise Misread("checksum", "is missing")
    if order.kind == "attach" and not (order.ref or order.url):
        raise Misread("artifact_ref", "is missing, and so is artifact_url")
    for name, value in order.parameters.items():
        if not math.isfinite(value):
            raise Misread(name, "is not finite")
