"""What a training loop asks of a growth besides the two lines."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import forge
import weatherlight
from conductor import ONCE, SECRET, Net, batch_of, bits, evaluate, grown, loss_of
from weatherlight import ConfigError, WeatherlightError

KEEP = ("blend", "hold", "judge", "keep")


def train(model: nn.Module, optimizer: Any, growth: weatherlight.Growth, steps: int) -> None:
    model.train()
    for step in range(steps):
        batch = batch_of(16, seed=step)
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        growth.step(batch)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


# Checkpoints.


def reloaded(state: Any) -> Any:
    """A state through a file, read without running anything that is in it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    if torch.__version__.startswith("1."):  # reads no numbers in this way
        return torch.load(file)
    return torch.load(file, weights_only=True)


def test_a_checkpoint_goes_on_where_it_was(tmp_path: Path) -> None:
    model = Net()
    optimizer = sgd(model)
    growth, service = grown(model, tmp_path, at=["front", "norm"], optimizer=optimizer)
    service.attach("kept", forge.mlp(8), slot="front", blend_mode="RESIDUAL", **ONCE)
    service.bring("kept", *KEEP, "tune")
    train(model, optimizer, growth, 3)
    channels = {"blend_mode": "CHANNEL", "alpha_vec": str([1] * 8)}
    service.attach("grows", forge.noisy(8), slot="norm", **channels)
    service.bring("grows", "blend")
    train(model, optimizer, growth, 3)
    growth.report(evaluate)
    state = reloaded(
        {
            "model": model.state_dict(),
            "growth": growth.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
    )
    assert state["growth"]["seeds"]

    twin = Net()
    other = sgd(twin)
    resumed, conductor = grown(twin, tmp_path, at=["front", "norm"], optimizer=other)
    twin.load_state_dict(state["model"])
    resumed._started = False
    resumed.load_state_dict(state["growth"])
    resumed._started = True
    other.load_state_dict(state["optimizer"])
    assert [(s.id, s.stage, s.share) for s in resumed.seeds] == [
        (s.id, s.stage, s.share) for s in growth.seeds
    ]
    model.eval(), twin.eval()
    x = batch_of()[0]
    assert torch.equal(model(x), twin(x))
    conductor = type(conductor)(resumed, tmp_path)
    for one, its, ordered in ((growth, optimizer, service), (resumed, other, conductor)):
        torch.manual_seed(5)
        train(one._board.model, its, one, 3)
        one._graft.seeds[1].meters.tell()
        ordered.bring("grows", "rollback")
        ordered.bring("kept", "rollback")
        assert one.seeds == ()
        assert len(its.param_groups) == 1
    assert bits(model) == bits(twin)
    resumed.report(evaluate)
    report = resumed._link.outbox.wait(0)
    assert report is not None
    assert report.attributes["trainer_resumes"] == growth._trainer_id
    assert int(report.attributes["order_read"]) > state["growth"]["order_read"]


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.mlp(8))
    state = growth.state_dict()
    seed = state["seeds"][0]
    for hostile in (
        {**state, "version": 99},
        {**state, "run": "another"},
        {**state, "seeds": [{**seed, "slot": "nowhere"}]},
        {**state, "seeds": [{**seed, "kernel": torch.zeros(9, dtype=torch.uint8)}]},
        {**state, "seeds": [{**seed, "weights": {"w0": torch.zeros(1)}}]},
        {**state, "seeds": [{"id": "seed-1"}]},
    ):
        growth.close(0)
        growth, _ = grown(Net(), tmp_path)
        growth._started = False
        with pytest.raises(weatherlight.CheckpointError):
            growth.load_state_dict(hostile)
        assert growth.seeds == ()
    growth._started = True
    with pytest.raises(weatherlight.CheckpointError):
        growth.load_state_dict(state)


def test_a_run_without_a_name_takes_that_of_its_checkpoint(tmp_path: Path) -> None:
    first, _ = grown(Net(), tmp_path, run=None)
    second, _ = grown(Net(), tmp_path, run=None)
    assert first.run != second.run
    second._started = False
    second.load_state_dict(first.state_dict())
    assert second.run == first.run
    assert second._link.inbox.stream == "oona.run." + first.run


# ONNX.


