"""Growth as a callback of PyTorch Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from weatherlight._graft.evidence import Evaluate
from weatherlight._graft.inspect import is_distributed
from weatherlight._grow import grow
from weatherlight._growth import Growth
from weatherlight.errors import ConfigError

try:
    from lightning.pytorch import Callback
except ImportError:  # the name that it had before
    from pytorch_lightning import Callback


class GrowthCallback(Callback):  # type: ignore[misc,unused-ignore]
    """Has the module of a trainer grow.

    It reports at the end of each training epoch, writes its seeds into the trainer's
    checkpoints, and stops the trainer when the service tells the run to halt. What was
    kept is trained by an optimizer of the package. With the strategy "ddp" the first
    process talks to the service, and all do alike.

    Attributes:
        growth: The growth, from the start of the training on.
    """

    def __init__(
        self,
        at: str | Sequence[str],
        *,
        sample: Any,
        loss: Callable[[Any, Any], Tensor],
        evaluate: Evaluate,
        **options: Any,
    ) -> None:
        """The arguments are those of `weatherlight.grow`, and of `Growth.report`.

        `loss` takes the module and a batch. It must not be `training_step`, which logs.
        """
        self.growth: Growth | None = None
        self._options = {"at": at, "sample": sample, "loss": loss, **options}
        self._evaluate = evaluate
        self._steps = 0
        self._state: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to grow."""
        model = trainer.strategy.model if trainer.world_size > 1 else pl_module
        if trainer.world_size > 1 and not is_distributed(model):
            raise ConfigError(
                'a module grows in several processes by strategy="ddp" alone, not by '
                f"{type(trainer.strategy).__name__}"
            )
        if len(trainer.optimizers) != 1:
            raise ConfigError(f"growth needs one optimizer, there are {len(trainer.optimizers)}")
        options = {"optimizer": trainer.optimizers[0], "join_optimizer": False, **self._options}
        self.growth = grow(model, **options)
        if self._state is not None:
            self.growth.load_state_dict(self._state)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step, unless gradients are still accumulated."""
        if self.growth is not None and trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.growth.step(batch)
            trainer.should_stop |= self.growth.halted

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """One report."""
        if self.growth is not None:
            self.growth.report(self._evaluate)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The end of the training by a fault, or by Ctrl-C."""
        self._close()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The end of the training."""
        self._close()

    def _close(self) -> None:
        if self.growth is not None:
            self.growth.close()

    def state_dict(self) -> dict[str, Any]:
        """What goes into the trainer's checkpoint."""
        return self.growth.state_dict() if self.growth is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What came out of one."""
        self._state = state_dict or None
