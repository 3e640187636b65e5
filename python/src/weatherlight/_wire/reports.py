"""Reports: what this trainer tells the service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

PROTOCOL = "1"
MAX_COUNT = (1 << 24) - 1  # the largest number that a float32 metric holds exactly
MAX_ORDER_READ = 1 << 23
MAX_SEEDS = 64
MAX_SLOTS = 64
MAX_NAME = 128
MAX_NAMES = 128


class Graft(TypedDict):
    """One attached seed, as the attribute grafts has it."""

    slot: str
    blueprint: str
    checksum: str
    order: int


@dataclass(frozen=True)
class Report:
    """What a report tells in the attributes of its envelope."""

    trainer_id: str
    number: int
    order_read: int
    slots: Mapping[str, Sequence[int]]
    host_layers: Sequence[str]
    kernel_access: Sequence[str]
    grafts: Mapping[str, Graft] = field(default_factory=dict)
    accepts: Sequence[str] = ()
    resumes: str = ""

    def attributes(self) -> dict[str, str]:
        """As the envelope carries it; what is empty is left out."""
        told = {
            "trainer_protocol": PROTOCOL,
            "trainer_id": self.trainer_id,
            "report": str(self.number),
            "order_read": str(min(self.order_read, MAX_ORDER_READ)),
        }
        if self.resumes:
            told["trainer_resumes"] = self.resumes
        for name, value in (
            ("grafts", self.grafts),
            ("slots", {slot: list(shape) for slot, shape in self.slots.items()}),
            ("host_layers", list(self.host_layers)),
            ("kernel_access", list(self.kernel_access)),
            ("accepts", list(self.accepts)),
        ):
            if value:
                told[name] = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return told
