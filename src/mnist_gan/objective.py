"""The adversarial game (Goodfellow et al. 2014, arXiv 1406.2661), with the non-saturating generator loss.

Losses are computed on logits: with D = sigmoid(logit), -log D = softplus(-logit) and
-log(1 - D) = softplus(logit), which equals Sigmoid and BCE and neither overflows nor needs BCE's clamp.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

RECORD = ("loss_g", "loss_d", "d_real", "d_fake")
"""What a step returns: the two losses in nats, and the discriminator's mean probability of being real
for the real and for the generated images."""


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Mean -log D(G(z)), the generator's loss of section 3 there; a scalar from ``[N, 1]``."""
    return softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Half of mean -log D(x) plus mean -log(1 - D(G(z))); a scalar from two times ``[N, 1]``."""
    return (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2


class Optimizer(Protocol):
    """What updates a network: torch's optimizers and ``kernels.FusedAdam``."""

    def step(self) -> None:
        """Update the parameters by their gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""


class AdversarialStep:
    """One update of the generator, then one of the discriminator on the same generated images."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_parameters = list(generator.parameters())
        self.discriminator_parameters = list(discriminator.parameters())
        self.repeatable = repeatable(discriminator)

    def __call__(self, real: Tensor, latents: Tensor) -> Tensor:
        """Train on images ``[N, C, H, W]`` in [-1, 1] and latents ``[N, latent_dim]``; returns RECORD's values."""
        fake = self.generator(latents)
        fake_logits = self.discriminator(fake)
        loss_g = generator_loss(fake_logits)
        # The discriminator's gradients of this loss would be thrown away: they are not computed.
        loss_g.backward(inputs=self.generator_parameters, retain_graph=True)
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad()

        real_logits = self.discriminator(real)
        if not self.repeatable:
            fake_logits = self.discriminator(fake.detach())
        loss_d = discriminator_loss(real_logits, fake_logits)
        loss_d.backward(inputs=self.discriminator_parameters)
        self.discriminator_optimizer.step()
        self.discriminator_optimizer.zero_grad()

        d_real, d_fake = real_logits.detach().sigmoid().mean(), fake_logits.detach().sigmoid().mean()
        return torch.stack([loss_g.detach(), loss_d.detach(), d_real, d_fake])


def repeatable(network: nn.Module) -> bool:
    """Whether a second pass of the same images gives the same logits and leaves nothing behind."""
    return not any(isinstance(module, nn.Dropout2d | nn.BatchNorm2d) for module in network.modules())
