"""The loop: schedules, the curve, a training that leaves the numbers, and who looks on."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT, engine_of, run_stage, set_params, uri_of
from mlflow import MlflowClient

from mnist_gan import config
from mnist_gan.config import VARIANTS
from mnist_gan.data.prepared import Split, digest, read_prepared, write_prepared
from mnist_gan.errors import UserError
from mnist_gan.training import generators, unfinished
from mnist_gan.training.generators import Origin
from mnist_gan.training.trainer import Trainer, checkpoint_at, curve, samples_at


def test_sample_steps_are_some_tens_and_shared_by_runs_of_any_length() -> None:
    def steps(total: int) -> list[int]:
        return [step for step in range(1, total + 1) if samples_at(step, 100)]

    assert steps(2000) == [100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1400, 1600, 2000]
    assert len(steps(23_500)) == 27
    assert set(steps(1175)) == {step for step in steps(23_500) if step <= 1175}


def test_checkpoints_are_spread_over_the_training() -> None:
    def epochs(total: int, count: int) -> list[int]:
        return [epoch for epoch in range(1, total + 1) if checkpoint_at(epoch, total, count)]

    assert epochs(100, 10) == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert epochs(8, 10) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert epochs(8, 3) == [3, 6, 8]
    assert epochs(40, 1) == [40]


def test_curve_is_the_mean_over_windows() -> None:
    losses = torch.arange(12.0).view(6, 2).repeat(1, 2)
    assert curve(losses, rows=3) == [(2, 1, 2, 1, 2), (4, 5, 6, 5, 6), (6, 9, 10, 9, 10)]
    assert len(curve(torch.rand(23_500, 4))) == 500
    assert curve(torch.rand(23_501, 4))[-1][0] == 23_501


def test_an_epoch_sees_every_image_once_in_a_new_order(workspace: Path) -> None:
    images = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    engine = engine_of("gan", images, options={"batch_size": 64, "epochs": 2})
    orders = []
    for _ in range(2):
        orders.append(engine.order.tolist())
        assert len(list(engine.epoch())) == 4
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(200))
    assert orders[0] != orders[1]


def test_the_learning_rate_follows_the_variant(small: Path) -> None:
    engine = engine_of("r3gan", read_prepared("train").images, options={"batch_size": 256, "lr": 1e-3, "epochs": 2})
    rates = []
    for _ in range(2):
        for _record in engine.epoch():
            rates.append(engine.lr.item())
    assert rates == pytest.approx([1e-3] * 5 + [7.5e-4, 5e-4, 2.5e-4])


def test_bfloat16_ends_at_the_last_activation_and_at_the_logits(small: Path) -> None:
    images = read_prepared("train").images[:64]
    for name in VARIANTS:
        engine = engine_of(name, images, precision="bfloat16", options={"batch_size": 64})
        seen: dict[str, torch.dtype] = {}
        inner = [m for m in engine.variant.generator.modules() if isinstance(m, torch.nn.Tanh)]
        inner[0].register_forward_hook(lambda _m, inputs, _o, seen=seen: seen.update(tanh=inputs[0].dtype))
        engine.variant.discriminator.register_forward_hook(lambda _m, _i, out, seen=seen: seen.update(logits=out.dtype))
        next(engine.epoch())
        assert seen == {"tanh": torch.float32, "logits": torch.float32}


def test_a_loss_that_is_not_finite_fails_the_run(small: Path) -> None:
    set_params(small, variants__gan__lr=1e9, train__precision="float32")
    done = run_stage("train", small)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"error: loss_[gd] is not finite at step [1-9], epoch 1; .*no checkpoint was written.*", message
    )
    assert "Traceback" not in done.stderr
    assert not generators.FINAL.exists()
    (run,) = MlflowClient(uri_of(small)).search_runs(["1"])
    assert run.info.status == "FAILED"


def test_the_last_good_checkpoint_stays(small: Path) -> None:
    split = read_prepared("train")
    engine = engine_of("gan", split.images)
    shared = config.load().train
    origin = Origin(
        "gan", (1, 16, 16), shared.model_dump(), engine.options.model_dump(), engine.variant.record, digest(split),
        engine.hardware.environment,
    )  # fmt: skip
    epoch = engine.epoch
    epochs: list[int] = []

    def poisoned_epoch() -> Iterator[torch.Tensor]:
        for number, record in enumerate(epoch(), start=1):
            yield record
            if epochs and number == 5:
                next(engine.variant.discriminator.parameters()).data[0, 0] = torch.nan
        epochs.append(number)

    engine.epoch = poisoned_epoch  # type: ignore[method-assign]
    with pytest.raises(UserError) as error, unfinished.exclusive({}) as mine:
        Trainer(shared, engine, origin, mine, []).train(None)
    kept = generators.checkpoint_path(1, mine.generator)
    assert str(error.value).startswith("loss_g is not finite at step 22, epoch 2; ")
    assert str(error.value).endswith(f"last good checkpoint: {kept}")
    generator = generators.read(kept).generator
    assert all(parameter.isfinite().all() for parameter in generator.parameters())
    assert generators.checkpoint_paths(mine.generator) == [kept]


STUBS = """
import sys
from contextlib import contextmanager
from types import ModuleType
from unittest.mock import MagicMock
for name in ("report.progress", "tracking", "tracking.live", "tracking.published", "tracking.run", "tracking.store"):
    stub = MagicMock(spec=ModuleType, name=name)
    sys.modules[f"mnist_gan.{name}"] = stub
