"""R3GAN: a relativistic game with two gradient penalties (Huang et al. 2024, arXiv 2501.05441).

The discriminator is asked whether a real image looks more real than a generated one, not whether each is real. So the
generator cannot win by one good image: every generated image is held against a real one. R1 and R2 keep the
discriminator flat around real and generated images, which lets such a game converge (Mescheder et al. 2018,
arXiv 1801.04406). ``nsgan`` is the same but for the game.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mnist_gan.variants import ImageShape, Step, Update, _small
from mnist_gan.variants._small import Discriminator, Generator, penalty

Options = _small.PenalisedOptions


class Variant(_small.Penalised):
    """The relativistic game of section 2.1 there."""

    record = ("loss_g", "loss_d", "margin", "penalty")
    """Losses in nats; by how much a real image's logit exceeds a generated one's; the sum of R1 and R2, 0 where the
    step does not compute them."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        generator = Generator(latent_dim, image_shape, options)
        super().__init__(options, generator, Discriminator(image_shape, options), latent_dim, image_shape)

    def step(self, real: Tensor, penalised: bool) -> Step:
        """The discriminator first, then the generator against it, on the same pairs of a real and a generated image."""
        fake = self.generator(self.latents(real))
        real_logits, fake_logits = self.discriminator(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = softplus(fake_logits - real_logits).mean()  # -log sigmoid(D(x) - D(G(z)))
        both = penalty(self.discriminator, torch.cat([real, fake])) if penalised else torch.zeros_like(loss_d)
        yield Update(self.discriminator, loss_d + self.options.gamma * both)

        loss_g = softplus(real_logits.detach() - self.discriminator(fake)).mean()  # -log sigmoid(D(G(z)) - D(x))
        yield Update(self.generator, loss_g + self.mismatch(fake))
        self.average()

        return torch.stack([loss_g, loss_d, (real_logits - fake_logits).mean(), both]).detach()
