"""The panel tells a dropped digit, copies and noise apart from a good set of images, in both spaces."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mnist_gan.data.mnist import Split
from mnist_gan.quality import autoencoder, judge, panel
from mnist_gan.quality.panel import Estimate, Space

SPACES = ("judge", "autoencoder")
Panel = dict[str, Estimate]


@pytest.fixture(scope="module")
def measure(train_split: Split, test_split: Split) -> Callable[[str, Tensor], Panel]:
    """The whole panel of uint8 images in a space of 2,000 test and 4,000 training images.

    The test images are every fifth: the second half of MNIST's is of other writers than the first.
    """
    referee, encoder = judge.read(), autoencoder.read()
    real = test_split.images[::5]

    def features(name: str, images: Tensor) -> Tensor:
        if name == "judge":
            return judge.opinion(referee, images).features
        return autoencoder.features(encoder, images)

    spaces = {name: Space.of(features(name, real), features(name, train_split.images[:4000])) for name in SPACES}

    def measure(name: str, images: Tensor) -> Panel:
        found = panel.all_measures(features(name, images), spaces[name])
        if name == "judge":
            opinions = [judge.opinion(referee, x).probabilities for x in (images, real)]
            found |= panel.by_class(*opinions) | panel.class_shares(opinions[0])
        return found

    return measure


@pytest.fixture(scope="module")
def good(train_split: Split) -> Split:
    """Real images that are in none of the sets that the panel measures with: what a perfect generator draws."""
    return Split(train_split.images[10_000:12_000], train_split.labels[10_000:12_000])


def test_an_interval_ends_where_the_measure_does() -> None:
    values = torch.tensor([0.01, 0.0, 0.02, 0.03])
    low, high = panel.estimate(values)[1:]
    assert low < 0
    assert panel.estimate(values, 0, 1)[1:] == (0, high)


@pytest.mark.parametrize("space", SPACES)
def test_good_images(measure: Callable[[str, Tensor], Panel], good: Split, space: str) -> None:
    found = measure(space, good.images)
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in found.values())
    assert found["frechet_distance"].value < 3
    assert found["frechet_distance_infinite"].value < found["frechet_distance"].value
    assert abs(found["kernel_distance"].value) < 0.05
    assert min(found[name].value for name in ("precision", "recall", "coverage")) > 0.75
    assert found["density"].value == pytest.approx(1, abs=0.15)
    assert found["neighbour_accuracy"].value == pytest.approx(0.5, abs=0.1)
    assert found["copying"].value == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("space", SPACES)
def test_a_dropped_digit(measure: Callable[[str, Tensor], Panel], good: Split, space: str) -> None:
    before, after = measure(space, good.images), measure(space, good.images[good.labels != 1])
    assert after["frechet_distance"].low > before["frechet_distance"].high
    assert after["kernel_distance"].low > before["kernel_distance"].high
    assert after["coverage"].high < before["coverage"].low
    assert after["precision"].value > before["precision"].value - 0.05
    if space == "judge":
        assert after["recall"].value < before["recall"].value
        assert (before["digits_present"].value, after["digits_present"].value) == (10, 9)
        assert after["1"].high < 0.01 < 0.08 < before["1"].low
        assert after["total_variation"].low > before["total_variation"].high


@pytest.mark.parametrize("space", SPACES)
def test_copies_of_training_images(
    measure: Callable[[str, Tensor], Panel], train_split: Split, good: Split, space: str
) -> None:
    copies, unseen = measure(space, train_split.images[:2000]), measure(space, good.images)
    assert copies["copying"].value == 1
    assert unseen["copying"].high < 0.6
    assert copies["frechet_distance"].value == pytest.approx(unseen["frechet_distance"].value, abs=1)


@pytest.mark.parametrize("space", SPACES)
def test_noise(measure: Callable[[str, Tensor], Panel], good: Split, space: str) -> None:
    noise = torch.randint(256, (1000, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, before = measure(space, noise), measure(space, good.images)
    assert found["frechet_distance"].low > 20 * before["frechet_distance"].high
    assert found["precision"].high < 0.05
    assert found["coverage"].high < 0.05
    assert found["neighbour_accuracy"].value > 0.95
    assert found["copying"].value < 0.05
