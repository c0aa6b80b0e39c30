"""The engine on a GPU: one graph a step, nothing that waits for the device, the same bits twice."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnist_gan.config import TrainConfig, load
from mnist_gan.data import Split
from mnist_gan.engine import Engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine"),
]
BATCH = 64
FULL, REST = 16, 1  # steps of an epoch of 1,040 images


@pytest.fixture(params=["gan", "dcgan"])
def options(request: pytest.FixtureRequest, workspace: Path) -> TrainConfig:
    changes = {"variant": request.param, "device": "cuda", "batch_size": BATCH}
    return load().train.model_copy(update=changes)


@pytest.fixture
def images(train_split: Split) -> Tensor:
    return train_split.images[: FULL * BATCH + 16]


def test_full_batches_are_replayed(options: TrainConfig, images: Tensor) -> None:
    engine = Engine(options, images)
    list(engine.epoch())  # captures
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert len(list(engine.epoch())) == FULL + REST
    launches = [event for event in profile.events() if event.name == "cudaGraphLaunch"]
    assert len(launches) == FULL


def test_a_replayed_step_is_the_step(options: TrainConfig, images: Tensor) -> None:
    replayed = torch.stack(list(Engine(options, images).epoch()))
    engine = Engine(options, images)
    plain = torch.stack([engine.train(indices) for indices in engine.order.split(BATCH)])
    assert torch.equal(replayed, plain)


def test_an_epoch_waits_for_nothing(options: TrainConfig, images: Tensor) -> None:
    engine = Engine(options, images)
    list(engine.epoch())  # captures, which waits
    torch.cuda.set_sync_debug_mode("error")
    try:
        records = list(engine.epoch())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(records).isfinite().all()


def test_equal_seeds_give_equal_bits(options: TrainConfig, images: Tensor) -> None:
    states = []
    for _ in range(2):
        engine = Engine(options, images)
        list(engine.epoch())
        states.append(engine.state())
    first, second = states
    assert all(torch.equal(first[name], second[name]) for name in first)
