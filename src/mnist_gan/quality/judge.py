"""The judge: a small digit classifier whose features are the space in which images are compared.

Its penultimate layer is normalised (BatchNorm without scale, then ReLU), so that each of the 128 features has
a variance of the order of one and distances between feature sets keep one unit whatever the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mnist_gan.config import FrozenConfig
from mnist_gan.data.mnist import Split
from mnist_gan.quality import frozen
from mnist_gan.quality.frozen import SIZE, view

PATH = Path("models/judge.safetensors")
FEATURES = 128


class Judge(nn.Module):
    """Three convolutions with pooling, 128 features, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, 16),
            *_block(16, 32),
            *_block(32, 64),
            nn.Flatten(),
            nn.Linear(64 * (SIZE // 8) ** 2, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES, affine=False),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, 10]`` of images ``[N, 1, SIZE, SIZE]`` in [-1, 1]."""
        logits: Tensor = self.head(self.body(images))
        return logits


def _block(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


@dataclass(frozen=True)
class Opinion:
    """What the judge says of N images: features float32 ``[N, 128]`` and class probabilities ``[N, 10]``."""

    features: Tensor
    probabilities: Tensor


@torch.inference_mode()
def opinion(judge: Judge, images: Tensor, batch_size: int = 500) -> Opinion:
    """The judge's opinion of uint8 images ``[N, C, H, W]`` of any size; colours count by their mean."""
    judge.eval()
    features = torch.cat([judge.body(view(batch)) for batch in images.split(batch_size)])
    return Opinion(features, judge.head(features).softmax(dim=1))


def accuracy(judge: Judge, split: Split) -> float:
    """The part of ``split`` that the judge classifies right."""
    predicted = opinion(judge, split.images).probabilities.argmax(dim=1)
    return (predicted == split.labels).double().mean().item()


def train(options: FrozenConfig, split: Split, report: Callable[[int, float], None]) -> Judge:
    """Train a judge on uint8 images; ``report`` gets each epoch's number and mean loss in nats."""
    return frozen.fit(Judge, lambda judge, images, labels: cross_entropy(judge(images), labels), options, split, report)


def write(judge: Judge) -> None:
    """Write the weights to PATH."""
    frozen.write(judge, PATH)


def read() -> Judge:
    """The judge at PATH; raises UserError where the file is missing or damaged."""
    return frozen.read(Judge(), PATH)
