"""GAN: two fully connected networks (Goodfellow et al. 2014, arXiv 1406.2661).

The first of the two reference variants, a published tutorial's, layer by layer. The tutorial's discriminator ends in a
Sigmoid. Here that is part of the losses: with D = sigmoid(logit), -log D is softplus(-logit) and -log(1 - D) is
softplus(logit), which never overflow. BatchNorm's eps of 0.8 is the tutorial's as well: its ``BatchNorm1d(n, 0.8)``
sets eps, not momentum.
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
    """The non-saturating game of section 3 there."""

    record = ("loss_g", "loss_d", "d_real", "d_fake")
    """Losses in nats; the mean probability of being real that real and generated images get."""
    auto_bfloat16 = False
    """It may cost a third of the distance: docs/benchmarks.md, "Precision"."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__(Generator(latent_dim, image_shape), Discriminator(image_shape), latent_dim)

    def step(self, real: Tensor) -> Step:
        """The generator first, then the discriminator on the same generated images."""
        fake = self.generator(self.latents(real))
        fake_logits = self.discriminator(fake)
        loss_g = softplus(-fake_logits).mean()  # -log D(G(z))
        yield Update(self.generator, loss_g, keep_graph=True)

        # The discriminator is the one that gave fake_logits, without dropout or BatchNorm: it need not look again.
        real_logits = self.discriminator(real)
        loss_d = (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2  # -log D(x), -log(1 - D(G(z)))
        yield Update(self.discriminator, loss_d)

        return torch.stack([loss_g, loss_d, real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()]).detach()


class Generator(nn.Sequential):
    """Five Linear layers, doubling from 128 to 1024 features, then one value for each pixel."""

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        layers: list[nn.Module] = [nn.Linear(latent_dim, 128), nn.LeakyReLU(0.2)]
        for before, after in pairwise((128, 256, 512, 1024)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, eps=0.8), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(1024, prod(image_shape)), nn.Tanh(), nn.Unflatten(1, image_shape))


class Discriminator(nn.Sequential):
    """Three Linear layers; no normalisation."""

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(prod(image_shape), 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 1),
        )
