"""SNGAN: a discriminator that cannot be steep (Miyato et al. 2018, arXiv 1802.05957), under the hinge loss.

Where ``nsgan`` pays for a steep discriminator, this one has none: the weights of each layer are divided by their
largest singular value, so that no layer stretches what it is given. That costs a product of a matrix and a vector, not
a second derivative. The hinge leaves alone what is on its right side by 1. Otherwise the networks are those of
``r3gan``.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from mnist_gan.variants import ImageShape, Step, Update, _small
from mnist_gan.variants._small import Discriminator, Generator

Options = _small.Options


class Variant(_small.Variant):
    """The hinge game of equations 16 and 17 there."""

    record = ("loss_g", "loss_d", "margin")
    """Losses; by how much a real image's logit exceeds a generated one's."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        discriminator = Discriminator(image_shape, options)
        for layer in discriminator:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)
        super().__init__(options, Generator(latent_dim, image_shape, options), discriminator, latent_dim, image_shape)

    def step(self, real: Tensor) -> Step:
        """The discriminator first, then the generator against it, on the same generated images."""
        fake = self.generator(self.latents(real))
        real_logits, fake_logits = self.discriminator(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()
        yield Update(self.discriminator, loss_d)

        loss_g = -self.discriminator(fake).mean()
        yield Update(self.generator, loss_g + self.mismatch(fake))
        self.average()

        return torch.stack([loss_g, loss_d, (real_logits - fake_logits).mean()]).detach()
