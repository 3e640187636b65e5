"""Growth without a choice: any blueprint, anywhere, at any moment."""

from __future__ import annotations

import json
import random
import time

import redis

from growth.grown import GROWS_UNTIL, Growing
from growth.tasks import Task
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.envelope import seal, signed_bytes
from weatherlight._wire.keyring import Keyring
from weatherlight.local import LocalService

# The safe blueprints that have weights and can be compiled for every slot of the tasks.
BLUEPRINTS = [f"BP{n:03d}" for n in range(2, 36) if n not in (4, 5, 7, 11, 27, 31, 33)]
EARLIEST = 0.05


class Chance(Growing):
    """A training whose seeds are drawn by lot; the service, that germinates none, judges them."""

    def __init__(self, task: Task, seed: int, service: LocalService, seeds: int) -> None:
        super().__init__(task, "random", seed, service)
        self.lot = random.Random(seed)  # noqa: S311
        self.moments = sorted(self.lot.uniform(EARLIEST, GROWS_UNTIL) for _ in range(seeds))
        self.before_report = self._germinate

    def _germinate(self) -> None:
        if not self.moments or self.training.share < self.moments[0] or self.growth.on_trial:
            return
        self.moments.pop(0)
        blueprint, slot = self.lot.choice(BLUEPRINTS), self.lot.choice(self.training.task.slots)
        config = self.growth._link.config
        command = leyline.AdaptationCommand(
            version=1,
            command_id=f"{self.growth.run}-{self.reports}",
            command_type=leyline.COMMAND_SEED,
            target_seed_id=f"{self.growth.run}-{self.reports}-{blueprint}",
            execution_deadline_ms=60_000,
            issued_by="tamiyo",
        )
        command.issued_at.GetCurrentTime()
        command.seed_operation.operation = leyline.SEED_OP_GERMINATE
        command.seed_operation.blueprint_id = blueprint
        for name, text in {
            "training_run_id": self.growth.run,
            "slot": slot,
            "mesh_host_layers": json.dumps(list(self.growth._host_layers)),
        }.items():
            command.annotations[name] = text
        keyring = Keyring(self.service.secret)
        command.annotations["signature"] = keyring.sign(signed_bytes(command))
        data, signature = seal(
            keyring,
            config.normal,
            leyline.BUS_MESSAGE_TYPE_ADAPTATION_COMMAND,
            command,
            {},
            now_ms=time.time_ns() // 10**6,
        )
        redis.Redis.from_url(self.service.url).xadd(
            config.normal, {"payload": data, "signature": signature}
        )
