"""What the generator pays, beside the game, for moments other than those of the training images."""

from typing import Any

import pytest
import torch
from conftest import engine_of
from torch import Tensor
from torch.nn.functional import cosine_similarity

from mnist_gan.data.images import to_float
from mnist_gan.data.prepared import Split
from mnist_gan.quality.measures import Gaussian, frechet_distance
from mnist_gan.variants import _moments
from mnist_gan.variants._moments import AXES, LEAST, Moments

SMALL = ["nsgan", "sngan", "r3gan", "cr3gan"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_moments, "START", 0)


def moments_of(images: Tensor) -> Moments:
    """Those of ``images``, uint8."""
    made = Moments((images.shape[1], images.shape[2], images.shape[3]))
    made.see(map(to_float, images.split(500)))
    return made


def test_the_slope_is_that_of_frechets_distance(at_once: None, train_split: Split) -> None:
    """Of images that are a little fainter and without some sevens, by the exact distance in the same features."""
    moments = moments_of(train_split.images[:20_000])
    kept = (train_split.labels[:20_000] != 7) | (torch.arange(20_000) % 4 > 0)
    fainter = (0.98 * (to_float(train_split.images[:20_000][kept]) + 1) - 1)[:5000].requires_grad_()

    def seen(images: Tensor) -> Tensor:
        found: Tensor = (moments.features(images) - moments.centre) @ moments.axes
        return found

    with torch.no_grad():
        real = Gaussian.of(torch.cat([seen(to_float(part)) for part in train_split.images[:20_000].split(500)]))
    (exact,) = torch.autograd.grad(frechet_distance(seen(fainter), real)[0], fainter)
    (ours,) = torch.autograd.grad(moments(fainter), fainter)
    assert cosine_similarity(ours.flatten(), exact.flatten(), dim=0) > 0.97
    assert ours.norm() / exact.norm() == pytest.approx(1, abs=0.15)


def test_generated_images_are_taken_together(at_once: None, train_split: Split) -> None:
    """Ten batches with one digit each are, together, as the training images are."""
    images, labels = train_split.images[:10_000], train_split.labels[:10_000]
    moments, one_digit = moments_of(images), moments_of(images)
    for digit in torch.randperm(10, generator=torch.Generator().manual_seed(0)).tolist():
        moments(to_float(images[labels == digit][:800]))
        one_digit(to_float(images[labels == 3][:800]))
    distances = [
        (one.mean.square().sum() + (one.difference.square() * one.weights).sum() / 2).item()
        for one in (moments, one_digit)
    ]
    assert distances[0] < 0.05 * distances[1]


def test_the_game_comes_first(train_split: Split) -> None:
    moments = moments_of(train_split.images[:1000])
    early, late = ([moments(to_float(train_split.images[:2])).item() for _ in range(_moments.START)] for _ in range(2))
    assert set(early) == {0}
    assert 0 not in late


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 48, 48), (1, 64, 64)])
def test_few_images_of_any_size_have_moments(at_once: None, count: int, shape: tuple[int, int, int]) -> None:
    """Where they have no variance at all, generated ones pay no more than where they have little."""
    torch.manual_seed(0)
    moments = moments_of(torch.randint(256, (count, *shape), dtype=torch.uint8))
    assert moments.axes.shape[1] == AXES
    assert moments.weights.max().item() == pytest.approx(1 / (2 * LEAST))
    noise = (2 * torch.rand(8, *shape) - 1).requires_grad_()
    (slope,) = torch.autograd.grad(moments(noise), noise)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


@pytest.mark.parametrize("name", SMALL)
def test_a_generator_pays_for_its_moments_alone(
    workspace: object, at_once: None, train_split: Split, name: str
) -> None:
    """The same weights, images and latent vectors give the same losses of the discriminator."""
    losses = []
    for weight in (0.0, 1e-9, 1e-6):
        engine = engine_of(name, train_split.images[:64], options={"moments": weight, "batch_size": 32})
        torch.manual_seed(1)
        step: Any = engine.variant.step(
            to_float(engine.images[:32]),
            *([engine.labels[:32]] if engine.variant.labelled else []),
            **engine.variant.kind(0),
        )
        losses.append([update.loss.item() for update in step])
    assert losses[0][0] == losses[1][0] == losses[2][0]
    assert losses[0][1] == pytest.approx(losses[1][1], abs=1e-3)
    assert abs(losses[2][1] - losses[0][1]) > 0.01


def test_a_training_goes_on_with_the_moments_of_its_images(
    workspace: object, at_once: None, train_split: Split
) -> None:
    """In the same bits as one that was not stopped."""
    ends = []
    for stopped in (False, True):
        engine = engine_of("cr3gan", train_split.images[:512], options={"moments": 0.1, "batch_size": 32, "epochs": 1})
        for _, _ in zip(range(6), engine.epoch(), strict=False):
            pass
        if stopped:
            state = engine.state()
            engine = engine_of(
                "cr3gan", train_split.images[:512], options={"moments": 0.1, "batch_size": 32, "epochs": 1}
            )
            engine.load(state)
        list(engine.epoch())
        ends.append(engine.state())
    assert all(torch.equal(ends[1][key], tensor) for key, tensor in ends[0].items())
