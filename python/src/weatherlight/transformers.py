"""Growth as a callback of the Trainer of Hugging Face Transformers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from weatherlight._graft.evidence import Evaluate
from weatherlight._graft.inspect import Alike
from weatherlight._grow import grow
from weatherlight._growth import Growth
from weatherlight.errors import ConfigError

STATE = "weatherlight.pt"
_YES = ("1", "true", "yes", "y", "on", "t")  # as accelerate reads a variable


def loss_of(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """The loss that a model of Transformers computes itself."""
    loss: Tensor = model(**batch).loss
    return loss


def _check(args: Any) -> None:
    """Asks how several devices train the model.

    Raises:
        ConfigError: in another way than DistributedDataParallel.
    """
    # The launcher of accelerate asks for them without those of the Trainer.
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "").strip().lower() in _YES or any(
        getattr(args, name, None) for name in ("fsdp", "deepspeed", "deepspeed_plugin")
    )
    if args.n_gpu > 1 or (args.world_size > 1 and sharded):
        raise ConfigError(
            "a model grows on several devices in one process each, by DistributedDataParallel: "
            "start the program with torchrun, without FSDP and DeepSpeed"
        )


class GrowthCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Has the model of a Trainer grow.

    Seeds learn from the last batch of each optimizer step. It writes `weatherlight.pt`
    into each checkpoint folder, and stops the Trainer when the service tells the run to
    halt. What was kept is trained by an optimizer of the package. Under torchrun the first
    process talks to the service, and all do alike.

    Attributes:
        growth: The growth, from the start of the training on.
    """

    def __init__(
        self,
        at: str | Sequence[str],
        *,
        sample: Mapping[str, Tensor],
        evaluate: Evaluate,
        loss: Callable[[Any, Any], Tensor] = loss_of,
        every: int | None = None,
        resume: str | None = None,
        **options: Any,
    ) -> None:
        """The arguments are those of `weatherlight.grow`, and of `Growth.report`.

        Args:
            at: The layer or layers.
            sample: A small batch as the model takes it.
            evaluate: Takes the model and measures it on held-out data.
            loss: Takes the model and a batch [that of the model].
            every: Optimizer steps between two reports [an epoch].
            resume: The checkpoint folder that the Trainer resumes from.
            options: More of those of `weatherlight.grow`.
        """
        self.growth: Growth | None = None
        self._options = {"at": at, "sample": sample, "loss": loss, **options}
        self._evaluate, self._every, self._resume = evaluate, every, resume
        self._batch: Mapping[str, Any] | None = None
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begins to grow."""
        model = kwargs["model"]
        _check(args)
        optimizer = getattr(kwargs.get("optimizer"), "optimizer", kwargs.get("optimizer"))
        options = {"optimizer": optimizer, "join_optimizer": False, **self._options}
        self.growth = grow(Alike(model) if args.world_size > 1 else model, **options)
        if self._resume is not None:
            self.growth.load_state_dict(torch.load(Path(self._resume) / STATE, weights_only=True))
        self._hook = model.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, model: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        if model.training and kwargs:
            self._batch = kwargs

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step."""
        if self.growth is None or self._batch is None:
            return
        batch, self._batch = self._batch, None
        self.growth.step(batch)
        if self._every is not None and state.global_step % self._every == 0:
            self.growth.report(self._evaluate)
        control.should_training_stop |= self.growth.halted

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One report, unless they go by steps."""
        if self.growth is not None and self._every is None:
            self.growth.report(self._evaluate)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the seeds beside what the Trainer writes."""
        if self.growth is not None and state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            torch.save(self.growth.state_dict(), folder / STATE)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The end of the training."""
        if self._hook is not None:
            self._hook.remove()
        if self.growth is not None:
            self.growth.close()
