"""What the frozen networks see in images, and what the panel says of it, in both spaces of features."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mnist_gan.quality import autoencoder, judge, measures, panel
from mnist_gan.quality.panel import Estimate, Space, intervals, values

SPACES = ("judge", "autoencoder")


@dataclass(frozen=True)
class Seen:
    """N images as the frozen networks see them."""

    features: dict[str, Tensor]
    """By space, float32 ``[N, D]``."""
    probabilities: Tensor
    """Of the classes, by the judge: ``[N, 10]``."""

    def __getitem__(self, rows: slice) -> "Seen":
        return Seen({name: rows_of[rows] for name, rows_of in self.features.items()}, self.probabilities[rows])


class Eyes:
    """Both frozen networks."""

    def __init__(self) -> None:
        self.judge = judge.read()
        self.autoencoder = autoencoder.read()

    def __call__(self, images: Tensor) -> Seen:
        """What they see in uint8 images ``[N, C, H, W]``."""
        opinion = judge.opinion(self.judge, images)
        code = autoencoder.features(self.autoencoder, images)
        return Seen({"judge": opinion.features, "autoencoder": code}, opinion.probabilities)


def spaces(test: Seen, training: Seen) -> dict[str, Space]:
    """The real images in each space of features."""
    return {name: Space.of(test.features[name], training.features[name]) for name in SPACES}


def against_validation(features: Tensor, reference: Tensor, neighbours: Tensor) -> dict[str, float]:
    """The measures that are followed through the training."""
    near = measures.neighbourhoods(features[: len(reference)], reference, neighbours)
    return {
        "frechet_distance": measures.frechet_distance(features, reference).item(),
        "precision": measures.average(near.precise).item(),
        "recall": measures.average(near.recalled).item(),
    }


def report(generated: Seen, test: Seen, among: dict[str, Space]) -> dict[str, Any]:
    """All measures in both spaces, the part of each digit, and their intervals."""
    measured = {name: panel.all_measures(generated.features[name], among[name]) for name in SPACES}
    measured["judge"] |= panel.by_class(generated.probabilities, test.probabilities)
    return _tabulate(measured | {"digits": panel.class_shares(generated.probabilities)})


def distances(generated: Seen, among: dict[str, Space]) -> dict[str, Any]:
    """The distances in both spaces and their intervals."""
    return _tabulate({name: panel.distances(generated.features[name], among[name]) for name in SPACES})


def _tabulate(measured: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    """Values by group of measures, and intervals by group."""
    return {name: values(group) for name, group in measured.items()} | {
        "interval": {name: intervals(group) for name, group in measured.items()}
    }