def test_save_writes_the_grown_network(tmp_path: Path) -> None:
    model = Net().eval()
    growth, service = grown(model, tmp_path)
    service.attach("kept", forge.mlp(8), **ONCE)
    service.bring("kept", *KEEP)
    service.attach("trial", forge.mlp(8, seed=1), **ONCE)
    service.bring("trial", "blend")
    growth.save(tmp_path / "grown.onnx")
    assert [path.name for path in tmp_path.glob("grown*")] == ["grown.onnx"]
    saved = onnx.load(str(tmp_path / "grown.onnx"))
    onnx.checker.check_model(saved)
    assert saved.opset_import[0].version == 17
    sizes = sorted(tuple(tensor.dims) for tensor in saved.graph.initializer)
    assert sizes.count((16, 8)) == 1  # of the kept seed and no other
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not here")
    session = runtime.InferenceSession(str(tmp_path / "grown.onnx"))
    service.bring("trial", "pause")
    x = batch_of(7)[0]
    got = session.run(None, {"input": x.numpy()})[0]
    assert torch.allclose(torch.from_numpy(got), model(x), atol=1e-5)


# Optimizers and schedulers.


@pytest.mark.parametrize(
    "made",
    [
        lambda o: lr_scheduler.StepLR(o, 2, 0.5),
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=40),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, min_lr=[1e-3]),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)], [4]
        ),
    ],
    ids=["step", "lambda", "cosine", "one-cycle", "plateau", "cyclic", "sequential"],
)
def test_kept_parameters_join_the_scheduler(tmp_path: Path, made: Any) -> None:
    model = Net()
    optimizer = sgd(model)
    scheduler = made(optimizer)
    growth, service = grown(model, tmp_path, optimizer=optimizer, scheduler=scheduler)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    for epoch in range(12):
        if epoch == 3:
            service.bring("seed-1", *KEEP, "tune")
        if epoch == 9:
            service.bring("seed-1", "rollback")
        train(model, optimizer, growth, 1)
        plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if plateau else scheduler.step()
        groups = optimizer.param_groups
        assert len(groups) == (2 if 3 <= epoch < 9 else 1)
        assert len({group["lr"] for group in groups}) == 1
    assert growth.seeds == ()


def test_a_seed_may_have_an_optimizer_of_the_user(tmp_path: Path) -> None:
    made: list[torch.optim.Optimizer] = []

    def chosen(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=0.125))
        return made[-1]

    growth, service = grown(Net(), tmp_path, seed_optimizer=chosen)
    service.attach("seed-1", forge.mlp(8))
    growth.step(batch_of())
    growth.report(evaluate)
    assert len(made) == 1
    state = service.packet().seed_states[0]
    assert state.learning_rate == 0.125


def test_gradient_accumulation(tmp_path: Path) -> None:
    model = Net()
    optimizer = sgd(model)
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.mlp(8))
    service.bring("seed-1")
    for step in range(4):
        optimizer.zero_grad()
        halves = [batch_of(8, seed=2 * step + part) for part in range(2)]
        loss_of(model, halves[0]).backward()
        growth._train(halves[0])  # also between the halves nothing is left at the host
        alone = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        growth._train(halves[1])
        now = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(map(torch.equal, alone, now))
        loss_of(model, halves[1]).backward()
        optimizer.step()
    assert growth._graft.seeds[0].meters.steps == 8


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_hosts_of_other_types(tmp_path: Path, kind: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)).to(kind)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        out: torch.Tensor = model(batch[0].to(kind)).float().square().mean()
        return out

    growth, service = grown(model, tmp_path, at="0", sample=batch_of(2)[0].to(kind), loss=loss)
    service.attach("seed-1", forge.mlp(8), **ONCE)
    growth.step(batch_of())
    service.bring("seed-1", *KEEP)
    assert model(batch_of()[0].to(kind)).dtype is kind


