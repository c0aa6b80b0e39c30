"""The engine on a GPU: one graph a step, nothing that waits for the device, the same bits twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, engine_of, read_split
from torch import Tensor

from mnist_gan.config import VARIANTS
from mnist_gan.data.prepared import Split
from mnist_gan.training import hardware
from mnist_gan.training.engine import Engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="what a GPU computes (torch finds none)"),
]
BATCH = 64
FULL, REST = 16, 1  # steps of an epoch of 1,040 images


@pytest.fixture(params=VARIANTS)
def make(request: pytest.FixtureRequest, workspace: Path, images: Tensor) -> Callable[[], Engine]:
    hardware.configure()  # without it variants with a penalty end in other bits each time
    return lambda: engine_of(request.param, images, device="cuda", options={"batch_size": BATCH})


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest) -> Tensor:
    """From the checkout where it has them: a bare GPU image may reach no package index."""
    has_them = (ROOT / "data/prepared").exists()
    split: Split = read_split(ROOT, "train") if has_them else request.getfixturevalue("train_split")
    return split.images[: FULL * BATCH + 16]


def test_full_batches_are_replayed(make: Callable[[], Engine]) -> None:
    engine = make()
    list(engine.epoch())  # captures
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        assert len(list(engine.epoch())) == FULL + REST
    launches = [event for event in profile.events() if event.name == "cudaGraphLaunch"]
    assert len(launches) == FULL


def test_a_replayed_step_is_the_step(make: Callable[[], Engine]) -> None:
    replayed = torch.stack(list(make().epoch()))
    engine = make()
    plain = torch.stack(
        [engine.train(indices, engine.variant.kind(i)) for i, indices in enumerate(engine.order.split(BATCH))]
    )
    assert torch.equal(replayed, plain)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_an_epoch_waits_for_nothing(make: Callable[[], Engine]) -> None:
    engine = make()
    list(engine.epoch())  # captures, which waits
    torch.cuda.set_sync_debug_mode("error")
    try:
        records = list(engine.epoch())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(records).isfinite().all()


def test_equal_seeds_give_equal_bits(make: Callable[[], Engine]) -> None:
    states = []
    for _ in range(2):
        engine = make()
        list(engine.epoch())
        states.append(engine.state())
    first, second = states
    assert all(torch.equal(first[name], second[name]) for name in first)
