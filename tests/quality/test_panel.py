"""The panel tells a dropped digit, copies, one way of writing and noise apart from a good set of images."""

import pytest
import torch
from torch import Tensor

from mnist_gan.commands import calibrate
from mnist_gan.commands.calibrate import Material
from mnist_gan.data.prepared import Split
from mnist_gan.quality import panel
from mnist_gan.quality.panel import Estimate, Measured, over_seeds
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import Eyes

SPACES = ("judge", "autoencoder")


class Instrument:
    """A ruler of 2,000 test and 10,000 training images, all drawn at random: MNIST's files are ordered by writer."""

    def __init__(self, look: Eyes, training: Split, test: Split) -> None:
        self.look = look
        test, self.training = drawn(test, 0, 2000), drawn(training, 0, 10_000)
        self.ruler = Ruler.of(self.look, test, self.training, 2000, "")

    def __call__(self, images: Tensor) -> dict[str, Measured]:
        return self.ruler.compare(self.look(images), self.ruler.nearest(self.look, images))


def drawn(split: Split, first: int, last: int) -> Split:
    """A part of ``split`` in a random order, always the same."""
    rows = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(0))[first:last]
    return Split(split.images[rows], split.labels[rows])


@pytest.fixture(scope="module")
def measure(eyes: Eyes, train_split: Split, test_split: Split) -> Instrument:
    return Instrument(eyes, train_split, test_split)


@pytest.fixture(scope="module")
def good(train_split: Split) -> Split:
    """Real images that are in none of the sets that the panel measures with: what a perfect generator draws."""
    return drawn(train_split, 10_000, 12_000)


@pytest.fixture(scope="module")
def before(measure: Instrument, good: Split) -> dict[str, Measured]:
    """What good images get."""
    return measure(good.images)


def values(*numbers: float) -> Tensor:
    """As a measure gives them: the first of all images, the others without a part."""
    return torch.tensor([numbers[0], *(numbers[1 + i % (len(numbers) - 1)] for i in range(10))])


def test_an_interval_ends_where_the_measure_does() -> None:
    _, low, high = panel.estimate(values(0.01, 0.0, 0.02))
    assert low < 0
    assert panel.estimate(values(0.01, 0.0, 0.02), 0, 1)[1:] == (0, high)


def test_a_count_of_none_is_not_certain() -> None:
    """Wilson's upper end for none of 1,000: z^2 / (n + z^2)."""
    none = panel.proportion(values(0.0, 0.0, 0.0), 1000)
    assert none[:2] == (0.0, 0.0)
    assert none.high == pytest.approx(1.96**2 / (1000 + 1.96**2), rel=1e-3)
    every = panel.proportion(values(1.0, 1.0, 1.0), 1000)
    assert every.low == pytest.approx(1 - none.high)


def test_judges_that_disagree_widen_the_interval() -> None:
    alike = torch.stack([values(1.0, 0.99, 1.01)] * 5)
    apart = alike + torch.linspace(-1, 1, 5)[:, None]
    one, other = panel.estimate(alike), panel.estimate(apart)
    assert one.value == pytest.approx(other.value)
    assert other.high - other.low > 3 * (one.high - one.low)


def test_good_images(before: dict[str, Measured]) -> None:
    assert all(
        estimate.low <= estimate.value <= estimate.high for group in before.values() for estimate in group.values()
    )
    for space in SPACES:
        found = before[space]
        assert found["frechet_distance"].value < 3
        assert found["frechet_distance_infinite"].value < found["frechet_distance"].value
        assert abs(found["kernel_distance"].value) < 0.05
        assert min(found[name].value for name in ("precision", "recall", "coverage")) > 0.75
        assert found["density"].value == pytest.approx(1, abs=0.15)
        assert found["copies"].low < 0.02


def test_good_images_are_at_the_floor(measure: Instrument, before: dict[str, Measured]) -> None:
    for space in SPACES:
        floor = measure.ruler.floor["interval"][space]
        for name in ("frechet_distance", "kernel_distance", "precision", "recall", "coverage"):
            assert before[space][name].high > floor[name]["low"]
            assert before[space][name].low < floor[name]["high"]