class Nobody:
    class run: id = "none"
    def __getattr__(self, name): return lambda *_: None
@contextmanager
def nobody(*_): yield Nobody()
sys.modules["mnist_gan.report.progress"].progress = nobody
sys.modules["mnist_gan.tracking.live"].live_run = nobody
sys.modules["mnist_gan.tracking.live"].stopped_runs_closed = nobody
sys.modules["mnist_gan.tracking.store"].connect = lambda: None
sys.modules["mnist_gan.tracking.published"].read_training = None
from mnist_gan.__main__ import run_as_program
from mnist_gan.stages.train import main
run_as_program(main)
assert "mlflow" not in sys.modules
"""
"""The train stage, with nobody who looks on."""


@pytest.mark.parametrize("variant", ["gan", "r3gan"])
def test_who_looks_on_determines_nothing(small: Path, variant: str) -> None:
    set_params(small, train__variant=variant)
    outs = []
    for command in (["-m", "mnist_gan", "train"], ["-c", STUBS]):
        done = subprocess.run(
            [sys.executable, *command], cwd=small, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        files = [*(small / "models/generator").rglob("*"), small / "metrics/train.json", small / "plots/losses.csv"]
        outs.append({path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()})
    assert len(outs[0]) >= 5
    assert outs[0] == outs[1]
    assert len(MlflowClient(uri_of(small)).search_runs(["1"])) == 1


def test_a_training_opens_with_what_it_runs_on(small: Path) -> None:
    set_params(small, train__precision="float32", train__variant="r3gan")
    done = run_stage("train", small, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    opening = done.stderr.splitlines()[0]
    assert re.match(r"r3gan on .+, float32 \(as train\.precision says\), 1 thread: 32 steps in 2 epochs", opening)
    assert opening.endswith("; that is few: 235 epochs make 3,750")


@pytest.mark.parametrize(("augment", "said"), [(False, True), (True, False)])
def test_few_images_are_said_to_be_learned_by_heart(small: Path, augment: bool, said: bool) -> None:
    split = read_prepared("train")
    write_prepared("train", Split(split.images[:300].clone(), split.labels[:300].clone()))
    set_params(small, train__variant="r3gan", variants__r3gan__augment=augment)
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    end = "; so few images are learned by heart, less with variants.r3gan.augment: true"
    assert done.stderr.splitlines()[0].endswith(end) == said
