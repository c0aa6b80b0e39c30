"""A fresh judge tells spoiled images from real ones, and real ones from each other no better than a coin does."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mnist_gan.data.prepared import Split
from mnist_gan.quality import fresh


def drawn(split: Split, count: int, seed: int) -> Tensor:
    """Images of ``split`` in a random order, always the same: MNIST's files are ordered by writer."""
    return split.images[torch.randperm(len(split.images), generator=torch.Generator().manual_seed(seed))[:count]]


def test_real_images_are_told_from_each_other_by_chance(train_split: Split, test_split: Split) -> None:
    found = fresh.told_apart(drawn(train_split, 2000, 0), drawn(test_split, 2000, 1))
    for estimate in found.values():
        assert estimate.low < 0.53
        assert estimate.high > 0.47


def test_what_is_wrong_with_single_pixels_is_seen_at_full_size(train_split: Split, test_split: Split) -> None:
    """Every other pixel of a few is a little off: no feature that was made to know digits sees it."""
    images = drawn(train_split, 2000, 0)
    spoiled = images.clone()
    spoiled[:, :, ::2, ::2] = spoiled[:, :, ::2, ::2].clamp(min=12)
    found = fresh.told_apart(spoiled, drawn(test_split, 2000, 1))
    assert found["32_pixels"].low > 0.95
    soft = avg_pool2d(images.float(), 5, stride=1, padding=2).round().to(torch.uint8)
    assert fresh.told_apart(soft, drawn(test_split, 2000, 1))["8_pixels"].low > 0.6


def test_it_is_the_same_twice(train_split: Split, test_split: Split) -> None:
    """Of images of another size and in colour, too, and of few."""
    images = drawn(train_split, 300, 0)[:, :, ::2, ::2].expand(-1, 3, -1, -1)
    real = drawn(test_split, 500, 1)[:, :, ::2, ::2].expand(-1, 3, -1, -1)
    first = fresh.told_apart(images, real)
    assert fresh.told_apart(images, real) == first
    assert fresh.told_apart(real[:301], images)["8_pixels"].high < 1