def test_autocast(tmp_path: Path) -> None:
    model = Net()
    optimizer = sgd(model)
    autocast: Any = torch.autocast  # type: ignore[attr-defined,unused-ignore]

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        with autocast("cpu", dtype=torch.bfloat16):
            return loss_of(model, batch)

    growth, service = grown(model, tmp_path, at="front", loss=loss, optimizer=optimizer)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    for kinds in ((), ("blend",), ("hold", "judge", "keep", "tune")):
        service.bring("seed-1", *kinds)
        for step in range(2):
            batch = batch_of(16, step)
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
            growth.step(batch)
        growth.report(evaluate)
        assert service.metrics("seed-1")["forward_faults"] == 0
    assert len(optimizer.param_groups) == 2


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="this PyTorch has no torch.compile")
def test_a_compiled_host(tmp_path: Path) -> None:
    plain = Net().eval()
    model = vars(torch)["compile"](plain, backend="eager")
    growth, service = grown(model, tmp_path)
    x = batch_of()[0]
    assert torch.equal(model(x), plain(x))
    before = model(x)
    service.attach("seed-1", forge.mlp(8), blend_mode="RESIDUAL", **ONCE)
    growth.step(batch_of())
    assert torch.equal(model(x), before)
    service.bring("seed-1", *KEEP)
    assert torch.allclose(model(x), plain(x))
    assert not torch.allclose(model(x), before)
    service.bring("seed-1", "rollback")
    assert torch.equal(model(x), before)


def test_a_model_that_sets_what_is_recorded(tmp_path: Path) -> None:
    class Checked(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                grown = self.norm(self.front(x).relu())
            return self.head(grown)  # type: ignore[no-any-return]

    growth, service = grown(Checked(), tmp_path)
    service.attach("seed-1", forge.mlp(8))
    growth.step(batch_of())
    assert growth._graft.seeds[0].meters.steps == 1


# What is refused, in a sentence.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"at": "nowhere"}, "at the top it has front, norm, drop, head"),
        ({"at": []}, "different layers"),
        ({"at": ["norm", "norm"]}, "different layers"),
        ({"run": " x"}, "without blanks"),
        ({"run": ".."}, "not . or .."),
        ({"run": "x" * 129}, "128 bytes"),
        ({"optimizer": 3}, "no torch.optim.Optimizer"),
        ({"host": "waits"}, "behind"),
        ({"loss": None}, "batch"),
        ({"bus": "http://x"}, "redis://"),
        ({"kernel_origin": "file:///x"}, "http"),
    ],
)
def test_what_does_not_fit_is_said(options: dict[str, Any], says: str) -> None:
    given = {
        "at": "norm",
        "sample": batch_of(2)[0],
        "loss": loss_of,
        "bus": "redis://127.0.0.1:1",
        "secret": SECRET,
        **options,
    }
    with pytest.raises(ConfigError, match=says):
        weatherlight.grow(Net(), **given)


def test_models_that_cannot_grow_are_refused() -> None:
    scripted = vars(torch.jit)["script"](nn.Linear(5, 8))
    given: dict[str, Any] = {"at": "norm", "sample": batch_of(2)[0], "loss": loss_of, "secret": "s"}
    with pytest.raises(ConfigError, match=r"model\.module"):
        weatherlight.grow(nn.DataParallel(Net()), **given)
    with pytest.raises(ConfigError, match="scripted"):
        weatherlight.grow(scripted, **given)
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module"):
        weatherlight.grow(lambda x: x, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "says"),
    [(nn.Flatten(0), "dimensions"), (nn.Unflatten(1, (1, 1, 1, 5)), "dimensions")],
)
def test_layers_that_are_no_slot_are_refused(layer: nn.Module, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        weatherlight.grow(
            nn.Sequential(layer), "0", sample=batch_of(2)[0], loss=loss_of, secret="s"
        )


def test_a_layer_grows_once(tmp_path: Path) -> None:
    model = Net()
    growth, _ = grown(model, tmp_path)
    with pytest.raises(ConfigError, match="already"):
        grown(model, tmp_path)
    growth.close(0)
    grown(model, tmp_path)


def test_no_secret_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "_PREVIOUS", "_FILE"):
        monkeypatch.delenv("ESPER_LEYLINE_SECRET" + name, raising=False)
    with pytest.raises(ConfigError, match="ESPER_LEYLINE_SECRET"):
        weatherlight.grow(Net(), "norm", sample=batch_of(2)[0], loss=loss_of)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"accuracy": 0.5}, "must return a loss"),
        ({"loss": 1.0, "accuracy": 97.0}, "not a percentage"),
    ],
)
def test_what_evaluate_may_return(tmp_path: Path, result: Any, says: str) -> None:
    growth, _ = grown(Net(), tmp_path)
    with pytest.raises(WeatherlightError, match=says):
        growth.report(lambda _: result)
    assert growth._board.route is None


