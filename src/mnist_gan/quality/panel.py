"""All measures of a set of images against real ones, each with its interval."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from mnist_gan.data.prepared import Split
from mnist_gan.quality import measures
from mnist_gan.quality.measures import PARTS, Gaussian, Nearest

CONFIDENCE = 0.95
NORMAL = 1.96
"""The normal distribution's factor of a standard error."""
TAIL = 0.01
"""The part of real images that are taken for copies: the nearest to a training image, for how near unseen ones are."""
HEADLINES = {
    "judge/frechet_distance": "Fréchet distance, judges",
    "autoencoder/frechet_distance": "Fréchet distance, autoencoder",
    "told_apart/32_pixels": "told from real images by a fresh judge",
    "told_apart/8_pixels": "the same, shown in 8 pixels",
    "judge/precision": "precision: images that look real",
    "judge/coverage": "coverage: real images that it comes near",
    "autoencoder/coverage": "coverage, autoencoder",
    "autoencoder/copies": "copies: images too near to a training image",
    "autoencoder/nearest_in_training": "leaning: images nearest to a training image",
    "judge/classes_present": "{classes} drawn",
    "judge/total_variation": "{classes}' shares: off by",
}
"""The measures that say how good a generator is and what it is bad at, with their titles."""
DISTANCES = ("frechet_distance", "frechet_distance_infinite")
UNBOUNDED = ("frechet_distance_infinite", "kernel_distance")
OPEN = ("frechet_distance", "density")
"""Measures from 0 on without an end."""
OF_CLASSES = ("classifier_score", "classes_present")
"""Measures that are at most the number of classes."""


class Estimate(NamedTuple):
    """A value with its 95% interval.

    The interval is for the mean of the value over all draws of as many images from the same generator, and over all
    judges of the recipe, against the same real images. How far another training would move it, only other seeds say.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, quality: Mapping[str, float], name: str, part: str = "") -> "Estimate":
        """The measure ``name`` from a flat metrics/evaluate.json, of the ``part`` that "floor/" or "best/" names."""
        return cls(quality[part + name], *(quality[f"{part}interval/{name}/{end}"] for end in ("low", "high")))

    def __str__(self) -> str:
        """In as many digits as the interval's width leaves a meaning."""
        width = self.high - self.low
        if width <= 0:
            return f"{self.value:.4g}"
        decimals = max(0, 1 - math.floor(math.log10(width)))
        value, low, high = (f"{number:.{decimals}f}" for number in self)
        return f"{value} ({low} to {high})"


class Spread(NamedTuple):
    """A value, its standard error, and the factor of that which makes an interval."""

    value: float
    error: float
    factor: float


def spread(values: Tensor) -> Spread:
    """From a measure's values ``[1 + PARTS]``, or ``[J, 1 + PARTS]`` of J networks, of which the mean is meant.

    The error has two sources. One is the draw of the images: the delete-a-group jackknife (Tukey 1958, Annals of
    Mathematical Statistics 29; Wolter 2007, Introduction to Variance Estimation, section 4.2). The other is which
    networks there are: their variance over J. The degrees of freedom are those of Satterthwaite 1946 (Biometrics
    Bulletin 2).
    """
    by_network = values.double().view(-1, 1 + PARTS)
    mean, networks = by_network.mean(dim=0), len(by_network)
    draws = (PARTS - 1) / PARTS * (mean[1:] - mean[1:].mean()).square().sum().item()
    between = by_network[:, 0].var().item() / networks if networks > 1 else 0.0
    variance = draws + between
    value = mean[0].item()
    if variance == 0:
        return Spread(value, 0.0, NORMAL)
    freedom = variance**2 / (draws**2 / (PARTS - 1) + between**2 / max(1, networks - 1))
    return Spread(value, math.sqrt(variance), _factor(freedom))


