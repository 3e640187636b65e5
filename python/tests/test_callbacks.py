"""The callbacks of other trainers, where those are installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

import forge
from conductor import ONCE, SECRET, Conductor, Net, batch_of, evaluate, loss_of

BUS = {"bus": "redis://127.0.0.1:1", "secret": SECRET, "run": "test"}
KEEP = ("blend", "hold", "judge", "keep", "tune")


def test_lightning(tmp_path: Path) -> None:
    lightning: Any = pytest.importorskip("lightning.pytorch", reason="Lightning is not here")
    callbacks = importlib.import_module("weatherlight.lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: torch.Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, _: int) -> Any:
            return loss_of(self, batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    def callback() -> Any:
        return callbacks.GrowthCallback(
            "net.norm", sample=batch_of(2)[0], loss=loss_of, evaluate=evaluate, **BUS
        )

    class Service(lightning.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            service = Conductor(growing.growth, tmp_path)
            if trainer.current_epoch == 0:
                service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
            elif trainer.current_epoch <= len(KEEP):
                service.next = 1 + trainer.current_epoch
                service.bring("seed-1", KEEP[trainer.current_epoch - 1])

    x, y = batch_of(32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": tmp_path,
    }
    growing = callback()
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=7, accumulate_grad_batches=2, callbacks=[growing, Service()], **quiet
    )
    trainer.fit(module, loader)
    assert growing.growth._steps == 14
    assert growing.growth._number == 7
    assert growing.growth.seeds[0].tuned
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    resumed = callback()
    other = Module()
    lightning.Trainer(max_epochs=8, callbacks=[resumed], **quiet).fit(
        other, loader, ckpt_path=tmp_path / "last.ckpt"
    )
    assert [seed.stage for seed in resumed.growth.seeds] == ["FOSSILIZED"]
    assert resumed.growth._resumes == growing.growth._trainer_id


def test_transformers(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="Transformers is not here")
    pytest.importorskip("accelerate", reason="accelerate is not here")
    callbacks = importlib.import_module("weatherlight.transformers")
    config = transformers.GPT2Config(
        vocab_size=16, n_positions=8, n_embd=12, n_layer=2, n_head=2, use_cache=False
    )

    def model() -> Any:
        torch.manual_seed(2)
        return transformers.GPT2LMHeadModel(config)

    tokens = torch.arange(64 * 8).reshape(64, 8) % 16
    data = [{"input_ids": row, "labels": row} for row in tokens]
    held = {"input_ids": tokens[:4], "labels": tokens[:4]}

    def callback(**more: Any) -> Any:
        return callbacks.GrowthCallback(
            "transformer.h.0", sample=held, evaluate=lambda m: m(**held).loss, **BUS, **more
        )

    class Service(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            service = Conductor(growing.growth, tmp_path)
            at = round(state.epoch)
            if at == 0:
                service.attach("seed-1", forge.scaled((8, 12)), blend_mode="RESIDUAL", **ONCE)
            elif at <= len(KEEP):
                service.next = 1 + at
                service.bring("seed-1", KEEP[at - 1])

    given = {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 16,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "epoch",
    }
    growing = callback()
    trainer = transformers.Trainer(
        model=model(),
        args=transformers.TrainingArguments(num_train_epochs=7, **given),
        train_dataset=data,
        callbacks=[growing, Service()],
    )
    trainer.train()
    assert growing.growth._steps == 28
    assert growing.growth._number == 7
    assert growing.growth.seeds[0].tuned
    assert growing.growth._graft.seeds[0].meters.faults == 0
    folder = tmp_path / "out" / "checkpoint-28"
    resumed = callback(resume=str(folder))
    transformers.Trainer(
        model=model(),
        args=transformers.TrainingArguments(num_train_epochs=8, **given),
        train_dataset=data,
        callbacks=[resumed],
    ).train(resume_from_checkpoint=str(folder))
    assert [seed.stage for seed in resumed.growth.seeds] == ["FOSSILIZED"]