@pytest.mark.parametrize("result", [0.5, torch.tensor(0.5), {"loss": 0.5}, [0.25, 0.75]])
def test_evaluate_may_return_less(tmp_path: Path, result: Any) -> None:
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.mlp(8))
    growth.step(batch_of())
    assert growth.report(lambda _: result) == {"loss": 0.5}
    told = service.metrics("seed-1")
    assert told["loss_before"] == told["loss_after"] == 0.5
    assert ("loss_error" in told) is isinstance(result, list)
    assert "accuracy_before" not in told


def test_evaluate_leaves_the_modes_and_the_random_numbers(tmp_path: Path) -> None:
    model = Net()
    model.norm.eval()
    growth, service = grown(model, tmp_path)
    service.attach("seed-1", forge.noisy(8))
    growth.step(batch_of())
    before = torch.get_rng_state()
    seen = []

    def careless(model: nn.Module) -> torch.Tensor:
        assert not model.training
        seen.append(torch.rand(3))
        model.train()
        return torch.zeros(3)

    growth.report(careless)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(seen) == 2
    assert torch.equal(seen[0], seen[1])
    assert [model.training, model.norm.training, model.drop.training] == [True, False, True]


def test_a_loss_of_several_numbers_is_refused(tmp_path: Path) -> None:
    growth, service = grown(Net(), tmp_path, loss=lambda m, b: m(b[0]))
    service.attach("seed-1", forge.mlp(8))
    with pytest.raises(WeatherlightError, match="one number"):
        growth.step(batch_of())
    assert growth._board.route is None
    assert growth._board.model.training


def test_a_slot_that_the_loss_does_not_feel_is_told_at_the_first_step(tmp_path: Path) -> None:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        hidden = model.norm(model.front(batch[0]).relu()).detach()
        out: torch.Tensor = nn.functional.cross_entropy(model.head(hidden), batch[1])
        return out

    growth, _ = grown(Net(), tmp_path, loss=loss)
    with pytest.raises(WeatherlightError, match="detached"):
        growth.step(batch_of())


def test_a_frozen_host_in_front_of_the_slot(tmp_path: Path) -> None:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            hidden = model.norm(model.front(batch[0]).relu())
        out: torch.Tensor = nn.functional.cross_entropy(model.head(hidden), batch[1])
        return out

    growth, service = grown(Net(), tmp_path, loss=loss)
    service.attach("seed-1", forge.mlp(8))
    for _ in range(3):
        growth.step(batch_of())
    assert growth._graft.seeds[0].meters.steps == 3


def test_training_goes_on_when_a_seed_cannot_learn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = False

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        if broken:
            raise MemoryError("no room")
        return loss_of(model, batch)

    growth, service = grown(Net(), tmp_path, loss=loss)
    growth.step(batch_of())
    service.attach("seed-1", forge.mlp(8))
    broken = True
    for _ in range(3):
        growth.step(batch_of())
    assert growth._board.model.training
    assert sum("told once" in r.getMessage() for r in caplog.records) == 1
    growth.report(evaluate)
    assert service.metrics("seed-1")["forward_faults"] == 3


def test_a_pass_of_another_shape_goes_without_seeds(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
    growth, service = grown(
        model, tmp_path, at="0", sample=torch.zeros(2, 7, 5), loss=lambda m, b: m(b).mean()
    )
    long, short = torch.randn(2, 7, 5), torch.randn(2, 6, 5)
    plain = model(short)
    service.attach("seed-1", forge.scaled((7, 8), 3.0), **ONCE)
    service.bring("seed-1", *KEEP)
    assert torch.equal(model(short), plain)
    assert model(long).isfinite().all()
    growth.close(0)
    assert torch.equal(model(short), plain)


def test_a_growth_shows_itself(tmp_path: Path) -> None:
    growth, service = grown(Net(), tmp_path)
    service.attach("seed-1", forge.mlp(8))
    growth.step(batch_of())
    assert repr(growth) == "<Growth run='test' slots=['norm'] seeds=[seed-1: TRAINING]>"
    assert growth.slots == {"norm": (8,)}
    assert growth.seeds[0].weights == 8 * 16 + 16 + 16 * 8 + 8
    assert SECRET not in f"{growth} {growth.seeds} {vars(growth)}"
    with growth as same:
        assert same is growth
    assert growth._closed
