"""All measures of a set of images against real ones in one space of features, each with its interval."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from mnist_gan.quality import measures

REPLICATES = 100
"""Of the bootstrap; 50 to 200 are enough for a standard error (Efron and Tibshirani 1993, section 6.4)."""


class Estimate(NamedTuple):
    """A value with its 95% interval: 1.96 bootstrap standard errors to both sides, as far as the measure goes.

    The interval says where another draw of images from the same generator would put the value, with as many images
    and the same real ones; of recall and coverage, which count real images, where another draw of these would; of
    neighbour_accuracy, of both. How far another training would move it, only other seeds say.
    """

    value: float
    low: float
    high: float


def estimate(values: Tensor, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """From a measure's values ``[1 + REPLICATES]``, the first of the images as they are, and its range."""
    value, error = values[0].item(), values[1:].std().item()
    return Estimate(value, max(least, value - 1.96 * error), min(most, value + 1.96 * error))


@dataclass(frozen=True)
class Space:
    """The real images in one space of features."""

    test: Tensor
    """Features ``[M, D]`` of the images that measures are taken against."""
    neighbours: Tensor
    """Of ``test``: ``measures.neighbour_distances(test, 5)``."""
    training: Tensor
    """Features ``[T, D]`` of all training images."""
    unseen: Tensor
    """Distance ``[M]`` of each test image to its nearest training image."""

    @classmethod
    def of(cls, test: Tensor, training: Tensor) -> "Space":
        """The space that has ``test`` and ``training`` as features."""
        return cls(test, measures.neighbour_distances(test, 5), training, measures.nearest(test, training)[0])


def distances(features: Tensor, space: Space) -> dict[str, Estimate]:
    """The Fréchet distance of ``features`` ``[N, D]``, and what infinitely many images would have."""
    counts = measures.resamples(len(features), REPLICATES)
    parts = measures.growing_parts(len(features))
    frechet = measures.frechet_distances(features, space.test, parts, counts)
    return {
        "frechet_distance": estimate(frechet[:, -1], 0),
        "frechet_distance_infinite": estimate(measures.extrapolate(parts, frechet)),
    }


def all_measures(features: Tensor, space: Space) -> dict[str, Estimate]:
    """Every measure of ``features`` ``[N, D]`` that needs no labels.

    Measures of neighbours take as many images as there are test images, or all of fewer. What counts real images
    (recall, coverage) is resampled over them, for an image drawn twice has no neighbourhood.
    """
    counts = measures.resamples(len(features), REPLICATES)
    some = features[: len(space.test)]
    near = measures.neighbourhoods(some, space.test, space.neighbours)
    over_some = measures.resamples(len(some), REPLICATES)
    over_real = measures.resamples(len(space.test), REPLICATES, seed=1)
    known = measures.average(near.known_generated, over_some) + measures.average(near.known_real, over_real)
    to_training, _ = measures.nearest(features, space.training)
    return distances(features, space) | {
        "kernel_distance": estimate(measures.kernel_distance(features, space.test, counts)),
        "precision": estimate(measures.average(near.precise, over_some), 0, 1),
        "recall": estimate(measures.average(near.recalled, over_real), 0, 1),
        "density": estimate(measures.average(near.density, over_some), 0),
        "coverage": estimate(measures.average(near.covered, over_real), 0, 1),
        "neighbour_accuracy": estimate(known / 2, 0, 1),
        "copying": estimate(measures.copying(to_training, space.unseen, counts), 0, 1),
    }


def by_class(probabilities: Tensor, reference: Tensor) -> dict[str, Estimate]:
    """The measures of class probabilities ``[N, K]`` against those of the test images ``[M, K]``."""
    counts = measures.resamples(len(probabilities), REPLICATES)
    histogram = measures.class_histogram(probabilities, counts)
    real = measures.class_histogram(reference)[0]
    return {
        "classifier_score": estimate(measures.classifier_score(probabilities, counts), 1, len(real)),
        "total_variation": estimate(measures.total_variation(histogram, real), 0, 1),
        "digits_present": estimate(measures.classes_present(histogram), 0, len(real)),
    }


def class_shares(probabilities: Tensor) -> dict[str, Estimate]:
    """The part of the images that are most probably of each class, by the class's number."""
    histogram = measures.class_histogram(probabilities, measures.resamples(len(probabilities), REPLICATES))
    return {str(number): estimate(share, 0, 1) for number, share in enumerate(histogram.T)}


def values(estimates: dict[str, Estimate]) -> dict[str, float]:
    """The values alone, to six digits after the point."""
    return {name: round(estimate.value, 6) for name, estimate in estimates.items()}


def intervals(estimates: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """The intervals alone, to six digits after the point."""
    return {
        name: {"low": round(estimate.low, 6), "high": round(estimate.high, 6)} for name, estimate in estimates.items()
    }