def estimate(values: Tensor, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """Of a measure between ``least`` and ``most``."""
    value, error, factor = spread(values)
    return Estimate(value, max(least, value - factor * error), min(most, value + factor * error))


def proportion(values: Tensor, images: int) -> Estimate:
    """Of a measure that counts a part of so many ``images``.

    The interval of Wilson 1927 (Journal of the American Statistical Association 22) for the number of independent
    images that would have the same error: Korn and Graubard 1998 (Survey Methodology 24). It neither leaves 0 to 1 nor
    shrinks to a point at its ends.
    """
    value, error, factor = spread(values)
    effective = value * (1 - value) / error**2 if error and 0 < value < 1 else images
    return wilson(value, effective, factor)


def wilson(value: float, images: float, factor: float) -> Estimate:
    """Wilson's interval of a part ``value`` of so many ``images``."""
    shrink = 1 + factor**2 / images
    centre = (value + factor**2 / (2 * images)) / shrink
    half = factor / shrink * math.sqrt(value * (1 - value) / images + (factor / (2 * images)) ** 2)
    return Estimate(value, max(0.0, centre - half), min(1.0, centre + half))


def of_draws(name: str, values: Sequence[float], classes: int) -> Estimate:
    """The mean of the measure ``name`` over several draws, and where one more would be; there are so many classes."""
    return _within(name, values, statistics.stdev(values) * math.sqrt(1 + 1 / len(values)), classes)


def over_seeds(name: str, estimates: Sequence[Estimate], classes: int) -> Estimate:
    """The mean of the measure ``name`` over trainings, with Student's interval; of one training, its own."""
    if len(estimates) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    return _within(name, values, statistics.stdev(values) / math.sqrt(len(values)), classes)


def _within(name: str, values: Sequence[float], error: float, classes: int) -> Estimate:
    """The mean of ``values`` of the measure ``name``, with so much ``error``, as far as the measure goes."""
    mean, half = math.fsum(values) / len(values), _factor(len(values) - 1) * error
    least = -math.inf if name in UNBOUNDED else 0.0
    most = math.inf if name in (*UNBOUNDED, *OPEN) else classes if name in OF_CLASSES else 1.0
    return Estimate(mean, max(least, mean - half), min(most, mean + half))


def _factor(freedom: float) -> float:
    """The quantile of Student's distribution."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Space:
    """The real images in one network's space of features."""

    test: Tensor
    """Features ``[M, D]`` of the images that measures are taken against."""
    mean: Tensor
    root: Tensor
    """Of the Gaussian that fits ``test``."""
    kernel: Tensor
    """Of ``test``: ``measures.mean_kernel``, a scalar."""
    neighbours: Tensor
    """Of ``test``: squared distances ``[M, NEIGHBOURS]`` of ``measures.neighbours``."""

    @classmethod
    def of(cls, test: Tensor) -> "Space":
        """The space that has ``test`` as features."""
        gaussian = Gaussian.of(test)
        return cls(
            test,
            gaussian.mean,
            gaussian.root,
            torch.tensor(measures.mean_kernel(test), dtype=torch.float64),
            measures.neighbours(test, measures.NEIGHBOURS),
        )

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian that fits ``test``."""
        return Gaussian(self.mean, self.root)


@dataclass(frozen=True)
class Originals:
    """The images that a generator could copy, and others that it never saw, in one network's space of features."""

    training: Tensor
    """Features ``[T, D]`` of all training images."""
    unseen: Tensor
    """Features ``[M, D]`` of the test images."""
    limit: Tensor
    """The ratio of ``Nearest`` that a part TAIL of the training images is below, each without itself, a scalar."""

    def nearest(self, features: Tensor) -> Nearest:
        """How near generated images ``[N, D]`` are to both."""
        return Nearest.of(features, self.training, self.unseen)


Measured = dict[str, Estimate]


def distances(features: Sequence[Tensor], spaces: Sequence[Space]) -> Measured:
    """The Fréchet distance of ``features``, ``[N, D]`` in each of ``spaces``, and that of infinitely many images."""
    pairs = zip(features, spaces, strict=True)
    frechet = torch.stack([measures.frechet_distance(rows, space.gaussian) for rows, space in pairs])
    infinite = torch.stack([measures.without_bias(values) for values in frechet])
    return {"frechet_distance": estimate(frechet, 0), "frechet_distance_infinite": estimate(infinite)}


def all_measures(features: Sequence[Tensor], spaces: Sequence[Space], test: Split) -> dict[str, Measured]:
    """Every measure that asks no judge for a class: of the images, and class by class.

    Measures of neighbours take as many images as there are test images, or all of fewer.

    Args:
        features: of the generated images ``[N, D]``, in each of ``spaces``.
        spaces: of one kind.
        test: the M test images, of which the labels count.

    Returns:
        ``all``: the measures. ``recall``, ``coverage``: of the real images of each class, by its name.
    """
    near, kernel, count = [], [], len(test.labels)
    for rows, space in zip(features, spaces, strict=True):
        near.append(measures.neighbourhoods(rows[:count], space.test, space.neighbours))
        kernel.append(measures.kernel_distance(rows, space.test, space.kernel.item()))
    recalled = torch.stack([one.recalled for one in near]).double()
    covered = torch.stack([one.covered for one in near]).double()
    return {
        "all": distances(features, spaces)
        | {
            "kernel_distance": estimate(torch.stack(kernel)),
            "precision": proportion(torch.stack([one.precision for one in near]), min(len(features[0]), count)),
            "recall": proportion(measures.over_parts(recalled.mean(dim=2)), count),
            "density": estimate(torch.stack([one.density for one in near]), 0),
            "coverage": proportion(measures.over_parts(covered.mean(dim=2)), count),
        },
        "recall": _by_class(recalled, test),
        "coverage": _by_class(covered, test),
    }


def copying(near: Nearest, limit: Tensor) -> Measured:
    """What says that images are made of training images.

    The two look for different frauds. ``copies``: some images are hardly changed, whatever the others are. That is in
    the tail, where no mean or median sees it. ``nearest_in_training``: all images lean a little on training images,
    though none is too near to one.
    """

    def part(of: Tensor) -> Estimate:
        return wilson(of.double().mean().item(), near.independent, NORMAL)

    return {"copies": part(near.ratio < limit), "nearest_in_training": part(near.ratio < 1)}


def by_class(probabilities: Tensor, reference: Tensor) -> Measured:
    """The measures of class probabilities ``[N, K]`` against those of the test images ``[M, K]``."""
    histogram = measures.class_histogram(probabilities)
    real = measures.class_histogram(reference)[0]
    return {
        "classifier_score": estimate(measures.classifier_score(probabilities), 1, len(real)),
        "total_variation": estimate(measures.total_variation(histogram, real), 0, 1),
        "classes_present": estimate(measures.classes_present(histogram, real), 0, len(real)),
    }


def class_shares(probabilities: Tensor, names: Sequence[str]) -> Measured:
    """The part of the images that are most probably of each class, by its name."""
    histogram = measures.class_histogram(probabilities)
    return {name: proportion(share, len(probabilities)) for name, share in zip(names, histogram.T, strict=True)}


def _by_class(found: Tensor, test: Split) -> Measured:
    """The part of the ``test`` images of each class that are ``found`` ``[J, PARTS, M]``."""
    of_class = {test.classes.names[label]: found[:, :, test.labels == label] for label in test.labels.unique().tolist()}
    return {name: proportion(measures.over_parts(part.mean(dim=2)), part.shape[2]) for name, part in of_class.items()}
