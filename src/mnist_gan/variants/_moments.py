"""What a discriminator hardly sees: that a way to draw is a little too frequent, or comes with another too seldom.

It judges images one by one. The mean and the covariance of thousands of images show it, and so the generator pays for
those that are not the training images'. Features are matched as in Salimans et al. 2016 (arXiv 1606.03498, section
3.1), but random ones that are never trained; those of generated images by moving averages, as in dos Santos et al. 2019
(arXiv 1904.02762).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, unfold

from mnist_gan.variants import ImageShape

WINDOWS = 8
"""Along each side of an image; each window is twice as wide as its step, so that they overlap."""
FEATURES = 16
"""Of each window."""
AXES = 256
"""How many principal axes of the features count."""
LEAST = 0.05
"""Axes with less than this part of the mean variance are weighed as if they had it: few images have none in some."""
MEMORY = 0.99
"""What a step leaves of the moments of generated images."""
START = 600
"""Steps after which the distance counts; before, it is so large that it would outweigh the game."""


class Moments(nn.Module):
    """How far generated images are from the training images, by the mean and covariance of random features.

    The distance is Fréchet's of two normal distributions, to second order in their difference: |m|^2 and the sum over
    axes i and j of D_ij^2 / (2 (v_i + v_j)), where m and D are the differences of means and covariances, and v are the
    training images' variances along their principal axes.
    """

    centre: Tensor
    """The mean of the training images' features, ``[F]``."""
    axes: Tensor
    """Their principal axes, ``[F, A]``, of such a length that the mean variance along them is one."""
    variances: Tensor
    """The variances along them, ``[A]``."""
    weights: Tensor
    """1 / (v_i + v_j), ``[A, A]``."""

    def __init__(self, image_shape: ImageShape) -> None:
        channels, height, _ = image_shape
        super().__init__()
        self.step = height // WINDOWS
        drawn = torch.Generator().manual_seed(0)  # the same in every training, so that one can go on from another's end
        pixels = channels * (2 * self.step) ** 2
        kernels = (2 / pixels) ** 0.5 * torch.randn(FEATURES, pixels, generator=drawn)
        self.register_buffer("kernels", kernels, persistent=False)
        self.kernels: Tensor
        self.register_buffer("biases", 0.1 * torch.randn(FEATURES, 1, generator=drawn), persistent=False)
        self.biases: Tensor
        self.register_buffer("updates", torch.zeros(()))
        self.updates: Tensor
        self.register_buffer("mean", torch.zeros(AXES))
        self.mean: Tensor
        """m, of the last generated images."""
        self.register_buffer("difference", torch.zeros(AXES, AXES))
        self.difference: Tensor
        """D, likewise."""

    def features(self, images: Tensor) -> Tensor:
        """What counts of ``images`` ``[N, C, H, W]``: ``[N, F]``.

        A convolution and a LeakyReLU; convolutions of few channels are slow to differentiate, products are not.
        """
        windows = unfold(images, 2 * self.step, padding=self.step // 2, stride=self.step)
        return leaky_relu(self.kernels @ windows + self.biases, 0.2).flatten(1)

    @torch.no_grad()
    def see(self, batches: Iterable[Tensor]) -> None:
        """Take the moments of all training images, ``[N, C, H, W]`` in [-1, 1] in each of ``batches``."""
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for images in batches:
            seen = self.features(images)
            count, total, products = count + len(seen), total + seen.sum(dim=0), products + seen.mT @ seen
        self.centre = total / count
        variances, axes = torch.linalg.eigh((products / count - self.centre.outer(self.centre)).double())
        variances, axes = variances[-AXES:], axes[:, -AXES:]  # in ascending order
        scale = variances.mean()
        self.variances, self.axes = (variances / scale).to(self.mean.dtype), (axes / scale.sqrt()).to(self.mean.dtype)
        self.weights = 1 / (self.variances[:, None] + self.variances).clamp(min=2 * LEAST)

    def forward(self, images: Tensor) -> Tensor:
        """A scalar with the gradient of the distance, of ``images`` ``[N, C, H, W]`` with those generated before.

        One batch alone has a batch's moments, however good its images are.
        """
        with torch.autocast(images.device.type, enabled=False):
            seen = (self.features(images) - self.centre) @ self.axes
            with torch.no_grad():
                self.updates += 1
                weight = (1 / self.updates).clamp(min=1 - MEMORY)
                self.mean.lerp_(seen.mean(dim=0), weight)
                self.difference.lerp_(seen.mT @ seen / len(seen) - self.variances.diag(), weight)
            of_means = 2 * seen @ self.mean
            of_covariances = (seen @ (self.difference * self.weights) * seen).sum(dim=1)
            slope: Tensor = (of_means + of_covariances).mean()
            return slope * (self.updates > START)
