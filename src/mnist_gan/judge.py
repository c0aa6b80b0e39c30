"""The judge: a small digit classifier whose features are the space in which images are compared.

Its penultimate layer is normalised (BatchNorm without scale, then ReLU), so that each of the 128 features has
a variance of the order of one and distances between feature sets keep one unit whatever the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from mnist_gan.config import JudgeConfig
from mnist_gan.data import Split
from mnist_gan.engine import make_deterministic
from mnist_gan.errors import UserError
from mnist_gan.files import write_atomically
from mnist_gan.images import to_float

PATH = Path("models/judge.safetensors")
SIZE = 32
"""Height and width in pixels that the judge sees; other sizes are resized to it."""
FEATURES = 128
SHIFT = 2
"""Largest shift in pixels of a training image, in each direction."""


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


def view(images: Tensor) -> Tensor:
    """uint8 ``[N, C, H, W]`` as the judge sees it: float32 in [-1, 1], one channel, SIZE pixels."""
    seen = to_float(images).mean(dim=1, keepdim=True)
    if seen.shape[-1] != SIZE:
        seen = interpolate(seen, SIZE, mode="bilinear", antialias=True)
    return seen.contiguous(memory_format=torch.channels_last)


def accuracy(judge: Judge, split: Split) -> float:
    """The part of ``split`` that the judge classifies right."""
    predicted = opinion(judge, split.images).probabilities.argmax(dim=1)
    return (predicted == split.labels).double().mean().item()


def train(options: JudgeConfig, split: Split, report: Callable[[int, float], None]) -> Judge:
    """Train a judge on uint8 images; ``report`` gets each epoch's number and mean loss in nats.

    Adam under a one-cycle schedule (Smith and Topin 2017, arXiv 1708.07120), images shifted at random.
    """
    make_deterministic()
    torch.manual_seed(options.seed)
    judge = Judge().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(judge.parameters(), lr=options.lr, fused=True)
    steps = len(split.images) // options.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.epochs * steps)
    labels = split.labels.long()
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        for indices in torch.randperm(len(labels))[: steps * options.batch_size].split(options.batch_size):
            loss = cross_entropy(judge(shift(view(split.images[indices]))), labels[indices])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            total += loss.item()
        report(epoch, total / steps)
    return judge


def shift(images: Tensor) -> Tensor:
    """``images``, all moved by one random offset of up to SHIFT pixels in each direction; the border moves around."""
    offset = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    return images.roll(offset, dims=(2, 3))


def write(judge: Judge) -> None:
    """Write the weights to PATH."""
    weights = {name: tensor.contiguous() for name, tensor in judge.state_dict().items()}
    write_atomically(PATH, safetensors.torch.save(weights))


def read() -> Judge:
    """The judge at PATH.

    Raises:
        UserError: the file is missing or damaged.
    """
    judge = Judge().to(memory_format=torch.channels_last)
    try:
        judge.load_state_dict(safetensors.torch.load_file(PATH))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{PATH} cannot be read ({_first_line(error)}): `git checkout {PATH}` restores it") from None
    return judge.eval()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
