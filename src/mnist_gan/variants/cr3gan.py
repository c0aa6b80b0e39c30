"""Conditional R3GAN: both networks are told the class of an image (Mirza and Osindero 2014, arXiv 1411.1784).

The game is that of ``r3gan``, between a real and a generated image of one class: the discriminator has a logit for
each class, and that of the image's class counts. The generator need not find out by itself which kinds there are.

Its class is part of the latent vector: the first entry says it. The normal distribution is cut into pieces, each as
probable as its class is among the real images. So a latent vector is drawn as for any generator, and who wants a seven
takes one whose first entry lies in the piece of the seven: ``Generator.of_class``.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus
from torch.special import ndtr, ndtri

from mnist_gan.variants import ImageShape, Step, Update, _small
from mnist_gan.variants._small import Discriminator, penalty

Options = _small.PenalisedOptions


class Variant(_small.Penalised):
    """The relativistic game within each class."""

    record = ("loss_g", "loss_d", "margin", "penalty")
    """As in ``r3gan``."""
    labelled = True

    def __init__(self, options: Options, latent_dim: int, image_shape: ImageShape, classes: int) -> None:
        generator = Generator(latent_dim, image_shape, options, classes)
        discriminator = Discriminator(image_shape, options, outputs=classes)
        super().__init__(options, generator, discriminator, latent_dim, image_shape)
        self.generator: Generator

    def step(self, real: Tensor, labels: Tensor, penalised: bool) -> Step:
        """The discriminator first, then the generator against it, on the same pairs of images of one class."""
        chosen = one_hot(labels, self.generator.classes)
        self.generator.seen += chosen.sum(dim=0)
        fake = self.generator(self.generator.of_class(labels, self.latents(real)))

        def logits(images: Tensor) -> Tensor:
            of_all: Tensor = self.discriminator(images)
            return (of_all * chosen.repeat(len(images) // len(chosen), 1)).sum(dim=1)

        real_logits, fake_logits = logits(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = softplus(fake_logits - real_logits).mean()
        both = penalty(logits, torch.cat([real, fake])) if penalised else torch.zeros_like(loss_d)
        yield Update(self.discriminator, loss_d + self.options.gamma * both)

        loss_g = softplus(real_logits.detach() - logits(fake)).mean()
        yield Update(self.generator, loss_g + self.mismatch(fake))
        self.average()

        return torch.stack([loss_g, loss_d, (real_logits - fake_logits).mean(), both]).detach()


class Generator(_small.Generator):
    """The generator of ``r3gan`` with the class in the place of the first entry of the latent vector."""

    def __init__(self, latent_dim: int, image_shape: ImageShape, options: Options, classes: int) -> None:
        super().__init__(latent_dim - 1 + classes, image_shape, options)
        self.classes = classes
        self.register_buffer("seen", torch.ones(classes))
        self.seen: Tensor
        """How often each class was among the real images, and once more."""

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``[N, *image_shape]`` in [-1, 1] from latent vectors ``[N, latent_dim]``."""
        inputs = torch.cat([one_hot(self.labels(latents), self.classes).to(latents.dtype), latents[:, 1:]], dim=1)
        images: Tensor = super().forward(inputs)
        return images

    def labels(self, latents: Tensor) -> Tensor:
        """Which class ``[N]`` each of ``latents`` ``[N, latent_dim]`` is of."""
        labels: Tensor = (ndtr(latents[:, :1]) > self.edges[1:-1]).sum(dim=1)
        return labels

    def of_class(self, labels: Tensor, latents: Tensor) -> Tensor:
        """``latents`` ``[N, latent_dim]`` with the first entry such that images with ``labels`` ``[N]`` are drawn."""
        low, high = self.edges[labels], self.edges[labels + 1]
        first = ndtri(low + (high - low) * ndtr(latents[:, 0]).clamp(0.01, 0.99))
        return torch.cat([first[:, None], latents[:, 1:]], dim=1)

    @property
    def edges(self) -> Tensor:
        """Where the classes' pieces of the normal distribution end: its shares ``[classes + 1]`` from 0 to 1."""
        before = self.seen.new_ones(self.classes + 1, self.classes).tril(-1)
        return before @ self.seen / self.seen.sum()
