"""What the frozen networks see in images: both spaces of features, and classes."""

from dataclasses import dataclass

from torch import Tensor

from mnist_gan.quality import autoencoder, judge

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