def test_a_dropped_digit(measure: Instrument, good: Split, before: dict[str, Measured]) -> None:
    every = measure(good.images[good.labels != 1])
    for space in SPACES:
        after = every[space]
        assert after["frechet_distance"].low > before[space]["frechet_distance"].high
        assert after["kernel_distance"].low > before[space]["kernel_distance"].high
        assert after["coverage"].high < before[space]["coverage"].low
        assert after["precision"].value > before[space]["precision"].value - 0.05
        assert every[f"{space}_coverage"]["1"].high < 0.3 < before[f"{space}_coverage"]["1"].low
        assert (before["judge"]["classes_present"].value, every["judge"]["classes_present"].value) == (10, 9)
        assert every["classes"]["1"].high < 0.01 < 0.08 < before["classes"]["1"].low
        assert every["judge"]["total_variation"].low > before["judge"]["total_variation"].high


@pytest.mark.parametrize("part", [0.05, 0.5])
def test_copies_of_some_training_images(
    measure: Instrument, good: Split, before: dict[str, Measured], part: float
) -> None:
    copied = round(part * len(good.images))
    mixed = torch.cat([measure.training.images[:copied], good.images[copied:]])
    every = measure(mixed[torch.randperm(len(mixed), generator=torch.Generator().manual_seed(0))])
    for space in SPACES:
        after = every[space]
        assert after["copies"].low > before[space]["copies"].high
        assert after["copies"].value == pytest.approx(part, abs=0.03)
        assert after["frechet_distance"].value == pytest.approx(before[space]["frechet_distance"].value, abs=0.5)


def test_training_images_that_are_bent(measure: Instrument, before: dict[str, Measured]) -> None:
    """None is near to its original, and each is nearer to it than to any other image."""
    bent = calibrate.bent(0.7, 4, lambda _: measure.training.images[:2000])
    after = measure(bent(Material(measure.training, measure.training, measure.look)))
    for space in SPACES:
        assert after[space]["nearest_in_training"].low > before[space]["nearest_in_training"].high


def test_one_way_of_writing_a_digit(measure: Instrument, good: Split, before: dict[str, Measured]) -> None:
    """The fours that are nearest to one of them, in the place of all fours: seen within the digit."""
    fours = good.images[good.labels == 4]
    alike = (fours.float() - fours[0].float()).square().sum(dim=(1, 2, 3)).argsort()[: len(fours) // 10]
    images = good.images.clone()
    images[good.labels == 4] = fours[alike].repeat(11, 1, 1, 1)[: len(fours)]
    after = measure(images)
    for name in ("judge_recall", "autoencoder_recall"):
        assert after[name]["4"].high < before[name]["4"].low
        assert after[name]["3"].high > before[name]["3"].low
    # Coverage sees it less, as one kind of 4 comes near to many others.
    assert after["autoencoder_coverage"]["4"].value < before["autoencoder_coverage"]["4"].value


def test_noise(measure: Instrument, before: dict[str, Measured]) -> None:
    noise = torch.randint(256, (1000, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    every = measure(noise)
    for space in SPACES:
        found = every[space]
        assert found["frechet_distance"].low > 20 * before[space]["frechet_distance"].high
        assert found["precision"].high < 0.05
        assert found["coverage"].high < 0.05
        assert found["copies"].value < 0.05


def test_values_over_seeds_show_what_their_interval_allows() -> None:
    def shown(name: str, *values: float) -> str:
        return str(over_seeds(name, [Estimate(value, value - 1, value + 1) for value in values], classes=10))

    assert shown("frechet_distance", 207.31, 190.25, 220.4) == "206 (168 to 244)"
    assert shown("frechet_distance", 1.0, 9.0, 2.0).startswith("4 (0 to ")
    assert shown("kernel_distance", 0.0071, 0.0073, 0.0072) == "0.00720 (0.00695 to 0.00745)"
    assert shown("recall", 0.9, 0.99, 0.95).endswith(" to 1.00)")
    assert shown("classes_present", 10, 10, 10) == "10"
    assert shown("frechet_distance", 71.80751) == "71.8 (70.8 to 72.8)"


def test_the_floor_ends_where_the_measure_does() -> None:
    assert panel.of_draws("recall", [0.99, 0.999, 0.95], 10).high == 1
    assert panel.of_draws("classes_present", [3, 9, 10], 10).high == 10
    assert panel.of_draws("kernel_distance", [1e-5, -1e-5, 2e-5], 10).low < 0
