"""The autoencoder: a second space of features, which has never seen a label.

What the judge was taught to ignore, such as stroke and slant within a digit, counts here. Its code is normalised
(BatchNorm without scale), so that each of the 64 features has a variance of the order of one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mnist_gan.config import FrozenConfig
from mnist_gan.data.prepared import Split
from mnist_gan.quality import frozen
from mnist_gan.quality.frozen import SIZE, view

PATH = Path("models/autoencoder.safetensors")
FEATURES = 64


class Autoencoder(frozen.Sized):
    """Three convolutions down to 64 features, three up again."""

    size = SIZE

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels
        small = (64, SIZE // 8, SIZE // 8)
        self.encoder = nn.Sequential(
            *_block(channels, 16, stride=2),
            *_block(16, 32, stride=2),
            *_block(32, 64, stride=2),
            nn.Flatten(),
            nn.Linear(64 * (SIZE // 8) ** 2, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Linear(FEATURES, 64 * (SIZE // 8) ** 2),
            nn.Unflatten(1, small),
            nn.Upsample(scale_factor=2),
            *_block(64, 32),
            nn.Upsample(scale_factor=2),
            *_block(32, 16),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N, channels, SIZE, SIZE]`` in [-1, 1], after a passage through the features."""
        decoded: Tensor = self.decoder(self.encoder(images))
        return decoded

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "Autoencoder":
        """One that such weights fit."""
        return cls(weights["encoder.0.weight"].shape[1])


def _block(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


@torch.inference_mode()
def features(autoencoder: Autoencoder, images: Tensor, batch_size: int = 500) -> Tensor:
    """Features float32 ``[N, 64]`` of uint8 images ``[N, C, H, W]`` of any size."""
    return torch.cat([autoencoder.encoder(view(batch, autoencoder)) for batch in images.split(batch_size)])


@torch.inference_mode()
def explained(autoencoder: Autoencoder, split: Split) -> float:
    """The part of the pixels' variance in ``split`` that passes through the features, at most 1."""
    autoencoder.eval()
    batches = [view(batch, autoencoder) for batch in split.images.split(500)]
    images = torch.cat(batches).double()
    lost = (torch.cat([autoencoder(batch) for batch in batches]) - images).square().sum()
    return 1 - (lost / (images - images.mean(dim=0)).square().sum()).item()


def train(options: FrozenConfig, split: Split, report: Callable[[int, float], None]) -> Autoencoder:
    """Train an autoencoder on uint8 images; ``report`` gets epochs' numbers and mean squared errors of a pixel."""
    return frozen.fit(
        lambda: Autoencoder(split.images.shape[1]),
        lambda autoencoder, images, _: mse_loss(autoencoder(images), images),
        options,
        split,
        report,
    )


def write(autoencoder: Autoencoder) -> None:
    """Write the weights to PATH."""
    frozen.write(autoencoder, PATH)


def read() -> Autoencoder:
    """The autoencoder at PATH; raises UserError where the file is missing or damaged."""
    return frozen.read(Autoencoder.of, PATH)
