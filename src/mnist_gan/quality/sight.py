"""What the frozen networks see in images: features in several spaces, and classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_gan.quality import autoencoder, judge

JUDGES = [f"judge-{number}" for number in range(judge.COUNT)]
SPACES = {"judge": JUDGES, "autoencoder": ["autoencoder"]}
"""The networks by kind of space. A measure in a kind of space is the mean of what it is in each."""


@dataclass(frozen=True)
class Seen:
    """N images as the frozen networks see them."""

    features: dict[str, Tensor]
    """By network, float32 ``[N, D]``."""
    probabilities: Tensor
    """Of the K classes, by all judges: ``[N, K]``."""


class Eyes:
    """All frozen networks."""

    def __init__(self) -> None:
        self.judges = judge.read()
        self.autoencoder = autoencoder.read()

    def __call__(self, images: Tensor) -> Seen:
        """What they see in uint8 images ``[N, C, H, W]``."""
        by_judge = [judge.features(one, images) for one in self.judges]
        features = dict(zip(JUDGES, by_judge, strict=True))
        features["autoencoder"] = autoencoder.features(self.autoencoder, images)
        return Seen(features, judge.probabilities(self.judges, by_judge))

    def centred(self, images: Tensor) -> dict[str, Tensor]:
        """What copies are looked for in: by kind of space, features ``[N, D]`` of the images in their middle.

        A copy is a copy to every judge, so that the first is enough.
        """
        middle = centred(images)
        return {
            "judge": judge.features(self.judges[0], middle),
            "autoencoder": autoencoder.features(self.autoencoder, middle),
        }


def centred(images: Tensor) -> Tensor:
    """uint8 images ``[N, C, H, W]``, each moved by whole pixels until its centre of mass is in the middle.

    MNIST's are so already (LeCun et al. 1998): a copy that was moved comes back to its original.
    """
    weights = images.sum(dim=1, dtype=torch.float32)
    mass = weights.sum(dim=(1, 2)).clamp(min=1)
    size = images.shape[-1]
    places = torch.arange(size) - (size - 1) / 2
    off = [-((weights.sum(dim=axis) @ places) / mass).round().long() for axis in (2, 1)]
    moved = images.clone()
    for down, right in torch.stack(off, dim=1).unique(dim=0).tolist():
        rows = (off[0] == down) & (off[1] == right)
        moved[rows] = images[rows].roll((down, right), dims=(2, 3))
    return moved
