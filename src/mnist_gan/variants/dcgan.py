"""DCGAN: the game of GAN with convolutions (after Radford et al. 2015, arXiv 1511.06434).

The second of the two reference variants, the tutorial's, layer by layer; ``gan`` says what holds for both. Unlike the
paper it upsamples before each convolution, keeps torch's initialisation, and has dropout in its discriminator.
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mnist_gan import variants
from mnist_gan.variants import ImageShape, Step, Update


class Options(variants.Options):
    """What all variants have is enough."""


class Variant(variants.Variant):
    """The non-saturating game, with a discriminator that looks at generated images twice."""

    record = ("loss_g", "loss_d", "d_real", "d_fake")
    """Losses in nats; the mean probability of being real that real and generated images get."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__(Generator(latent_dim, image_shape), Discriminator(image_shape), latent_dim)

    def step(self, real: Tensor) -> Step:
        """The generator first, then the discriminator on the same generated images."""
        fake = self.generator(self.latents(real))
        loss_g = softplus(-self.discriminator(fake)).mean()  # -log D(G(z))
        yield Update(self.generator, loss_g)

        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())  # dropout falls anew
        loss_d = (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2  # -log D(x), -log(1 - D(G(z)))
        yield Update(self.discriminator, loss_d)

        return torch.stack([loss_g, loss_d, real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()]).detach()


class Generator(nn.Module):
    """A Linear layer to 128 maps of a quarter of the size, then two doublings with a convolution each."""

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = image_shape
        small = (128, height // 4, width // 4)
        self.project = nn.Sequential(nn.Linear(latent_dim, prod(small)), nn.Unflatten(1, small))
        self.upsample = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``[N, *image_shape]`` in [-1, 1] from latent vectors ``[N, latent_dim]``."""
        images: Tensor = self.upsample(self.project(latents))
        return images


class Discriminator(nn.Sequential):
    """Four convolutions of stride 2, each with dropout of whole maps, then one Linear layer."""

    def __init__(self, image_shape: ImageShape) -> None:
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, 16, 32, 64, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
            if before != channels:
                layers.append(nn.BatchNorm2d(after, eps=0.8))
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * (height // 16) * (width // 16), 1))
