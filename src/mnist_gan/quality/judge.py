"""The judges: small classifiers whose features are spaces in which images are compared.

There are several of one recipe and different seeds: the distances of a generator far from the data depend on who
judges, so that a single judge may put two of them in another order.

A judge's penultimate layer is normalised (BatchNorm without scale, then ReLU), so that each of the 128 features has
a variance of the order of one and distances between feature sets keep one unit whatever the seed.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mnist_gan.config import FrozenConfig
from mnist_gan.data.prepared import Split
from mnist_gan.errors import UserError, command
from mnist_gan.files import write_json
from mnist_gan.quality import frozen
from mnist_gan.quality.frozen import SIZE, view

COUNT = 5
FOLDER = Path("models/judges")
PATHS = [FOLDER / f"judge-{number}.safetensors" for number in range(COUNT)]
ACCURACY = FOLDER / "accuracy.json"
FEATURES = 128


class Judge(frozen.Sized):
    """Three convolutions with pooling, 128 features, ten classes or so many."""

    def __init__(self, size: int = SIZE, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.size, self.channels = size, channels
        self.body = nn.Sequential(
            *_block(channels, 16),
            *_block(16, 32),
            *_block(32, 64),
            nn.Flatten(),
            nn.Linear(64 * (size // 8) ** 2, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES, affine=False),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, channels, size, size]`` in [-1, 1]."""
        logits: Tensor = self.head(self.body(images))
        return logits

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "Judge":
        """One that such weights fit."""
        return cls(SIZE, channels=weights["body.0.weight"].shape[1], classes=len(weights["head.bias"]))


def _block(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


@torch.inference_mode()
def features(judge: Judge, images: Tensor, batch_size: int = 500) -> Tensor:
    """Features float32 ``[N, 128]`` of uint8 images ``[N, C, H, W]`` of any size."""
    return torch.cat([judge.body(view(batch, judge)) for batch in images.split(batch_size)])


@torch.inference_mode()
def probabilities(judges: Sequence[Judge], seen: Sequence[Tensor]) -> Tensor:
    """Of the K classes: the mean of what ``judges`` say of their own features ``[N, 128]``: ``[N, K]``."""
    said = [judge.head(features).softmax(dim=1) for judge, features in zip(judges, seen, strict=True)]
    return torch.stack(said).mean(dim=0)


def accuracy(judges: Sequence[Judge], split: Split) -> float:
    """The part of ``split`` that ``judges`` together classify right."""
    predicted = probabilities(judges, [features(judge.eval(), split.images) for judge in judges]).argmax(dim=1)
    return (predicted == split.labels).double().mean().item()


def train(options: FrozenConfig, split: Split, report: Callable[[int, float], None]) -> Judge:
    """Train one judge on uint8 images; ``report`` gets epochs' numbers and mean losses in nats."""
    return frozen.fit(
        lambda: Judge(channels=split.images.shape[1], classes=len(split.classes.names)),
        lambda judge, images, labels: cross_entropy(judge(images), labels),
        options,
        split,
        report,
    )


def write(judges: Sequence[Judge], accuracies: Sequence[float]) -> None:
    """Write the weights to PATHS, and to ACCURACY the part of the test images that each classifies right."""
    for judge, path in zip(judges, PATHS, strict=True):
        frozen.write(judge, path)
    write_json(ACCURACY, {path.stem: round(part, 6) for path, part in zip(PATHS, accuracies, strict=True)})


def read_accuracy() -> float:
    """The part of the test images that a judge classifies right, the mean over judges.

    Raises:
        UserError: ACCURACY is missing or damaged.
    """
    try:
        return statistics.fmean(json.loads(ACCURACY.read_text()).values())
    except (OSError, ValueError, TypeError) as error:
        restore = command("dvc", "checkout", "--force", ACCURACY)
        raise UserError(f"{ACCURACY} cannot be read ({error}): {restore} restores it") from None


def read() -> list[Judge]:
    """The judges at PATHS; raises UserError where a file is missing or damaged."""
    return [frozen.read(Judge.of, path) for path in PATHS]
