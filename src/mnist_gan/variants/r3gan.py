"""R3GAN: a relativistic game with two gradient penalties (Huang et al. 2024, arXiv 2501.05441).

The discriminator is asked whether a real image looks more real than a generated one, not whether each is real. So the
generator cannot win by one good image: every generated image is held against a real one. R1 and R2 keep the
discriminator flat around real and generated images, which lets such a game converge (Mescheder et al. 2018,
arXiv 1801.04406). Images are drawn from a moving average of the generator's weights. Small networks, for MNIST.
"""

from copy import deepcopy
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from mnist_gan import variants
from mnist_gan.config import Count
from mnist_gan.variants import ImageShape, Step, Update


class Options(variants.Options):
    """What all variants have, the penalty and the average."""

    gamma: Annotated[float, Field(ge=0)]
    """Weight of the penalties R1 and R2 in the steps that have them."""
    penalty_interval: Count
    """Steps from one computation of the penalties to the next."""
    average: Annotated[float, Field(ge=0, lt=1)]
    """What a step leaves of the averaged generator's weights."""


class Variant(variants.Variant):
    """The relativistic game of section 2.1 there."""

    record = ("loss_g", "loss_d", "margin", "penalty")
    """Losses in nats; by how much a real image's logit exceeds a generated one's; the mean of R1 and R2, 0 where the
    step does not compute them."""

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__(Generator(latent_dim, image_shape), Discriminator(image_shape), latent_dim)
        self.options = options
        self.averaged = deepcopy(self.generator).requires_grad_(False)
        self.register_buffer("updates", torch.zeros(()))
        self.updates: Tensor

    @property
    def drawn(self) -> nn.Module:
        """The average over steps."""
        return self.averaged

    def kind(self, step: int) -> dict[str, bool]:
        """Whether the penalties are due (lazy regularisation: Karras et al. 2020, arXiv 1912.04958, section 3.1)."""
        return {"penalised": step % self.options.penalty_interval == 0}

    def rate(self, done: float) -> float:
        """One for the first half, then down to zero in a straight line."""
        return min(1.0, 2 * (1 - done))

    def step(self, real: Tensor, penalised: bool) -> Step:
        """The discriminator first, then the generator against it, on the same pairs of a real and a generated image."""
        fake = self.generator(self.latents(real))
        real_logits, fake_logits = self.discriminator(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = softplus(fake_logits - real_logits).mean()  # -log sigmoid(D(x) - D(G(z)))
        penalty = self.penalty(torch.cat([real, fake])) if penalised else torch.zeros_like(loss_d)
        yield Update(self.discriminator, loss_d + self.options.gamma * penalty)

        loss_g = softplus(real_logits.detach() - self.discriminator(fake)).mean()  # -log sigmoid(D(G(z)) - D(x))
        yield Update(self.generator, loss_g)
        self.average()

        return torch.stack([loss_g, loss_d, (real_logits - fake_logits).mean(), penalty]).detach()

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged generator a little towards the present one.

        By 9 / (10 + updates) while that is more than the option says: else the untrained weights would stay for long.
        """
        self.updates += 1
        weight = (9 / (10 + self.updates)).clamp(min=1 - self.options.average)
        for averaged, present in zip(floats(self.averaged), floats(self.generator), strict=True):
            averaged.lerp_(present, weight)

    def penalty(self, images: Tensor) -> Tensor:
        """Mean of R1 and R2: half the squared gradient of the logit (equation 9 of Mescheder et al.), in float32.

        Args:
            images: as many real as generated ones, ``[2N, C, H, W]``.
        """
        images = images.detach().requires_grad_()
        with torch.autocast(images.device.type, enabled=False):
            logits = self.discriminator(images).sum()
            (gradients,) = torch.autograd.grad(logits, images, create_graph=True)
        return gradients.square().sum(dim=(1, 2, 3)).mean()


def floats(network: nn.Module) -> list[Tensor]:
    """Weights and BatchNorm's running statistics, without its counters."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


class Generator(nn.Sequential):
    """A Linear layer to 128 maps of an eighth of the size, then three transposed convolutions that double it."""

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        channels, height, width = image_shape
        small = (128, height // 8, width // 8)
        super().__init__(
            nn.Linear(latent_dim, prod(small)),
            nn.Unflatten(1, small),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )


class Discriminator(nn.Sequential):
    """Three convolutions of stride 2 and one of stride 1; no normalisation, which the penalties do not go with."""

    def __init__(self, image_shape: ImageShape) -> None:
        channels, height, width = image_shape
        super().__init__(
            nn.Conv2d(channels, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(64 * (height // 8) * (width // 8), 1),
        )
