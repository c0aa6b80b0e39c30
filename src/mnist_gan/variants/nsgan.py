"""NSGAN: the game of ``gan`` with a penalty that lets it converge (Mescheder et al. 2018, arXiv 1801.04406).

Each image is judged alone, real or generated, as Goodfellow et al. had it. What is new since ``gan`` and ``dcgan`` is
R1: a discriminator that is steep around real images never lets the generator rest on them. The networks are those of
``r3gan``, so that the two show what a relativistic loss adds.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mnist_gan.variants import ImageShape, Step, Update, _small
from mnist_gan.variants._small import Discriminator, Generator, penalty

Options = _small.PenalisedOptions


class Variant(_small.Penalised):
    """The non-saturating game, with R1."""

    record = ("loss_g", "loss_d", "d_real", "d_fake", "penalty")
    """Losses in nats; the mean probability of being real that real and generated images get; R1, 0 where the step does
    not compute it."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        generator = Generator(latent_dim, image_shape, options)
        super().__init__(options, generator, Discriminator(image_shape, options), latent_dim, image_shape)

    def step(self, real: Tensor, penalised: bool) -> Step:
        """The discriminator first, then the generator against it, on the same generated images."""
        fake = self.generator(self.latents(real))
        real_logits, fake_logits = self.discriminator(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = softplus(-real_logits).mean() + softplus(fake_logits).mean()  # -log D(x), -log(1 - D(G(z)))
        r1 = penalty(self.discriminator, real) / 2 if penalised else torch.zeros_like(loss_d)
        yield Update(self.discriminator, loss_d + self.options.gamma * r1)

        loss_g = softplus(-self.discriminator(fake)).mean()  # -log D(G(z))
        yield Update(self.generator, loss_g + self.mismatch(fake))
        self.average()

        probabilities = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
        return torch.stack([loss_g, loss_d, *probabilities, r1]).detach()
