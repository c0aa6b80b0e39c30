"""The article's networks and training step, stated plainly and apart from the project's code.

Functions of a flat list of tensors in the order of the networks' parameters; everything by torch.nn.functional.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def train_norm(x: Tensor, scale: Tensor, offset: Tensor, eps: float) -> Tensor:
    """BatchNorm by the batch's own mean and biased variance."""
    dims = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * scale.view(shape) + offset.view(shape)


def eval_norm(statistics: Iterator[Tensor]) -> Norm:
    """BatchNorm by running statistics: mean, variance and count of each layer in turn."""

    def norm(x: Tensor, scale: Tensor, offset: Tensor, eps: float) -> Tensor:
        mean, variance, _ = next(statistics), next(statistics), next(statistics)
        return F.batch_norm(x, mean, variance, scale, offset, training=False, eps=eps)

    return norm


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def no_dropout(x: Tensor) -> Tensor:
    return x


def dropout(x: Tensor) -> Tensor:
    """Dropout2d(0.25): the draw that torch makes, one for each map."""
    return F.dropout2d(x, 0.25, training=True)


def dense_generator(p: list[Tensor], z: Tensor, norm: Norm, shape: tuple[int, int, int]) -> Tensor:
    x = leaky(z @ p[0].T + p[1])
    for i in (2, 6, 10):
        x = leaky(norm(x @ p[i].T + p[i + 1], p[i + 2], p[i + 3], 0.8))
    return torch.tanh(x @ p[14].T + p[15]).view(-1, *shape)


def dense_discriminator(p: list[Tensor], images: Tensor, norm: Norm, drop: Callable[[Tensor], Tensor]) -> Tensor:
    x = images.view(len(images), -1)
    x = leaky(x @ p[0].T + p[1])
    x = leaky(x @ p[2].T + p[3])
    return torch.sigmoid(x @ p[4].T + p[5])


def conv_generator(p: list[Tensor], z: Tensor, norm: Norm, shape: tuple[int, int, int]) -> Tensor:
    side = shape[1] // 4
    x = (z @ p[0].T + p[1]).view(-1, 128, side, side)
    x = norm(x, p[2], p[3], 1e-5)
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = leaky(norm(F.conv2d(x, p[4], p[5], padding=1), p[6], p[7], 0.8))
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = leaky(norm(F.conv2d(x, p[8], p[9], padding=1), p[10], p[11], 0.8))
    return torch.tanh(F.conv2d(x, p[12], p[13], padding=1))


def conv_discriminator(p: list[Tensor], images: Tensor, norm: Norm, drop: Callable[[Tensor], Tensor]) -> Tensor:
    x = drop(leaky(F.conv2d(images, p[0], p[1], stride=2, padding=1)))
    for i in (2, 6, 10):
        x = drop(leaky(F.conv2d(x, p[i], p[i + 1], stride=2, padding=1)))
        x = norm(x, p[i + 2], p[i + 3], 0.8)
    return torch.sigmoid(x.flatten(1) @ p[14].T + p[15])


GENERATORS: dict[str, Any] = {"gan": dense_generator, "dcgan": conv_generator}
DISCRIMINATORS: dict[str, Any] = {"gan": dense_discriminator, "dcgan": conv_discriminator}


class Training:
    """The article's step: Sigmoid, BCE, Adam; the generator first, then the discriminator on the same fakes."""

    def __init__(
        self,
        variant: str,
        generator: list[Tensor],
        discriminator: list[Tensor],
        shape: tuple[int, int, int],
        drop: Callable[[Tensor], Tensor],
    ) -> None:
        self.g = [tensor.detach().clone().requires_grad_() for tensor in generator]
        self.d = [tensor.detach().clone().requires_grad_() for tensor in discriminator]
        self.optimizers = [torch.optim.Adam(p, lr=0.0002, betas=(0.5, 0.999)) for p in (self.g, self.d)]
        self.generate = lambda z: GENERATORS[variant](self.g, z, train_norm, shape)
        self.judge = lambda images: DISCRIMINATORS[variant](self.d, images, train_norm, drop)

    def step(self, real: Tensor, z: Tensor) -> tuple[float, float, float, float]:
        ones, zeros = real.new_ones(len(real), 1), real.new_zeros(len(real), 1)
        self.optimizers[0].zero_grad()
        fake = self.generate(z)
        loss_g = F.binary_cross_entropy(self.judge(fake), ones)
        loss_g.backward()
        self.optimizers[0].step()

        self.optimizers[1].zero_grad()
        d_real, d_fake = self.judge(real), self.judge(fake.detach())
        loss_d = (F.binary_cross_entropy(d_real, ones) + F.binary_cross_entropy(d_fake, zeros)) / 2
        loss_d.backward()
        self.optimizers[1].step()
        return loss_g.item(), loss_d.item(), d_real.mean().item(), d_fake.mean().item()
