"""What a seed does to the model, from stage to stage."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forge
import weatherlight
from conductor import ONCE, Net, batch_of, bits, evaluate, grown, loss_of
from weatherlight._graft import learner


def train(
    model: nn.Module, optimizer: Any, growth: weatherlight.Growth | None, steps: int, first: int = 0
) -> None:
    """The user's own loop."""
    model.train()
    for step in range(first, first + steps):
        batch = batch_of(16, seed=step)
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        if growth is not None:
            growth.step(batch)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def seeds_own(growth: weatherlight.Growth) -> torch.optim.Optimizer:
    own = growth._graft.seeds[0].optimizer
    assert own is not None
    return own


def alike() -> tuple[Net, Net]:
    one = Net()
    return one, copy.deepcopy(one)


@pytest.mark.parametrize("kernel", [forge.mlp(8), forge.noisy(8)], ids=["mlp", "noisy"])
def test_a_host_is_not_changed_by_seeds_until_one_is_kept(
    tmp_path: Path, kernel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ALIGN_EVERY", 2)
    alone, model = alike()
    growth, service = grown(model, tmp_path, optimizer=None)
    torch.manual_seed(1)
    train(alone, adam(alone), None, 40)
    torch.manual_seed(1)
    optimizer = adam(model)
    train(model, optimizer, growth, 5)
    service.attach("seed-1", kernel)
    for at, kind in enumerate(["train", "blend", "hold", "judge", "train", "train", "train"]):
        train(model, optimizer, growth, 5, 5 + 5 * at)
        growth.report(evaluate)
        service.order(kind, "seed-1")
    assert growth.seeds[0].stage == "PROBATIONARY"
    assert bits(model) == bits(alone)
    x = batch_of()[0]
    assert torch.equal(model(x).isfinite(), torch.ones(16, 3, dtype=torch.bool))


def test_a_seed_in_isolation_learns(tmp_path: Path) -> None:
    model = Net()
    growth, service = grown(model, tmp_path)
    optimizer = adam(model)
    service.attach("seed-1", forge.mlp(8))
    train(model, optimizer, growth, 1)
    growth.report(evaluate)
    first = service.metrics("seed-1")
    train(model, optimizer, growth, 60, 1)
    growth.report(evaluate)
    last = service.metrics("seed-1")
    assert last["train_loss"] < first["train_loss"]
    assert last["gradient_norm"] > 0
    assert last["host_gradient_max"] == 0
    assert last["shared_parameters"] == 0
    assert last["forward_faults"] == 0
    assert last["forward_ms"] > 0
    assert last["held_out"] == 64
    assert 0 < last["loss_error"] < 1
    assert last["accuracy_before"] <= 1
    assert last["alpha"] == 0
    assert all(parameter.grad is None for parameter in growth.seeds[0].module.parameters())


def test_isolation_is_not_in_the_output(tmp_path: Path) -> None:
    model = Net().eval()
    growth, service = grown(model, tmp_path)
    x = batch_of()[0]
    plain = model(x)
    service.attach("seed-1", forge.mlp(8))
    growth.step(batch_of())
    assert torch.equal(model(x), plain)


def test_the_share_rises_by_steps(tmp_path: Path) -> None:
    model = Net()
    growth, service = grown(model, tmp_path)
    optimizer = adam(model)
    service.attach("seed-1", forge.mlp(8))
    service.bring("seed-1", "blend")
    shares = []
    for step in range(20):
        shares.append(growth.seeds[0].share)
        train(model, optimizer, growth, 1, step)
    assert shares[0] == pytest.approx(0.010987, abs=1e-6)
    assert shares[9] == pytest.approx(0.5)
    model.eval()
    x = batch_of()[0]
    with_seed = model(x)
    service.bring("seed-1", "pause")
    assert growth.seeds[0].share == 0
    assert not torch.allclose(model(x), with_seed)
    service.bring("seed-1", "resume")
    assert torch.equal(model(x), with_seed)


@pytest.mark.parametrize("mode", ["CONVEX", "RESIDUAL", "CHANNEL", "CONFIDENCE"])
def test_no_gradient_reaches_the_host_through_a_blend(tmp_path: Path, mode: str) -> None:
    model = Net().eval()
    growth, service = grown(model, tmp_path, host="behind")
    notes = {"alpha_vec": str([0.5] * 8)} if mode == "CHANNEL" else {}
    service.attach("seed-1", forge.mlp(8), blend_mode=mode, **ONCE, **notes)
    service.bring("seed-1", "blend")
    loss_of(model, batch_of()).backward()
    assert model.front.weight.grad is None
    assert model.head.weight.grad is not None
    growth.step(batch_of())
    growth.report(evaluate)
    assert service.metrics("seed-1")["host_gradient_max"] == 0


def test_a_leak_through_a_blend_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL")
    growth.step(batch_of())
    monkeypatch.undo()
    growth.report(evaluate)
    assert service.metrics("seed-1")["host_gradient_max"] > 0


class Sum(nn.Module):
    """A weighted sum of what is behind the slot: its gradients can be worked out by hand."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.slot = nn.Identity()
        self.weights = nn.Parameter(torch.tensor(weights).float())

    def forward(self, x: torch.Tensor) -> Any:
        return self.slot(x) @ self.weights


def test_the_cosine_of_the_losses_by_the_output_of_the_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ALIGN_EVERY", 1)
    batch = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 3.0])
    model = Sum(1, 2).eval()
    growth, service = grown(
        model,
        tmp_path,
        "slot",
        sample=batch[0],
        loss=lambda m, b: (m(b[0]) - b[1]).square().mean(),
        seed_lr=0.0,
    )
    service.attach("seed-1", forge.scaled((2,), 1.0), blend_mode="RESIDUAL", **ONCE)
    # Sums less targets, times the weights: (1, -1) without the seed, and with it, which
    # doubles what is behind the slot, twice (2, 1). Their cosine is 1 / sqrt(2 * 5).
    for kinds in ((), ("blend",), ("hold",), ("judge",)):
        service.bring("seed-1", *kinds)
        growth.step(batch)
        growth.report()
        assert service.metrics("seed-1")["gradient_cosine"] == pytest.approx(10**-0.5)
    service.bring("seed-1", "pause")
    growth.step(batch)
    growth.report()
    assert "gradient_cosine" not in service.metrics("seed-1")
    service.bring("seed-1", "resume")
    growth.step((batch[0], torch.tensor([1.0, 2.0])))  # without the seed there is no error
    growth.report()
    assert service.metrics("seed-1")["gradient_cosine"] == 0
    assert all(parameter.grad is None for parameter in model.parameters())
    service.bring("seed-1", "keep")
    growth.step(batch)
    growth.report()
    assert "gradient_cosine" not in service.metrics("seed-1")


def test_the_cosine_is_measured_now_and_then(tmp_path: Path) -> None:
    model = Net()
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL")
    told = []
    for at in range(4):
        train(model, adam(model), growth, 100, first=100 * at)
        growth.report()
        told.append(service.metrics("seed-1").get("gradient_cosine"))
    assert told[0] is told[2] is None
    assert told[1] is not None
    assert told[3] is not None
    assert -1 <= told[1] <= 1


def test_of_a_seed_that_fails_there_is_no_cosine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ALIGN_EVERY", 1)
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.scaled((8,)), **ONCE)
    service.bring("seed-1", "blend")
    monkeypatch.setattr(growth.seeds[0].module, "forward", lambda host: host / 0)
    growth.step(batch_of())
    growth.report()
    told = service.metrics("seed-1")
    assert told["forward_faults"] > 0
    assert "gradient_cosine" not in told


class Often(Sum):
    """Passes its slot once and twice by turns."""

    passes = 0

    def forward(self, x: torch.Tensor) -> Any:
        self.passes += 1
        return sum(super(Often, self).forward(x) for _ in range(1 + self.passes % 2))


def test_of_passes_that_differ_there_is_no_cosine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ALIGN_EVERY", 1)
    batch = torch.eye(2), torch.tensor([0.0, 3.0])
    growth, service = grown(
        Often(1, 2),
        tmp_path,
        "slot",
        sample=batch[0],
        loss=lambda m, b: (m(b[0]) - b[1]).square().mean(),
    )
    service.attach("seed-1", forge.scaled((2,), 1.0), blend_mode="RESIDUAL", **ONCE)
    service.bring("seed-1")
    growth.step(batch)
    growth.report()
    assert "gradient_cosine" not in service.metrics("seed-1")


def test_layers_behind_train_along_and_are_restored_bit_by_bit(tmp_path: Path) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    growth, service = grown(model, tmp_path, optimizer=optimizer, host="behind")
    train(model, optimizer, growth, 5)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    train(model, optimizer, growth, 5, 5)
    stood = bits(model)
    moments = {p: s["momentum_buffer"].clone() for p, s in optimizer.state.items()}
    service.bring("seed-1", "blend")
    train(model, optimizer, growth, 5, 10)
    changed = bits(model)
    assert changed["front.weight"] == stood["front.weight"]
    assert changed["head.weight"] != stood["head.weight"]
    service.bring("seed-1", "drop")
    assert growth.seeds == ()
    assert bits(model) == stood
    for parameter, moment in moments.items():
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], moment)


def test_a_host_that_trained_on_without_the_blend_is_not_restored(tmp_path: Path) -> None:
    model = Net()
    optimizer = adam(model)
    growth, service = grown(model, tmp_path, optimizer=optimizer, host="behind")
    service.attach("seed-1", forge.mlp(8), **ONCE)
    service.bring("seed-1", "blend", "pause")
    train(model, optimizer, growth, 3)
    stood = bits(model)
    service.bring("seed-1", "drop")
    assert bits(model) == stood


def test_a_kept_seed_is_a_layer(tmp_path: Path) -> None:
    model = Net()
    optimizer = adam(model)
    growth, service = grown(model, tmp_path, optimizer=optimizer)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    train(model, optimizer, growth, 3)
    service.bring("seed-1", "blend", "hold", "judge", "keep")
    seed = growth.seeds[0]
    assert (seed.stage, seed.share, seed.tuned) == ("FOSSILIZED", 1.0, False)
    rested = [p.clone() for p in seed.module.parameters()]
    train(model, optimizer, growth, 3)
    assert all(map(torch.equal, rested, seed.module.parameters()))
    model.zero_grad(set_to_none=True)
    loss_of(model, batch_of()).backward()
    assert model.front.weight.grad is not None  # the gradient flows through it
    moments = {p: s["exp_avg"].clone() for p, s in seeds_own(growth).state.items()}
    service.bring("seed-1", "tune")
    assert len(optimizer.param_groups) == 2
    for parameter, moment in moments.items():  # they go along
        assert torch.equal(optimizer.state[parameter]["exp_avg"], moment)
    assert optimizer.param_groups[1]["lr"] == 0.01
    train(model, optimizer, growth, 3)
    assert not any(map(torch.equal, rested, seed.module.parameters()))
    growth.report(evaluate)
    assert service.metrics("seed-1")["gradient_norm"] > 0
    service.bring("seed-1", "pause")
    assert growth.dropped["stage"] == 1


def test_a_kept_seed_trains_without_an_optimizer_of_the_user(tmp_path: Path) -> None:
    model = Net()
    optimizer = adam(model)
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep", "tune")
    began = [p.clone() for p in growth.seeds[0].module.parameters()]
    train(model, optimizer, growth, 3)
    assert len(optimizer.param_groups) == 1
    assert not any(map(torch.equal, began, growth.seeds[0].module.parameters()))


def test_a_rollback_goes_back_to_the_model_before_the_seed(tmp_path: Path) -> None:
    model = Net()
    optimizer = adam(model)
    growth, service = grown(model, tmp_path, at=["norm", "front"], optimizer=optimizer)
    train(model, optimizer, growth, 3)
    service.attach("seed-1", forge.mlp(8), slot="front", blend_mode="RESIDUAL", **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep", "tune")
    train(model, optimizer, growth, 3, 3)
    stood, kept = bits(model), bits(growth.seeds[0].module)
    moments = copy.deepcopy(
        [optimizer.state[p] for g in optimizer.param_groups for p in g["params"]]
    )
    service.attach("seed-2", forge.mlp(8, seed=1), slot="norm", blend_mode="RESIDUAL", **ONCE)
    service.bring("seed-2", "blend", "hold", "judge", "keep", "tune")
    train(model, optimizer, growth, 3, 6)
    service.attach("seed-3", forge.mlp(8, seed=2), slot="norm", **ONCE)
    service.bring("seed-3", "blend")
    assert len(optimizer.param_groups) == 3
    service.bring("seed-2", "rollback")
    assert [seed.id for seed in growth.seeds] == ["seed-1"]
    assert bits(model) == stood
    assert bits(growth.seeds[0].module) == kept
    assert len(optimizer.param_groups) == 2
    now = [optimizer.state[p] for g in optimizer.param_groups for p in g["params"]]
    for one, other in zip(moments, now, strict=True):
        assert all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(other[k])) for k in one)
    train(model, optimizer, growth, 3, 9)


def test_without_snapshots_a_rollback_removes_the_seed_alone(tmp_path: Path) -> None:
    model = Net()
    growth, service = grown(model, tmp_path, rollback=False)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep")
    train(model, adam(model), growth, 2)
    stood = bits(model)
    service.bring("seed-1", "rollback")
    assert growth.seeds == ()
    assert bits(model) == stood


def test_several_seeds_of_a_slot_stand_behind_each_other(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 8))
    growth, service = grown(model, tmp_path, at="0", loss=lambda m, b: m(b[0]).square().mean())
    for seed, factor in (("b", 2.0), ("a", 3.0)):
        service.attach(seed, forge.scaled((8,), factor), blend_mode="RESIDUAL", **ONCE)
        service.bring(seed, "blend", "hold", "judge", "keep")
    assert [seed.id for seed in growth.seeds] == ["b", "a"]
    x = batch_of()[0]
    expected = model[0].weight @ x.T
    expected = (expected.T + model[0].bias) * 3 * 4
    assert torch.allclose(model(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "kernel", "x"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), forge.norm(4, 6, 6), torch.randn(2, 3, 6, 6)),
        (nn.Linear(5, 8), forge.scaled((7, 8)), torch.randn(2, 7, 5)),
        (nn.LSTM(5, 8, batch_first=True), forge.scaled((7, 8)), torch.randn(2, 7, 5)),
    ],
    ids=["map", "sequence", "tuple"],
)
def test_shapes_of_slots(tmp_path: Path, layer: nn.Module, kernel: bytes, x: torch.Tensor) -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.layer(x)
            first: torch.Tensor = out[0] if isinstance(out, tuple) else out
            return first

    model = Host()
    growth, service = grown(
        model, tmp_path, at="layer", sample=x, loss=lambda m, b: m(b).square().mean()
    )
    service.attach("seed-1", kernel, **ONCE)
    growth.step(x)
    service.bring("seed-1", "blend", "hold", "judge", "keep")
    model.eval()
    assert model(x).isfinite().all()
    growth.report(lambda m: m(x).square().mean())
    assert service.metrics("seed-1")["forward_faults"] == 0


def test_a_seed_that_fails_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Net().eval()
    growth, service = grown(model, tmp_path, at="front", host="behind")
    x = batch_of()[0]
    plain = model(x)
    service.attach("seed-1", forge.scaled((8,)), **ONCE)
    service.bring("seed-1", "blend")
    monkeypatch.setattr(growth.seeds[0].module, "forward", lambda host: host / 0)
    assert torch.equal(model(x), plain)
    growth.step(batch_of())
    growth.report(evaluate)
    assert service.metrics("seed-1")["forward_faults"] >= 2


def test_attaches_that_fail_are_told(tmp_path: Path) -> None:
    growth, service = grown(Net(), tmp_path)
    service.attach("misfit", forge.mlp(9))
    service.attach("faulty", forge.root(8))
    service.attach("invalid", b"no kernel")
    service.attach("blend", forge.mlp(8), blend_mode="CHANNEL", alpha_vec="[1]")
    service.attach("slot", forge.mlp(8), slot="nowhere")
    service.order("attach", "gone", checksum="0" * 64, artifact_ref="/nowhere")
    growth.report(evaluate)
    told = {s.seed_id: s.metrics["attach_reason"] for s in service.packet().seed_states}
    assert told == {"misfit": 5, "faulty": 6, "invalid": 4, "blend": 7, "slot": 8, "gone": 1}
    assert growth.seeds == ()


def test_emergencies(tmp_path: Path) -> None:
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.mlp(8))
    service.order("emergency", level="EMERGENCY_LEVEL_HALT")
    growth.step(batch_of())
    assert growth.halted
    assert growth.seeds[0].paused
    growth.report(evaluate)
    assert service.packet().training_metrics["halted"] == 1
    service.order("emergency", level="EMERGENCY_LEVEL_NOTICE")
    growth.step(batch_of())
    assert not growth.halted
    assert growth.emergency == 1
    assert growth.seeds[0].paused


def test_optimizer_orders(tmp_path: Path) -> None:
    model = Net()
    optimizer = adam(model)
    growth, service = grown(model, tmp_path, optimizer=optimizer, accept_optimizer_orders=True)
    service.order("optimizer", lr="0.125")
    service.order("optimizer", betas="3")
    service.order("optimizer", learning_rate="nan")
    growth.step(batch_of())
    assert optimizer.param_groups[0]["lr"] == 0.125
    growth.report(evaluate)
    assert service.packet().training_metrics["learning_rate"] == 0.125
    other, service = grown(Net(), tmp_path, optimizer=optimizer)
    service.order("optimizer", lr="0.5")
    other.step(batch_of())
    assert other.dropped["not_accepted"] == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_the_model_has_what_was_kept(tmp_path: Path, copied: Any) -> None:
    model = Net().eval()
    _, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep")
    x = batch_of()[0]
    twin = copied(model)
    assert torch.equal(twin(x), model(x))
    service.bring("seed-1", "drop")
    assert not torch.equal(twin(x), model(x))


def test_close_leaves_the_model_and_what_was_kept(tmp_path: Path) -> None:
    model = Net().eval()
    x = batch_of()[0]
    plain = model(x)
    keys = list(model.state_dict())
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    service.bring("seed-1", "blend", "hold")
    growth.close(0)
    assert torch.equal(model(x), plain)
    assert not model.norm._forward_hooks
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    service.bring("seed-1", "blend", "hold", "judge", "keep")
    grew = model(x)
    growth.close(0)
    growth.close(0)
    growth.step(batch_of())
    assert growth.report(evaluate) == {}
    assert torch.equal(model(x), grew)
    assert not torch.equal(grew, plain)
    assert list(model.state_dict()) == keys
