"""The callbacks of other trainers in several processes, where those are installed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.multiprocessing

from servers import free_port
from weatherlight import ConfigError

KEEP = ("blend", "hold", "judge", "keep", "tune")
EPOCHS = len(KEEP) + 3
STEPS = 2  # in an epoch: 32 examples, 8 at a time in each of two processes


def conducted(growth: Any, folder: Path, epoch: int, kernel: bytes, **notes: str) -> None:
    """Plays the service for the process that talks, at the begin of an epoch.

    The orders take effect in both with the report at its end.
    """
    from conductor import ONCE, Conductor  # noqa: PLC0415

    service = Conductor(growth, folder)
    if epoch == 0:
        service.attach("seed-1", kernel, **ONCE, **notes)
    elif epoch <= len(KEEP):
        service.next = 1 + epoch
        service.order(KEEP[epoch - 1], "seed-1")


def seen(growth: Any, model: torch.nn.Module) -> Any:
    """What both processes must have alike."""
    (seed,) = growth.seeds
    weights = [*model.parameters(), *seed.module.parameters()]
    told = [weight.detach().numpy().tobytes() for weight in weights]
    return seed.stage, seed.tuned, growth.run, growth._steps, told


def bus(rank: int) -> dict[str, Any]:
    from conductor import SECRET  # noqa: PLC0415

    secret = SECRET if rank == 0 else None  # the other one has none
    return {"bus": "redis://127.0.0.1:1", "secret": secret}


def lightning(rank: int, folder: Path) -> Any:
    """One process of two under Lightning."""
    import forge  # noqa: PLC0415
    from conductor import Net, batch_of, evaluate, loss_of  # noqa: PLC0415

    pl: Any = importlib.import_module("lightning.pytorch")
    callbacks = importlib.import_module("weatherlight.lightning")

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: torch.Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, _: int) -> Any:
            return loss_of(self, batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    class Service(pl.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if rank == 0:
                notes = {"blend_mode": "RESIDUAL"}
                conducted(growing.growth, folder, trainer.current_epoch, forge.mlp(8), **notes)

    def callback() -> Any:
        return callbacks.GrowthCallback(
            "net.norm", sample=batch_of(2)[0], loss=loss_of, evaluate=evaluate, **bus(rank)
        )

    def trainer(epochs: int, *also: Any, **options: Any) -> Any:
        return pl.Trainer(
            max_epochs=epochs,
            callbacks=list(also),
            strategy="ddp",
            accelerator="cpu",
            devices=2,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            **options,
        )

    x, y = batch_of(32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)
    growing, module = callback(), Module()
    first = trainer(EPOCHS, growing, Service())
    first.fit(module, loader)
    first.save_checkpoint(folder / "last.ckpt")
    resumed, other = callback(), Module()
    trainer(EPOCHS + 1, resumed).fit(other, loader, ckpt_path=folder / "last.ckpt")
    assert resumed.growth._resumes == growing.growth._trainer_id
    return seen(growing.growth, module), seen(resumed.growth, other)


def transformers(rank: int, folder: Path) -> Any:
    """One process of two under the Trainer of Transformers."""
    import forge  # noqa: PLC0415

    hf: Any = importlib.import_module("transformers")
    callbacks = importlib.import_module("weatherlight.transformers")
    config = hf.GPT2Config(
        vocab_size=16, n_positions=8, n_embd=12, n_layer=2, n_head=2, use_cache=False
    )
    tokens = torch.arange(32 * 8).reshape(32, 8) % 16
    data = [{"input_ids": row, "labels": row} for row in tokens]
    held = {"input_ids": tokens[:4], "labels": tokens[:4]}

    class Service(hf.TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if rank == 0:
                notes = {"blend_mode": "RESIDUAL"}
                kernel = forge.scaled((8, 12))
                conducted(growing.growth, folder, round(state.epoch), kernel, **notes)

    def callback(**more: Any) -> Any:
        return callbacks.GrowthCallback(
            "transformer.h.0",
            sample=held,
            evaluate=lambda m: m(**held).loss,
            **bus(rank),
            **more,
        )

    def trained(epochs: int, *also: Any, resume: str | None = None) -> Any:
        trainer = hf.Trainer(
            model=hf.GPT2LMHeadModel(config),
            args=hf.TrainingArguments(
                num_train_epochs=epochs,
                output_dir=str(folder / "out"),
                per_device_train_batch_size=8,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                save_strategy="epoch",
            ),
            train_dataset=data,
            callbacks=list(also),
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model

    growing = callback()
    model = trained(EPOCHS, growing, Service())
    last = str(folder / "out" / f"checkpoint-{EPOCHS * STEPS}")
    resumed = callback(resume=last)
    other = trained(EPOCHS + 1, resumed, resume=last)
    assert resumed.growth._resumes == growing.growth._trainer_id
    return seen(growing.growth, model), seen(resumed.growth, other)


def work(rank: int, act: Callable[[int, Path], Any], folder: Path, path: list[str]) -> None:
    """One process of two, as torchrun would start it."""
    sys.path[:] = path
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in told.items()})
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    torch.save(act(rank, folder), folder / f"seen-{rank}.pt")
    distributed: Any = torch.distributed
    distributed.destroy_process_group()


@pytest.mark.parametrize("act", [lightning, transformers])
def test_two_processes_do_the_same(
    act: Callable[[int, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed in {"lightning": ["lightning.pytorch"]}.get(
        act.__name__, ["transformers", "accelerate"]
    ):
        pytest.importorskip(needed, reason=f"{needed} is not here")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    processes: Any = torch.multiprocessing
    processes.spawn(work, (act, tmp_path, sys.path), nprocs=2)
    first, second = (torch.load(tmp_path / f"seen-{rank}.pt") for rank in range(2))
    assert first == second
    for epochs, (stage, tuned, run, steps, _) in zip((EPOCHS, EPOCHS + 1), first, strict=True):
        assert (stage, tuned) == ("FOSSILIZED", True)
        assert run.startswith("torch-")
        assert steps == epochs * STEPS
    assert first[0][-1] != first[1][-1]  # it trains on


def test_ways_to_train_that_are_refused_under_lightning() -> None:
    pytest.importorskip("lightning.pytorch", reason="Lightning is not here")
    lightnings = importlib.import_module("weatherlight.lightning")
    strategy = SimpleNamespace(model=torch.nn.Linear(1, 1))
    one: Any = lightnings.GrowthCallback("x", sample=None, loss=len, evaluate=len)
    with pytest.raises(ConfigError, match='strategy="ddp"'):
        one.on_train_start(SimpleNamespace(world_size=2, strategy=strategy), strategy.model)


@pytest.mark.parametrize(
    ("args", "environ"),
    [
        ({"n_gpu": 2, "world_size": 1}, {}),
        ({"fsdp": ["auto_wrap"]}, {}),
        ({"deepspeed": "zero.json"}, {}),
        ({"deepspeed_plugin": object()}, {}),  # accelerate's launcher sets it
        ({}, {"ACCELERATE_USE_FSDP": "true"}),
        ({}, {"ACCELERATE_USE_FSDP": "1"}),
    ],
)
def test_ways_to_train_that_are_refused_under_transformers(
    args: dict[str, Any], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="Transformers is not here")
    callbacks = importlib.import_module("weatherlight.transformers")
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    one: Any = callbacks.GrowthCallback("x", sample={}, evaluate=len)
    given = SimpleNamespace(**{"n_gpu": 1, "world_size": 2, **args})
    with pytest.raises(ConfigError, match="torchrun"):
        one.on_train_begin(given, None, None, model=torch.nn.Linear(1, 1))
