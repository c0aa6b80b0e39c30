"""The loop: schedules, the curve, and a training that leaves the numbers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import run_stage, set_params
from mlflow import MlflowClient

from mnist_gan import result
from mnist_gan.config import load
from mnist_gan.data import digest, read_prepared
from mnist_gan.engine import Engine, choose_device, choose_precision, environment
from mnist_gan.errors import UserError
from mnist_gan.result import Origin
from mnist_gan.tracking import connect, live_run
from mnist_gan.trainer import Trainer, curve, samples_at
from mnist_gan.unfinished import claim


def test_sample_steps_are_some_tens_and_shared_by_runs_of_any_length() -> None:
    def steps(total: int) -> list[int]:
        return [step for step in range(1, total + 1) if samples_at(step, 100)]

    assert steps(2000) == [100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1400, 1600, 2000]
    assert len(steps(23_500)) == 27
    assert set(steps(1175)) == {step for step in steps(23_500) if step <= 1175}


def test_curve_is_the_mean_over_windows() -> None:
    losses = torch.arange(12.0).view(6, 2).repeat(1, 2)
    assert curve(losses, rows=3) == [(2, 1, 2, 1, 2), (4, 5, 6, 5, 6), (6, 9, 10, 9, 10)]
    assert len(curve(torch.rand(23_500, 4))) == 500
    assert curve(torch.rand(23_501, 4))[-1][0] == 23_501


def test_an_epoch_sees_every_image_once_in_a_new_order(small: Path) -> None:
    options = load().train
    images = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    engine = Engine(options, images)
    orders = []
    for _ in range(2):
        orders.append(engine.order.tolist())
        assert len(list(engine.epoch())) == 4
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(200))
    assert orders[0] != orders[1]


def test_a_loss_that_is_not_finite_fails_the_run(small: Path) -> None:
    set_params(small, train__lr=1e9, train__precision="float32")
    done = run_stage("train", small)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"error: loss_[gd] is not finite at step [1-9], epoch 1; .*no checkpoint was written.*", message
    )
    assert "Traceback" not in done.stderr
    assert not result.FINAL.exists()
    (run,) = MlflowClient(f"sqlite:///{small}/mlflow.db").search_runs(["1"])
    assert run.info.status == "FAILED"


def test_the_last_good_checkpoint_stays(small: Path) -> None:
    options = load().train
    split = read_prepared("train")
    engine = Engine(options, split.images)
    here = environment(engine.device, engine.precision)
    origin = Origin("gan", 100, (1, 16, 16), 0, 0, options.model_dump(), digest(split), here)
    epoch = engine.epoch
    epochs: list[int] = []

    def poisoned_epoch() -> Iterator[torch.Tensor]:
        for number, record in enumerate(epoch(), start=1):
            yield record
            if epochs and number == 5:
                next(engine.discriminator.parameters()).data[0, 0] = torch.nan
        epochs.append(number)

    engine.epoch = poisoned_epoch  # type: ignore[method-assign]
    with pytest.raises(UserError) as error, claim(origin) as unfinished, live_run(connect(), origin, None) as run:
        Trainer(options, engine, origin, run, unfinished).train(None)
    kept = result.checkpoint_path(1, unfinished.generator)
    assert str(error.value).startswith("loss_g is not finite at step 22, epoch 2; ")
    assert str(error.value).endswith(f"last good checkpoint: {kept}")
    generator, _ = result.read_generator(kept)
    assert all(parameter.isfinite().all() for parameter in generator.parameters())
    assert result.checkpoint_paths(unfinished.generator) == [kept]


def test_cuda_without_a_gpu_is_refused(small: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"train\.device: cuda, but torch finds no usable GPU"):
        choose_device("cuda")
    set_params(small, train__device="cuda")
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: train.device: cuda, but torch finds no usable GPU")
    assert not (small / "models/generator").exists()


def test_precision_is_what_was_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("float32", cpu) == "float32"
    assert choose_precision("bfloat16", cpu) == "bfloat16"
    assert choose_precision("auto", cpu) in ("float32", "bfloat16")
